"""An export's place: refused before anything is made, and never filled by half."""

import os
from pathlib import Path

import pytest

from hcr.config import ConfigError
from hcr.exporting.formats import format_of
from hcr.exporting.target import check_target, filled

ONNX, FOLDER = format_of("onnx"), format_of("saved_model")


def refusal(target: Path, kind: object = ONNX, *, force: bool = False) -> str:
    with pytest.raises(ConfigError) as refused:
        check_target(target, kind, force=force)  # type: ignore[arg-type]
    return str(refused.value)


def test_a_place_that_cannot_be_filled_is_refused_in_a_line_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "old.onnx").write_text("old")
    assert "ends in .onnx" in refusal(tmp_path / "model.tflite")
    assert "in a folder that exists" in refusal(tmp_path / "nowhere" / "model.onnx")
    assert "folder.onnx is a folder" in refusal(tmp_path / "folder.onnx", force=True)
    assert refusal(tmp_path / "old.onnx").endswith("old.onnx exists; --force replaces it, -o names another place")
    assert "is no SavedModel" in refusal(tmp_path, FOLDER, force=True)  # a folder of other things is never replaced
    assert "is no SavedModel" in refusal(tmp_path / "old.onnx", FOLDER, force=True)
    check_target(tmp_path / "old.onnx", ONNX, force=True)
    check_target(tmp_path / "new.onnx", ONNX, force=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "folder that can be written" in refusal(tmp_path / "model.onnx")
    tmp_path.chmod(0o700)


def test_an_error_leaves_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), filled(target, ONNX, force=True) as new:
        new.write_text("half")
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.onnx": "old"}
    with filled(target, ONNX, force=True) as new:
        new.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.onnx": "new"}


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match="exists"), filled(target, ONNX, force=False) as new:
        new.write_text("ours")
        target.write_text("theirs")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_a_saved_model_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for version in ("old", "new"):
        with filled(target, FOLDER, force=True) as new:
            new.mkdir()
            (new / "saved_model.pb").write_text(version)
            (new / f"of_{version}").touch()
    assert {path.name for path in target.iterdir()} == {"saved_model.pb", "of_new"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
