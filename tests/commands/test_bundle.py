"""`hcr bundle` and `hcr unbundle`: a sweep or a run on another machine, whole, and once however often it is brought."""

import io
import os
import shutil
import signal
import tarfile
from pathlib import Path

import pytest
from conftest import UNDRAWN, UNSCORED, Hcr, Warm, made_once
from mlflow import MlflowClient
from mlflow.entities import Run
from servers import Server

from hcr.bundling.pack import pack, runs_of
from hcr.bundling.unpack import unpack
from hcr.config.errors import TrackingError
from hcr.recorded import read_run
from hcr.tracking.events import JOURNAL, first_event, kind_of
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.lock import lock_run
from hcr.tracking.status import finished_runs
from hcr.tracking.store import open_store


@pytest.fixture(scope="session")
def swept(shared: Path, warm: Warm) -> Path:
    """The output root of a sweep of two runs. To be read only."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "HCR_OUTPUT_DIR": str(folder)}
        done = warm.run("train", "-m", *UNSCORED, "seed=0,1", cwd=folder, env=environment, code=UNDRAWN)
        assert done.returncode == 0, done.stderr

    return made_once(shared / "bundled", make)


@pytest.fixture
def here(swept: Path, tmp_path: Path) -> Path:
    """A copy of that output root, which a test may change."""
    return Path(shutil.copytree(swept, tmp_path / "here"))


@pytest.fixture
def bundle(here: Path, tmp_path: Path) -> Path:
    """The sweep as a bundle."""
    pack(here, parent_of(here), tmp_path / "sweep.tar.gz")
    return tmp_path / "sweep.tar.gz"


def parent_of(root: Path) -> Path:
    (parent,) = (each for each in (root / "runs").iterdir() if kind_of(first_event(each)["tags"]) == "sweep")
    return parent


def children_of(root: Path) -> list[Path]:
    return sorted(each for each in (root / "runs").iterdir() if each != parent_of(root))


def stored(client: MlflowClient) -> dict[str, Run]:
    """The runs of a store by key."""
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    runs = {run.data.tags["hcr.key"]: run for run in found}
    assert len(runs) == len(found), "a run is there twice"
    return runs


def check_whole(client: MlflowClient, here: Path, folder: Path) -> None:
    """Every run of the sweep is in the store with each artifact, a model, and its place under the parent."""
    runs, parent = stored(client), parent_of(here)
    assert runs.keys() == {each.name for each in (here / "runs").iterdir()}
    for child in children_of(here):
        run = runs[child.name]
        assert run.data.tags["mlflow.parentRunId"] == runs[parent.name].info.run_id
        assert run.info.status == "FINISHED"
        (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert str(model.status) == "READY"
    assert (
        runs[parent.name].data.tags["hcr.best_run_id"] == runs[runs[parent.name].data.tags["hcr.best_key"]].info.run_id
    )
    for key, run in runs.items():
        before = here / "runs" / key / "artifacts"
        downloaded = Path(client.download_artifacts(run.info.run_id, "", str(folder)))
        for file in (path for path in before.rglob("*") if path.is_file() and path.name != "plan.json"):
            name = file.relative_to(before)
            if name.parts[0] != "model":  # the logged model has it, with ids in its description
                assert (downloaded / name).read_bytes() == file.read_bytes(), name


@pytest.mark.slow
def test_a_sweep_that_is_brought_twice_is_there_once_whole_and_nested(
    here: Path, bundle: Path, hcr: Hcr, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    first = hcr("unbundle", bundle.name)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[-2] == "3 uploaded, 0 not uploaded"
    again = hcr("unbundle", bundle.name)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count(" is here already; left as it is\n") == 3
    assert again.stdout.splitlines()[-2] == "0 uploaded, 0 not uploaded"
    check_whole(open_store(f"sqlite:///{tmp_path}/output/mlflow.db"), here, tmp_path / "d")
    assert hcr("sync", "--check").returncode == 0
    for child in children_of(here):
        then, now = read_run(child), read_run(tmp_path / "output" / "runs" / child.name)
        assert (then.metrics, then.history) == (now.metrics, now.history)
        assert now.predictions("val").probabilities.tobytes() == then.predictions("val").probabilities.tobytes()
        assert now.load_model().count_params() == then.load_model().count_params()
    inside = [path for path in (tmp_path / "output").rglob("*") if path.is_file() and path.suffix != ".db"]
    assert [path for path in inside if str(here).encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_sweep_that_is_brought_to_a_server_twice_is_there_once(
    here: Path, bundle: Path, hcr: Hcr, empty_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "server.db").write_bytes(empty_store.read_bytes())
    server = Server(tmp_path)
    env = {"MLFLOW_TRACKING_URI": server.uri}
    with server.running() as client:
        assert hcr("unbundle", bundle.name, env=env).returncode == 0
        shutil.rmtree(tmp_path / "output")  # as from a third machine
        done = hcr("unbundle", bundle.name, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        check_whole(client, here, tmp_path / "d")


KILLS = {
    "while files are written": ("hcr.bundling.unpack.hashlib.sha256", 10),
    "between two runs": ("hcr.bundling.unpack._place", 2),
    "before the last run": ("hcr.bundling.unpack._place", 3),
    "during the upload": ("hcr.tracking.replay.Replay.log_artifact", 5),
    "at the end of the upload": ("hcr.commands.unbundle.name_best_run", 1),
}


def kill(place: str, count: int) -> str:
    """Code by which the process is killed at the call of that number."""
    module, _, name = place.rpartition(".")
    return f"""
import os, signal
import hcr.commands.bundle, hcr.commands.unbundle
module, name = {module!r}, {name!r}
import importlib
head, rest = module, []
while True:
    try:
        owner = importlib.import_module(head)
        break
    except ImportError:
        head, _, last = head.rpartition(".")
        rest.insert(0, last)
for each in rest:
    owner = getattr(owner, each)
before, calls = getattr(owner, name), []
def counted(*arguments, **keywords):
    calls.append(1)
    if len(calls) == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments, **keywords)
setattr(owner, name, counted)
import hcr.tracking.replay
if name == "log_artifact":
    hcr.tracking.replay.HANDLERS["artifact"] = counted
"""


@pytest.mark.slow
@pytest.mark.parametrize(("place", "count"), KILLS.values(), ids=KILLS)
def test_a_killed_unbundle_is_completed_by_the_next(
    here: Path, bundle: Path, hcr: Hcr, tmp_path: Path, place: str, count: int
) -> None:
    (tmp_path / "d").mkdir()
    assert hcr("unbundle", bundle.name, code=kill(place, count)).returncode == -signal.SIGKILL
    done = hcr("unbundle", bundle.name)
    assert (done.returncode, done.stderr) == (0, "")
    check_whole(open_store(f"sqlite:///{tmp_path}/output/mlflow.db"), here, tmp_path / "d")
    assert [path.name for path in (tmp_path / "output" / ".unbundling").iterdir()] == ["lock"]


@pytest.mark.slow
def test_a_killed_bundle_leaves_no_file_and_the_next_is_whole(here: Path, hcr: Hcr, tmp_path: Path) -> None:
    env, key = {"HCR_OUTPUT_DIR": str(here)}, parent_of(here).name
    killed = hcr("bundle", key, "sweep.tar.gz", env=env, code=kill("hcr.bundling.pack._add", 20))
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "sweep.tar.gz").exists()
    done = hcr("bundle", key, "sweep.tar.gz", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sweep.tar.gz: 3 runs, ")
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []
    assert len(unpack(tmp_path / "there", tmp_path / "sweep.tar.gz", "sqlite:////s.db").placed) == 3


def test_a_bundle_has_no_paths_no_store_and_no_checkpoint(here: Path, bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        assert not [each for each in tar.getnames() if each.startswith("/") or ".." in each or "checkpoint" in each]
        for entry in tar:
            file = tar.extractfile(entry)
            assert file is not None
            contents = file.read()
            assert str(here.parent).encode() not in contents
            if not entry.name.endswith(".tar.gz"):
                assert b"mlflow.db" not in contents, entry.name
            assert (entry.mtime, entry.uid, entry.uname) == (0, 0, "")


def test_the_same_runs_give_the_same_bytes(here: Path, bundle: Path, tmp_path: Path) -> None:
    pack(here, parent_of(here), tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == bundle.read_bytes()


def test_a_bundle_of_what_was_brought_is_the_same_bundle(here: Path, bundle: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    unpack(there, bundle, "sqlite:////s.db")
    pack(there, parent_of(there), tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == bundle.read_bytes()


def test_where_a_sweep_was_made_its_bundle_changes_nothing(here: Path, bundle: Path) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    found = unpack(here, bundle, "sqlite:////s.db")
    assert (len(found.placed), len(found.there)) == (0, 3)
    assert {path: path.read_bytes() for path in before} == before


def test_what_was_added_to_a_run_stays_when_its_bundle_comes_again(bundle: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    unpack(there, bundle, "sqlite:////s.db")
    child = children_of(there)[0]
    add_events(child, [{"event": "tags", "values": {"hcr.noted": "here"}}])
    before = (child / JOURNAL).read_bytes()
    assert len(unpack(there, bundle, "sqlite:////s.db").there) == 3
    assert (child / JOURNAL).read_bytes() == before


def test_a_run_with_other_contents_keeps_the_whole_bundle_out(bundle: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    unpack(there, bundle, "sqlite:////s.db")
    first, second = children_of(there)
    shutil.rmtree(first)
    (second / "artifacts/predictions/val.npz").write_bytes(b"other")
    with pytest.raises(TrackingError, match=r"is here already with other contents: .*val.npz; nothing was changed"):
        unpack(there, bundle, "sqlite:////s.db")
    assert not first.exists()


def test_a_run_of_a_sweep_brings_its_parent_and_the_sweep_later_brings_the_rest(
    here: Path, bundle: Path, tmp_path: Path
) -> None:
    child, there = children_of(here)[0], tmp_path / "there"
    pack(here, child, tmp_path / "run.tar.gz")
    placed = unpack(there, tmp_path / "run.tar.gz", "sqlite:////s.db").placed
    assert [each.name for each in placed] == [parent_of(here).name, child.name]
    rest = unpack(there, bundle, "sqlite:////s.db")
    assert [each.name for each in rest.placed] == [children_of(here)[1].name]
    assert len(rest.there) == 2


def test_a_sweep_brings_the_runs_that_it_reuses(here: Path) -> None:
    parent, child = parent_of(here), children_of(here)[0]
    with Journal(here, uri="sqlite:////s.db", experiment="hcr") as other:
        other.begin(name="reused", tags={"hcr.kind": "train"})
        other.tags({f"hcr.reused_by.{parent.name}": "3"})
    other.release()
    assert {each.name for each in runs_of(here, parent)} == {
        parent.name,
        other.key,
        *(c.name for c in children_of(here) if c.name != other.key),
    }
    assert other.folder not in runs_of(here, child)


def test_a_run_that_is_alive_is_not_bundled(here: Path, hcr: Hcr, tmp_path: Path) -> None:
    child = children_of(here)[0]
    events = (child / JOURNAL).read_bytes().splitlines(keepends=True)
    (child / JOURNAL).write_bytes(b"".join(events[:4]))
    with lock_run(child):
        done = hcr("bundle", parent_of(here).name, "sweep.tar.gz", env={"HCR_OUTPUT_DIR": str(here)})
    assert (done.returncode, done.stderr) == (1, f"hcr: run {child.name} is alive; expected runs that have ended\n")
    assert not (tmp_path / "sweep.tar.gz").exists()


def test_a_file_that_exists_is_not_replaced(here: Path, hcr: Hcr, tmp_path: Path) -> None:
    (tmp_path / "sweep.tar.gz").write_text("precious")
    done = hcr("bundle", parent_of(here).name, "sweep.tar.gz", env={"HCR_OUTPUT_DIR": str(here)})
    assert (done.returncode, done.stderr) == (1, "hcr: sweep.tar.gz: expected a new file; it exists\n")
    assert (tmp_path / "sweep.tar.gz").read_text() == "precious"


def test_a_run_that_was_removed_here_does_not_come_back_by_itself(bundle: Path, hcr: Hcr, tmp_path: Path) -> None:
    assert hcr("unbundle", bundle.name).returncode == 0
    child = children_of(tmp_path / "output")[0]
    assert hcr("rm", child.name, "--yes").returncode == 0
    done = hcr("unbundle", bundle.name)
    assert done.returncode == 1
    assert done.stderr.startswith(f"hcr: run {child.name} was removed here by `hcr rm`")


def test_what_was_brought_is_a_strangers_until_it_is_trusted(bundle: Path, tmp_path: Path, hcr: Hcr) -> None:
    unpack(tmp_path / "output", bundle, f"sqlite:///{tmp_path}/output/mlflow.db")
    child = children_of(tmp_path / "output")[0]
    header = first_event(child)
    assert header["unbundled"] == header["tags"]["hcr.host"]
    path = child / "artifacts/code/source.tar.gz"
    with tarfile.open(path) as tar:
        members = [(entry, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]

    with tarfile.open(path, "w:gz") as tar:
        for entry, data in members:
            changed = data + b"\n" if entry.name == "hcr/model/muon.py" else data
            entry.size = len(changed)
            tar.addfile(entry, io.BytesIO(changed))
    assert "--trust runs it with your rights" in hcr("reproduce", child.name).stderr
    assert "nothing that decides" not in hcr("reproduce", child.name, "--check").stdout


def test_a_run_that_was_brought_is_not_taken_for_one_of_this_machine(here: Path, bundle: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{here}/mlflow.db"
    assert len(finished_runs(here, uri=uri, experiment="hcr")) == 2
    unpack(tmp_path / "there", bundle, uri)
    assert finished_runs(tmp_path / "there", uri=uri, experiment="hcr") == {}


@pytest.mark.slow
def test_a_run_of_a_sweep_that_was_brought_is_reproduced_to_the_bit(
    here: Path, bundle: Path, tmp_path: Path, hcr: Hcr
) -> None:
    assert hcr("unbundle", bundle.name).returncode == 0
    child = children_of(tmp_path / "output")[0]
    done = hcr("reproduce", child.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "bit-identical: 9 metrics of 1 epoch and the end, predictions/val, weights"
