"""A bundle that was made to do harm: refused in one line, and nothing is changed or left behind."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hcr.bundling.manifest import NAME
from hcr.bundling.pack import pack
from hcr.bundling.unpack import unpack
from hcr.config.errors import TrackingError
from hcr.tracking.journal import Journal

KEY = "abcdef012345"
JOURNAL = f"runs/{KEY}/journal.jsonl"
ARTIFACT = f"runs/{KEY}/artifacts/config/config.yaml"
URI = "sqlite:////nowhere/mlflow.db"
Files = dict[str, bytes]


def event(kind: str, **values: Any) -> dict[str, Any]:
    return {"event": kind, "time_ms": 1_700_000_000_000, **values}


def journal(*more: dict[str, Any], **header: Any) -> bytes:
    tags = {"hcr.kind": "train", "hcr.key": KEY, "hcr.host": "elsewhere"}
    first = event("run", **{"key": KEY, "experiment": "hcr", "parent": None, "name": "a run", "tags": tags, **header})
    events = [first, event("artifact", path="config/config.yaml"), *more, event("end", status="FINISHED")]
    return "".join(f"{json.dumps(each)}\n" for each in events).encode()


def harmless() -> Files:
    return {JOURNAL: journal(), ARTIFACT: b"seed: 0\n"}


def manifest_of(files: Mapping[str, bytes], **changes: Any) -> dict[str, Any]:
    facts = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return {"format": 1, "made_by": "hcr", "asked": KEY, "runs": [KEY], "files": facts, **changes}


def member(name: str, data: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for field, value in changes.items():
        setattr(entry, field, value)
    return entry, data


def write(path: Path, manifest: Any, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for entry, data in [member(NAME, json.dumps(manifest).encode()), *members]:
            tar.addfile(entry, io.BytesIO(data))
    return path


def bundle(path: Path, files: Files, **changes: Any) -> Path:
    return write(path, manifest_of(files, **changes), [member(name, data) for name, data in files.items()])


def refused(root: Path, path: Path, told: str) -> None:
    around = {each for each in root.parent.rglob("*") if each != path and root not in (each, *each.parents)}
    with pytest.raises(TrackingError) as error:
        unpack(root, path, URI)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert list((root / "runs").iterdir()) == []
    assert [each.name for each in (root / ".unbundling").iterdir()] == ["lock"]
    assert {each for each in root.parent.rglob("*") if each != path and root not in (each, *each.parents)} == around


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "output"


def test_the_harmless_one_of_these_tests_is_accepted(root: Path, tmp_path: Path) -> None:
    found = unpack(root, bundle(tmp_path / "b", harmless()), URI)
    assert [folder.name for folder in found.placed] == [KEY]
    assert sorted(path.name for path in (root / "runs" / KEY).iterdir()) == ["artifacts", "journal.jsonl"]


NAMES = {
    "an absolute path": "/tmp/evil",
    "a path up": f"runs/{KEY}/artifacts/../../../../evil",
    "a path up to another run": f"runs/{KEY}/artifacts/../../fedcba543210/journal.jsonl",
    "a file beside the artifacts": f"runs/{KEY}/store.json",
    "a checkpoint": f"runs/{KEY}/checkpoint/1/state.npz",
    "a run that is not listed": "runs/fedcba543210/artifacts/a",
    "a file outside of the runs": "mlflow.db",
    "a backslash": f"runs/{KEY}/artifacts/..\\evil",
    "a control character": f"runs/{KEY}/artifacts/a\nb",
    "a text that turns": f"runs/{KEY}/artifacts/a\u202etxt",
    "an empty part": f"runs/{KEY}/artifacts//a",
    "a dot": f"runs/{KEY}/artifacts/./a",
    "a long one": f"runs/{KEY}/artifacts/{'a' * 300}",
    "another case": f"runs/{KEY}/artifacts/config/CONFIG.yaml",
    "another form of Unicode": f"runs/{KEY}/artifacts/config/con\ufb01g.yaml",
    "a folder that is a file": f"{ARTIFACT}/a",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_could_be_a_file_elsewhere_is_refused(root: Path, tmp_path: Path, name: str) -> None:
    told = {
        NAMES["another case"]: "each file once",
        NAMES["another form of Unicode"]: "each file once",
        NAMES["a folder that is a file"]: "as a file and as a folder",
    }
    refused(root, bundle(tmp_path / "b", harmless() | {name: b"evil"}), told.get(name, "expected "))


LINKS = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": JOURNAL},
    "a hard link to a file outside": {"type": tarfile.LNKTYPE, "linkname": "../../../etc/passwd"},
    "a device": {"type": tarfile.CHRTYPE},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a folder": {"type": tarfile.DIRTYPE},
    "a sparse file": {"type": tarfile.GNUTYPE_SPARSE},
    "an extended header": {"type": tarfile.XHDTYPE},
    "a long name": {"type": tarfile.GNUTYPE_LONGNAME},
}


@pytest.mark.parametrize("changes", LINKS.values(), ids=LINKS)
def test_what_is_not_a_file_is_refused(root: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    files = harmless()
    members = [member(ARTIFACT, **changes), member(JOURNAL, files[JOURNAL])]
    refused(root, write(tmp_path / "b", manifest_of(files), members), "expected a file, got a link or something else")


def test_a_member_that_comes_twice_is_refused(root: Path, tmp_path: Path) -> None:
    files = harmless()
    members = [member(name, data) for name, data in files.items()] * 2
    refused(root, write(tmp_path / "b", manifest_of(files), members), "each file of its manifest once")


def test_a_member_that_the_manifest_lacks_is_refused(root: Path, tmp_path: Path) -> None:
    files = harmless()
    members = [member(name, data) for name, data in files.items()]
    members.append(member(f"runs/{KEY}/artifacts/more", b"more"))
    refused(root, write(tmp_path / "b", manifest_of(files), members), "each file of its manifest once")


def test_a_missing_member_is_refused(root: Path, tmp_path: Path) -> None:
    files = harmless()
    refused(
        root, write(tmp_path / "b", manifest_of(files), [member(JOURNAL, files[JOURNAL])]), f"expected {ARTIFACT!r}"
    )


def test_another_size_or_other_contents_than_the_manifests_are_refused(root: Path, tmp_path: Path) -> None:
    files = harmless()
    for data, told in ((b"seed: 00\n", "expected 8 bytes, got 9"), (b"seed: 1\n", "not those of the manifest")):
        members = [member(JOURNAL, files[JOURNAL]), member(ARTIFACT, data)]
        refused(root, write(tmp_path / "b", manifest_of(files), members), told)


def test_an_archive_that_is_cut_short_is_refused(root: Path, tmp_path: Path) -> None:
    whole = bundle(tmp_path / "b", harmless() | {f"runs/{KEY}/artifacts/a": os.urandom(10_000)}).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 300):
        (tmp_path / "b").write_bytes(whole[:size])
        refused(root, tmp_path / "b", "expected")


def test_a_file_that_is_no_bundle_is_refused(root: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b", "w:gz") as tar:
        tar.addfile(*((pair := member("a", b"a"))[0], io.BytesIO(pair[1])))
    refused(root, tmp_path / "b", "expected a bundle of `hcr bundle`")
    (tmp_path / "b").write_text("text")
    refused(root, tmp_path / "b", "expected a whole archive")


def facts(size: int) -> dict[str, Any]:
    return {"size": size, "sha256": "0" * 64}


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "more bytes than any run": (lambda m: m["files"].update({ARTIFACT: facts(1 << 40)}), "at most 200,000 files"),
    "far more bytes than the archive": (lambda m: m["files"].update({ARTIFACT: facts(1 << 30)}), "its own size"),
    "a negative size": (lambda m: m["files"].update({ARTIFACT: facts(-1)}), "greater than or equal to 0"),
    "a size that is no number": (lambda m: m["files"].update({ARTIFACT: {"size": "8", "sha256": "0" * 64}}), "integer"),
    "a later format": (lambda m: m.update(format=2), "format"),
    "a key that is a path": (lambda m: m.update(runs=["../../evil000"], asked="../../evil000"), "should match"),
    "a run twice": (lambda m: m.update(runs=[KEY, KEY]), "each run once"),
    "a run without a journal": (lambda m: m["runs"].append("fedcba543210"), "expected a journal"),
    "a large journal": (lambda m: m["files"].update({JOURNAL: facts(300 << 20)}), "journal"),
    "a word of its own": (lambda m: m.update(run_this="evil"), "run_this"),
}


@pytest.mark.parametrize(("change", "told"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_promises_too_much_is_refused(
    root: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    files = harmless()
    manifest = manifest_of(files)
    change(manifest)
    refused(root, write(tmp_path / "b", manifest, [member(name, data) for name, data in files.items()]), told)


def test_a_manifest_that_is_nested_without_end_is_refused(root: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b", "w:gz") as tar:
        entry, data = member(NAME, b"[" * 200_000)
        tar.addfile(entry, io.BytesIO(data))
    refused(root, tmp_path / "b", NAME)


def test_more_files_than_a_sweep_has_are_refused(root: Path, tmp_path: Path) -> None:
    files = harmless()
    many = {f"runs/{KEY}/artifacts/{number}": facts(0) for number in range(200_001)}
    manifest = manifest_of(files)
    manifest["files"] |= many
    refused(root, write(tmp_path / "b", manifest, []), "at most 200,000 files")


def test_a_header_with_a_size_that_is_not_there_takes_no_memory(root: Path, tmp_path: Path) -> None:
    files = harmless()
    with gzip.open(tmp_path / "b", "wb") as file:
        entry, data = member(NAME, json.dumps(manifest_of(files)).encode())
        file.write(entry.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
        long, _ = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME)
        long.size = 8**11 - 1
        file.write(long.tobuf(tarfile.GNU_FORMAT))
    refused(root, tmp_path / "b", "expected a file, got a link or something else")


def tagged(**tags: str) -> bytes:
    return journal(event("tags", values=tags))


JOURNALS = {
    "an artifact elsewhere": (journal(event("artifact", path="../../../../etc/passwd")), "inside it"),
    "an absolute artifact": (journal(event("artifact", path="/etc/passwd")), "inside it"),
    "a model elsewhere": (
        journal(event("model", path="../../other", architecture="cnn", params={}, step=1)),
        "inside it",
    ),
    "a store of its own": (journal(uri="http://evil:5000"), "uri"),
    "a scratch folder": (journal(scratch="../.."), "scratch"),
    "the host of another": (journal(host="here"), "host"),
    "another key": (journal(key="fedcba543210"), "its own journal"),
    "a tag with another key": (journal(tags={"hcr.key": "fedcba543210"}), "its own journal"),
    "a parent that is not there": (journal(parent="fedcba543210"), "expected its parent run"),
    "itself as its parent": (journal(parent=KEY), "expected its parent run"),
    "a tag that hangs it under another run": (tagged(**{"mlflow.parentRunId": "a" * 32}), "expected tags of hcr"),
    "an event that nobody knows": (journal(event("execute", code="evil")), "line 3"),
    "a removal": (journal(event("end", status="REMOVED")), "line 3"),
    "a metric that is text": (journal(event("metrics", step=1, values={"val/loss": "0.1"})), "line 3"),
    "a view of another name": (journal(event("views", views={"../x": "{}"})), "line 3"),
    "a sample without a time": (journal(event("system", step=0, samples=[[{"system/a": 1.0}]])), "line 3"),
    "a name that MLflow refuses": (journal(event("params", values={"a\x00b": "1"})), "line 3"),
    "a time in the future": (journal().replace(b"1700000000000", b"9000000000000"), "of the future"),
    "no end": (journal().rsplit(b"{", 1)[0], "has ended"),
    "two beginnings": (journal() + journal(), "has ended"),
    "a line that is cut off": (journal()[:-1], "has ended"),
    "the same name twice": (journal().replace(b'"parent": null', b'"parent": null, "parent": null'), "not as hcr"),
    "no JSON": (b"evil\n" + journal(), "line 1"),
    "a list": (b"[]\n" + journal(), "line 1"),
    "lists without end": (b"[" * 100_000 + b"\n" + journal(), "line 1"),
    "nothing": (b"", "has ended"),
}


@pytest.mark.parametrize(("contents", "told"), JOURNALS.values(), ids=JOURNALS)
def test_a_journal_that_would_upload_or_write_elsewhere_is_refused(
    root: Path, tmp_path: Path, contents: bytes, told: str
) -> None:
    refused(root, bundle(tmp_path / "b", harmless() | {JOURNAL: contents}), told)


def test_one_bad_run_of_many_keeps_all_of_them_out(root: Path, tmp_path: Path) -> None:
    other = "fedcba543210"
    good = journal().replace(KEY.encode(), other.encode())
    files = {f"runs/{other}/journal.jsonl": good, f"runs/{other}/artifacts/config/config.yaml": b""} | harmless()
    path = bundle(tmp_path / "b", files | {JOURNAL: journal(uri="http://evil")}, runs=[other, KEY])
    refused(root, path, "uri")


def test_a_link_in_the_place_of_a_run_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "runs").mkdir(parents=True)
    (root / "runs" / KEY).symlink_to(outside)
    with pytest.raises(TrackingError, match="is here already with other contents"):
        unpack(root, bundle(tmp_path / "b", harmless()), URI)
    assert list(outside.iterdir()) == []


def test_a_link_among_a_runs_artifacts_is_not_packed(root: Path, tmp_path: Path) -> None:
    with Journal(root, uri=URI, experiment="hcr") as written:
        written.begin(name="a run", tags={})
        written.artifact("secret").symlink_to("/etc/passwd")
        written.artifact_written("secret")
    written.release()
    with pytest.raises(TrackingError, match="expected a file of the run, got a link"):
        pack(root, written.folder, tmp_path / "b")
    assert list(tmp_path.iterdir()) == [root]
