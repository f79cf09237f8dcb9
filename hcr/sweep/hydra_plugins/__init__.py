"""Installed as `hydra_plugins.hcr`, the only place from which Hydra instantiates a sweeper."""
