"""Where runs are kept: config, then environment, then the folder one is in."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Hcr

from hcr.config.errors import ConfigError
from hcr.config.places import check_places
from hcr.config.tracking import TrackingConfig, output_root, sqlite_uri, tracking_uri

GOOD = ["http://host:5000", "https://host", "sqlite:////folder/mlflow.db", "postgresql+psycopg2://u@h/db"]
BAD = ["./mlruns", "mlruns", "file:///tmp/mlruns", "", "ftp://host", "/absolute/mlruns"]


def tracking(
    uri: str | None = None, name: str = "hcr", run_name: str | None = None, timeout_s: float = 10.0
) -> TrackingConfig:
    return TrackingConfig(uri=uri, experiment_name=name, run_name=run_name, timeout_s=timeout_s)


@pytest.fixture(autouse=True)
def _no_places_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HCR_OUTPUT_DIR", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("uri", [*GOOD, None])
def test_servers_and_databases_are_accepted(uri: str | None) -> None:
    assert tracking(uri).uri == uri


@pytest.mark.parametrize("uri", ["databricks", "databricks://profile"])
def test_databricks_is_accepted_in_both_of_its_forms(uri: str) -> None:
    assert tracking(uri).uri == uri


@pytest.mark.parametrize("uri", BAD)
def test_file_stores_and_other_things_are_refused_by_key(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^tracking\.uri: expected a URI such as"):
        tracking(uri)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sqlite://", "sqlite:////folder/mlflow.db, a file"),
        ("sqlite:", "a file"),
        ("sqlite:/x.db", "a file"),
        ("sqlite:///", "a file"),
        ("sqlite:///:memory:", "a file"),
        ("sqlite:///x.db?mode=ro", "without options"),
        ("sqlite:///{tmp}", "{tmp}/mlflow.db, as {tmp} is a folder"),
        ("sqlite:///{tmp}/text", "an SQLite database or a new file"),
        ("sqlite:///{tmp}/text/mlflow.db", "{tmp}/text is no folder"),
        ("SQLITE:///x.db", "a URI such as"),
        ("http://", "a server such as http://host:5000"),
        ("https://:5000", "a server such as https://host:5000"),
        ("http://host:port", "a server such as http://host:5000"),
        ("http://[::1", "a server such as http://host:5000, got 'http://[::1'"),
        ("postgresql://[::1/db", "postgresql://user@host/database"),
        ("http://me:se[cret@host:5000", "got 'http://***@host:5000'"),
        ("https://me:pa/ss@host:5000", "got 'https://***@host:5000'"),
        ("mysql+pymysql:me:secretpw@host/db", "got 'mysql+pymysql:***@host/db'"),
        ("postgresql+psycopg2://me:secret//db?host=h", "got 'postgresql+psycopg2://me:***//db?host=h'"),
        ("./me:secret@host", "got '***@host'"),
        ("postgresql:", "postgresql://user@host/database"),
        ("postgresql://", "postgresql://user@host/database"),
        ("mysql+pymysql://host", "mysql://user@host/database"),
    ],
)
@pytest.mark.parametrize("key", ["tracking.uri", "MLFLOW_TRACKING_URI"])
def test_what_is_no_address_of_a_store_is_refused_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, says: str, key: str
) -> None:
    (tmp_path / "text").write_text("not a database")
    uri, says = (text.replace("{tmp}", str(tmp_path)) for text in (uri, says))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError) as refused:
        tracking(uri) if key == "tracking.uri" else tracking_uri(None)
    assert str(refused.value).startswith(f"{key}: expected ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_an_empty_file_and_a_real_database_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "real.db")) as database, database:
        database.execute("CREATE TABLE t (x)")
    for name in ("empty.db", "real.db", "none/yet.db"):
        assert tracking(f"sqlite:///{tmp_path / name}").uri is not None


def test_names_that_are_empty_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^tracking\.experiment_name: "):
        tracking(name=" ")
    with pytest.raises(ConfigError, match=r"^tracking\.run_name: "):
        tracking(run_name="")


def test_the_output_root_is_here_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output_root() == tmp_path / "hcr-output"
    monkeypatch.setenv("HCR_OUTPUT_DIR", "elsewhere")
    assert output_root() == tmp_path / "elsewhere"
    monkeypatch.setenv("HCR_OUTPUT_DIR", "")
    assert output_root() == tmp_path / "hcr-output"


def test_asking_for_places_creates_none(tmp_path: Path) -> None:
    assert (output_root().exists(), tracking_uri(None).startswith("sqlite:///")) == (False, True)
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_the_configured_one_then_the_environment_s_then_sqlite_in_the_output_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/hcr-output/mlflow.db"
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "out"))
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/out/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking_uri(None) == "http://there:5000"
    assert tracking_uri("http://here:5000") == "http://here:5000"


def test_a_bad_store_in_the_environment_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI: expected a URI .* got '\./mlruns'"):
        tracking_uri(None)


# As a user who may not do everything: `call` in a process that has imported all it needs.
AS_ANOTHER_USER = """
import os, tempfile
from hcr.config.places import check_places, provide_home
from hcr.config.tracking import TrackingConfig, tracking_uri
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
tracking = TrackingConfig(uri=None, experiment_name="hcr", run_name=None, timeout_s=1.0)
"""


def as_another_user(call: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", AS_ANOTHER_USER + call],
        cwd=cwd,
        env={**{name: value for name, value in os.environ.items() if name != "HOME"}, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_places_that_can_be_written_are_accepted_and_left_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "not" / "yet"))
    check_places(tracking())
    (tmp_path / "elsewhere").mkdir()
    check_places(tracking(sqlite_uri(tmp_path / "elsewhere" / "mlflow.db")))
    assert [path.name for path in tmp_path.rglob("*")] == ["elsewhere"]


def test_an_output_root_under_a_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path / "file" / "runs"))
    with pytest.raises(ConfigError, match=r"^HCR_OUTPUT_DIR: expected a folder that can be written, got .*/file/runs/"):
        check_places(tracking())
    with pytest.raises(ConfigError, match=r"^tracking\.uri: expected .*, and .*/file is no folder, got"):
        monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path))
        check_places(tracking(sqlite_uri(tmp_path / "file" / "mlflow.db")))


def test_a_full_disk_is_found_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(ConfigError, match=r"^HCR_OUTPUT_DIR: expected a folder that can be written, got .*\(File"):
            check_places(tracking())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("part", ["", "runs", "sweeps"])
def test_another_user_s_folder_is_found_before_training(part: str) -> None:
    # Under /tmp: pytest's own folders are closed to other users.
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "output"
        (root / part).mkdir(parents=True)
        Path(folder).chmod(0o755)
        root.chmod(0o777)
        (root / part).chmod(0o555)
        done = as_another_user("check_places(tracking)", Path(folder), HCR_OUTPUT_DIR=str(root))
        (root / part).chmod(0o755)
    assert done.stderr.splitlines()[-1].endswith(" (Permission denied); HCR_OUTPUT_DIR names another place")
    assert f"HCR_OUTPUT_DIR: expected a folder that can be written, got {root}/" in done.stderr


def test_a_command_with_nowhere_to_write_is_refused_in_one_line_before_tensorflow(hcr: Hcr, tmp_path: Path) -> None:
    (tmp_path / "output").touch()
    for command in (["train"], ["train", "-m", "seed=0,1"]):
        done = hcr(*command)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("hcr: HCR_OUTPUT_DIR: expected a folder that can be written, got ")
    assert hcr("train", "--cfg", "job").returncode == 0  # which writes nothing


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user without a home")
def test_a_process_without_a_home_has_one_under_the_output_root(tmp_path: Path) -> None:
    done = as_another_user("provide_home(); print(os.path.expanduser('~'))", Path("/"), HCR_OUTPUT_DIR="/tmp/there")
    assert done.stdout == "/tmp/there/home\n", done.stderr
    assert not Path("/tmp/there/home").exists()
    absent = as_another_user(
        "provide_home(); print(os.environ['HOME'])", Path("/"), HCR_OUTPUT_DIR="/tmp/there", HOME="/nonexistent"
    )
    assert absent.stdout == "/tmp/there/home\n", absent.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user who may not write there")
def test_a_home_that_cannot_be_written_stays_and_caches_go_elsewhere() -> None:
    call = "provide_home(); print(os.environ['HOME'], os.environ['MPLCONFIGDIR'])"
    done = as_another_user(call, Path("/"), HCR_OUTPUT_DIR="/tmp/there", HOME="/usr")
    assert done.stdout == "/usr /tmp/there/home/matplotlib\n", done.stderr
