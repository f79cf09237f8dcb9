"""The run's journal, and the only rooms that know MLflow: store, replay, keras_model."""
