"""Settings of the shell and the home, and what lies in the current folder, change nothing unseen."""

import importlib.util
import io
import json
import os
import pty
import socket
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hcr, run_hcr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hcr import environment
from hcr.cli import main
from hcr.console import PlainConsole
from hcr.environment import (
    FINGERPRINT,
    NOT_FOR_GIT,
    NOT_SERVED,
    PASSED_ON,
    PINNED,
    PINNED_BY_CODE,
    PINNED_IN_OWN,
    TABLE,
    Setting,
    deciding_settings,
    pin,
    server_environment,
    settle_environment,
    unusable_keras_json,
    without,
)
from hcr.gate.compose import compose
from hcr.gate.fingerprint import code_sources, code_version
from hcr.sources import git_commit, git_patch
from hcr.sweep.plan import changed_code, told_changes
from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.store import open_store

EXAMPLES = int(os.environ.get("HCR_FUZZ_EXAMPLES", "30"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
PROGRAM = Path(sys.executable).with_name("hcr")

# A value of each variable that did harm, or would where hcr did nothing about it.
HARMFUL = {
    "KERAS_BACKEND": "jax",
    "KERAS_NNX_ENABLED": "true",
    "KERAS_MAX_EPOCHS": "many",
    "KERAS_MAX_STEPS_PER_EPOCH": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    "MLFLOW_ARTIFACTS_ONLY": "true",
    "MLFLOW_ENABLE_WORKSPACES": "true",
    "MLFLOW_REGISTRY_STORE_URI": "sqlite:////nowhere/registry.db",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI": "sqlite:////nowhere/replica.db",
    "MLFLOW_WORKSPACE_STORE_URI": "sqlite:////nowhere/workspaces.db",
    "MLFLOW_GUNICORN_OPTS": "--nonsense",
    "MLFLOW_UVICORN_OPTS": "--nonsense",
    "MLFLOW_EXPOSE_PROMETHEUS": "/nowhere",
    "_MLFLOW_*": "1",
    "UVICORN_*": "nonsense",
    "WEB_CONCURRENCY": "none",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "MPLBACKEND": "nonsense",
    "FORCE_COLOR": "1",
    "TTY_COMPATIBLE": "1",
    "TTY_INTERACTIVE": "1",
    "COLUMNS": "many",
    "NO_COLOR": "1",
    "TERM": "unknown",
    "PYTHONHASHSEED": "7",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Nehalem",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_DETERMINISTIC_OPS": "0",
    "TF_FORCE_GPU_ALLOW_GROWTH": "false",
    "HYDRA_FULL_ERROR": "1",
    "HYDRA_MAIN_MODULE": "nowhere",
    "GIT_DIR": "/nowhere",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere/index",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_DIFF_OPTS": "-u0",
    "NVIDIA_TF32_OVERRIDE": "0",
    "TF_CUDNN_USE_AUTOTUNE": "0",
    "TF_CUDNN_DETERMINISTIC": "1",
    "TF_USE_CUBLASLT": "1",
}
NAMES = sorted(HARMFUL)
# Those that a run has to bear all at once; what is part of the fingerprint is meant to change numbers.
BORNE = {
    name: value
    for name, value in HARMFUL.items()
    if not any(row.name == name and row.decision in (FINGERPRINT, NOT_SERVED) for row in TABLE)
} | {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}


def of(decision: environment.Decision) -> list[Setting]:
    return [row for row in TABLE if row.decision is decision]


def test_every_setting_has_one_row() -> None:
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))


def test_a_variable_that_decides_numbers_changes_the_code_version_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in of(FINGERPRINT):
        monkeypatch.delenv(row.name, raising=False)
    cfg = compose([])
    plain, version = code_sources(cfg), code_version(cfg)
    assert not {row.name for row in TABLE} & plain.keys()  # what was recorded before still matches
    for row in of(FINGERPRINT):
        with pytest.MonkeyPatch.context() as patch:
            if row.only_with is not None:
                patch.setenv(row.name, HARMFUL[row.name])
                assert code_version(cfg) == version
                patch.setenv(row.only_with, HARMFUL[row.only_with])
            patch.setenv(row.name, HARMFUL[row.name])
            assert code_version(cfg) != version
            changed = changed_code(plain, code_sources(cfg))
            assert row.name in changed
            assert row.name in told_changes(changed)
            patch.setenv(row.name, "")  # for every library the same as not set
            assert row.name not in code_sources(cfg)


@pytest.mark.skipif(environment.ONEDNN is None, reason="hcr leaves oneDNN to TensorFlow on this kind of machine")
@pytest.mark.parametrize(
    ("found", "after"), [(None, "1"), ("", "1"), (" ", "1"), ("1", "1"), ("True", "1"), ("0", "0"), ("false", "0")]
)
def test_onednn_is_on_unless_the_user_says_otherwise(found: str | None, after: str) -> None:
    environ = {} if found is None else {"TF_ENABLE_ONEDNN_OPTS": found}
    pin(environ)
    assert environ["TF_ENABLE_ONEDNN_OPTS"] == after
    assert deciding_settings(environ) == ({} if after == "1" else {"TF_ENABLE_ONEDNN_OPTS": "0"})


@pytest.mark.skipif(environment.ONEDNN is None, reason="hcr leaves oneDNN to TensorFlow on this kind of machine")
@pytest.mark.parametrize(("asked", "found"), [({}, "True"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "False")])
def test_tensorflow_has_the_onednn_that_hcr_or_the_user_asks_for(asked: dict[str, str], found: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"} | asked
    ask = "import hcr; from tensorflow.python.util import _pywrap_util_port as port; print(port.IsMklEnabled())"
    told = subprocess.run([sys.executable, "-c", ask], env=env, capture_output=True, text=True, check=True)
    assert told.stdout == f"{found}\n"


@pytest.mark.skipif(environment.ONEDNN is None, reason="hcr leaves oneDNN to TensorFlow on this kind of machine")
@pytest.mark.parametrize(
    ("before", "then", "told"),
    [
        (
            "0",
            "",
            "TF_ENABLE_ONEDNN_OPTS: expected 1, got 0 when TensorFlow was imported; import hcr before TensorFlow and"
            " Keras, or set TF_ENABLE_ONEDNN_OPTS=0 before Python starts",
        ),
        (
            "1",
            "0",
            "TF_ENABLE_ONEDNN_OPTS: expected 0, got 1 when TensorFlow was imported; import hcr before TensorFlow and"
            " Keras, or set TF_ENABLE_ONEDNN_OPTS=1 before Python starts",
        ),
        ("1", "nonsense", "TF_ENABLE_ONEDNN_OPTS: expected 0 or 1, got 'nonsense'"),
    ],
)
def test_tensorflow_with_other_onednn_than_is_recorded_is_refused_in_a_line(before: str, then: str, told: str) -> None:
    program = """if True:
        import os, sys, tensorflow
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = sys.argv[1]
        from hcr.model.settings import pin_keras_settings
        pin_keras_settings()
    """
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": before}
    done = subprocess.run([sys.executable, "-c", program, then], env=env, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"hcr.config.errors.ConfigError: {told}"


@pytest.mark.parametrize("decision", [PINNED, PINNED_BY_CODE, PINNED_IN_OWN, NOT_SERVED, NOT_FOR_GIT, PASSED_ON])
def test_what_decides_no_number_leaves_the_code_version_as_it_is(
    decision: environment.Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = code_version(compose([]))
    for row in of(decision):
        if row.name.isidentifier():
            monkeypatch.setenv(row.name, HARMFUL.get(row.name, "x"))
    assert code_version(compose([])) == version


VERBS = [
    ["--version"],
    ["data"],
    ["completion", "bash"],
    ["completion", "--answer", "bash", "hcr train mod", "="],
    ["sync"],
    pytest.param(["train", "check_only=true"], marks=pytest.mark.exhaustive),  # a sweep checks as much, and trains
    ["train", "--cfg", "job"],
    ["train", "-m", "seed=0,1", "training=smoke", "launcher.workers=1", "training.threads=1"],
]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every module that hcr could import by its name is somebody else's."""
    folder = tmp_path_factory.mktemp("poisoned")
    ours = {
        "hcr",
        "conf",
        "hydra_plugins",
        "mlflow",
        "keras",
        "tensorflow",
        "numpy",
        "yaml",
        "uvicorn",
        "sitecustomize",
    }
    for name in sorted(ours | set(sys.stdlib_module_names) | {"omegaconf", "hydra", "rich", "matplotlib", "optuna"}):
        text = f"import os\nos.close(os.open({str(folder / 'EXECUTED')!r}, os.O_CREAT))\nraise SystemExit('{name}')\n"
        (folder / f"{name}.py").write_text(text)
    for name in ("hcr", "mlflow", "hydra_plugins"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text((folder / f"{name}.py").read_text())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("arguments", VERBS, ids=" ".join)
def test_what_lies_in_the_current_folder_is_not_executed(arguments: list[str], poisoned: Path) -> None:
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=poisoned,
        env={**os.environ, "HCR_OUTPUT_DIR": str(poisoned / "output")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (poisoned / "EXECUTED").exists()


@pytest.mark.slow
def test_the_pages_of_mlflow_are_those_of_the_runs_whatever_the_shell_and_the_current_folder_say(
    poisoned: Path,
) -> None:
    uri = f"sqlite:///{poisoned / 'served' / 'mlflow.db'}"
    (poisoned / "served").mkdir()
    open_store(uri).create_experiment("ours")
    served = {row.name: HARMFUL[row.name] for row in of(NOT_SERVED) if "*" not in row.name}
    served |= {"UVICORN_ROOT_PATH": "/elsewhere", "UVICORN_FACTORY": "true", "_MLFLOW_SERVER_FILE_STORE": "nowhere"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [PROGRAM, "ui", "--port", str(port)], cwd=poisoned, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **served, "HCR_OUTPUT_DIR": str(poisoned / "served")}, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"MLflow's UI is at http://127.0.0.1:{port} (Ctrl-C stops it)\n"
        address = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search?max_results=10"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=30) as answer:
            names = {experiment["name"] for experiment in json.load(answer)["experiments"]}
        assert "ours" in names
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert not (poisoned / "EXECUTED").exists()


def test_python_m_hcr_takes_no_module_from_the_current_folder_either(tmp_path: Path) -> None:
    for name in ("random", "json", "logging", "numpy", "yaml", "omegaconf", "hydra", "mlflow"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('executed {name}')")
    done = run_hcr("train", "--cfg", "job", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "epochs:" in done.stdout


@pytest.mark.parametrize("words", [["-um", "hcr"], ["-B", "-m", "hcr"], ["-mhcr"], ["-umhcr"]], ids=" ".join)
def test_nor_does_any_other_spelling_of_it(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('executed')")
    command = [sys.executable, *words, "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_imports_hcr_keeps_the_modules_of_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "__init__.py").write_text("import hcr, beside")
    (tmp_path / "tool" / "__main__.py").write_text("print('ran')")
    (tmp_path / "beside.py").write_text("")
    command = [sys.executable, "-m", "tool", "hcr"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_a_folder_that_pythonpath_names_stays_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("print('mine')")
    done = run_hcr("--version", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "mine")})
    assert done.stdout.startswith("mine\nhcr ")


@pytest.mark.slow
def test_a_run_is_the_same_with_every_harmful_setting_at_once(hcr: Hcr, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    keras = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "jax"}
    (home / ".keras" / "keras.json").write_text(json.dumps(keras))
    found = []
    for name, env in (("plain", {}), ("harmful", {**BORNE, "HOME": str(home), "KERAS_HOME": str(home / ".keras")})):
        folder = tmp_path / name
        folder.mkdir()
        if env:
            (folder / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\n")
        settings = ("model=resnet", "training=smoke", "training.steps_per_epoch=5", "training.threads=1")
        settings += ("tracking.timeout_s=300",)
        done = hcr("train", *settings, cwd=folder, env={**env, "HCR_OUTPUT_DIR": str(folder / "output")})
        assert done.returncode == 0, done.stderr
        assert "Error" not in done.stderr  # warnings, which `error` asked for, are shown
        assert "\x1b[" not in done.stdout
        (run,) = (folder / "output" / "runs").iterdir()
        events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        tags = next(event["tags"] for event in events if event["event"] == "run")
        artifacts = run / "artifacts"
        pictures = {path.name: path.read_bytes() for path in (artifacts / "plots").glob("*.png")}
        with np.load(artifacts / "predictions" / "test.npz") as predictions:
            probabilities = predictions["probabilities"].tobytes()
        client = open_store(f"sqlite:///{folder / 'output' / 'mlflow.db'}")
        (recorded,) = client.search_runs([client.get_experiment_by_name("hcr").experiment_id])
        assert recorded.info.status == "FINISHED"
        found.append((tags["hcr.fingerprint"], probabilities, sorted(recorded.data.params.items()), pictures.keys()))
        found[-1] += ({name: data for name, data in pictures.items() if name not in ("curves.png",)},)
    assert found[0] == found[1]


KERAS_VALUES = (
    st.sampled_from(["float16", "float32", "float64", "int8", "channels_first", "channels_last", 1, 1e-7, None, [], {}])
    | st.floats()
    | st.text(max_size=5)
)
KERAS_JSON = (
    st.dictionaries(st.sampled_from(["floatx", "epsilon", "image_data_format", "backend", "other"]), KERAS_VALUES)
    | KERAS_VALUES
).map(json.dumps) | st.text(max_size=10)


def keras_takes(home: Path) -> bool:
    """What Keras itself does with the keras.json in `home`: its own module, executed once more."""
    import keras

    spec = importlib.util.find_spec("keras.src.backend.config")
    assert spec is not None and spec.loader is not None
    before = keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception:
        return False
    finally:
        assert before == (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
    return True


@fuzz
@given(text=KERAS_JSON)
def test_a_keras_json_is_refused_exactly_where_keras_would_not_start(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(text, encoding="utf-8")
    problem = unusable_keras_json()
    assert (problem is None) == keras_takes(tmp_path), text
    if problem is not None:
        assert problem.startswith(f"{tmp_path / 'keras.json'}: ")
        assert "expected" in problem and "delete the file" in problem and "\n" not in problem


def test_a_keras_json_with_which_keras_would_not_start_is_told_in_a_line_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"floatx": "int8"}')
    assert main(["train"]) == 1
    assert capsys.readouterr().err == (
        f"hcr: {tmp_path / 'keras.json'}: floatx: expected float16 or float32 or float64, got 'int8';"
        " fix or delete the file\n"
    )
    assert not (tmp_path / "output").exists()


def test_a_model_is_the_same_whatever_keras_was_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from hcr.model.building import build_model

    def built() -> tuple[list[Any], list[np.ndarray[Any, Any]]]:
        model = build_model(compose(["model=resnet"]).model, (8, 6, 1), 10, seed=0)
        config = [layer.get_config() for layer in model.layers]
        return config, [np.asarray(weight) for weight in model.weights]

    config, weights = built()
    try:
        keras.config.set_image_data_format("channels_first")
        keras.config.set_floatx("float64")
        keras.config.set_epsilon(0.1)
        again, same = built()
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
    assert again == config
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(weights, same, strict=True))


def test_keras_imported_with_another_backend_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from hcr.config import ConfigError
    from hcr.model.building import build_model

    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match="KERAS_BACKEND: expected tensorflow, got torch"):
        build_model(compose([]).model, (8, 8, 1), 10, seed=0)


def test_what_a_store_refuses_is_heard_although_mlflow_is_told_to_log_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with Journal(tmp_path, uri=uri, experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        Replay(journal.folder).upload()
        client = open_store(uri)
        (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
        client.log_batch(run.info.run_id, params=[_param("seed", "1")], synchronous=True)
        journal.params({"seed": "2"})  # a param never changes: the store does not take it
    replay = Replay(journal.folder)
    with pytest.raises(Exception, match="seed"):
        replay.upload()
    assert not replay.ended
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


def _param(name: str, value: str) -> Any:
    from mlflow.entities import Param

    return Param(name, value)


def test_the_commit_and_the_patch_are_the_project_s_own_inside_another_project_s_git_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, patch = git_commit(), git_patch()
    if commit is None:
        pytest.skip("the sources are no git checkout")
    (tmp_path / ".gitconfig").write_text(
        "[diff]\nnoprefix = true\ncontext = 0\nexternal = false\n[color]\nui = always\n"
        f"[safe]\ndirectory = {Path(environment.__file__).parents[1]}\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "other")], check=True)
    for row in of(NOT_FOR_GIT):
        monkeypatch.setenv(row.name, HARMFUL.get(row.name, str(tmp_path / "other")))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert (git_commit(), git_patch()) == (commit, patch)


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_what_asks_for_colours_in_a_pipe_gets_no_lines_drawn_again_and_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, "1")
    pipe = io.StringIO()
    console = PlainConsole(file=pipe)
    assert not console.is_interactive
    if name != "TTY_INTERACTIVE":
        console.print("colour", style="red")
        assert "\x1b[" in pipe.getvalue()


def test_a_terminal_is_drawn_on_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        assert PlainConsole(file=terminal).is_interactive
    os.close(ours)


def test_pictures_do_not_depend_on_the_user_s_matplotlib(tmp_path: Path) -> None:
    import matplotlib as mpl

    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.plots import draw_reliability, reliability_info
    from hcr.evaluation.style import default_style

    info = reliability_info(np.array([[0.9, 0.1], [0.4, 0.6]], np.float32), np.array([0, 1]))

    def drawn(name: str) -> bytes:
        with default_style():
            save_figure(draw_reliability(info), tmp_path / name)
        return (tmp_path / name).read_bytes()

    plain = drawn("plain.png")
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "font.family": "monospace", "axes.facecolor": "red"}):
        assert drawn("set.png") == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_warning_of_another_package_is_no_error_and_one_of_ours_is() -> None:
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        for row in of(PINNED_IN_OWN):
            patch.delenv(row.name, raising=False)
        warnings.simplefilter("error")
        settle_environment()
        with pytest.raises(DeprecationWarning):
            warnings.warn_explicit("ours", DeprecationWarning, "file.py", 1, module="hcr.gate.run_config")
        with pytest.warns(DeprecationWarning):
            warnings.warn_explicit("theirs", DeprecationWarning, "file.py", 1, module="keras.src")


VARIABLES = st.dictionaries(
    st.sampled_from(NAMES) | st.sampled_from(["UVICORN_RELOAD", "_MLFLOW_SERVER_FILE_STORE", "PATH", "HOME", "X"]),
    st.sampled_from(["", "0", "1", "true", "nonsense", " "]) | st.sampled_from(sorted(HARMFUL.values())),
)


@fuzz
@given(variables=VARIABLES, others=VARIABLES)
@example(variables={"TF_ENABLE_ONEDNN_OPTS": ""}, others={"TF_ENABLE_ONEDNN_OPTS": "true"})
@example(variables={"TF_ENABLE_ONEDNN_OPTS": "1"}, others={"TF_ENABLE_ONEDNN_OPTS": "0"})
def test_any_environment_is_settled_as_the_table_says(variables: dict[str, str], others: dict[str, str]) -> None:
    pinned = dict(variables)
    pin(pinned)
    for row in TABLE:
        if row.decision is PINNED:
            assert pinned.get(row.name) == row.value
        elif row.default is not None:
            asked = variables.get(row.name, "")
            assert pinned[row.name] == ({"true": "1"}.get(asked, asked) if asked.strip() else row.default)
        elif row.name in variables:
            assert pinned[row.name] == variables[row.name]
    once = dict(pinned)
    pin(pinned)
    assert pinned == once

    set_here = {row.name: row for row in of(FINGERPRINT) if variables.get(row.name, "").strip()}
    expected = {name for name, row in set_here.items() if variables[name] != row.default}
    if "TF_XLA_FLAGS" not in expected:
        expected -= {"XLA_FLAGS"}
    assert deciding_settings(variables) == {name: variables[name] for name in expected}

    server = server_environment(variables)
    assert server["PYTHONSAFEPATH"] == "1"
    assert not {"PYTHONWARNINGS", "PYTHONOPTIMIZE", "MLFLOW_ARTIFACTS_ONLY", "UVICORN_RELOAD"} & server.keys()
    assert not any(name.startswith(("_MLFLOW_", "UVICORN_")) for name in server.keys() - {"UVICORN_APP_DIR"})
    assert without(NOT_FOR_GIT, variables).keys() == variables.keys() - {row.name for row in of(NOT_FOR_GIT)}

    with pytest.MonkeyPatch.context() as patch:
        digests = []
        for each in (variables, others):
            for row in of(FINGERPRINT):
                patch.delenv(row.name, raising=False)
            for name, value in each.items():
                if name not in ("PATH", "HOME"):
                    patch.setenv(name.replace("*", "X"), value)
            digests.append(code_version(CONFIG))
        assert (digests[0] == digests[1]) == (deciding_settings(variables) == deciding_settings(others))


CONFIG = compose([])


def test_tensorflow_takes_the_memory_of_a_gpu_as_it_needs_it() -> None:
    name, environ = "TF_FORCE_GPU_ALLOW_GROWTH", {"TF_FORCE_GPU_ALLOW_GROWTH": "false"}
    pin(environ)
    assert environ[name] == "true"
    found = importlib.util.find_spec("tensorflow")
    assert found is not None and found.origin is not None
    libraries = list(Path(found.origin).parent.glob("libtensorflow_framework.*"))
    assert any(name.encode() in path.read_bytes() for path in libraries)
