"""The manifest of a bundle, its first file: which runs it holds, and of each file the size and the SHA-256."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hcr.archives import check_names
from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import ARTIFACTS, JOURNAL

NAME = "manifest.json"
RUNS = "runs"
MOST_BYTES_OF_MANIFEST = 64 << 20
MOST_FILES, MOST_BYTES = 200_000, 256 << 30
MOST_BYTES_OF_JOURNAL = 256 << 20
MOST_TIMES, ALWAYS_ALLOWED = 200, 256 << 20  # of the archive's own size; bytes for which that is not asked

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class BundledFile(_Strict):
    """Size in bytes and SHA-256, in hex, of a file."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Strict):
    """What is in a bundle.

    Attributes:
        format: the version of this layout.
        made_by: the version of hcr.
        asked: the key of the run that was asked for.
        runs: the keys of all runs, each parent before its children.
        files: by name, as `runs/<key>/journal.jsonl`.
    """

    format: Literal[1]
    made_by: str
    asked: Key
    runs: list[Key]
    files: dict[str, BundledFile]

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files.values())

    def names_of(self, key: str) -> list[str]:
        """The files of a run, by their paths in its folder."""
        begin = f"{RUNS}/{key}/"
        return [name.removeprefix(begin) for name in self.files if name.startswith(begin)]


def read_manifest(contents: bytes, where: str, archive_bytes: int) -> Manifest:
    """Check the manifest of a bundle.

    Args:
        contents: the manifest.
        where: the bundle, for messages.
        archive_bytes: the bundle's size.

    Raises:
        TrackingError: it is damaged or of a later version, names files outside of its runs, or promises too much.
    """
    try:
        manifest = Manifest.model_validate_json(contents)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise TrackingError(f"{where}: {NAME}: {place}: {one_line(ValueError(first['msg']))}") from error
    check_names(manifest.files, where)
    if len(set(manifest.runs)) != len(manifest.runs) or manifest.asked not in manifest.runs:
        raise TrackingError(f"{where}: {NAME}: expected each run once, and the one that was asked for")
    inside = re.compile(rf"{RUNS}/({'|'.join(manifest.runs)})/({re.escape(JOURNAL)}|{ARTIFACTS}/.+)")
    for name in manifest.files:
        if inside.fullmatch(name) is None:
            raise TrackingError(f"{where}: expected files of its runs, got {name!r}")
    for key in manifest.runs:
        journal = manifest.files.get(f"{RUNS}/{key}/{JOURNAL}")
        if journal is None or journal.size > MOST_BYTES_OF_JOURNAL:
            raise TrackingError(f"{where}: expected a journal of run {key}, of at most {MOST_BYTES_OF_JOURNAL:,} bytes")
    size = manifest.size_bytes
    if len(manifest.files) > MOST_FILES or size > MOST_BYTES:
        raise TrackingError(f"{where}: expected at most {MOST_FILES:,} files and {MOST_BYTES >> 30} GiB, got more")
    if size > max(ALWAYS_ALLOWED, MOST_TIMES * archive_bytes):
        raise TrackingError(f"{where}: expected at most {MOST_TIMES} times its own size, got {size >> 20:,} MiB inside")
    return manifest
