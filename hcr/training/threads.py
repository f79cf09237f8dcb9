"""TensorFlow's threads and its device, which must be set before its first op."""

import tensorflow as tf

from hcr.config.errors import ConfigError
from hcr.config.training import TrainingConfig
from hcr.training.devices import use_device


def configure_threads(training: TrainingConfig) -> None:
    """Use the threads and the device of `training`, and deterministic ops.

    Without a GPU, the CPU stands in for it, as where another machine uses a model; `require_device` refuses that.

    Raises:
        ConfigError: TensorFlow already runs with others in this process.
    """
    use_device(training.device)
    threading = tf.config.threading
    threads, each = training.num_threads, training.threads_per_operation
    try:
        threading.set_inter_op_parallelism_threads(threads)
        threading.set_intra_op_parallelism_threads(each)
    except RuntimeError as error:  # TensorFlow is initialised: only the same threads are possible
        now = threading.get_inter_op_parallelism_threads(), threading.get_intra_op_parallelism_threads()
        if now[0] != threads:
            what = f"training.threads: expected {now[0]}, with which this process started TensorFlow, got {threads}"
        elif now[1] != each:
            expected = "other than 1" if now[1] == 1 else "1"
            what = f"training.shards: expected {expected} in this process, got {training.shards}"
        else:
            what = ""
        if what:
            raise ConfigError(f"{what}; a run with other threads needs its own process") from error
    tf.config.experimental.enable_op_determinism()
