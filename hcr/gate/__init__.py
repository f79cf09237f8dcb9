"""Composing a config with Hydra, and the one gate through which every config enters."""

from hcr.gate.run_config import RunConfig, parse_config

__all__ = ["RunConfig", "parse_config"]
