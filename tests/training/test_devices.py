"""The device that TensorFlow trains on.

There is no GPU in these tests: logical devices of the CPU stand in for several, TensorFlow's details of GPUs are given,
and it is asked for the kernels that it has for GPUs.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels
from tensorflow.python.framework.config import disable_op_determinism

from hcr.config import ConfigError
from hcr.gate import RunConfig
from hcr.gate.compose import compose
from hcr.training import require_device
from hcr.training.build import build
from hcr.training.chunks import Chunk
from hcr.training.steps import TrainingSteps

AMPERE = {"device_name": "NVIDIA A100-SXM4-40GB", "compute_capability": (8, 0)}
TURING = {"device_name": "Tesla T4", "compute_capability": (7, 5)}


@pytest.fixture(scope="module")
def cfg() -> RunConfig:
    return compose([])


def training(cfg: RunConfig, **settings: Any) -> Any:
    return cfg.training.replace(**settings)


def fresh(code: str, *arguments: str) -> Any:
    """What `code` prints as JSON, in a process that has not started TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_gpu_that_tensorflow_cannot_use_is_refused_in_one_line(cfg: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"^training\.device: TensorFlow has no GPU; .*hcr\[cuda\].*device=cpu$"):
        require_device(training(cfg, device="gpu"), [])
    with pytest.raises(ConfigError, match=r"^training\.device: TensorFlow has no GPU"):
        require_device(training(cfg, device="gpu"))  # as TensorFlow says of this machine
    require_device(training(cfg, device="gpu"), [AMPERE])
    require_device(training(cfg, device="cpu"), [])


def test_bfloat16_is_refused_on_a_gpu_that_lacks_it(cfg: RunConfig) -> None:
    on_gpu = training(cfg, device="gpu", precision="bfloat16")
    require_device(on_gpu, [AMPERE, TURING])  # the first is used
    told = (
        r"^training\.precision: expected float32 on Tesla T4, which has compute capability 7\.5; bfloat16 needs 8\.0$"
    )
    with pytest.raises(ConfigError, match=told):
        require_device(on_gpu, [TURING, AMPERE])
    require_device(on_gpu.replace(precision="float32"), [TURING])
    require_device(on_gpu.replace(device="cpu"), [TURING])


CHOSEN = """
import json
import hcr
import tensorflow as tf
from hcr.config import ConfigError
from hcr.gate.compose import compose
from hcr.training import configure_threads, gpu_in_use
from hcr.training.devices import choose_devices, use_device

(cpu,) = tf.config.list_physical_devices("CPU")
cfg = compose(["training.threads=1"])
for device in ("gpu", "cpu"):  # none of this starts TensorFlow
    configure_threads(cfg.training.replace(device=device))
choose_devices([cpu], "CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
found = [device.name for device in tf.config.list_logical_devices()]  # this does
refused = []
for change in (lambda: use_device("cpu"), lambda: choose_devices([], "CPU")):
    try:
        change()
    except ConfigError as error:
        refused.append(str(error))
print(json.dumps([found, gpu_in_use(), refused]))
"""


@pytest.mark.slow
def test_a_device_is_chosen_before_tensorflow_starts_and_not_changed_afterwards() -> None:
    found, gpu, refused = fresh(CHOSEN)
    assert found == ["/device:CPU:0", "/device:CPU:1"]
    assert gpu is None
    assert refused == [
        "training.device: expected gpu, with which this process started TensorFlow, got cpu;"
        " a run on another device needs its own process"
    ]


TRAINED = """
import hashlib, json
import hcr
import numpy as np
import tensorflow as tf
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose
from hcr.training import configure_threads, fit, predict_probabilities
from hcr.training.build import build

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
cfg = compose(
    ["training.threads=1", "training.shards=1", "training.epochs=2", "training.steps_per_epoch=4", "model.filters=4",
     "augmentation=affine", "optimizer=muon", "training.average_decay=0.9", "training.precision=bfloat16"]
)
configure_threads(cfg.training)
splits = load_splits(cfg.dataset, cfg.split, cfg.seed)


def trained(device):
    with tf.device(device):
        model, optimizer = build(cfg, len(splits.train))
        state = fit(model, optimizer, splits.train, splits.val, cfg.training, cfg.augmentation, monitor=cfg.monitor,
                    seed=cfg.seed)
        probabilities = predict_probabilities(model, splits.val.images)
    places = {variable.value.device[-5:] for variable in [*model.variables, *optimizer.variables]}
    numbers = [*model.get_weights(), probabilities, [row["val/loss"] for row in state.history]]
    return sorted(places), hashlib.sha256(b"".join(np.asarray(n).tobytes() for n in numbers)).hexdigest()


print(json.dumps([trained("CPU:0"), trained("CPU:1")]))
"""


@pytest.mark.slow
def test_training_on_another_device_than_the_first_gives_the_same_numbers() -> None:
    first, second = fresh(TRAINED)
    assert (first[0], second[0]) == (["CPU:0"], ["CPU:1"])
    assert first[1] == second[1]


# What TensorFlow's kernels for GPUs refuse where ops are to be deterministic, by the messages in its libraries.
NOT_DETERMINISTIC = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SegmentSum",
    "SoftmaxCrossEntropyWithLogits",
    "SparseSoftmaxCrossEntropyWithLogits",
    "SparseTensorDenseMatMul",
    "UnsortedSegmentSum",
}


@pytest.fixture
def deterministic() -> Iterator[None]:
    """As a run computes: TensorFlow then chooses other operations."""
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


def steps_of(*overrides: str) -> tuple[TrainingSteps, Chunk]:
    """The training steps of a config for 28x28 images, and some images."""
    cfg = compose(["dataset=mnist", "training.batch_size=8", "training.threads=2", *overrides])
    model, optimizer = build(cfg, 100)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, *model.input_shape[1:]), np.uint8)
    labels = np.arange(20) % 10
    steps = TrainingSteps(model, optimizer, labels, cfg.training, cfg.augmentation)
    return steps, Chunk(tf.constant(images), tf.constant(labels, tf.int32))


def operations(steps: TrainingSteps, chunk: Chunk) -> Iterator[Any]:
    """The nodes of the graph that trains, in its functions too."""
    steps.run(chunk, [0, 0])
    for traced in steps._traced.values():
        graph = traced.get_concrete_function().graph.as_graph_def()
        yield from graph.node
        for function in graph.library.function:
            yield from function.node_def


def is_refused(node: Any) -> bool:
    """True if a GPU does not compute this operation deterministically."""
    is_frozen_norm = node.op.startswith("FusedBatchNormGrad") and not node.attr["is_training"].b
    return is_frozen_norm or node.op in NOT_DETERMINISTIC


def has_gpu_kernel(node: Any) -> bool:
    """True if TensorFlow was built with a kernel for GPUs for the operation and its types."""

    def fits(kernel: Any) -> bool:
        types = [(node.attr[each.name], each.allowed_values.list.type) for each in kernel.constraint]
        return all(not allowed or given.type in allowed or {*given.list.type} & {*allowed} for given, allowed in types)

    found = kernels.get_registered_kernels_for_op(node.op).kernel
    return any(kernel.device_type in ("GPU", "DEFAULT") and fits(kernel) for kernel in found)


@pytest.mark.slow
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(
    "overrides",
    [
        "model=cnn augmentation=affine training.average_decay=0.9 training.class_weights=balanced",
        "model=resnet optimizer=muon augmentation=elastic training.precision=bfloat16",
        "model=keras_convnet optimizer=sgd augmentation=none training.label_smoothing=0.1",
        "model=mlp optimizer=lion augmentation=none training.precision=bfloat16",
    ],
)
def test_a_training_step_on_a_gpu_has_only_operations_that_a_gpu_computes_deterministically(overrides: str) -> None:
    assert tf.test.is_built_with_cuda()
    nodes = list(operations(*steps_of("training.device=gpu", *overrides.split())))
    assert {node.op for node in nodes if is_refused(node)} == set()
    assert {node.op for node in nodes if not has_gpu_kernel(node)} == set()


@pytest.mark.slow
@pytest.mark.usefixtures("deterministic")
def test_a_whole_batch_has_the_numbers_of_one_that_is_cut() -> None:
    # Cut, it is normalized by an operation that a GPU does not have.
    cut, chunk = steps_of("training.device=cpu", "model.dropout=0")
    assert any(is_refused(node) for node in operations(cut, chunk))
    losses = [
        steps_of(f"training.device={device}", "model.dropout=0")[0].run(chunk, [0, 0])[0] for device in ("cpu", "gpu")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)
