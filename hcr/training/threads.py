"""TensorFlow's threads, which have to be set before its first op."""

import tensorflow as tf

from hcr.config.errors import ConfigError


def configure_threads(threads: int) -> None:
    """Compute with `threads` threads, and with ops whose results do not depend on timing.

    Raises:
        ConfigError: this process has computed with another number already.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow is initialised: fine, as long as nothing would change
        now = tf.config.threading.get_intra_op_parallelism_threads()
        if now != threads:
            raise ConfigError(
                f"training.threads: expected {now}, with which this process has started TensorFlow, got {threads};"
                " runs with other numbers of threads need a process each"
            ) from error
    tf.config.experimental.enable_op_determinism()
