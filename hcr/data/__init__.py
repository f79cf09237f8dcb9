"""Where images come from, how they are split, what is checked."""
