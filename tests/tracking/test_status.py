"""What ends a run, and when, decides its status; real signals to real processes."""

from pathlib import Path

import pytest
from conftest import UNDRAWN, Hcr

from hcr.tracking.store import open_store

# A run whose step `at` sends its own process a signal, or fails, before it does its work.
CODE = """
import os, signal, sys, time
import hcr.launch, hcr.runner
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def at_that_moment(*arguments, **keywords):
    if {how!r} == "error":
        raise RuntimeError("the disk is on fire")
    os.kill(os.getpid(), getattr(signal, {how!r}))
    time.sleep(60)
if {at!r} == "mid-epoch":
    from hcr.training.progress import ProgressDisplay
    real = ProgressDisplay.on_steps
    ProgressDisplay.on_steps = lambda self, now: at_that_moment() if now.epoch == 3 else real(self, now)
else:
    owner, _, step = {at!r}.rpartition(".")
    setattr(getattr(hcr.runner, owner) if owner else hcr.runner, step, at_that_moment)
"""
COMMAND = ("train", "training.epochs=4", "model.filters=4")
WAYS = {"SIGINT": ("KILLED", 130), "SIGTERM": ("KILLED", 130), "SIGKILL": ("FAILED", -9), "error": ("FAILED", 1)}
MOMENTS = {"load_splits": None, "fit": 0, "mid-epoch": 2, "score": 4, "Recorder.artifacts": 4}
IN_CI = [("SIGTERM", "mid-epoch"), ("SIGINT", "Recorder.artifacts"), ("SIGKILL", "score"), ("error", "fit")]
IN_CI += [("SIGTERM", "load_splits")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "at"),
    [
        pytest.param(how, at, marks=[] if (how, at) in IN_CI else pytest.mark.exhaustive)
        for how in WAYS
        for at in MOMENTS
    ],
)
def test_a_run_ends_as_what_ended_it_says(hcr: Hcr, tmp_path: Path, how: str, at: str) -> None:
    status, code = WAYS[how]
    epochs = MOMENTS[at]
    done = hcr(*COMMAND, code=CODE.format(how=how, at=at))
    assert done.returncode == code, done.stderr
    root = Path(str(tmp_path / "output"))
    if epochs is None:
        assert not (root / "runs").exists()
        return
    synced = hcr("sync")
    assert synced.returncode == 0, synced.stderr
    client = open_store(f"sqlite:///{root / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
    assert run.info.status == status
    assert len(client.get_metric_history(run.info.run_id, "val/loss")) == epochs
    told = run.data.tags["hcr.error"]
    assert told == {
        "error": "RuntimeError: the disk is on fire",
        "SIGKILL": "its process died without ending the run",
    }.get(how, "interrupted")
    if epochs:  # and what it had is gone on with
        again = hcr(*COMMAND, code=UNDRAWN)
        assert f"after epoch {epochs} of 4" in again.stdout
        (run,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
        assert run.info.status == "FINISHED"
        assert [m.step for m in client.get_metric_history(run.info.run_id, "val/loss")] == [1, 2, 3, 4]
