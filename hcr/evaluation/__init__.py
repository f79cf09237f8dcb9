"""Metrics, statistics, plots and reports. A plot is computed by an `*_info` function and drawn by a `draw_*` one."""
