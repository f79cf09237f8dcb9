"""The verbs other than `train`, a module each, and the `check_only=true` report of `train`."""
