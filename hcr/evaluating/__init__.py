"""A finished run's model, evaluated on its own test images or on another data set; recorded as a run of its own."""
