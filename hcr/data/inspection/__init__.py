"""What a data set holds: counts, sizes, ink, copies and suspicious labels, as numbers, and the checks on them."""
