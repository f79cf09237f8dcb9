"""`hcr reproduce`: a run's numbers again, from its record alone, or a table of those that differ."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import UNSCORED, Hcr
from omegaconf import OmegaConf
from servers import Server

from hcr.environment import ONEDNN
from hcr.tracking.events import JOURNAL, UNBUNDLED, first_event, last_event, read_events
from hcr.tracking.journal import Journal
from hcr.tracking.store import open_store

PROJECT = Path(__file__).parents[2]
MODULE = "hcr/model/schedules/cosine.py"


@pytest.fixture
def run(unscored_run: Path, tmp_path: Path) -> Path:
    """The folder of a copy of the unscored run, which a test may change."""
    shutil.copytree(unscored_run, tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    return folder


def values(folder: Path, kind: str = "tags") -> dict[str, Any]:
    """The last values of tags or metrics."""
    found: dict[str, Any] = dict(first_event(folder)["tags"]) if kind == "tags" else {}
    for event, _ in read_events(folder):
        found |= event["values"] if event["event"] == kind else {}
    return found


def others(folder: Path) -> list[Path]:
    return [each for each in folder.parent.iterdir() if each != folder]


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change events of a journal."""
    events = [event for event, _ in read_events(folder)]
    for event in events:
        change(event)
    (folder / JOURNAL).write_text("".join(f"{json.dumps(event)}\n" for event in events))


def sources(folder: Path) -> dict[str, bytes]:
    with tarfile.open(folder / "artifacts/code/source.tar.gz") as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry)) is not None}


def write_sources(folder: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(folder / "artifacts/code/source.tar.gz", "w:gz") as tar:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def as_of_a_stranger(folder: Path) -> None:
    rewrite(folder, lambda event: event.update({UNBUNDLED: "elsewhere"} if event["event"] == "run" else {}))


@pytest.mark.slow
def test_a_run_is_reproduced_to_the_bit_as_a_run_of_its_own(run: Path, hcr: Hcr) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = hcr("reproduce", run.name)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1] == "nothing that decides its numbers differs here"
    assert lines[-1] == "bit-identical: 9 metrics of 1 epoch and the end, predictions/val, weights"
    (again,) = others(run)
    assert values(again)["hcr.reproduces"] == run.name
    assert values(again)["hcr.reproduction"] == "bit-identical"
    assert values(again)["hcr.fingerprint"] == values(run)["hcr.fingerprint"]
    assert not (again / "artifacts/predictions/test.npz").exists()  # as recorded, test was not looked at
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    client = open_store(f"sqlite:///{run.parents[1] / 'mlflow.db'}")
    (stored,) = client.search_runs(["1"], f"tags.`hcr.reproduces` = '{run.name}'")
    assert (stored.info.status, stored.data.tags["hcr.reproduction"]) == ("FINISHED", "bit-identical")


@pytest.mark.slow
def test_numbers_that_differ_are_a_table_and_exit_code_1(run: Path, hcr: Hcr) -> None:
    def change(event: dict[str, Any]) -> None:
        if event["event"] == "metrics" and "val/loss" in event["values"]:
            event["values"]["val/loss"] += 2**-50

    recorded = values(run, "metrics")["val/loss"]
    rewrite(run, change)
    done = hcr("reproduce", run.name)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2].split() == ["differs", "from", "epoch", "recorded", "here"]
    assert done.stdout.splitlines()[-1].split() == ["val/loss", "1", repr(recorded + 2**-50), repr(recorded)]
    (again,) = others(run)
    assert values(again)["hcr.reproduction"] == "1 number differs"


def test_check_says_what_differs_and_runs_nothing(run: Path, hcr: Hcr) -> None:
    write_sources(run, sources(run) | {MODULE: b"raise SystemExit('run')", "hcr/model/new.py": b"", "hcr/card.py": b""})
    requirements = run / "artifacts/code/requirements.txt"
    requirements.write_text(requirements.read_text().replace("keras==", "keras==0.") + "theirs==1.0\n")
    rewrite(
        run,
        lambda event: event.get("tags", {}).update(
            {"hcr.python": "3.11.0", "hcr.machine": "an abacus, 2 cores; Linux"}
        ),
    )
    rewrite(run, lambda event: event.get("tags", {}).update({"hcr.environment": "TF_ENABLE_ONEDNN_OPTS=0"}))
    done = hcr("reproduce", run.name, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines()[1:])
    assert told["code"] == f"hcr/model/new.py (only there), {MODULE} (changed)"
    assert told["packages"].startswith("keras 0.")
    assert told["packages"].endswith("theirs 1.0 (here missing)")
    assert told["python"].startswith("3.11.0 (here ")
    assert told["processor"].startswith("an abacus (here ")
    assert told["environment"] == f"TF_ENABLE_ONEDNN_OPTS=0 (here {ONEDNN or 'not set'})"
    assert others(run) == []


def test_other_data_is_refused_with_what_was_expected(run: Path, hcr: Hcr) -> None:
    rewrite(run, lambda event: event.get("tags", {}).update({"hcr.dataset_digest": "ab" * 32}))
    done = hcr("reproduce", run.name)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "hcr: data: expected digits with the digest abababababab, read from scikit-learn's digits"
    )
    assert done.stderr.count("\n") == 1
    assert others(run) == []


def test_a_strangers_code_needs_trust_unless_it_is_the_installed_one(run: Path, hcr: Hcr) -> None:
    as_of_a_stranger(run)
    same = hcr("reproduce", run.name, "--check")
    assert (same.returncode, "--trust" in same.stdout) == (0, False)
    theirs = sources(run)
    write_sources(run, theirs | {MODULE: theirs[MODULE] + b"\n"})
    done = hcr("reproduce", run.name)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "was not recorded by this machine, and its code differs from the installed one; --trust" in done.stderr
    assert others(run) == []
    assert "--trust" in hcr("reproduce", run.name, "--check").stdout


def test_a_run_that_another_host_recorded_is_a_strangers(run: Path, hcr: Hcr) -> None:
    rewrite(run, lambda event: event.update({"host": "elsewhere", "boot": "b"} if event["event"] == "run" else {}))
    theirs = sources(run)
    write_sources(run, theirs | {MODULE: theirs[MODULE] + b"\n"})
    assert "--trust runs it with your rights" in hcr("reproduce", run.name).stderr


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("sweep", "is a sweep; expected one of its runs, which `hcr runs"),
        ("ensemble", "is an ensemble, which is not trained; expected one of its runs (aaa, bbb)"),
        ("evaluate", "is an evaluation of run ccc; expected a run that was trained"),
        ("compare", "is one of `hcr compare`; expected a run that was trained"),
    ],
)
def test_what_was_not_trained_is_refused_by_its_kind(tmp_path: Path, hcr: Hcr, kind: str, told: str) -> None:
    root = tmp_path / "output"
    tags = {"hcr.kind": kind, "hcr.members": "aaa bbb", "hcr.model_run": "ccc"}
    with Journal(root, uri=f"sqlite:///{root}/mlflow.db", experiment="hcr") as journal:
        journal.begin(name="a run", tags=tags)
    journal.release()
    done = hcr("reproduce", journal.key)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"run {journal.key} {told}" in done.stderr


def test_a_run_that_has_not_finished_is_refused(tmp_path: Path, hcr: Hcr) -> None:
    root = tmp_path / "output"
    journal = Journal(root, uri=f"sqlite:///{root}/mlflow.db", experiment="hcr")
    journal.begin(name="a run", tags={"hcr.kind": "train"})
    journal.end("FAILED")
    journal.release()
    assert f"run {journal.key}: expected a run that has finished, got FAILED" in hcr("reproduce", journal.key).stderr


def _clone(folder: Path) -> dict[str, str]:
    """A fresh clone of the tree, and the environment in which its code is imported."""
    subprocess.run(["git", "clone", "-q", PROJECT, folder], check=True)
    for name in ("ls-files -m", "ls-files -o --exclude-standard"):  # what is not committed yet belongs to the tree too
        names = subprocess.run(["git", *name.split()], cwd=PROJECT, capture_output=True, text=True, check=True)
        for path in names.stdout.split():
            if (PROJECT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PROJECT / path, folder / path)
    (folder / "hcr/conf").symlink_to("../conf")  # where an installed package has it
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _in_clone(clone: Path, tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = {"PYTHONPATH": str(clone), "PYTHONSAFEPATH": "1", "HCR_OUTPUT_DIR": str(tmp_path / "output")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "hcr", *arguments],
        cwd=tmp_path,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# In the first clone: the peak of the learning rate is elsewhere, and a schedule is added that nobody else has.
EDIT = ("warmup_steps = round(self.warmup_fraction * total_steps)", "warmup_steps = round(0.5 * total_steps)")
UNTRACKED = '''"""Half of the cosine's learning rate."""

from hcr.model.schedules.cosine import Cosine


class Half(Cosine):
    """As `Cosine`, from half of the peak."""

    def build(self, learning_rate, total_steps):
        return super().build(learning_rate / 2, total_steps)
'''


@pytest.mark.slow
def test_a_run_of_a_dirty_tree_is_reproduced_to_the_bit_in_a_fresh_clone(tmp_path: Path) -> None:
    dirty, fresh = tmp_path / "dirty", tmp_path / "fresh"
    _clone(dirty)
    edited = (dirty / MODULE).read_text().replace(*EDIT)
    assert edited != (dirty / MODULE).read_text()
    (dirty / MODULE).write_text(edited)
    (dirty / "hcr/model/schedules/half.py").write_text(UNTRACKED)
    (dirty / "conf/schedule/half.yaml").write_text("name: half\nwarmup_fraction: 0.05\nfinal_fraction: 0.0\n")
    trained = _in_clone(dirty, tmp_path, "train", *UNSCORED, "schedule=half", "score_test=false")
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "output" / "runs").iterdir()
    shutil.rmtree(dirty)  # the edits are lost

    _clone(fresh)
    done = _in_clone(fresh, tmp_path, "reproduce", run.name)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "config: the installed code refuses it (schedule.name: no 'half' here" in done.stdout
    assert f"code: {MODULE} (changed), hcr/model/schedules/half.py (only there)" in lines
    assert "its own code is used, from its code/source.tar.gz" in lines
    assert lines[-1].startswith("bit-identical: 9 metrics of 1 epoch and the end, predictions/val, weights")
    (again,) = others(run)
    assert values(again)["hcr.fingerprint"] == values(run)["hcr.fingerprint"]
    assert EDIT[1] in sources(again)[MODULE].decode()
    assert EDIT[0] in (fresh / MODULE).read_text()


@pytest.mark.slow
def test_a_run_of_a_server_is_reproduced_from_the_server_alone(
    hcr: Hcr, empty_store: Path, unscored_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "server.db").write_bytes(empty_store.read_bytes())
    server = Server(tmp_path)
    env = {"MLFLOW_TRACKING_URI": server.uri, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with server.running() as client:
        shutil.copytree(unscored_run, tmp_path / "output")
        (run,) = (tmp_path / "output" / "runs").iterdir()
        assert hcr("sync", "--to", server.uri, run.name).returncode == 0
        shutil.rmtree(tmp_path / "output")
        done = hcr("reproduce", run.name, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1].startswith("bit-identical: 9 metrics of 1 epoch and the end")
        found = client.search_runs(["1"], f"tags.`hcr.reproduces` = '{run.name}'")
        assert [each.data.tags["hcr.reproduction"] for each in found] == ["bit-identical"]


@pytest.mark.slow
def test_ctrl_c_ends_a_reproduction_in_one_line_and_the_same_command_resumes_it(
    undrawn: Hcr, hcr: Hcr, start_hcr: Any, tmp_path: Path
) -> None:
    trained = undrawn("train", *UNSCORED, "training.epochs=40", "training.patience=null", "score_test=false")
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "output" / "runs").iterdir()
    process = start_hcr("reproduce", run.name)
    for line in process.stdout:
        if line.startswith("epoch 2/40"):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    (again,) = others(run)
    assert process.returncode == 130
    assert told == f"hcr: interrupted; the same command resumes the reproduction {again.name} in {again}\n"
    *_, last = (event for event, _ in read_events(again))
    assert last["status"] == "KILLED"
    done = hcr("reproduce", run.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"resuming run {again.name} after epoch " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("bit-identical: 9 metrics of 40 epochs")
    assert others(run) == [again]


@pytest.mark.slow
def test_a_reproduction_ends_with_the_process_that_started_it(run: Path, start_hcr: Any) -> None:
    change = {"training": {"epochs": 500, "patience": None}}
    path = run / "artifacts/config/config.yaml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(path), change), path)
    process = start_hcr("reproduce", run.name)
    for line in process.stdout:
        if line.startswith("epoch 2/500"):
            break
    process.kill()
    deadline = time.monotonic() + 60
    (again,) = others(run)
    while last_event(again).get("status") != "KILLED":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_source_archive_with_a_link_is_refused_before_anything_is_written(run: Path, hcr: Hcr) -> None:
    with tarfile.open(run / "artifacts/code/source.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("hcr/__init__.py")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    done = hcr("reproduce", run.name, "--trust")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "'hcr/__init__.py': expected a file, got a link" in done.stderr


def test_a_source_archive_that_inflates_without_end_is_refused(run: Path, hcr: Hcr) -> None:
    with gzip.open(run / "artifacts/code/source.tar.gz", "wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert "expected at most 256 MiB of sources" in hcr("reproduce", run.name, "--trust").stderr
