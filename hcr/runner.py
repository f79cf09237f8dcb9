"""One run, from a checked config to everything that is told of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hcr import stopping
from hcr.config import DataError, TrackingError
from hcr.config.errors import one_line
from hcr.data.splitting import load_splits
from hcr.drawing import record_pictures
from hcr.evaluation.metrics import Evaluation, evaluate, guessing_note
from hcr.gate import RunConfig
from hcr.gate.resolve import resolve
from hcr.readiness import EndOfRun, check_room
from hcr.recording import (
    disk_of,
    fingerprint_of,
    record_artifacts,
    record_card,
    record_epochs,
    record_metrics,
    record_start,
)
from hcr.resuming import refuse_finished, resume
from hcr.tracking.journal import Journal
from hcr.training import TrainingState, configure_threads, fit, predict_probabilities
from hcr.training.build import build
from hcr.training.checkpoint import CHECKPOINT, save_checkpoint
from hcr.training.loop import OnSteps, StepsDone


@dataclass(frozen=True)
class RunResult:
    """What a run came to. `objective` is the monitored validation metric of the best epoch; `test` may be unscored.

    `notes` are lines about its data and its accuracy that whoever reads its scores should know.
    """

    objective: float
    state: TrainingState
    val: Evaluation
    test: Evaluation | None
    notes: tuple[str, ...]


def run(
    cfg: RunConfig,
    journal: Journal,
    *,
    name: str | None = None,
    overrides: Sequence[str] = (),
    tags: Mapping[str, str] = MappingProxyType({}),
    on_epoch: Callable[[TrainingState], None] | None = None,
    on_steps: OnSteps | None = None,
    dataset_digest: str | None = None,
    draw: bool = True,
    skip_finished: bool = False,
) -> RunResult:
    """Train, evaluate and record one model; one that was interrupted goes on where it stood.

    Nothing is recorded before data and model are known to be good; test is scored once, with the best weights.

    Args:
        cfg: what to run; where `score_test` is None, test is scored unless the journal has a parent.
        journal: where to tell it; not begun yet. Its `with` is the caller's, and decides the run's status.
        name: what MLflow shows, where the config names none; None: data set, model and seed.
        overrides: what was written on the command line, for the record.
        tags: further ones, such as a sweep gives its runs.
        on_epoch, on_steps: as for `fit`.
        dataset_digest: of the data set that is expected; None: any.
        draw: whether to draw pictures; `hcr plots` draws them later.
        skip_finished: do not train what has been trained before, unless `cfg` asks for that.

    Raises:
        DataError: before anything is recorded; another data set than expected, too.
        TrainingError: the loss became NaN.
        AlreadyFinished: with `skip_finished`, where the same run has finished.
    """
    start = time.perf_counter()
    cfg = resolve(cfg, in_sweep=journal.parent is not None)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    if dataset_digest not in (None, splits.dataset_digest):
        raise DataError(f"{splits.source}: the data changed since this sweep started")
    configure_threads(cfg.training.num_threads)
    model, optimizer = build(cfg, len(splits.train))
    identity = fingerprint_of(cfg, splits)
    if skip_finished and cfg.resume == "auto" and not cfg.new_run:
        refuse_finished(journal, identity, cfg.tracking.timeout_s)
    check_room(journal.root, model.count_params())  # of a run that is trained: a finished one needs none
    state = resume(journal, cfg, identity)
    if state is None or state.epoch == 0:
        with disk_of(journal):
            record_start(journal, cfg, splits, model, name, overrides, identity, tags)
    else:
        start -= sum(epoch["time/epoch_s"] for epoch in state.history)
        record_epochs(journal, state)

    def record_epoch(state: TrainingState) -> None:
        # The checkpoint first: what it holds can be journalled later, and what the journal holds cannot be trained on.
        with stopping.deferred():  # an epoch that has been trained is kept
            try:
                save_checkpoint(journal.folder / CHECKPOINT, state, identity)
            except OSError as error:
                raise TrackingError(f"{journal.folder}: no checkpoint can be written ({one_line(error)})") from error
            record_epochs(journal, state)
        if on_epoch is not None:
            on_epoch(state)

    with EndOfRun(draws=draw) as end_of_run:

        def on_some_steps(now: StepsDone) -> None:
            end_of_run.check()
            if on_steps is not None:
                on_steps(now)

        state = fit(
            model,
            optimizer,
            splits.train,
            splits.val,
            cfg.training,
            cfg.augmentation,
            monitor=cfg.monitor,
            seed=cfg.seed,
            state=state,
            on_epoch=record_epoch,
            on_steps=on_some_steps,
        )
        end_of_run.require()
    stopping.check()
    probabilities = {"val": state.best_probabilities}
    val = evaluate(probabilities["val"], splits.val.labels, splits.class_names)
    test = None
    if cfg.score_test:
        journal.tags({"hcr.test_looks": "1"})
        probabilities["test"] = predict_probabilities(model, splits.test.images)
        test = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
    evaluations = {"val": val, "test": test}
    total_s = time.perf_counter() - start
    with disk_of(journal):
        record_metrics(journal, splits, state, probabilities, test, total_s=total_s)
        stopping.check()
        record_card(journal, cfg, splits, model, state, evaluations, overrides, total_s=total_s, is_drawn=draw)
        record_artifacts(journal, model, splits, probabilities, evaluations)
        if draw:
            record_pictures(journal, cfg, splits, model, state, evaluations, probabilities)
    shown, score = ("validation", val) if test is None else ("test", test)
    guessing = guessing_note(score)
    notes = (*splits.notes, *([] if guessing is None else [f"{shown} {guessing}"]))
    return RunResult(objective=state.best[cfg.monitor], state=state, val=val, test=test, notes=notes)
