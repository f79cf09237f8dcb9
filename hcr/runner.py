"""One run, from a checked config to its finished record."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hcr import stopping
from hcr.config import DataError
from hcr.data.splitting import Splits, load_splits
from hcr.drawing import record_pictures
from hcr.evaluation.metrics import Evaluation, guessing_note
from hcr.gate import RunConfig
from hcr.gate.resolve import resolve
from hcr.readiness import EndOfRun, check_room
from hcr.recording import Recorder
from hcr.resuming import refuse_finished, resume
from hcr.tracking.journal import Journal
from hcr.tracking.system_metrics import SystemMetrics
from hcr.training import Scores, TrainingState, configure_threads, fit, require_device, score
from hcr.training.build import build
from hcr.training.finished import finish
from hcr.training.loop import OnSteps, steps_per_epoch

FEW_STEPS = 300  # batch normalization alone needs a good part of them


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        objective: the monitored validation metric of the model that is kept.
        state: the final training state.
        val, test: the scores; `test` is None if it was not scored.
        notes: caveats about the data and the scores, one line each.
        class_names: K names, in label order.
    """

    objective: float
    state: TrainingState
    val: Evaluation
    test: Evaluation | None
    notes: tuple[str, ...]
    class_names: tuple[str, ...]


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
    """Train, evaluate and record one model; an interrupted run resumes from its last checkpoint.

    Recording starts after the data is loaded and the model built. Test is scored once, with the best weights.

    Args:
        cfg: the run's config; with `score_test` None, test is scored unless the journal has a parent.
        journal: the journal to write, not begun yet. The caller enters its `with`, which sets the run's status.
        name: the run's name in MLflow if the config has none; None: what it is made of (see `hcr.naming`).
        overrides: the arguments on the command line, to be recorded.
        tags: further tags, such as a sweep's.
        on_epoch, on_steps: as for `fit`.
        dataset_digest: the expected digest of the data set; None: any.
        draw: True to draw the pictures now; `hcr plots` draws them later.
        skip_finished: True to skip a run that has already finished, unless `cfg.new_run` or `cfg.resume` forces it.

    Raises:
        DataError: the data cannot be read, or its digest differs; nothing is recorded.
        ConfigError: `training.device=gpu`, and TensorFlow has no GPU that can train this; nothing is recorded.
        TrainingError: the loss became NaN.
        AlreadyFinished: with `skip_finished`, the same run has finished.
    """
    start = time.perf_counter()
    cfg = resolve(cfg, in_sweep=journal.parent is not None)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    if dataset_digest not in (None, splits.dataset_digest):
        raise DataError(f"{splits.source}: the data changed since this sweep started")
    require_device(cfg.training)
    configure_threads(cfg.training)
    model, optimizer = build(cfg, len(splits.train))
    recorder = Recorder(journal, cfg, splits, model, overrides)
    if skip_finished and cfg.resume == "auto" and not cfg.new_run:
        refuse_finished(journal, recorder.fingerprint, cfg.tracking.timeout_s)
    check_room(journal.root, model.count_params())  # only now: a finished run needs no room
    state = resume(journal, cfg, recorder.fingerprint)
    if state is None or state.epoch == 0:
        recorder.start(name, tags)
    else:
        start -= sum(epoch["time/epoch_s"] for epoch in state.history)
        recorder.epochs(state)

    def after_epoch(state: TrainingState) -> None:
        recorder.checkpoint(state)
        system.record()
        if on_epoch is not None:
            on_epoch(state)

    system = SystemMetrics(journal, is_on=cfg.tracking.system_metrics)
    with system, EndOfRun(draws=draw) as end_of_run:
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
            on_epoch=after_epoch,
            on_steps=end_of_run.checked(on_steps),
        )
        end_of_run.require()
    stopping.check()
    finished = finish(model, splits.val, state, cfg.training, seed=cfg.seed)
    if cfg.score_test:
        recorder.test_look()
    scores = score(finished, splits, state, with_test=bool(cfg.score_test))
    total_s = time.perf_counter() - start
    with recorder.writing():
        recorder.model(finished.model, state)
        recorder.metrics(scores, total_s=total_s)
        stopping.check()
        recorder.card(scores, total_s=total_s, is_drawn=draw)
        recorder.artifacts(scores)
        if draw:
            record_pictures(journal, cfg, splits, model, scores)
    return RunResult(
        objective=scores.best[cfg.monitor],
        state=state,
        val=scores.val,
        test=scores.test,
        notes=_notes(splits, scores, num_steps=steps_per_epoch(len(splits.train), cfg.training) * state.epoch),
        class_names=splits.class_names,
    )


def _notes(splits: Splits, scores: Scores, *, num_steps: int) -> tuple[str, ...]:
    guessing = guessing_note(scores.evaluation)
    if guessing is not None and num_steps < FEW_STEPS:
        guessing += f"; {num_steps:,} training steps are few: training=tiny takes more, and does not stop early"
    shown = {"val": "validation", "test": "test"}[scores.judged_by]
    doubt = None if scores.calibration is None else scores.calibration.note
    own = {f"{shown} ": guessing, "calibration: ": doubt}
    return (*splits.notes, *(f"{what}{note}" for what, note in own.items() if note is not None))
