"""Readers: what the data formats read, from files to `Raw`."""
