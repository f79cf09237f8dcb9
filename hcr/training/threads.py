"""TensorFlow's number of threads, which must be set before its first op."""

import tensorflow as tf

from hcr.config.errors import ConfigError


def configure_threads(threads: int) -> None:
    """Use `threads` threads, and deterministic ops.

    Raises:
        ConfigError: TensorFlow already runs with another number in this process.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow is initialised: only the same number of threads is possible
        now = tf.config.threading.get_intra_op_parallelism_threads()
        if now != threads:
            raise ConfigError(
                f"training.threads: expected {now}, with which this process started TensorFlow, got {threads};"
                " a run with another number of threads needs its own process"
            ) from error
    tf.config.experimental.enable_op_determinism()
