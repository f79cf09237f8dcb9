"""Going on with an interrupted run: which one it is, and where it stood."""

import contextlib
import sys
from pathlib import Path

from hcr.config import ConfigError, RunConfig
from hcr.config.tracking import output_root
from hcr.tracking.journal import Event, Journal, is_of_this_host, lock_ended_run
from hcr.tracking.status import find_run, finished_runs, unfinished
from hcr.training import TrainingState
from hcr.training.checkpoint import CHECKPOINT, checkpoints, load_checkpoint


class AlreadyFinished(Exception):
    """The same run has finished before: the same config, data and code, in the same store."""


def refuse_finished(journal: Journal, identity: str) -> None:
    """Raise AlreadyFinished where a run of the fingerprint `identity` has finished in the journal's store."""
    done = finished_runs(output_root(), uri=journal.uri, experiment=journal.header["experiment"]).get(identity)
    if done is not None:
        raise AlreadyFinished(f"run {done.name} has finished with this config, data and code; it is in {done}")


def resume(journal: Journal, cfg: RunConfig, identity: str) -> TrainingState | None:
    """Turn `journal`, not begun yet, into that of the interrupted run of the same fingerprint, if there is one.

    Args:
        identity: the fingerprint of the run that `cfg` asks for.

    Returns:
        Where its training stood; None where nothing is resumed.

    Raises:
        ConfigError: `cfg.resume` names a run that cannot be resumed.
    """
    if cfg.resume == "never":
        return None
    named = None if cfg.resume == "auto" else find_run(output_root(), cfg.resume)
    for folder, header in unfinished(output_root()):
        if named is not None and folder != named:
            continue
        if named is None and not (is_of_this_host(header) and _is_the_same(header, journal, identity)):
            continue
        try:
            lock = lock_ended_run(folder)  # before anything is read: what is read stays true
        except BlockingIOError:
            if named is None:
                continue
            raise ConfigError(f"resume: run {folder.name} is running") from None
        with contextlib.ExitStack() as stack:
            stack.callback(lock.close)
            found = load_checkpoint(folder / CHECKPOINT, _tell_damage)
            if found is None and checkpoints(folder / CHECKPOINT):
                continue
            # Without any it was interrupted in its first epoch: it is the same run still.
            state, theirs = found or (TrainingState(), header["tags"].get("hcr.fingerprint", ""))
            if theirs != identity:
                raise ConfigError(
                    f"resume: run {folder.name} was made by another config, other data or other code than now:"
                    f" its fingerprint is {theirs[:12]}, and this would be {identity[:12]}"
                )
            journal.resume(folder, lock=lock)
            stack.pop_all()
        print(f"resuming run {journal.key} after epoch {state.epoch} of {cfg.training.epochs}", flush=True)
        return state
    if named is not None:
        raise ConfigError(f"resume: expected an interrupted run with a good checkpoint, and {named.name} has none")
    return None


def _is_the_same(header: Event, journal: Journal, identity: str) -> bool:
    """Whether the run that began with `header` would have the same numbers, and stand in the same place."""
    places = ("parent", "uri", "experiment")
    return header["tags"].get("hcr.fingerprint") == identity and all(header[k] == journal.header[k] for k in places)


def _tell_damage(path: Path, why: str) -> None:
    print(f"hcr: warning: {path} is passed over ({why}); the one before it is tried", file=sys.stderr, flush=True)
