"""Metrics and statistics, plots (numbers first, ink second), reports."""
