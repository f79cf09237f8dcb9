"""Resuming: finds the interrupted run of a config, and loads its last checkpoint."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from hcr.config import ConfigError
from hcr.config.tracking import output_root
from hcr.gate import RunConfig
from hcr.tracking.ended import upload_lost_run
from hcr.tracking.events import Event, first_event
from hcr.tracking.finding import find_run
from hcr.tracking.journal import Journal
from hcr.tracking.known import Standing, ask, deleted_keys
from hcr.tracking.lock import is_of_this_host, lock_ended_run
from hcr.tracking.place import store_of
from hcr.tracking.status import finished_with, read_position, unfinished
from hcr.training import TrainingState
from hcr.training.checkpoint import CHECKPOINT, checkpoints, load_checkpoint


class AlreadyFinished(Exception):
    """A run with the same config, data and code has already finished in the same store.

    Args:
        folder: the finished run's folder.
        unsure: the end of the message, such as that the store did not answer.
    """

    def __init__(self, folder: Path, unsure: str = "") -> None:
        super().__init__(f"run {folder.name} has finished with this config, data and code; it is in {folder}{unsure}")
        self.folder = folder


def refuse_finished(journal: Journal, identity: str, timeout_s: float) -> None:
    """Raise AlreadyFinished if a run with the fingerprint `identity` has finished in the journal's store.

    A run that was deleted in MLflow does not count. A run that an SQLite store has lost is uploaded again.

    Args:
        timeout_s: timeout for asking the store whether it still has the run.
    """
    finished = finished_with(identity, output_root(), uri=journal.uri, experiment=journal.header["experiment"])
    if not finished:
        return
    parents = {str(parent) for run in finished if (parent := first_event(run).get("parent")) is not None}
    asked = [*finished, *(output_root() / "runs" / parent for parent in parents)]
    known = ask(journal.uri, timeout_s, {run.name: read_position(run).get("run_id") for run in asked})
    deleted = deleted_keys(output_root(), journal.uri, known)
    done = next((run for run in reversed(finished) if run.name not in deleted), None)
    if done is None:
        note = f"note: run {finished[-1].name} finished with this config and was deleted in MLflow; it is trained again"
        print(note, flush=True)
        return
    if known is not None and known.standing(done) == "lost":
        is_back = upload_lost_run(done, known)
        what = "it was uploaded again" if is_back else "it could not be uploaded again; `hcr sync` says why"
        print(f"note: MLflow had lost run {done.name}; {what}", flush=True)
    unsure = "" if known is not None else "; its store could not be asked whether it is still there"
    raise AlreadyFinished(done, unsure)


def resume(journal: Journal, cfg: RunConfig, identity: str) -> TrainingState | None:
    """Resume the interrupted run with the same fingerprint, if there is one: `journal`, not begun yet, becomes its
    journal.

    A run that was deleted in MLflow is not resumed. A run of a sweep is resumed by its key, which the journal has.

    Args:
        identity: the fingerprint of the run that `cfg` asks for.

    Returns:
        The training state of its last checkpoint; None if no run is resumed.

    Raises:
        ConfigError: `cfg.resume` names a run that cannot be resumed.
    """
    if cfg.resume == "never":
        return None
    named = None if cfg.resume == "auto" else find_run(output_root(), cfg.resume)
    candidates = unfinished(output_root())
    if journal.parent is not None:
        named = journal.folder
        candidates = iter([(named, header)] if (header := first_event(named)) else [])
    if named is None:
        fitting = [run for run in candidates if is_of_this_host(run[1]) and _is_the_same(*run, journal, identity)]
    else:
        fitting = [run for run in candidates if run[0] == named]
    standings = {} if journal.parent else _standings(fitting, cfg.tracking.timeout_s)
    for folder, header in fitting:
        standing = "there" if journal.parent else standings[folder]
        if standing in ("deleted", "purged"):
            if named is None:
                print(f"note: run {folder.name} was deleted in MLflow and is not resumed", flush=True)
                continue
            remedy = " (`mlflow runs restore` restores it)" if standing == "deleted" else ""
            raise ConfigError(f"resume: run {folder.name} was deleted in MLflow; expected one that is there{remedy}")
        try:
            lock = lock_ended_run(folder)  # locked before reading, so that nothing changes meanwhile
        except BlockingIOError:
            if named is None:
                continue
            raise ConfigError(f"resume: run {folder.name} is running") from None
        with contextlib.ExitStack() as stack:
            stack.callback(lock.close)
            found = load_checkpoint(folder / CHECKPOINT, _warn_of_damage)
            if found is None and checkpoints(folder / CHECKPOINT) and journal.parent is None:
                continue
            # A run without checkpoints was interrupted in its first epoch, and starts again as the same run. So does a
            # run of a sweep whose checkpoints are all damaged.
            state, theirs = found or (TrainingState(), header["tags"].get("hcr.fingerprint", ""))
            if theirs != identity:
                raise ConfigError(
                    f"resume: run {folder.name} has another config, data or code:"
                    f" its fingerprint is {theirs[:12]}, the current one is {identity[:12]}"
                )
            journal.resume(folder, lock=lock)
            stack.pop_all()
        print(f"resuming run {journal.key} after epoch {state.epoch} of {cfg.training.epochs}", flush=True)
        return state
    if named is not None and journal.parent is None:
        raise ConfigError(f"resume: expected an interrupted run with a valid checkpoint; {named.name} has none")
    return None


def _standings(runs: Sequence[tuple[Path, Event]], timeout_s: float) -> dict[Path, Standing | None]:
    """The standing of each run in its store; None: no answer. Each store is asked once."""
    by_store: dict[str, list[Path]] = {}
    for folder, header in runs:
        by_store.setdefault(store_of(folder, header), []).append(folder)
    found: dict[Path, Standing | None] = {}
    for uri, folders in by_store.items():
        known = ask(uri, timeout_s, {folder.name: read_position(folder).get("run_id") for folder in folders})
        found |= {folder: None if known is None else known.standing(folder) for folder in folders}
    return found


def _is_the_same(folder: Path, header: Event, journal: Journal, identity: str) -> bool:
    """True if the run in `folder` has the fingerprint `identity`, and the journal's store, parent and experiment."""
    is_here = store_of(folder, header) == journal.uri
    is_here &= all(header[name] == journal.header[name] for name in ("parent", "experiment"))
    return is_here and header["tags"].get("hcr.fingerprint") == identity


def _warn_of_damage(path: Path, why: str) -> None:
    print(f"hcr: warning: {path} is skipped ({why}); trying the previous checkpoint", file=sys.stderr, flush=True)
