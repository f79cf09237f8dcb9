"""The run's journal and its upload to MLflow."""
