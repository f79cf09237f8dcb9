"""Sweeps: a frozen plan, trial processes, adaptive search, and what they come to."""
