"""Trials on a launcher: what it says of its jobs is not what decides."""

from pathlib import Path
from typing import Any

import pytest

from hcr.config import HcrError
from hcr.stopping import INTERRUPTED
from hcr.sweep.launched import LaunchedPool
from hcr.sweep.pool import Ended
from hcr.sweep.trial import RUN, write_result


def test_a_launcher_that_raises_for_one_job_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"

    def launch(overrides: Any, initial_job_idx: int) -> None:
        good.mkdir()
        write_result(good, {"status": "finished"})
        bad.mkdir()
        (bad / RUN).write_text("abc")
        raise RuntimeError("job 2 has been killed\nby the kernel")

    pool = LaunchedPool(launch)
    for folder in (good, bad, never := tmp_path / "never"):
        pool.start(folder)
    assert pool.poll(0.1) == [Ended(good, 0), Ended(bad, 1), Ended(never, INTERRUPTED)]
    assert capsys.readouterr().err == "hcr: the launcher says: RuntimeError: job 2 has been killed\n"


def test_what_is_interrupted_before_it_was_launched_is_not_launched(tmp_path: Path) -> None:
    launched: list[Any] = []
    pool = LaunchedPool(lambda overrides, initial_job_idx: launched.append(overrides))
    pool.start(tmp_path / "a")
    pool.signal(tmp_path / "a", 15)
    assert pool.poll(0.1) == [Ended(tmp_path / "a", INTERRUPTED)]
    assert pool.poll(0.1) == []
    assert launched == []


def test_a_launcher_that_takes_no_job_ends_the_sweep_in_its_own_words(tmp_path: Path) -> None:
    def launch(overrides: Any, initial_job_idx: int) -> None:
        raise RuntimeError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    pool = LaunchedPool(launch)
    pool.start(tmp_path / "a")
    with pytest.raises(HcrError, match="the launcher says: RuntimeError: sbatch: error: QOSMaxSubmitJobPerUserLimit"):
        pool.poll(0.1)
