"""YAML in, one honest MLflow run out: config-driven experiments in handwritten character recognition."""

__version__ = "0.1.0"
