"""Reproducing a run from its record: its own code, what differs here, and whether its numbers are the same."""
