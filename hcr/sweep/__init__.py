"""Sweeps: a frozen plan, trial processes, adaptive search, and the leaderboard."""
