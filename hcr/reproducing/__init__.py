"""Reproducing a run from its record: the code that it ran with, what differs here, and whether its numbers are the same."""
