"""One ensemble, from the chosen members to its finished record; read `make_ensemble` first."""

import shlex
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from hcr import stopping
from hcr.config import DataError
from hcr.config.secrets import redact
from hcr.config.text import csv_line
from hcr.data.splitting import Splits
from hcr.drawing import RunRecord, draw, pictures
from hcr.ensemble_card import EnsembleFacts, Gain, Member, ensemble_card
from hcr.evaluation.metrics import Evaluation, accuracy, cross_entropy, evaluate
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_version, ensemble_fingerprint
from hcr.gate.run_config import flatten, to_dict, to_yaml
from hcr.machine import this_machine
from hcr.model.ensemble import ensemble_of
from hcr.record import (
    COMMIT,
    PATCH,
    further_metrics,
    measured,
    num_images,
    record_code,
    record_datasets,
    record_model,
    record_predictions,
    record_test_look,
    record_text,
    shown_param,
    tags_of,
    test_metrics,
    writing,
)
from hcr.recorded import RecordedRun
from hcr.recorded_sweep import RecordedSweep
from hcr.resuming import refuse_finished
from hcr.tracking.events import DESCRIPTION
from hcr.tracking.journal import Journal
from hcr.tracking.status import read_position
from hcr.training import configure_threads, gpu_in_use, predict_probabilities

KIND = "ensemble"  # of the tag hcr.kind
DECIMALS = 6  # of the scores in members.csv


def make_ensemble(
    sweep: RecordedSweep,
    members: Sequence[RecordedRun],
    journal: Journal,
    *,
    with_test: bool,
    new_run: bool = False,
    command: Sequence[str] = (),
) -> EnsembleFacts:
    """Average the members' probabilities, score the result, and record it as a run with a model of its own.

    Nothing is trained. Test is scored once, at the end, by the ensemble.

    Args:
        sweep: the sweep that the members are runs of.
        members: from `choose_members`.
        journal: the journal to write, not begun yet. The caller enters its `with`, which sets the run's status.
        with_test: True to score test.
        new_run: True to make it even if the same ensemble was made before.
        command: the command line that asked for it.

    Returns:
        What its card says.

    Raises:
        AlreadyFinished: the same ensemble was made before, without `new_run`.
        DataError: the data cannot be read here, or changed since.
        TrackingError: a member's model is missing or damaged, or the run's folder cannot be written.
    """
    start = time.perf_counter()
    cfg = _config_of(members[0], with_test=with_test)
    code = code_version(cfg)
    fingerprint = ensemble_fingerprint([run.tags["hcr.fingerprint"] for run in members], code)
    if not new_run:
        refuse_finished(journal, fingerprint, cfg.tracking.timeout_s)
    splits = members[0].load_splits()
    configure_threads(cfg.training)
    model = ensemble_of([run.load_model() for run in members])
    rows = [_member(run) for run in members]
    with writing(journal):
        tags = tags_of(splits, fingerprint=fingerprint, code=code, command=shlex.join(command))
        _begin(journal, sweep, rows, tags)
        _record_config(journal, cfg, sweep, members, rows)
        record_datasets(journal, cfg, splits, ("train", "val"))
        record_code(journal, cfg)
        journal.metrics({"model/params": float(model.count_params())}, step=0)
        own = {"members": len(rows), "sweep": sweep.key, "vote": "mean of probabilities"}
        record_model(journal, cfg, model, own, step=0)  # before test is looked at: a full disk must not cost a look

    probabilities, scores = _score(journal, model, splits, with_test=with_test)
    facts = EnsembleFacts(
        cfg=cfg,
        sweep_key=sweep.key,
        sweep_name=sweep.name,
        monitor=sweep.monitor,
        members=rows,
        num_chosen_from=len(sweep.runs),
        val=scores["val"],
        test=scores.get("test"),
        gain=_gain(members, rows, probabilities["val"], splits),
        num_images=num_images(splits),
        digests=(splits.dataset_digest, splits.split_digest),
        duplicates=splits.duplicates_test if with_test else splits.duplicates_val,
        data_notes=splits.data_notes,
        total_s=time.perf_counter() - start,
        machine=this_machine(gpu_in_use()),
        num_threads=cfg.training.num_threads,
        commit=journal.header["tags"].get(COMMIT),
        is_patched=journal.artifact(PATCH).exists(),
        command=command,
    )
    with writing(journal):
        if with_test:
            record_datasets(journal, cfg, splits, ("test",))
        _record_scores(journal, facts, splits, probabilities)
        record_predictions(journal, splits, probabilities, facts.evaluation)
        _record_pictures(journal, facts, splits, probabilities)
    return facts


def _config_of(best: RecordedRun, *, with_test: bool) -> RunConfig:
    """The config that an ensemble is recorded with: its best member's, which says how images are read and split."""
    cfg = best.cfg
    return cfg.replace(score_test=with_test, notes=None, tags=None, tracking=cfg.tracking.replace(run_name=None))


def _member(run: RecordedRun) -> Member:
    run_id = None if run.folder is None else read_position(run.folder).get("run_id")
    found = run.predictions("val")  # of the model as it was saved, calibrated or not
    scores = cross_entropy(found.probabilities, found.labels), accuracy(found.probabilities, found.labels)
    return Member(run.key, run_id, run.name, *scores, num_params=int(run.metrics["model/params"]))


def _begin(journal: Journal, sweep: RecordedSweep, rows: Sequence[Member], tags: Mapping[str, str]) -> None:
    """Begin the run: a run of its own, not nested, which names its sweep and its members."""
    own = {"hcr.kind": KIND, "hcr.members": " ".join(row.key for row in rows), "hcr.ensemble_of": sweep.key}
    journal.begin(name=redact(f"ensemble of {len(rows)}: {sweep.name}"), tags={**tags, **own})


def _record_config(
    journal: Journal, cfg: RunConfig, sweep: RecordedSweep, members: Sequence[RecordedRun], rows: Sequence[Member]
) -> None:
    """Record the config for reading images, the settings that all members share as params, and the members."""
    settings = [flatten(to_dict(run.cfg)) for run in members]
    shared = {key: value for key, value in settings[0].items() if all(own.get(key, ...) == value for own in settings)}
    own = {
        "ensemble.sweep": sweep.key,
        "ensemble.top": str(len(rows)),
        "ensemble.members": " ".join(row.key for row in rows),
        "ensemble.vote": "mean of probabilities",
    }
    journal.params(own | {key: shown_param(key, value) for key, value in shared.items()})
    record_text(journal, "config/config.yaml", to_yaml(cfg, secrets=False))
    lines = [csv_line(["member", "run", "run_id", "name", "val_loss", "val_accuracy", "params"])]
    for i, row in enumerate(rows, start=1):
        scores = [round(row.val_loss, DECIMALS), round(row.val_accuracy, DECIMALS)]
        lines.append(csv_line([i, row.key, row.run_id, redact(row.name), *scores, row.num_params]))
    record_text(journal, "config/members.csv", "".join(lines))


def _score(
    journal: Journal, model: keras.Model, splits: Splits, *, with_test: bool
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Evaluation]]:
    """Probabilities and metrics of "val", and of "test" if it is asked for; that look is counted before it is taken."""
    probabilities = {"val": predict_probabilities(model, splits.val.images)}
    scores = {"val": evaluate(probabilities["val"], splits.val.labels, splits.class_names)}
    stopping.check()
    if with_test:
        record_test_look(journal)
        probabilities["test"] = predict_probabilities(model, splits.test.images)
        scores["test"] = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
        stopping.check()
    return probabilities, scores


def _gain(
    members: Sequence[RecordedRun], rows: Sequence[Member], probabilities: NDArray[np.float32], splits: Splits
) -> Gain:
    """What the ensemble changes on validation against its best member.

    Raises:
        DataError: the best member's predictions are of other images.
    """
    before, labels = members[0].predictions("val"), splits.val.labels
    if not np.array_equal(before.index, splits.val.index):
        raise DataError(f"run {members[0].key}: its predictions are of other validation images than its split has")
    was_right, is_right = before.probabilities.argmax(axis=1) == labels, probabilities.argmax(axis=1) == labels
    return Gain(
        corrected=int((is_right & ~was_right).sum()),
        broken=int((was_right & ~is_right).sum()),
        mean_accuracy=float(np.mean([row.val_accuracy for row in rows])),
        mean_loss=float(np.mean([row.val_loss for row in rows])),
    )


def _record_scores(
    journal: Journal, facts: EnsembleFacts, splits: Splits, probabilities: Mapping[str, NDArray[np.float32]]
) -> None:
    """Record the metrics, under the names of a training run, and the card."""
    metrics = {
        "best/val_loss": facts.val.loss,
        "best/val_accuracy": facts.val.accuracy,
        "ensemble/mean_val_loss": facts.gain.mean_loss,
        "ensemble/mean_val_accuracy": facts.gain.mean_accuracy,
        "time/total_s": facts.total_s,
        **({} if facts.test is None else test_metrics(facts.test)),
        **further_metrics(splits, probabilities),
    }
    journal.metrics(metrics, step=0, of_model=measured(metrics, facts.cfg, splits))
    journal.tags({DESCRIPTION: ensemble_card(facts)})


def _record_pictures(
    journal: Journal, facts: EnsembleFacts, splits: Splits, probabilities: Mapping[str, NDArray[np.float32]]
) -> None:
    run = RunRecord(
        cfg=facts.cfg,
        history=(),
        best_epoch=0,
        shown=facts.shown,
        probabilities=probabilities[facts.shown],
        labels={"val": splits.val, "test": splits.test}[facts.shown].labels,
        temperature=1.0,
        kernel=None,
        splits=splits,
    )
    draw(pictures(run), journal.artifact, journal.artifact_written)
