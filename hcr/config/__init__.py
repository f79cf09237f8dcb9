"""Shared by all typed configs: base classes, messages, errors, secrets."""

from hcr.config.errors import ConfigError, DataError, HcrError, TrackingError, TrainingError

__all__ = ["ConfigError", "DataError", "HcrError", "TrackingError", "TrainingError"]
