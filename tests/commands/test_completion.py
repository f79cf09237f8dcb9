"""The Tab key, in real shells."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hcr.commands.completion import SCRIPTS, answer_bash, candidates, split_line
from hcr.commands.suggest import Suggestions
from hcr.gate.compose import Composer, compose
from hcr.gate.run_config import flatten
from hcr.tracking.journal import Journal
from hcr.tracking.status import run_labels
from hcr.verbs import VERBS

BREAKS = " \t\n\"'><=;|&(:"  # bash's own COMP_WORDBREAKS
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.fixture
def shell_env(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty home, and an `hcr` that completes as ours does and else shows its arguments."""
    command = tmp_path / "bin" / "hcr"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\n[ "$1" = completion ] && exec "{sys.executable}" -m hcr "$@"\nprintf "<%s>" "$@" "end"; echo\n'
    )
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


def typed(shell: str, env: dict[str, str], cwd: Path, keys: str) -> list[str]:
    """The arguments that `hcr` gets when `keys` are typed into an interactive shell in a terminal of its own."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execvpe(shell, SHELLS[shell], env)
    try:
        os.write(terminal, f"PS1='> '; eval \"$(hcr completion {shell})\"; echo rea''dy\n".encode())
        _read_until(terminal, "ready\r\n")
        os.write(terminal, f"{keys}\n".encode())
        shown = _read_until(terminal, "<end>")
        return shown[shown.index("<") + 1 : -len("><end>")].split("><")
    finally:
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(child, 0)


def _read_until(terminal: int, mark: str) -> str:
    shown = ""
    deadline = time.monotonic() + 60
    while mark not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"never saw {mark!r} in {shown!r}"
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown[: shown.index(mark) + len(mark)]


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("hcr tr\tmod\t=k\tmodel.dro\t0.2", ["train", "model=keras_convnet", "model.dropout=0.2"]),
        slow("hcr train model.dep\t3 monitor=val/a\t--mul\t", "train model.depth=3 monitor=val/accuracy --multirun"),
        slow("hcr train -m model=cnn,k\tsplit.va\t0.3", "train -m model=cnn,keras_convnet split.validation=0.3"),
        # A shell closes the quote itself.
        slow("hcr train 'dataset=mn\t seed=3", "train dataset=mnist seed=3"),
        slow("hcr train dataset.path=some\t\tseed=2", ["train", "dataset.path=some where/a.mat", "seed=2"]),
        slow("hcr train --config-dir oth\t model=tin\tseed=1", "train --config-dir other/ model=tiny seed=1"),
    ],
)
def test_tab_completes_what_is_typed(
    shell: str, keys: str, arguments: str | list[str], shell_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "some where").mkdir()
    (tmp_path / "some where" / "a.mat").touch()
    (tmp_path / "other" / "model").mkdir(parents=True)
    (tmp_path / "other" / "model" / "tiny.yaml").write_text("name: cnn\n")
    got = typed(shell, shell_env, tmp_path, keys)
    assert got == (arguments if isinstance(arguments, list) else shlex.split(arguments))


@pytest.mark.slow
def test_bash_is_answered_in_its_own_terms(shell_env: dict[str, str], tmp_path: Path) -> None:
    # COMP_LINE as bash sets it. How quick it is, the test below holds by what is not imported.
    script = 'eval "$(hcr completion bash)"; COMP_LINE=$1; COMP_POINT=${#1}; COMP_WORDS=(hcr); _hcr_complete; '
    script += 'printf "%s\\n" "${COMPREPLY[@]}"'
    models = sorted(path.stem for path in Path(str(files("hcr.conf"))).glob("model/*.yaml"))
    for line, reply in [
        ("hcr tr", ["train "]),
        ("hcr train mod", ["model.", "model="]),
        ("hcr train model=", [f"{name} " for name in models]),
        ("hcr train model.de", ["model.depth=", "model.dense_units="]),
        ("hcr train model.pooling=", ["max ", "average ", "none "]),
        ("hcr train --c", ["--cfg ", "--config-dir ", "--config-name "]),
        ("hcr train nothing", []),
    ]:
        asked = ["bash", "-c", script, "bash", line]
        done = subprocess.run(asked, env=shell_env, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == (reply or [""]), line


def test_an_answer_imports_neither_hydra_nor_anything_heavier() -> None:
    code = (
        "import sys; from hcr.cli import main\n"
        "main(['completion', '--answer', 'bash', 'hcr train model.', '=:'])\n"
        "print([name for name in ('hydra', 'mlflow', 'tensorflow', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "depth=" in done.stdout


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=mnist"],
        ["dataset=mnist", "model=keras_convnet"],
        ["experiment=keras_example"],
        ["optimizer=sgd", "schedule=constant", "training=smoke"],
    ],
)
def test_the_keys_offered_are_those_of_the_config_that_would_run(overrides: list[str]) -> None:
    suggestions = Suggestions(overrides, None)
    offered = {
        key for name in suggestions.top_level for key in ([name] if name[-1] == "=" else suggestions.complete(name))
    }
    composed = Composer().compose(overrides)
    raw = {key: value for key, value in OmegaConf.to_container(composed).items() if key != "hydra"}
    keys = {f"{key}=" for key in flatten(raw)}
    assert offered - {f"{group}=" for group in suggestions.groups} == keys


@pytest.mark.slow
def test_choices_and_values_are_the_real_ones() -> None:
    suggestions = Suggestions([], None)
    conf = Path(__file__).parents[2] / "conf"
    for group in suggestions.groups:
        assert suggestions.choices(group) == sorted(file.stem for file in (conf / group).glob("*.yaml"))
    for key in ("model.batch_norm", "check_only", "score_test", "model.pooling", "monitor", "training.patience"):
        for value in suggestions.values(key):
            compose([f"{key}={value}"])
    assert suggestions.values("score_test") == ["true", "false", "null"]
    assert suggestions.values("model.depth") == []


def test_ones_own_yaml_is_offered_and_a_broken_file_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("defaults: [cnn]\ndepth: 1\n")
    (tmp_path / "model" / "broken.yaml").write_text("{[")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.yaml").write_text("seed: 1\n")
    monkeypatch.setenv("HCR_CONF_DIR", str(tmp_path))
    assert candidates(["train", "model=t"]) == ["model=tiny"]
    assert "model.dense_units=" in candidates(["train", "model=tiny", "model."])
    assert candidates(["train", "model=broken", "model."]) == []
    assert candidates(["train", "stu"]) == ["study="]
    monkeypatch.setenv("HCR_CONF_DIR", str(tmp_path / "absent"))
    assert candidates(["train", "model=c"]) == ["model=cnn", "model=cnn_deep"]


def test_a_verb_that_takes_a_run_is_offered_the_runs_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "out"
    monkeypatch.setenv("HCR_OUTPUT_DIR", str(root))
    assert run_labels(root) == []
    keys = []
    for name in ("first try", "second"):
        with Journal(root, uri="sqlite:///x", experiment="hcr") as journal:
            journal.begin(name=name, tags={})
            keys.append(journal.key)
        journal.release()
        time.sleep(0.002)  # a journal's clock counts milliseconds
    (root / "runs" / "empty").mkdir()
    (root / "runs" / "empty" / "journal.jsonl").touch()
    assert run_labels(root) == [(keys[1], "second"), (keys[0], "first try")]
    assert candidates(["plots", ""]) == ["latest", "best", "second", "first try", keys[1], keys[0]]
    assert candidates(["sync", "--c"]) == ["--check"]
    assert keys[0] in candidates(["sync", "latest", keys[0][:4]])


@pytest.mark.parametrize(
    ("line", "words", "quote"),
    [
        ("hcr train mod", ["hcr", "train", "mod"], ""),
        ("hcr  train ", ["hcr", "train", ""], ""),
        ("hcr 'a b' \"c", ["hcr", "a b", "c"], '"'),
        (r"hcr a\ b", ["hcr", "a b"], ""),
        ("hcr '' x", ["hcr", "", "x"], ""),
    ],
)
def test_an_unfinished_line_is_split_as_the_shell_would(line: str, words: list[str], quote: str) -> None:
    assert split_line(line) == (words, quote)


def test_bash_gets_only_what_it_replaces() -> None:
    assert answer_bash("hcr train model=k", BREAKS) == ["keras_convnet "]
    assert answer_bash("hcr train model=k", BREAKS.replace("=", "")) == ["model=keras_convnet "]
    assert answer_bash("HCR_OUTPUT_DIR=/x hcr train 'model=k", BREAKS) == ["model=keras_convnet"]


def test_there_is_a_script_for_each_shell_and_a_line_for_others(capsys: pytest.CaptureFixture[str]) -> None:
    from hcr.cli import main

    for shell, script in SCRIPTS.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script + "\n"
    assert main(["completion", "fish"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_or_folder_is_offered_where_a_verb_takes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scores.csv").touch()
    assert candidates(["data", "sc"]) == ["schedule.", "schedule=", "score_test=", "scans/", "scores.csv"]
    assert "scans/" not in candidates(["data", ""])
    assert "scans/" not in candidates(["train", "sc"])


def test_after_its_run_an_evaluation_is_offered_only_what_it_may_change() -> None:
    assert candidates(["evaluate", "latest", "dataset=us"]) == ["dataset=usps"]
    assert candidates(["evaluate", "latest", "dataset=usps", "sp"]) == ["split.", "split="]
    assert {word.strip("=.") for word in candidates(["evaluate", "latest", ""])} == set(VERBS["evaluate"].keys)
