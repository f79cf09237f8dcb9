"""Hydra's own node, behind the gate: no import, no call, nothing on disk."""

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from hcr.config.errors import ConfigError
from hcr.gate.compose import Composer
from hcr.gate.hydra_node import check_hydra_node

SHIPPED = sorted(file.stem for file in (Path(hydra.__file__).parent / "conf/hydra/job_logging").glob("*.yaml"))

# Opening a file for writing is harmless, and seen on disk.
MAKES_A_FILE = "{version:1,root:{level:INFO,handlers:[x]},handlers:{x:{class:zipfile.ZipFile,file:made,mode:w}}}"


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def node(values: dict[str, Any]) -> DictConfig:
    return OmegaConf.create(values)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["+hydra.callbacks.a._target_=os.makedirs", "+hydra.callbacks.a.name=made"], "hydra.callbacks"),
        (["+hydra.callbacks.a._target_=hydra.experimental.callback.Callback"], "hydra.callbacks"),
        (["+hydra.job.env_set.LD_PRELOAD=/tmp/x.so"], "hydra.job.env_set"),
        (["hydra.launcher._target_=os.makedirs", "+hydra.launcher.name=made"], "hydra.launcher._target_"),
        (["hydra.sweeper._target_=os.makedirs"], "hydra.sweeper._target_"),
        (["+hydra.job_logging.handlers.x.class=subprocess.Popen"], "hydra.job_logging.handlers.x.class"),
        (["+hydra.hydra_logging.handlers={x:{class:zipfile.ZipFile}}"], "hydra.hydra_logging.handlers.x.class"),
        (["+hydra.job_logging.formatters.x.class=os.makedirs"], "hydra.job_logging.formatters.x.class"),
        (["+hydra.job_logging.handlers.console.stream=ext://os.environ"], "hydra.job_logging.handlers.console.stream"),
        (["+hydra.job_logging.x=cfg://handlers"], "hydra.job_logging.x"),
        (["+hydra.job_logging.handlers=${model}"], "hydra.job_logging.handlers"),
        (["+hydra.job_logging.x=[a,ext://os.environ]"], "hydra.job_logging.x[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_hydra_would_import_or_call_is_refused_and_leaves_nothing_on_disk(overrides: list[str], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Composer().check(overrides)
    assert str(refused.value).startswith(f"{key}: ")
    assert "not allowed" in str(refused.value)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize(
    "overrides",
    [
        [f"+hydra.extra={MAKES_A_FILE}", "hydra.job_logging=${hydra.extra}"],
        [f"+hydra.extra={MAKES_A_FILE}", "hydra.hydra_logging=${hydra.extra}"],
    ],
    ids=["job_logging", "hydra_logging"],
)
def test_logging_taken_from_elsewhere_by_an_interpolation_is_refused(overrides: list[str], multirun: bool) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\."):
        Composer().check(overrides, multirun=multirun)


@pytest.mark.parametrize("where", ["handlers", "formatters", "filters"])
def test_a_factory_that_is_not_on_the_list_is_refused(where: str) -> None:
    values = {"job_logging": {where: {"x": {"()": "os.makedirs"}}}}
    with pytest.raises(ConfigError, match=rf"^hydra\.job_logging\.{where}\.x\.\(\): 'os\.makedirs' is not allowed"):
        check_hydra_node(node(values))


def test_a_target_is_found_inside_lists_and_at_any_depth() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.help\.a\[0\]\.b\[1\]\._target_: 'os\.system'"):
        check_hydra_node(node({"help": {"a": [{"b": [1, {"_target_": "os.system"}]}]}}))


def test_an_unknown_key_of_hydra_s_is_refused_behind_a_plus_too() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.foo: unknown key"):
        Composer().check(["hydra.foo=1"])
    with pytest.raises(ConfigError, match=r"^hydra\.foo: unknown key"):
        Composer().check(["+hydra.foo=1"])


def test_callbacks_are_refused_even_where_they_name_nothing_to_call() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.callbacks"):
        check_hydra_node(node({"callbacks": {"a": None}}))


@pytest.mark.parametrize("choice", SHIPPED)
def test_every_job_logging_that_hydra_ships_is_accepted(choice: str) -> None:
    whole = Composer().compose([f"hydra/job_logging={choice}"])
    assert whole.hydra.runtime.choices["hydra/job_logging"] == choice


INSTEAD = {
    "launcher": "hydra/launcher: hcr runs its sweeps itself; expected launcher=local, ray or slurm",
    "sweeper": "hydra/sweeper: hcr runs its sweeps itself; expected sweep.sampler=grid, tpe, random, cmaes or gp",
}


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("group", INSTEAD)
@pytest.mark.parametrize("override", ["{}=basic", "+{}=basic", "++{}=evil", "~{}", "{}@foo=evil", "{}=basic,evil"])
def test_a_launcher_or_sweeper_of_hydra_s_is_refused_with_hcr_s_own(override: str, group: str, multirun: bool) -> None:
    with pytest.raises(ConfigError) as refused:
        Composer().check([override.format(f"hydra/{group}")], multirun=multirun)
    assert str(refused.value) == INSTEAD[group]


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("group", INSTEAD)
@pytest.mark.parametrize("line", ["override /hydra/{}: mine", "override /hydra/{}: evil", "/hydra/{}: mine"])
def test_a_launcher_or_sweeper_in_a_user_s_yaml_is_refused_too(
    line: str, group: str, multirun: bool, tmp_path: Path
) -> None:
    for name, text in {
        f"hydra/{group}/mine.yaml": "a: 1\n",
        "experiment/own.yaml": f"# @package _global_\ndefaults:\n  - {line.format(group)}\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as refused:
        Composer(tmp_path).check(["experiment=own"], multirun=multirun)
    assert str(refused.value) == INSTEAD[group]
