"""One small file for each verb but `train`, and for what `train` shows of itself."""
