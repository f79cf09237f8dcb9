"""Checkpoints: read back to the bit, whole or not at all, and never code."""

import hashlib
import io
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcr.training import TrainingState
from hcr.training.checkpoint import (
    FORMAT,
    DamagedCheckpoint,
    checkpoints,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)


def state(epoch: int = 3) -> TrainingState:
    rng = np.random.default_rng(epoch)
    return TrainingState(
        epoch=epoch,
        history=[{"val/loss": 0.1 + 1 / (3 * e), "lr": 1e-3} for e in range(1, epoch + 1)],
        ended_ms=[1_700_000_000_000 + e for e in range(epoch)],
        best_epoch=epoch - 1,
        best_value=1 / 3,
        best_weights=[rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=()).astype(np.float32)],
        best_probabilities=rng.random((5, 3)).astype(np.float32),
        variables=[rng.integers(0, 2**32, 2, dtype=np.uint32), rng.normal(size=(12,)).astype(np.float32)],
        optimizer_variables=[np.array(epoch * 100, np.int64)],
        average=[],
    )


def assert_equal(found: TrainingState, expected: TrainingState) -> None:
    for name in ("epoch", "history", "ended_ms", "best_epoch", "best_value"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("best_weights", "variables", "optimizer_variables", "average"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert [a.dtype for a in ours] == [b.dtype for b in theirs]
        assert all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))
    assert found.best_probabilities.tobytes() == expected.best_probabilities.tobytes()
    assert found.best_probabilities.shape == expected.best_probabilities.shape


def test_what_was_saved_is_read_back_to_the_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", state(), "f" * 64)
    found, fingerprint = read_checkpoint(tmp_path / "checkpoint" / "000003")
    assert_equal(found, state())
    assert fingerprint == "f" * 64


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []  # what was forced onto the disk, and whether the checkpoint had its name then

    def sync(number: int) -> None:
        synced.append((Path(f"/proc/self/fd/{number}").readlink().name, (tmp_path / "000003").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    save_checkpoint(tmp_path, state(), "f")
    assert synced == [("000003.new", False), (tmp_path.name, True)]


def test_lists_of_more_than_ten_arrays_keep_their_order(tmp_path: Path) -> None:
    many = state()
    many.variables = [np.array(i) for i in range(120)]
    save_checkpoint(tmp_path, many, "f")
    assert [int(array) for array in read_checkpoint(tmp_path / "000003")[0].variables] == list(range(120))


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    for epoch in (8, 9, 10, 11):
        save_checkpoint(folder, state(epoch), "f")
    assert [path.name for path in checkpoints(folder)] == ["000011", "000010"]


def test_a_damaged_one_falls_back_to_the_one_before_and_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    for epoch in (4, 5):
        save_checkpoint(tmp_path, state(epoch), "f")
    (tmp_path / "000005").write_bytes((tmp_path / "000005").read_bytes()[:-1])
    found = load_checkpoint(tmp_path, lambda path, why: told.append(f"{path.name}: {why}"))
    assert found is not None
    assert_equal(found[0], state(4))
    assert told == ["000005: it is truncated or changed: its checksum differs"]
    (tmp_path / "000004").write_bytes(b"")
    assert load_checkpoint(tmp_path, lambda path, why: told.append(why)) is None


def test_what_a_kill_left_half_written_is_not_looked_at(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(4), "f")
    (tmp_path / "000005.new").write_bytes(FORMAT)
    found = load_checkpoint(tmp_path, lambda path, why: pytest.fail(why))
    assert found is not None
    assert found[0].epoch == 4


def test_a_checkpoint_cut_at_any_length_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(), "f")
    whole = (tmp_path / "000003").read_bytes()
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint(path)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_checkpoint_with_any_bit_flipped_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    save_checkpoint(folder, state(), "f")
    path = folder / "000003"
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(path)


def signed(content: bytes) -> bytes:
    return FORMAT + hashlib.sha256(content).digest() + content


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (exec, ("raise SystemExit('code was run')",))


def test_a_stranger_s_checkpoint_with_a_right_checksum_runs_no_code(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, values=np.array([Evil()], dtype=object))
    for content in (buffer.getvalue(), b"", b"PK", b"not an archive at all"):
        (tmp_path / "evil").write_bytes(signed(content))
        with pytest.raises(DamagedCheckpoint, match="it has no training state"):
            read_checkpoint(tmp_path / "evil")


def test_a_full_disk_leaves_the_one_before_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(4), "f")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(tmp_path, state(5), "f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["000004"]
    assert_equal(read_checkpoint(tmp_path / "000004")[0], state(4))
