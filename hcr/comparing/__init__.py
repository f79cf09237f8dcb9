"""Runs, points and sweeps compared: what differs, which is better, in words, pictures and a page; recorded as a run."""
