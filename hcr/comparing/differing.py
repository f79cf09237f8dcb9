"""The differences between the sides of a comparison: config, code, data and environment."""

import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path

from hcr.comparing.sides import Compared, settings_of
from hcr.config.secrets import HIDDEN, is_secret_name, redact
from hcr.environment import deciding_settings, recorded_settings, settings_text
from hcr.gate.fingerprint import DECIDING_PACKAGES, is_deciding
from hcr.recorded import RecordedRun
from hcr.tracking.events import kind_of

SOURCES, PACKAGES = "code/source.tar.gz", "code/requirements.txt"  # artifacts of a run
EXTENSIONS = "extensions/"  # in SOURCES: files of installed packages whose parts the run uses
LARGEST_SOURCES = 64 << 20  # bytes, unpacked
SHOWN = 12  # digits of a digest
DATA_TAGS = {
    "split": "hcr.split_digest",
    "preparation": "hcr.preparation_digest",
    "source": "hcr.dataset_source",
    "images": "hcr.images",
    "notes": "hcr.data_notes",
}
ENVIRONMENT_TAGS = {
    "python": "hcr.python",
    "hcr": "hcr.version",
    "machine": "hcr.machine",
    "GPU": "hcr.gpu",
    "host": "hcr.host",
}

Rows = dict[str, list[str]]  # by what differs: a value for each side; empty where it has none


@dataclass(frozen=True)
class Differing:
    """The differences, a value for each side; what is the same for all sides is left out.

    Attributes:
        config: settings, and the seeds.
        code: the code version, the commit, and each source file that differs, by a digest of its contents.
        data: digests of the splits, and how the data was read.
        environment: versions of Python and packages, the machine, settings of the shell.
        deciding: which of the files of `code` and the packages of `environment` can change a run's numbers.
        notes: what could not be compared, one line each.
    """

    config: Rows
    code: Rows
    data: Rows
    environment: Rows
    deciding: frozenset[str]
    notes: tuple[str, ...]

    @property
    def sections(self) -> dict[str, Rows]:
        """The rows by section."""
        return {"config": self.config, "code": self.code, "data": self.data, "environment": self.environment}


def differing(sides: Sequence[Compared]) -> Differing:
    """Compare what the runs of the sides recorded; several values of one side are joined."""
    notes: list[str] = []
    files = _by_run(sides, _source_digests, SOURCES, "sources", notes)
    packages = _by_run(sides, _packages, PACKAGES, "packages", notes)
    code = _rows(sides, {"version": _tag("hcr.code", SHOWN), "commit": _tag("mlflow.source.git.commit", SHOWN)})
    environment = _rows(sides, {name: _tag(tag) for name, tag in ENVIRONMENT_TAGS.items()} | {"settings": _shell})
    data = {name: _tag(tag, SHOWN if "digest" in tag else None) for name, tag in DATA_TAGS.items()}
    code_files = {} if files is None else _of_names(sides, files)
    versions = {} if packages is None else _of_names(sides, packages)
    deciding = {
        path for path in code_files if is_deciding(path) or path.startswith(EXTENSIONS)
    } | versions.keys() & set(DECIDING_PACKAGES)
    first = sorted(code_files, key=lambda path: (path not in deciding, path))
    return Differing(
        config=_config(sides),
        code=code | {path: code_files[path] for path in first},
        data=_rows(sides, data),
        environment=environment
        | {name: versions[name] for name in sorted(versions, key=lambda name: (name not in deciding, name.lower()))},
        deciding=frozenset(deciding),
        notes=tuple(notes),
    )


def _config(sides: Sequence[Compared]) -> Rows:
    found = [_settings(side.runs[0]) for side in sides]
    rows = {key: [own.get(key, "") for own in found] for key in dict.fromkeys(chain(*found))}
    rows["seeds"] = [" ".join(str(run.cfg.seed) for run in side.runs) for side in sides]
    rows["kind"] = [kind_of(side.runs[0].tags) for side in sides]
    return _that_differ(rows)


def _settings(run: RecordedRun) -> dict[str, str]:
    return {key: HIDDEN if is_secret_name(key) else redact(value) for key, value in settings_of(run).items()}


def _tag(name: str, length: int | None = None) -> Callable[[RecordedRun], str]:
    return lambda run: redact(run.tags.get(name, ""))[:length]


def _shell(run: RecordedRun) -> str:
    """What its shell set; hcr's default is left out, which an earlier version recorded."""
    return redact(settings_text(deciding_settings(recorded_settings(run.tags))))


def _rows(sides: Sequence[Compared], facts: Mapping[str, Callable[[RecordedRun], str]]) -> Rows:
    return _that_differ({name: [_joined(map(fact, side.runs)) for side in sides] for name, fact in facts.items()})


def _of_names(sides: Sequence[Compared], found: Mapping[str, Mapping[str, str]]) -> Rows:
    """The rows of what runs have by name, such as versions of packages; `found` is by the runs' keys."""
    names = dict.fromkeys(chain(*found.values()))
    return _that_differ(
        {name: [_joined(found[key].get(name, "") for key in side.keys) for side in sides] for name in names}
    )


def _joined(values: Iterable[str]) -> str:
    """Distinct values in one cell."""
    return ", ".join(dict.fromkeys(values))


def _that_differ(rows: Rows) -> Rows:
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _by_run(
    sides: Sequence[Compared],
    read: Callable[[Path], dict[str, str]],
    artifact: str,
    what: str,
    notes: list[str],
) -> dict[str, dict[str, str]] | None:
    """The values that `read` finds in an artifact of each run, by key; None, and a note, if a run lacks it."""
    found: dict[str, dict[str, str]] = {}
    for run in chain(*(side.runs for side in sides)):
        try:
            found[run.key] = read(run.artifacts / artifact)
        except (OSError, EOFError, ValueError, tarfile.TarError):
            notes.append(f"{what} were not compared: run {run.key} has no {artifact} that can be read")
            return None
    return found


def _packages(path: Path) -> dict[str, str]:
    lines = (line.partition("==") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: version for name, is_pinned, version in lines if is_pinned}


def _source_digests(path: Path) -> dict[str, str]:
    """The first digits of the SHA-256 of each file of an archive, which is read and not unpacked."""
    found, total = {}, 0
    with tarfile.open(path, "r:gz") as tar:
        for entry in tar:
            total += entry.size
            if total > LARGEST_SOURCES:
                raise ValueError("too large")
            if entry.isreg() and (file := tar.extractfile(entry)) is not None:
                found[entry.name] = sha256(file.read()).hexdigest()[:SHOWN]
    return found
