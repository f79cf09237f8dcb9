"""What the benchmark prints: a table of each model and number of threads with its ratios, and the recipes."""

from statistics import mean, median, stdev

from programs import ALL_IMAGES, BATCH_SIZE, BFLOAT16, FLOAT32, MODELS, STALL_FREE, STOCK

TARGET = 0.99

# Multiplications and additions of the example, forward: 26x26 and 11x11 outputs of 3x3 convolutions, then the softmax
# layer. Backward takes twice that, but for the first convolution, which needs no gradient of its images.
FIRST_FLOP = 2 * 26 * 26 * 9 * 32
REST_FLOP = 2 * (11 * 11 * 9 * 32 * 64 + 1600 * 10)
FLOP_PER_IMAGE = 2 * FIRST_FLOP + 3 * REST_FLOP

# How many times faster than Keras an epoch is to be: by model, ours, and theirs.
GOALS = {
    ("keras_convnet", FLOAT32, STOCK): 1.35,
    ("keras_convnet", BFLOAT16, STOCK): 2.1,
    ("keras_convnet", FLOAT32, STALL_FREE): 1.2,
    ("keras_convnet", BFLOAT16, STALL_FREE): 1.85,
    ("cnn", FLOAT32, STOCK): 1.4,
    ("resnet", FLOAT32, STOCK): 1.4,
}


def print_tables(rounds, peaks, settings):
    print(f"\n{settings['cpu']}, {settings['cores']} cores; number of rounds: {len(rounds)}")
    for precision, values in peaks.items():
        of = ", ".join(f"{value / 1e9:.0f} GFLOP/s with {in_words(threads)}" for threads, value in values.items())
        print(f"peak of {precision}: {of}")
    for model in settings["epochs"]:
        for threads in map(str, settings["threads"]):
            print_model(model, threads, [round_[model][threads] for round_ in rounds], peaks)
    if settings["recipes"]:
        print_recipes(rounds, settings)


def print_model(model, threads, rounds, peaks):
    """The programs of a model on one number of threads, and their ratios."""
    first = next(iter(rounds[0].values()))
    train, validation, epochs = first["images"]["train"], first["images"]["val"], len(first["epoch_s"])
    length = f"{epochs} epochs" if epochs > 1 else "1 epoch"
    print(
        f"\n{model}, {in_words(threads)}: {length} of {train:,} training and {validation:,} validation images,"
        f" batches of {BATCH_SIZE[model]}"
    )
    names = [name for name in MODELS[model] if name in rounds[0]]
    rows = [{"": name, **columns(model, threads, [round_[name] for round_ in rounds], peaks)} for name in names]
    print_rows([tuple(rows[0]), *(tuple(row.values()) for row in rows)])
    print("ratios of the seconds of an epoch, round by round, of the means and of the medians over the epochs:")
    told = []
    for (of, ours, theirs), goal in GOALS.items():
        if of == model and ours in names and theirs in names:
            means, medians = ratios(rounds, ours, theirs, mean), ratios(rounds, ours, theirs, median)
            judged = f"goal {goal}x: {'reached' if median(means) >= goal else 'missed'}"
            told.append((f"{ours} : {theirs}", f"means {spread(means, 2)}", f"medians {spread(medians, 2)}", judged))
    print_rows(told)


def columns(model, threads, runs, peaks):
    """What the table of a model tells of the runs of one program, by heading."""
    train, validation = runs[0]["images"]["train"], runs[0]["images"]["val"]
    epoch_s = median(s for run in runs for s in run["epoch_s"])
    told = {
        "s/epoch": f"{epoch_s:.2f}",
        "first": f"{median(run['epoch_s'][0] for run in runs):.2f}",
        "images/s": f"{train / epoch_s:,.0f}",
        "peak RSS MiB": f"{max(run['rss_mib'] for run in runs):,.0f}",
        "val accuracy": f"{mean(run['val_accuracy'][-1] for run in runs):.4f}",
    }
    if model == "keras_convnet":
        peak = peaks[runs[0].get("precision", "float32")][threads]
        reached = [time_to(run["val_accuracy"], run["epoch_s"]) for run in runs]
        told |= {
            "of peak": f"{(train + validation / 3) * FLOP_PER_IMAGE / epoch_s / peak:.0%}",
            "s to 99.0 % val": f"{mean(reached):.1f}"
            if all(reached)
            else f"{sum(map(bool, reached))} of {len(runs)} did",
            "test accuracy": spread([run["test_accuracy"][-1] for run in runs], 4),
        }
    return told


def print_recipes(rounds, settings):
    """Accuracy and time of each recipe; its time in epochs of Keras too, if these are of the same images."""
    most = str(max(settings["threads"]))
    if settings["images"].get("keras_convnet") == ALL_IMAGES:
        keras = [round_["keras_convnet"][most][STALL_FREE] for round_ in rounds]
    else:
        keras = []
    needed = print_curve(keras) if keras else None
    for name in settings["recipes"]:
        of_rounds = [round_["recipes"][name] for round_ in rounds]
        runs = [run for runs in of_rounds for run in runs]
        accuracy = [run["test_accuracy"][-1] for run in runs]
        train_s = [sum(run["epoch_s"]) for run in runs]
        lacking = "" if all(run["precision"] == "bfloat16" for run in runs) else " (float32 here)"
        print(f"\n{name}{lacking}: test accuracy {spread(accuracy, 4)}; training {spread(train_s, 2)} s")
        if keras:
            in_epochs = [seconds(runs) / mean(run["epoch_s"]) for runs, run in zip(of_rounds, keras, strict=True)]
            print(f"  in epochs of stall-free Keras, round by round: {spread(in_epochs, 2)}")
        if name == "speedrun" and needed:
            faster = [sum(run["epoch_s"][:needed]) / seconds(runs) for runs, run in zip(of_rounds, keras, strict=True)]
            print(f"  time to a mean of 99.0 % on test, Keras' over ours, round by round: {spread(faster, 1)}")


def print_curve(keras):
    """Stall-free Keras on test, epoch by epoch; returns the epochs until its mean is the target, None if it is not."""
    curve = [mean(values) for values in zip(*(run["test_accuracy"] for run in keras), strict=True)]
    print(f"\nstall-free Keras on test, mean of n={len(keras)}: {' '.join(f'{value:.4f}' for value in curve)}")
    needed = next((epoch for epoch, value in enumerate(curve, start=1) if value >= TARGET), None)
    print(f"its mean reaches 99.0 % after {needed or f'more than {len(curve)}'} epochs")
    return needed


def seconds(runs):
    return mean(sum(run["epoch_s"]) for run in runs)


def ratios(rounds, ours, theirs, average):
    return [average(round_[theirs]["epoch_s"]) / average(round_[ours]["epoch_s"]) for round_ in rounds]


def time_to(accuracy, epoch_s):
    """Seconds of training until validation first reaches the target; None where it does not."""
    for epoch, value in enumerate(accuracy, start=1):
        if value >= TARGET:
            return sum(epoch_s[:epoch])
    return None


def spread(values, digits):
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (n=1)"
    return (
        f"{mean(values):.{digits}f} (median {median(values):.{digits}f}, sd {stdev(values):.{digits}f},"
        f" {min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"
    )


def in_words(threads):
    return f"{threads} thread" + ("" if int(threads) == 1 else "s")


def print_rows(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
