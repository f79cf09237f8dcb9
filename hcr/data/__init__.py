"""Data sets: formats, files and downloads, checks, splits."""
