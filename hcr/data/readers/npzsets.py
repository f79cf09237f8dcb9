"""Data sets in NumPy's files: an archive of images and labels, or a file for each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.data.files import files_in, is_folder, start_of, what_it_is
from hcr.data.memory import most_bytes
from hcr.data.raw import Raw, RawPart
from hcr.data.readers.npzfile import NpzError, list_npz, read_npy, read_npz
from hcr.data.readers.pairing import ORDER, Group, grouped, listed, named, shown

Array = NDArray[Any]

ZIP, NPY = b"PK", b"\x93NUMPY"
ARCHIVE, SINGLE = ".npz", ".npy"
EXPECTED = "the arrays x_train y_train x_test y_test, or x y and optionally group"
SAVED = "save them with np.savez('x.npz', x=images, y=labels)"


@dataclass(frozen=True)
class NpzSet:
    """Where the arrays of a data set are.

    Attributes:
        group: the names of its arrays: those in the archive, or of the files without their endings.
        files: the file of each name.
        unused: arrays of the archive that belong to no data set.
    """

    group: Group
    files: Mapping[str, Path]
    archive: Path | None = None
    unused: tuple[str, ...] = ()


def read_npz_set(path: Path) -> Raw:
    """The data set of NumPy's files at `path`.

    Args:
        path: an archive (.npz) with arrays such as `x_train y_train x_test y_test`, `x y group`, `images labels`, in
            any case; or one of the files of a data set that has a file for each array (.npz with one array, or .npy),
            such as k49-train-imgs.npz and k49-train-labels.npz; or the folder of either.

    Returns:
        The arrays as they are; text is never unpickled, so a file cannot run code.

    Raises:
        DataError: no data set is recognised or more than one, or a file is damaged.

    Source:
        `x_train ...` are the names of Keras' mnist.npz; files with one array each, those of Kuzushiji-MNIST.
    """
    found = find_npz_set(path)
    arrays = _read_all(found)
    parts = []
    for side in ORDER:
        names = found.group.names.get(side)
        if names is None:
            continue
        groups = arrays[names["groups"]] if "groups" in names else None
        pair = names["images"], names["labels"]
        for name in names.values():
            if not arrays[name].ndim:
                raise DataError(f"{found.files[name]}: expected one entry per image, got `{name}` of shape ()")
        parts.append(RawPart(images=arrays[pair[0]], labels=arrays[pair[1]], groups=groups, side=side, names=pair))
    with_groups = [part.side for part in parts if part.groups is not None]
    if 0 < len(with_groups) < len(parts):
        raise DataError(f"{path}: expected groups for all sides or none, got groups for {' and '.join(with_groups)}")
    unused = listed(map(shown, found.unused), "")
    notes = (f"{path}: not used: {unused}",) if unused else ()
    return Raw(parts=tuple(parts), notes=notes)


def find_npz_set(path: Path) -> NpzSet:
    """The files and arrays that `read_npz_set(path)` reads.

    Raises:
        DataError: as `read_npz_set`; only names and headers are read.
    """
    if is_folder(path):
        return _in_folder(path)
    start = start_of(path)
    if start.startswith(NPY):
        return _beside(path)
    if not start.startswith(ZIP):
        what = what_it_is(start)
        raise DataError(f"{path}: expected a NumPy archive (.npz) or array (.npy)" + (f", got {what}" if what else ""))
    arrays = _list(path)
    found = _in_archive(path, arrays)
    if found is None and len(arrays) == 1 and named(path.stem) is not None:
        return _beside(path)
    if found is None:
        texts = (f"{shown(name)} {what}" for name, what in arrays.items())
        raise DataError(f"{path}: expected {EXPECTED}; got {listed(texts, 'no array')}; {SAVED}")
    return found


def _in_archive(path: Path, arrays: Mapping[str, str]) -> NpzSet | None:
    """The data set in an archive; if there are several, the one with sides whose names have no other words."""
    complete = [group for group in grouped(arrays, str(path), "array") if group.is_complete]
    plain = [group for group in complete if not group.family]
    with_sides = [group for group in plain if group.has_sides]
    chosen = next((groups[0] for groups in (with_sides, plain, complete) if len(groups) == 1), None)
    if chosen is None:
        return None
    unused = tuple(name for name in arrays if name not in chosen.listed)
    return NpzSet(chosen, dict.fromkeys(chosen.listed, path), path, unused)


def _beside(path: Path) -> NpzSet:
    """The data set that the file `path`, of one array, forms with files beside it."""
    same = [file for file in files_in(path.parent) if file.suffix == path.suffix]
    for found in _pairs(same, path.parent):
        if path in found.files.values():
            return found
    pair = f"images{path.suffix} and labels{path.suffix}, or x{path.suffix} and y{path.suffix}"
    names = listed((shown(file.name) for file in same), "")
    raise DataError(
        f"{path}: expected files of images and of labels side by side, named like {pair}, with a prefix and train or"
        f" test if you like; got {names}"
    )


def _in_folder(folder: Path) -> NpzSet:
    files = [file for file in files_in(folder) if file.suffix in (ARCHIVE, SINGLE)]
    pairs = [
        found for suffix in (ARCHIVE, SINGLE) for found in _pairs([f for f in files if f.suffix == suffix], folder)
    ]
    paired = {file for found in pairs for file in found.files.values()}
    archives = [file for file in files if file.suffix == ARCHIVE and file not in paired]
    if not pairs and len(archives) == 1:
        return find_npz_set(archives[0])
    if len(pairs) == 1 and not archives:
        return pairs[0]
    names = [*archives, *(found.files[found.group.listed[0]] for found in pairs)]
    if names:
        every = listed((shown(file.name) for file in sorted(names)), "")
        raise DataError(f"{folder}: expected one data set, got {len(names)}; set dataset.path to one of {every} in it")
    every = listed((shown(file.name) for file in files), "none")
    raise DataError(f"{folder}: expected a NumPy archive (.npz), or images.npy and labels.npy; got {every}")


def _pairs(files: list[Path], folder: Path) -> list[NpzSet]:
    """The complete data sets of files with one array each; all have the same ending."""
    by_name = {file.stem: file for file in files}
    groups = grouped(by_name, str(folder), "file")
    return [NpzSet(group, {name: by_name[name] for name in group.listed}) for group in groups if group.is_complete]


def _list(path: Path) -> dict[str, str]:
    try:
        return list_npz(path)
    except NpzError as error:
        raise DataError(f"{path}: {error}") from error


def _read_all(found: NpzSet) -> dict[str, Array]:
    left_bytes, arrays = most_bytes(), {}
    for name in found.group.listed:
        file = found.files[name]
        try:
            arrays[name] = _read(file, name, left_bytes, is_archive=found.archive is not None)
        except NpzError as error:
            raise DataError(f"{file}: {error}") from error
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
        left_bytes -= arrays[name].nbytes
    return arrays


def _read(file: Path, name: str, left_bytes: int, *, is_archive: bool) -> Array:
    """The array `name` of an archive, or the only array of a file."""
    if not is_archive and start_of(file).startswith(NPY):
        return read_npy(file, left_bytes)
    inside = [name] if is_archive else list(list_npz(file))
    if len(inside) != 1:
        raise NpzError(f"expected one array, got {listed(map(shown, inside), 'none')}")
    arrays = read_npz(file, inside, left_bytes)
    if not arrays:
        raise NpzError(f"expected {shown(inside[0])} to be an array, which has a name that ends with .npy")
    return arrays[inside[0]]
