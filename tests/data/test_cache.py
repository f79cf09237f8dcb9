"""The cache of prepared data sets: prepared once, seen to have changed, safe under kills and full disks."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hcr.config.errors import DataError
from hcr.data import cache
from hcr.data.dataset import Dataset
from hcr.data.formats.folder import Folder
from hcr.data.formats.npz import Npz
from hcr.data.stored import read_dataset


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hcr" / "prepared"


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_opened", [])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in range(12):
        draw(folder / "ab"[number % 2] / f"{number}.png", number)
    return folder


def draw(file: Path, number: int, size: tuple[int, int] = (5, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((size[1], size[0]), np.uint8)
    image.flat[6:8] = 255, number
    Image.fromarray(image).save(file, "PNG")


def cfg(folder: Path, **settings: Any) -> Folder:
    return Folder(name="scans", format="folder", path=str(folder), **settings)


@contextlib.contextmanager
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders that are read, as in a new process."""
    seen: list[Path] = []
    real = Folder.read

    def read(self: Folder, path: Path) -> Any:
        seen.append(path)
        return real(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "read", read)
        patched.setattr(cache, "_opened", [])
        yield seen


def entries(place: Path) -> list[Path]:
    """The data sets that are whole."""
    return sorted(path.parent for path in place.glob("*/*/dataset.json") if not path.parents[1].is_symlink())


def same(one: Dataset, other: Dataset) -> bool:
    return one.digest == other.digest and bool((one.images == other.images).all())


def test_a_data_set_is_read_once_and_then_opened(scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.load_cached(cfg(scans))
    with reads(monkeypatch) as seen:
        second = cache.load_cached(cfg(scans))
        assert cache.load_cached(cfg(scans)) is second  # in one process it is the same
    assert seen == []
    assert same(first, second)
    for name in ("labels", "hashes"):
        assert (getattr(first, name) == getattr(second, name)).all()
    assert (first.class_names, first.notes, first.source_shape) == (
        second.class_names,
        second.notes,
        second.source_shape,
    )
    assert len(entries(place)) == 1


def test_images_are_memory_mapped_and_cannot_be_changed(scans: Path, place: Path) -> None:
    images = cache.load_cached(cfg(scans)).images
    base: Any = images
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not images.flags.writeable
    (entry,) = entries(place)
    assert sorted(path.name for path in entry.iterdir()) == [
        "dataset.json",
        "hashes.npy",
        "images.npy",
        "labels.npy",
        "rows.npy",
    ]


def add(scans: Path) -> None:
    draw(scans / "a" / "new.png", 77)


def rewrite(scans: Path) -> None:
    draw(scans / "a" / "0.png", 78)
    os.utime(scans / "a" / "0.png", ns=(1, 1))  # the size is the same, and the time is older


def remove(scans: Path) -> None:
    (scans / "a" / "0.png").unlink()


def rename(scans: Path) -> None:
    (scans / "a").rename(scans / "c")


def label_otherwise(scans: Path) -> None:
    (scans / "a" / "0.png").rename(scans / "b" / "0.png")


@pytest.mark.parametrize("change", [add, rewrite, remove, rename, label_otherwise])
def test_a_change_of_the_files_is_seen_and_the_old_data_set_is_removed(
    scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    before = cache.load_cached(cfg(scans))
    pixels = before.images.copy()
    (old,) = entries(place)
    change(scans)
    with reads(monkeypatch) as seen:
        after = cache.load_cached(cfg(scans))
    assert seen == [scans]
    assert after.digest != before.digest
    (new,) = entries(place)
    assert new != old
    assert (before.images == pixels).all()  # a process that has it mapped keeps it


def test_a_change_is_seen_within_a_process(scans: Path) -> None:
    before = cache.load_cached(cfg(scans))
    add(scans)
    assert cache.load_cached(cfg(scans)).digest != before.digest


def test_a_new_version_of_the_code_prepares_again(scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.load_cached(cfg(scans))
    with reads(monkeypatch) as seen:
        monkeypatch.setattr(cache, "_code", lambda: "another")
        cache.load_cached(cfg(scans))
    assert seen == [scans]
    assert len(entries(place)) == 1


def test_each_preparation_has_a_place_of_its_own(scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, small = cfg(scans), cfg(scans, image_size=[3, 3])
    cache.load_cached(plain)
    cache.load_cached(small)
    assert len(entries(place)) == 2
    with reads(monkeypatch) as seen:
        assert cache.load_cached(plain).images.shape[1:] == (6, 5, 1)
        assert cache.load_cached(small).images.shape[1:] == (3, 3, 1)
        cache.load_cached(plain.replace(name="other", min_per_class=2, classes=("b", "a")))  # of the same images
    assert seen == []


def test_a_filled_config_finds_what_was_prepared_before_it_was_filled(
    scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cfg = cfg(scans)
    filled = open_cfg.replace(image_shape=(6, 5, 1), num_classes=2, class_names=("a", "b"))
    first = cache.load_cached(open_cfg)
    cache.remember_filled(open_cfg, filled)
    cache.remember_filled(open_cfg, filled)
    with reads(monkeypatch) as seen:
        assert same(cache.load_cached(filled), first)
    assert seen == []


def test_changed_files_are_held_against_a_filled_config(scans: Path) -> None:
    open_cfg = cfg(scans)
    filled = open_cfg.replace(image_shape=(6, 5, 1), num_classes=2, class_names=("a", "b"))
    cache.load_cached(open_cfg)
    cache.remember_filled(open_cfg, filled)
    draw(scans / "c" / "99.png", 99)
    assert cache.load_cached(open_cfg).class_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"expected the classes of dataset\.class_names, got 'c'"):
        cache.load_cached(filled)
    (scans / "c" / "99.png").unlink()
    draw(scans / "a" / "98.png", 98, size=(9, 9))
    with pytest.raises(DataError, match=r"expected an image of 6x5 \(dataset\.image_shape\), got 9x9"):
        cache.load_cached(filled)
    assert cache.load_cached(open_cfg).source_shape is None


def test_a_copy_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    np.savez(file, x=images, y=np.arange(8) % 2)
    before, wanted = file.stat(), Npz(name="some", format="npz", path=str(file))
    first = cache.load_cached(wanted)
    np.savez(file, x=255 - images, y=np.arange(8) % 2)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert cache.load_cached(wanted).digest != first.digest


def test_a_link_to_a_place_that_was_removed_is_no_obstacle(
    scans: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = cfg(scans).replace(num_classes=2)
    cache.load_cached(cfg(scans))
    cache.remember_filled(cfg(scans), filled)
    (entry,) = (entry for entry in entries(place) if not entry.is_symlink())
    shutil.rmtree(entry.parent)
    monkeypatch.setattr(cache, "_opened", [])
    cache.load_cached(filled)
    assert capsys.readouterr().err == ""
    assert len(entries(place)) == 1


DAMAGE = {
    "no images": lambda entry: (entry / "images.npy").unlink(),
    "images cut": lambda entry: os.truncate(entry / "images.npy", 200),
    "images empty": lambda entry: os.truncate(entry / "images.npy", 0),
    "no labels": lambda entry: (entry / "labels.npy").unlink(),
    "other labels": lambda entry: np.save(entry / "labels.npy", np.zeros(3, np.int64)),
    "no hashes": lambda entry: (entry / "hashes.npy").unlink(),
    "no json": lambda entry: (entry / "dataset.json").unlink(),
    "json cut": lambda entry: os.truncate(entry / "dataset.json", 20),
    "json of another kind": lambda entry: (entry / "dataset.json").write_text("[]"),
    "json without keys": lambda entry: (entry / "dataset.json").write_text("{}"),
    "a pickle": lambda entry: (entry / "labels.npy").write_bytes(b"\x80\x04N."),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize("what", list(DAMAGE))
def test_a_damaged_data_set_is_prepared_again(
    scans: Path, place: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = cache.load_cached(cfg(scans)).digest
    (entry,) = entries(place)
    DAMAGE[what](entry)
    with reads(monkeypatch) as seen:
        again = cache.load_cached(cfg(scans))
    assert seen == [scans]
    assert again.digest == digest
    assert same(read_dataset(entry), again)


def test_official_sides_and_groups_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("train", "val", "test"):
        for number in range(6):
            draw(tmp_path / "set" / side / "ab"[number % 2] / f"w{number}_{side}.png", number + 10 * len(side))
    config = cfg(tmp_path / "set", group=r"w(\d)_")
    first = cache.load_cached(config)
    monkeypatch.setattr(cache, "_opened", [])
    second = cache.load_cached(config)
    for name in ("is_test", "is_val", "groups"):
        assert getattr(first, name) is not None
        assert (getattr(first, name) == getattr(second, name)).all()
    entry = next(cache.cache_folder().glob("*/*/dataset.json")).parent
    (entry / "is_test.npy").unlink()  # else its test images would be training images
    monkeypatch.setattr(cache, "_opened", [])
    assert cache.load_cached(config).is_test is not None


def test_data_that_is_refused_leaves_nothing(scans: Path, place: Path) -> None:
    (scans / "a" / "0.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"0\.png: expected a picture"):
        cache.load_cached(cfg(scans))
    assert [path.name for path in place.glob("*/*")] == ["lock"]


def test_data_sets_that_nobody_opens_are_removed(scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [cfg(scans, image_size=[size, size]) for size in (3, 4, 5)]
    filled = configs[0].replace(num_classes=2)
    for config in configs[:2]:
        cache.load_cached(config)
    cache.remember_filled(configs[0], filled)
    old = time.time() - cache.UNUSED_S - 60
    for entry in entries(place):
        os.utime(entry.parent, (old, old))
    monkeypatch.setattr(cache, "_opened", [])
    cache.load_cached(configs[1])  # it is in use
    cache.load_cached(configs[2])
    with reads(monkeypatch) as seen:
        cache.load_cached(configs[1])
        cache.load_cached(configs[2])
    assert seen == []
    assert len(entries(place)) == 2


# Several processes.

PREPARE = """
import sys, time
from pathlib import Path
from hcr.data import cache
from hcr.data.formats.folder import Folder
folder, log = map(Path, sys.argv[1:])
real, written = Folder.read, cache.write_arrays
def read(self, path):
    with log.open("a") as file:
        file.write("read\\n")
    time.sleep(WAIT_READ)
    return real(self, path)
def write(*arguments):
    with log.open("a") as file:
        file.write("writing\\n")
    time.sleep(WAIT_WRITE)
    written(*arguments)
Folder.read, cache.write_arrays = read, write
print(cache.load_cached(Folder(name="scans", format="folder", path=str(folder))).digest)
"""


def start(scans: Path, log: Path, read_s: float = 0, write_s: float = 0) -> subprocess.Popen[str]:
    code = PREPARE.replace("WAIT_READ", str(read_s)).replace("WAIT_WRITE", str(write_s))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(scans), str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(log: Path, word: str) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and word in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_processes_that_start_together_prepare_once(scans: Path, place: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(scans, log, read_s=2) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert {errors for _, errors in outputs} == {""}
    assert len({output for output, _ in outputs}) == 1
    assert log.read_text().split() == ["read", "writing"]
    assert len(entries(place)) == 1


@pytest.mark.parametrize(("word", "waits"), [("read", {"read_s": 60}), ("writing", {"write_s": 60})])
def test_a_killed_process_leaves_nothing_half_written(
    scans: Path, place: Path, tmp_path: Path, word: str, waits: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    process = start(scans, log, **waits)
    wait_for(log, word)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert entries(place) == []
    with reads(monkeypatch) as seen:
        data = cache.load_cached(cfg(scans))
    assert seen == [scans]
    assert len(data.labels) == 12
    (entry,) = entries(place)
    assert sorted(path.name for path in entry.parent.iterdir()) == sorted([entry.name, "lock"])


def test_a_process_that_waits_for_one_that_is_killed_prepares_itself(scans: Path, tmp_path: Path) -> None:
    first = start(scans, tmp_path / "first", read_s=60)
    wait_for(tmp_path / "first", "read")
    second = start(scans, tmp_path / "second")
    time.sleep(1)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    output, errors = second.communicate(timeout=120)
    assert errors == ""
    assert output.strip() == cache.load_cached(cfg(scans)).digest


# Without a place to write.

NOTE = "so images are prepared again each time; XDG_CACHE_HOME names another folder\n"


def test_a_cache_folder_that_cannot_be_written_gives_a_note_and_the_data(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = cache.load_cached(cfg(scans))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with reads(monkeypatch):
        found = cache.load_cached(cfg(scans))
        assert capsys.readouterr().err == (
            f"hcr: note: {tmp_path}/file/hcr/prepared cannot be written (Not a directory), {NOTE}"
        )
        filled = cfg(scans).replace(num_classes=2)
        cache.remember_filled(cfg(scans), filled)
        assert same(cache.load_cached(filled), wanted)
    assert same(found, wanted)
    assert capsys.readouterr().err == ""  # in one process it is prepared once


def test_a_cache_that_another_user_filled_is_opened(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = cache.load_cached(cfg(scans))

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with reads(monkeypatch) as seen:
        monkeypatch.setattr("os.utime", refuse)
        assert same(cache.load_cached(cfg(scans)), wanted)
    assert seen == []
    assert capsys.readouterr().err == ""


def test_a_full_disk_gives_a_note_and_the_data(
    scans: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.posix_fallocate

    def allocate(descriptor: int, start: int, size: int) -> None:
        if str(place) in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, start, size)

    monkeypatch.setattr("os.posix_fallocate", allocate)
    data = cache.load_cached(cfg(scans))
    assert len(data.labels) == 12
    assert capsys.readouterr().err == f"hcr: note: {place} cannot be written (No space left on device), {NOTE}"
    assert [path.name for path in place.glob("*/*")] == ["lock"]


def test_a_disk_that_is_really_full_ends_nothing_by_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs root, to mount a small disk")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        pixels = np.random.default_rng(0).integers(0, 256, (1_000, 28, 28), np.uint8)
        np.savez(tmp_path / "x.npz", x=pixels, y=np.arange(1_000) % 2)
        config = Npz(name="x", format="npz", path=str(tmp_path / "x.npz"))
        assert len(cache.load_cached(config).images) == 1_000
        assert "cannot be written (No space left on device)" in capsys.readouterr().err
        assert not list(disk.rglob("*.npy"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_without_room_anywhere_images_are_kept_in_memory(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = cache.load_cached(cfg(scans))

    def allocate(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", allocate)
    add(scans)
    with reads(monkeypatch):
        found = cache.load_cached(cfg(scans))
    assert len(found.labels) == len(wanted.labels) + 1
