"""The typed config of every part, and the one gate through which every config enters."""

from hcr.config.errors import ConfigError, DataError, HcrError, TrackingError, TrainingError
from hcr.config.gate import RunConfig, parse_config

__all__ = ["ConfigError", "DataError", "HcrError", "RunConfig", "TrackingError", "TrainingError", "parse_config"]
