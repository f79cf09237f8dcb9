"""Composes configs with Hydra, and validates every config in one place, the gate."""

from hcr.gate.run_config import RunConfig, parse_config

__all__ = ["RunConfig", "parse_config"]
