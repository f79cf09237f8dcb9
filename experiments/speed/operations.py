"""Where the milliseconds of a training step go, operation by operation, and what the machine's peak would allow.

    python experiments/speed/operations.py --mnist ../shared/data/mnist-original.mat [--models cnn] [--steps 96]

Takes two minutes; nothing else may run meanwhile. Each model trains in a process of its own, by hcr's own traced step,
under TensorFlow's profiler; of three recordings the fastest counts. Core ms are the time for which an operation has a
thread of the executor, summed over the threads. FLOP and MB follow from the shapes of the graph: multiplications and
additions, and every input and output of an operation once. An operation at the peak takes the longer of its FLOP at
the speed of a large product of matrices and its MB at that of an addition of arrays of 6 MB, as activations are; each
of a core while all cores do the same.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from math import ceil
from pathlib import Path

from programs import environment

from hcr.config.training import available_cores

MODELS = {
    "keras_convnet": ["experiment=keras_example"],
    "cnn": ["dataset=mnist", "model=cnn", "training=default"],
    "fast_995": ["experiment=fast_995"],
}
STEPS = 16  # in a chunk, as in a run
TURNS = 3  # with the profiler, and without it before and after
SMALLEST = 0.01  # share of the core time of a line of its own
OPERATION = re.compile(r"(?:while/body/_\d+/)?([^:\s]+):(\w+)")  # what the profiler calls it: name and type
PRODUCTS = {
    "Conv2D": "convolution",
    "Conv2DBackpropInput": "convolution, gradient of the input",
    "Conv2DBackpropFilter": "convolution, gradient of the kernel",
    "MatMul": "product of matrices",
}
# They pass a tensor on, or say something of it, without reading its values.
FREE = {"Reshape", "Identity", "Shape", "Const", "ReadVariableOp", "Size", "Bitcast", "Squeeze", "ExpandDims", "NoOp"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-original.mat")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--steps", type=int, default=96, help=f"that are recorded, in whole chunks of {STEPS}")
    parser.add_argument("--threads", type=int, default=available_cores(), help="training.threads")
    parser.add_argument("--shards", type=int, help="training.shards; one for each thread if left out")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads, counts = options.threads, sorted({1, options.threads})
    if options.child:
        kind, *arguments = options.child
        if kind == "peaks":
            print(json.dumps([measure_peaks(threads, busy) for busy in counts]))
        else:
            tell(*measure_model(arguments[1:], options.steps), threads, json.loads(arguments[0]))
        return
    if options.shards == 1 and threads > 1:
        parser.error("--shards 1 needs --threads 1: an operation on several threads has no core time of its own")
    peaks = json.loads(child(options, "peaks"))
    for busy, (flop, memory, cache) in zip(counts, peaks, strict=True):
        found = f"{flop:.0f} GFLOP/s float32; {memory:.1f} GB/s in memory, {cache:.1f} GB/s in arrays of 6 MB"
        print(f"{busy} of {threads} threads: {found}", flush=True)
    cfg = [f"dataset.path={options.mnist.resolve()}", "training.precision=float32", f"training.threads={threads}"]
    cfg += [] if options.shards is None else [f"training.shards={options.shards}"]
    for name in options.models:
        print(f"\n### {name}\n\n{child(options, 'model', json.dumps(peaks[-1]), *MODELS[name], *cfg)}", flush=True)


def child(options, *arguments):
    numbers = [f"--steps={options.steps}", f"--threads={options.threads}"]
    command = [sys.executable, __file__, "--mnist", options.mnist, *numbers, "--child", *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def measure_peaks(threads, busy):
    """GFLOP/s, GB/s of memory and GB/s of arrays of 6 MB, of `busy` threads, with an operation each."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(1)

    def fastest_s(operation, value, other, repeated):
        values = [(tf.Variable(value), tf.Variable(other)) for _ in range(busy)]

        @tf.function(autograph=False)
        def together():
            for _ in range(repeated):  # each waits for the one before, by its variable
                for own in values:
                    operation(*own)

        times = []
        for _ in range(31):  # the first traces
            start = time.perf_counter()
            together()
            times.append(time.perf_counter() - start)
        return min(times) / repeated

    def bandwidth(size, repeated):
        addition_s = fastest_s(lambda own, one: own.assign_add(one), tf.ones([size]), tf.ones([size]), repeated)
        return busy * 12 * size / addition_s / 1e9

    ones, one = tf.ones([1024, 1024]), tf.eye(1024)
    product_s = fastest_s(lambda own, one: own.assign(tf.matmul(own, one)), ones, one, 4)
    return [busy * 2 * 1024**3 / product_s / 1e9, bandwidth(2**26, 1), bandwidth(3 * 2**19, 32)]


def measure_model(overrides, num_steps):
    """What a step takes, and per executed operation how often it is run, its core ms, FLOP and bytes, all per step."""
    import numpy as np
    import tensorflow as tf

    from hcr.data.splitting import load_splits
    from hcr.gate.compose import compose
    from hcr.gate.resolve import resolve
    from hcr.training import configure_threads
    from hcr.training.build import build
    from hcr.training.chunks import Chunk
    from hcr.training.steps import TrainingSteps

    cfg = resolve(compose(overrides), in_sweep=False)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    configure_threads(cfg.training)
    model, optimizer = build(cfg, len(splits.train))
    parts = model, optimizer, splits.train.labels, cfg.training, cfg.augmentation
    steps, static = TrainingSteps(*parts), TrainingSteps(*parts)
    batch_size, num_shards, calls = cfg.training.batch_size, cfg.training.num_shards, ceil(num_steps / STEPS)
    images, labels = splits.train.images[: STEPS * batch_size], splits.train.labels[: STEPS * batch_size]
    chunk = Chunk(images, labels.astype(np.int32))

    def train():
        """Wall ms and CPU ms of a step."""
        start, cpu_s = time.perf_counter(), time.process_time()
        for call in range(calls):
            np.asarray(steps.run(chunk, [cfg.seed, call * STEPS])[0])
        done = 1e-3 * calls * STEPS
        return (time.perf_counter() - start) / done, (time.process_time() - cpu_s) / done

    def record():
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder, tf.profiler.experimental.ProfilerOptions(python_tracer_level=0))
            step_ms = train()
            tf.profiler.experimental.stop()
            return step_ms, next(Path(folder).rglob("*.xplane.pb")).read_bytes()

    train()
    plain = [train() for _ in range(TURNS)]
    recorded, profile = min(record() for _ in range(TURNS))
    plain += [train() for _ in range(TURNS)]
    found, executor_ms = read_profile(profile, calls * STEPS)

    # The same step, never run: its batches have a shape, so that every operation's is known.
    step, ours = static._step, steps._traced[num_shards]

    def step_of_known_shape(batch, classes, *arguments):
        batch.set_shape([batch_size, *batch.shape[1:]])
        classes.set_shape([batch_size])
        return step(batch, classes, *arguments)

    static._step = step_of_known_shape
    theirs = tf.function(partial(static._steps, num_shards), input_signature=ours.input_signature, autograph=False)
    own, known = (body_of(function.get_concrete_function().graph) for function in (ours, theirs))
    told = {"batch": batch_size, "plain": min(plain), "recorded": recorded, "executor": executor_ms}
    return told, describe(found, own, known, optimizer.name)


def body_of(graph):
    """The operations of a traced chunk's loop, by name."""
    (loop,) = (op for op in graph.get_operations() if op.type in ("While", "StatelessWhile"))
    return {op.name: op for op in graph._get_function(loop.get_attr("body").name).graph.get_operations()}


def read_profile(serialized, num_steps):
    """Times run and ms per step of each operation, by name and type; and ms of the executor between operations."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    (plane,) = (plane for plane in XSpace.FromString(serialized).planes if plane.name == "/host:CPU")
    names = {key: value.name for key, value in plane.event_metadata.items()}
    executor = "ExecutorState::Process"
    matches = {name: OPERATION.fullmatch(name) for name in names.values()}
    keys = {executor: executor} | {name: match.groups() for name, match in matches.items() if match}
    found = defaultdict(lambda: [0.0, 0.0])

    def close(_, key, own_ps):
        found[key][0] += 1 / num_steps
        found[key][1] += own_ps / 1e9 / num_steps

    for line in (line for line in plane.lines if line.name.startswith("tf_Compute")):
        stack = []  # end, key, and own time of what is under way
        for event in sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps)):
            if names[event.metadata_id] not in keys:
                continue
            while stack and stack[-1][0] <= event.offset_ps:
                close(*stack.pop())
            if stack:
                stack[-1][2] -= event.duration_ps
            stack.append([event.offset_ps + event.duration_ps, keys[names[event.metadata_id]], event.duration_ps])
        for entry in stack:
            close(*entry)
    return found, found.pop(executor)[1]


def describe(found, own, known, optimizer):
    """Rows of phase, label, times run, ms, FLOP and bytes per step; label None: of unknown shape."""
    forward, waiting = {}, [op for op in known.values() if op.type == "TensorListSetItem"]  # the loss is one
    while waiting:
        op = waiting.pop()
        waiting += [] if op.name in forward else [value.op for value in op.inputs]
        forward[op.name] = op
    rows = []
    for (name, kind), (times, ms) in found.items():
        op, traced = known.get(name), own.get(name)
        phase = "update" if f"/{optimizer}/" in name else "forward" if name in forward else "backward"
        # A step of known shape may have other operations, and then other numbers in its names.
        is_same = op is not None and traced is not None and op.type == traced.type
        is_same = is_same and all(
            a.shape.is_compatible_with(b.shape) for a, b in zip(op.outputs, traced.outputs, strict=True)
        )
        label, *work = work_of(op, kind) if is_same else (None, 0.0, 0.0)
        rows.append((phase, label, times, ms, *(times * value for value in work)))
    return rows


def work_of(op, kind):
    """A label, the FLOP and the bytes of one execution; `kind` is what TensorFlow has made of the operation."""
    first = op
    if "Fused" in kind and ("Conv2D" in kind or "MatMul" in kind):  # it has the name of the last that it is made of
        while first.type not in PRODUCTS:
            first = first.inputs[0].op
    tensors = [*first.inputs, *op.outputs]
    size = sum(bytes_of(tensor) for tensor in tensors)
    if first.type == "MatMul":
        inner = first.inputs[0].shape[0 if first.get_attr("transpose_a") else 1]
        shapes = " by ".join("x".join(map(str, tensor.shape)) for tensor in first.inputs)
        return f"{PRODUCTS['MatMul']}, {shapes}", 2 * inner * first.outputs[0].shape.num_elements(), size
    if first.type in PRODUCTS:
        kernel = (first.outputs[0] if first.type == "Conv2DBackpropFilter" else first.inputs[1]).shape
        pixels = (first.outputs[0] if first.type == "Conv2D" else first.inputs[2]).shape  # gradients: of the output
        height, width, inputs, outputs = kernel
        where = f"{height}x{width}, {inputs} to {outputs}, at {pixels[1]}x{pixels[2]}"
        return f"{PRODUCTS[first.type]}, {where}", 2 * pixels.num_elements() * height * width * inputs, size
    if op.type.startswith("ResourceApply"):  # Adam's: a variable and two moments, read and written, and a gradient
        return op.type, 0, 7 * max(bytes_of(tensor) for tensor in tensors)
    label = f"{op.type}, {'x'.join(map(str, max(tensors, key=bytes_of).shape[-3:]))}"
    label += ", of given statistics" if op.type.startswith("FusedBatchNorm") and not op.get_attr("is_training") else ""
    return label + (", and relu" if kind.endswith("Ex") else ""), 0, 0 if op.type in FREE else size


def bytes_of(tensor):
    known = tensor.dtype.name not in ("resource", "variant") and tensor.shape.is_fully_defined()
    return tensor.shape.num_elements() * tensor.dtype.size if known else 0


def tell(step, rows, threads, peaks):
    """Print the table of a model; `peaks` are those of all threads together."""
    (peak_flop, _, peak_bytes), (wall, cpu), (plain, plain_cpu) = peaks, step["recorded"], step["plain"]
    groups = defaultdict(lambda: [0.0] * 5)
    for phase, label, times, ms, flop, size in rows:
        least = max(flop / peak_flop, size / peak_bytes) / 1e6 * threads
        for i, value in enumerate((times, ms, flop, size, least)):
            groups[phase, label][i] += value
    busy = sum(values[1] for values in groups.values()) + step["executor"]
    large = {key: values for key, values in groups.items() if values[1] >= SMALLEST * busy and key[1]}
    lines = sorted(large.items(), key=lambda line: -line[1][1])
    rest = [sum(column) for column in zip(*(values for key, values in groups.items() if key not in large), strict=True)]
    print(
        "| phase | operation | runs | core ms | share | GFLOP | MB | GFLOP/s | GB/s | ms at the peak |\n"
        + "| --- " * 10
        + "|"
    )
    for (phase, label), (times, ms, flop, size, least) in [*lines, (("", "the rest"), rest)]:
        work = f"{flop / 1e9:.3f} | {size / 1e6:.1f} | {flop / ms / 1e6:.0f} | {size / ms / 1e6:.1f} | {least:.2f}"
        print(f"| {phase} | {label} | {times:.0f} | {ms:.2f} | {ms / busy:.1%} | {work} |")
    print(f"| | the executor, between operations | | {step['executor']:.2f} | {step['executor'] / busy:.1%} |")
    _, _, flop, size, least = (sum(column) for column in zip(*groups.values(), strict=True))
    print(f"| | in all | | {busy:.2f} | 100.0% | {flop / 1e9:.3f} | {size / 1e6:.1f} | | | {least:.2f} |\n")
    batch, whole = step["batch"], wall * threads
    products = sum(values[1] - values[4] for values in groups.values() if values[2])
    names = "at the peak", "more than that in convolutions and products", "in other operations", "the executor", "idle"
    values = least, products, busy - step["executor"] - least - products, step["executor"], whole - busy
    told = ", ".join(f"{name} {ms:.2f} ({ms / whole:.0%})" for name, ms in zip(names, values, strict=True))
    unknown = sum(row[3] for row in rows if row[1] is None)
    print(
        f"A step of {batch} images takes {plain:.2f} ms ({plain_cpu:.2f} of CPU), recorded {wall:.2f} ms ({cpu:.2f} of"
        f" CPU). Recorded, {threads} threads have {whole:.2f} ms: {told}. The table has {busy / whole:.1%} of it;"
        f" {unknown:.2f} ms are of operations of unknown shape. {flop / batch / 1e6:.2f} MFLOP an image. Images/s:"
        f" {batch / plain * 1e3:,.0f}; {batch * threads / busy * 1e3:,.0f} without idle threads;"
        f" {batch * threads / least * 1e3:,.0f} with every operation at the peak."
    )


if __name__ == "__main__":
    main()
