"""The count of looks at test images."""

import shutil
from pathlib import Path

import pytest

from hcr.looks import OWN, count_look, look_tag
from hcr.recorded import read_run
from hcr.tracking.events import last_event


@pytest.mark.slow
def test_looks_at_the_run_s_own_images_and_at_others_are_counted_apart_and_never_lost(
    quick_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(quick_run / "output", tmp_path / "output")
    (folder,) = (tmp_path / "output" / "runs").iterdir()
    run, other = read_run(folder), look_tag("ab" * 32)
    with run.lock():
        assert [count_look(run), count_look(run, other), count_look(run), count_look(run, other)] == [2, 1, 3, 2]
    tags = read_run(folder).tags
    assert (tags[OWN], tags["hcr.test_looks.abababababab"]) == ("3", "2")
    assert look_tag(None) == OWN
    assert last_event(folder)["status"] == "FINISHED"
