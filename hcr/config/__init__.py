"""What the typed configs of all parts share: settings and their words, errors, secrets."""

from hcr.config.errors import ConfigError, DataError, HcrError, TrackingError, TrainingError

__all__ = ["ConfigError", "DataError", "HcrError", "TrackingError", "TrainingError"]
