"""How many runs at a time, and how many threads each."""

import pytest

from hcr.config import ConfigError
from hcr.config.launcher import LocalConfig, RayConfig
from hcr.sweep.resources import RUN_BYTES, free_memory, workers_and_threads

ROOM = 100 * RUN_BYTES


@pytest.mark.parametrize(
    ("asked", "num_runs", "own", "cores", "free", "expected"),
    [
        (None, 12, None, 8, ROOM, (8, 1)),
        (None, 3, None, 8, ROOM, (3, 2)),  # no more workers than runs, and the cores shared out
        (None, 12, None, 8, 2 * RUN_BYTES, (2, 4)),  # memory for two
        (None, 12, None, 8, 0, (1, 8)),
        (None, 12, 4, 8, ROOM, (2, 4)),  # threads that the config asks for
        (None, 12, 16, 8, ROOM, (1, 16)),  # one run may have as many threads as it asks for
        (2, 12, None, 8, ROOM, (2, 4)),
        (1, 12, None, 2, ROOM, (1, 2)),
    ],
)
def test_cores_and_memory_are_shared_out(
    asked: int | None, num_runs: int, own: int | None, cores: int, free: int, expected: tuple[int, int]
) -> None:
    launcher = LocalConfig(name="local", workers=asked)
    assert workers_and_threads(launcher, num_runs=num_runs, own_threads=own, cores=cores, free=free) == expected


@pytest.mark.parametrize(
    ("asked", "num_runs", "own", "num_gpus", "cores", "expected"),
    [
        (None, 12, None, 2, 16, (2, 8)),  # a GPU for each, and the cores shared out
        (None, 12, None, 4, 2, (2, 1)),  # each needs a core too
        (None, 1, None, 4, 16, (1, 16)),
        (1, 12, None, 4, 16, (1, 16)),
        (None, 12, 6, 4, 16, (2, 6)),
    ],
)
def test_as_many_runs_train_as_there_are_gpus(
    asked: int | None, num_runs: int, own: int | None, num_gpus: int, cores: int, expected: tuple[int, int]
) -> None:
    launcher = LocalConfig(name="local", workers=asked)
    given = {"num_runs": num_runs, "own_threads": own, "num_gpus": num_gpus, "cores": cores, "free": ROOM}
    assert workers_and_threads(launcher, **given) == expected


def test_more_runs_than_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^launcher\.workers: expected at most 2, a GPU for each, got 3$"):
        workers_and_threads(LocalConfig(name="local", workers=3), num_runs=9, own_threads=None, num_gpus=2, cores=8)


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"launcher.workers: expected at most 2 on 8 cores with training.threads=4"):
        workers_and_threads(LocalConfig(name="local", workers=3), num_runs=9, own_threads=4, cores=8)
    with pytest.raises(ConfigError, match=r"launcher.workers: expected at most 2 on 2 cores, got 3"):
        workers_and_threads(LocalConfig(name="local", workers=3), num_runs=9, own_threads=None, cores=2)


def test_where_a_cluster_is_it_says_how_many_there_is_room_for() -> None:
    given = {"name": "ray", "address": None, "gpus_per_trial": 0.0, "transfer_every": 1}
    few = RayConfig(workers=None, cpus_per_trial=None, **given)
    assert workers_and_threads(few, num_runs=9, own_threads=None, cores=2) == (None, 1)
    many = RayConfig(workers=300, cpus_per_trial=4, **given)
    assert workers_and_threads(many, num_runs=9, own_threads=None, cores=2) == (300, 4)
    assert workers_and_threads(many, num_runs=9, own_threads=2, cores=2) == (300, 2)


def test_this_machine_has_memory() -> None:
    assert free_memory() > 1 << 20
