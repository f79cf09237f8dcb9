"""Where a data set's file lies, and what stands there instead of one: told at once, in a line, and never waited for."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from hcr.config.errors import DataError
from hcr.data.files import find_file, local_file, what_it_is
from hcr.data.formats.arrays import Arrays
from hcr.data.formats.idx import Idx
from hcr.data.formats.mat import Mat
from hcr.data.loading import load_dataset, read_ahead


def config(path: Any) -> Arrays:
    return Arrays(
        name="small",
        format="arrays",
        path=str(path),
        image_shape=(4, 3, 1),
        num_classes=2,
        class_names=("a", "b"),
    )


def refusal(path: Any) -> str:
    read_ahead(config(path))  # in a thread of its own, where nobody would see an error
    with pytest.raises(DataError) as refused:
        load_dataset(config(path))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_no_regular_file_is_named_and_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    Path("link").symlink_to("gone.npz")
    Path("loop").symlink_to("loop")
    for path, what in {
        "fifo": "a FIFO",
        "socket": "a socket",
        "/dev/zero": "a device",
        ".": "a folder",
        "link": "a symbolic link to 'gone.npz', which does not exist",
        "nope.npz": f"which does not exist (in '{tmp_path}')",
        "loop": "which cannot be accessed (Too many levels of symbolic links)",
        "x" * 300: "which cannot be accessed (File name too long)",
    }.items():
        assert refusal(path) == f"dataset.path: expected a file, got {path!r}, {what}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_file_that_may_not_be_read_and_a_folder_that_may_not_be_searched_are_refused(tmp_path: Path) -> None:
    secret = Path(f"/tmp/hcr-{os.getpid()}")
    secret.mkdir()
    try:
        np.savez(secret / "x.npz", x=np.eye(12).reshape(12, 4, 3), y=np.arange(12) % 2)
        code = (
            "import os, sys; from hcr.data.loading import load_dataset; from hcr.config.errors import DataError\n"
            "import hcr.data.readers.array_files  # before this user may read no package any more\n"
            "from hcr.data.formats.arrays import Arrays\n"
            "os.setuid(65534)\n"
            "try: load_dataset(Arrays(name='s', format='arrays', path=sys.argv[1], image_shape=(4, 3, 1),"
            " num_classes=2, class_names=('a', 'b')))\n"
            "except DataError as error: print(error)"
        )
        found = []
        for file_mode, folder_mode in ((0o000, 0o755), (0o644, 0o000)):
            (secret / "x.npz").chmod(file_mode)
            secret.chmod(folder_mode)
            done = subprocess.run(
                [sys.executable, "-c", code, str(secret / "x.npz")], capture_output=True, text=True, check=True
            )
            found.append(done.stdout)
        assert found[0] == f"{secret / 'x.npz'}: cannot be read (Permission denied)\n"
        assert found[1].endswith("x.npz', which cannot be accessed (Permission denied)\n")
    finally:
        secret.chmod(0o755)
        (secret / "x.npz").unlink()
        secret.rmdir()


V73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF\r\n\x1a\n" + bytes(500)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (
            b"\x1f\x8b\x08\x00" + bytes(99),
            "a gzip file; use dataset=idx or dataset=csv if it holds IDX or CSV, else unpack it first",
        ),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(99),
            "one PNG picture; use dataset=folder, with dataset.path the folder of all pictures",
        ),
        (
            b"\x93NUMPY\x01\x00" + bytes(99),
            "one array (.npy); use dataset=npz, with images and labels beside each other",
        ),
        (b"\n<!DOCTYPE html><html>404", "a web page; download the file itself"),
        (b"\0\0\x08\x03" + bytes(99), "images in IDX format; use dataset=idx"),
        (b"\0\0\x0c\x01" + bytes(99), "labels in IDX format; use dataset=idx"),
        (b"PAR1" + bytes(99), "a Parquet file; use dataset=parquet"),
        (b"\x80\x04\x95" + bytes(99), "a Python pickle, which could run code and is not read"),
        (b"0,1,2,3,4,5,6,7,8,9\n", "a text file; if it is a table, use dataset=csv"),
        (V73, "a MATLAB v7.3 file, which is HDF5; save it in MATLAB with save('x.mat', 'data', 'label', '-v7')"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file; save its arrays with np.savez"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_kind_with_what_to_do(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: expected a NumPy archive (.npz) or a MATLAB v5 file, got {what}")


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "u1"])
def test_a_matlab_v4_file_is_told_from_a_v5_file(tmp_path: Path, dtype: str) -> None:
    values = {"data": np.eye(12, dtype=dtype), "label": np.zeros((1, 12))}
    path = tmp_path / "file.mat"
    scipy.io.savemat(path, values, format="4")
    assert "got a MATLAB v4 file; save it in MATLAB" in refusal(path)
    scipy.io.savemat(path, values, format="5")
    assert what_it_is(path.read_bytes()[:128]) == "a MATLAB v5 file; use dataset=mat"


def test_a_folder_is_found_where_the_format_takes_folders_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "mine"):
        assert find_file(Idx(name="i", format="idx", path=str(path))) == path
    with pytest.raises(DataError, match=r"^dataset\.path: expected a file, got .*, a folder$"):
        find_file(Mat(name="m", format="mat", path=str(tmp_path)))
    with pytest.raises(DataError, match=r"^dataset\.path: expected a file or folder, got .* levels of symbolic links"):
        find_file(Idx(name="i", format="idx", path=str(tmp_path / "loop")))
    monkeypatch.setenv("HCR_DATA_DIR", str(tmp_path))
    assert find_file(Idx(name="i", format="idx", files=("gone", "loop", "mine"))) == tmp_path / "mine"
    assert local_file(Mat(name="m", format="mat", files=("mine",))) is None
