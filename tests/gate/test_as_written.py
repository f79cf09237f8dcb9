"""Text is recorded as it was written, also where Hydra or YAML would read a number."""

from pathlib import Path

import pytest

from hcr.config import ConfigError
from hcr.gate import RunConfig
from hcr.gate.as_written import quote_text
from hcr.gate.compose import Composer, compose
from hcr.gate.keys import Keys
from hcr.gate.run_config import CHOICES, config_hints

KEYS = Keys({}, config_hints(), CHOICES)


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("notes=1e5", "notes='1e5'"),
        ("notes= 5 ", "notes= '5' "),
        ("notes=1e5,2e5", "notes='1e5','2e5'"),
        ("notes=choice(1,2)", "notes=choice('1','2')"),
        ("tags={commit: 12345e7, v: 1.10, t: true}", "tags={commit: '12345e7', v: '1.10', t: 'true'}"),
        ("+tags.v=1.10", "+tags.v='1.10'"),
        ("tracking.run_name=0.10", "tracking.run_name='0.10'"),
        ("dataset.class_names=[1e1,true,no]", "dataset.class_names=['1e1','true',no]"),
        *[(same, same) for same in ("notes=null", "notes='1'", "notes=[1]", "notes=1 2", "notes=a(", "seed=1e1")],
        *[(same, same) for same in ("notes=${seed}", "model.depth=1,2", "notes", "=1", "hydra.run.dir=1", "x.y=1")],
    ],
)
def test_what_is_to_be_text_is_quoted_and_nothing_else(override: str, quoted: str) -> None:
    assert quote_text([override], KEYS.hint) == [quoted]


def test_the_command_line_s_text_is_recorded_as_it_was_written() -> None:
    cfg = compose(
        [
            "notes=1e5",
            "tags={commit: 12345e7, v: 1.10, ok: true, n: 007}",
            "tracking.experiment_name=2024",
            "dataset.class_names=[0,1,2,3,4,5,6,7,8,1e1]",
        ]
    )
    assert cfg.notes == "1e5"
    assert cfg.tags == {"commit": "12345e7", "v": "1.10", "ok": "true", "n": "007"}
    assert cfg.tracking.experiment_name == "2024"
    assert cfg.dataset.class_names[-2:] == ("8", "1e1")
    assert cfg.seed == 0


def from_yaml(folder: Path, text: str, *overrides: str) -> RunConfig:
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    return compose(["experiment=mine", *overrides], config_dir=folder)


def test_yaml_s_text_is_recorded_as_it_was_written(tmp_path: Path) -> None:
    text = (
        "notes: 1_000\n"
        "tags: {commit: 12345e7, v: 1.10, 'no': no, n: 007, hex: 0x10, seed: '${seed}', q: '1.0'}\n"
        "dataset:\n  class_names: [00, 01, 02, 03, 04, 05, 06, 07, 08, yes]\n"
    )
    cfg = from_yaml(tmp_path, text)
    assert cfg.notes == "1_000"
    assert cfg.tags == {"commit": "12345e7", "v": "1.10", "no": "no", "n": "007", "hex": "0x10", "seed": 0, "q": "1.0"}
    assert cfg.dataset.class_names == ("00", "01", "02", "03", "04", "05", "06", "07", "08", "yes")


def test_words_that_yaml_merges_from_another_mapping_are_kept_too(tmp_path: Path) -> None:
    text = "tags: {<<: [&a {v: 1.10, z: 1.30}, {v: 5.50, u: 1e3}], z: 1.40, w: 1.20}\n"
    assert from_yaml(tmp_path, text).tags == {"v": "1.10", "z": "1.40", "u": "1e3", "w": "1.20"}


def test_an_interpolated_number_is_no_text_and_quotes_are_not_offered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^notes: expected text or null, got 0$"):
        compose(["notes=${seed}"])


def test_the_command_line_has_the_last_word_over_yaml(tmp_path: Path) -> None:
    assert from_yaml(tmp_path, "tags: {v: 1.10, w: 2.20}\n", "tags.v=3.30").tags == {"v": "3.30", "w": "2.20"}


def test_the_values_of_a_sweep_are_text_too() -> None:
    runs = Composer().check(["+tags.v=1.10,1.20", "seed=0,1"], multirun=True).runs
    assert [run.cfg.tags for run in runs] == [{"v": "1.10"}] * 2 + [{"v": "1.20"}] * 2


def test_null_is_no_text_and_the_message_says_how_it_is_one() -> None:
    assert compose(["notes=null"]).notes is None
    with pytest.raises(ConfigError, match=r"tags\.a: expected text .*, got None; for the text null, write 'null'"):
        compose(["tags={a: null}"])
    assert compose(["tags={a: 'null'}"]).tags == {"a": "null"}


@pytest.mark.parametrize("name", ["no", "1.10", "1e5"])
def test_a_tag_s_name_that_yaml_reads_as_something_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^tags: expected text as a name, got .*; put it in quotes in YAML"):
        from_yaml(tmp_path, f"tags: {{{name}: x}}\n")
    cfg = from_yaml(tmp_path / "quoted", f"tags: {{'{name}': x}}\n")
    assert cfg.tags == {name: "x"}
