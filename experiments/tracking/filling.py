"""A store with many runs: one real sweep, and copies of its runs in the database and on disk.

A copy differs from its original by key, ids, seed, fingerprint, times and its best loss. 20 copies are a sweep of their
own. The journals are written as a run writes them; the other artifacts are hard links, and in the store a copy names
the artifacts of its original.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PER_SWEEP = 20
MINUTE_MS = 60_000
JOURNAL, POSITION = "journal.jsonl", "delivered.json"

# The value of a column in a copy, by table; other columns are copied. o is the original's row, c the copy.
# `models` has one model a run. Keys have at most 36 characters.
INPUT = "SUBSTR(c.run, 1, 24) || SUBSTR(o.input_uuid, 1, 12)"
BEST = "CASE o.key WHEN 'best/val_loss' THEN o.value * c.factor ELSE o.value END"
TAG = """CASE o.key WHEN 'hcr.key' THEN c.key WHEN 'hcr.fingerprint' THEN c.fingerprint WHEN 'hcr.sweep' THEN c.sweep
    WHEN 'hcr.sweep_id' THEN c.fingerprint WHEN 'hcr.sweep_run' THEN c.number WHEN 'mlflow.parentRunId' THEN c.parent
    ELSE o.value END"""
EARLIER = "o.{0} - c.earlier_ms"
TABLES = {
    "runs": ("o.run_uuid = c.original", {
        "run_uuid": "c.run", "start_time": EARLIER.format("start_time"), "end_time": EARLIER.format("end_time")}),
    "params": ("o.run_uuid = c.original", {
        "run_uuid": "c.run", "value": "CASE o.key WHEN 'seed' THEN c.seed ELSE o.value END"}),
    "tags": ("o.run_uuid = c.original", {"run_uuid": "c.run", "value": TAG}),
    "metrics": ("o.run_uuid = c.original", {
        "run_uuid": "c.run", "timestamp": EARLIER.format("timestamp"), "value": BEST}),
    "latest_metrics": ("o.run_uuid = c.original", {
        "run_uuid": "c.run", "timestamp": EARLIER.format("timestamp"), "value": BEST}),
    "inputs": ("o.source_type = 'DATASET' AND o.destination_id = c.original", {
        "input_uuid": INPUT, "destination_id": "c.run"}),
    "inputs, of models": ("o.source_type = 'RUN_OUTPUT' AND o.source_id = c.original", {
        "input_uuid": INPUT, "source_id": "c.run", "destination_id": "c.model"}),
    "input_tags": (
        "EXISTS (SELECT 1 FROM inputs i WHERE i.input_uuid = o.input_uuid AND i.destination_id = c.original)", {
        "input_uuid": INPUT}),
    "logged_models": ("o.source_run_id = c.original", {
        "model_id": "c.model", "source_run_id": "c.run",
        "creation_timestamp_ms": EARLIER.format("creation_timestamp_ms")}),
    "logged_model_metrics": ("o.run_id = c.original", {"model_id": "c.model", "run_id": "c.run"}),
    "logged_model_params": ("o.model_id = c.original_model", {"model_id": "c.model"}),
    "logged_model_tags": ("o.model_id = c.original_model", {"model_id": "c.model"}),
}  # fmt: skip


@dataclass
class Copy:
    """One copy; `earlier_ms` before its original."""

    original: str
    original_model: str
    source: Path
    run: str
    model: str
    key: str
    fingerprint: str
    sweep: str
    parent: str
    number: str
    seed: str
    earlier_ms: int
    factor: float


class Filling:
    """Fills the store of the one sweep that is under the output root."""

    def __init__(self, root, uri):
        self.root, self.uri = root, uri
        self.keys = []  # of the copies that are no parents
        self.sweep = ""  # the key of the last parent
        self.originals = sorted(path.parent for path in (root / "runs").glob(f"*/{JOURNAL}"))
        headers = {folder: json.loads((folder / JOURNAL).open().readline()) for folder in self.originals}
        (self.top,) = (folder for folder, header in headers.items() if header["parent"] is None)
        self.below = [folder for folder in self.originals if folder != self.top]
        self.count = len(self.originals)

    def fill(self, size):
        """Add copies until the store has `size` runs."""
        from sqlalchemy import create_engine

        engine = create_engine(self.uri)
        with engine.begin() as database:
            copies = self._copies(database, size - self.count)
            _insert(database, copies)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as database:
            database.exec_driver_sql("ANALYZE")  # as the database itself does sooner or later
        engine.dispose()
        for copy in copies:
            self._copy_folder(copy)
        self.count += len(copies)

    def _copies(self, database, number):
        ids = {folder: json.loads((folder / POSITION).read_text())["run_id"] for folder in self.originals}
        models = dict(database.exec_driver_sql("SELECT source_run_id, model_id FROM logged_models").fetchall())
        copies = []
        for i in range(number):
            place = i % (PER_SWEEP + 1)
            source = self.top if place == 0 else self.below[(place - 1) % len(self.below)]
            copy = Copy(
                original=ids[source],
                original_model=models.get(ids[source], ""),
                source=source,
                run=secrets.token_hex(16),
                model=f"m-{secrets.token_hex(16)}",
                key=secrets.choice("abcdef") + secrets.token_hex(6)[1:],
                fingerprint=secrets.token_hex(32),
                sweep=copies[i - place].key if place else "",
                parent=copies[i - place].run if place else "",
                number=str(place),
                seed=str(self.count + i),
                earlier_ms=(self.count + i) * MINUTE_MS,
                factor=1 + 1 / (self.count + i),
            )
            copy.sweep = copy.sweep or copy.key  # a parent carries its own key
            copies.append(copy)
        complete = [copy for i, copy in enumerate(copies) if i % (PER_SWEEP + 1) == 0 and i + PER_SWEEP < number]
        self.sweep = complete[-1].key if complete else self.top.name
        self.keys += [copy.key for copy in copies if copy.source != self.top]
        return copies

    def _copy_folder(self, copy):
        folder = self.root / "runs" / copy.key
        shutil.copytree(copy.source / "artifacts", folder / "artifacts", copy_function=os.link)
        if copy.source != self.top:
            config = folder / "artifacts" / "config" / "config.yaml"
            text = config.read_text()
            config.unlink()
            config.write_text(text.replace("seed: ", f"seed: {copy.seed} #", 1))
        lines = [json.dumps(_event(json.loads(line), copy)) for line in (copy.source / JOURNAL).open()]
        (folder / JOURNAL).write_text("".join(f"{line}\n" for line in lines))
        (folder / "lock").touch()
        position = json.loads((copy.source / POSITION).read_text())
        position |= {"run_id": copy.run, "offset": (folder / JOURNAL).stat().st_size}
        (folder / POSITION).write_text(json.dumps(position))


def _event(event, copy):
    """The event of an original, as the journal of its copy has it."""
    event["time_ms"] -= copy.earlier_ms
    if event["event"] == "run":
        is_parent = event["parent"] is None
        new = {"hcr.key": copy.key, "hcr.fingerprint": copy.fingerprint, "hcr.sweep": copy.sweep}
        new |= {"hcr.sweep_id": copy.fingerprint, "hcr.sweep_run": copy.number}
        tags = {name: new.get(name, value) for name, value in event["tags"].items()}
        event |= {"key": copy.key, "parent": None if is_parent else copy.sweep, "tags": tags}
    elif event["event"] == "params" and "seed" in event["values"]:
        event["values"]["seed"] = copy.seed
    elif event["event"] == "metrics" and "best/val_loss" in event["values"]:
        event["values"]["best/val_loss"] *= copy.factor
    return event


def _insert(database, copies):
    """One statement a table: the originals' rows, joined with a temporary table of the copies."""
    columns = [name for name in Copy.__dataclass_fields__ if name != "source"]
    types = {"earlier_ms": "BIGINT", "factor": "DOUBLE PRECISION"}
    typed = ", ".join(f"{name} {types.get(name, 'VARCHAR(64)')}" for name in columns)
    database.exec_driver_sql(f"CREATE TEMPORARY TABLE copies ({typed})")
    mark = "?" if database.dialect.name == "sqlite" else "%s"
    database.exec_driver_sql(
        f"INSERT INTO copies VALUES ({', '.join([mark] * len(columns))})",
        [tuple(getattr(copy, name) for name in columns) for copy in copies],
    )
    for name, (join, values) in TABLES.items():
        table = name.partition(",")[0]
        own = list(database.exec_driver_sql(f"SELECT * FROM {table} LIMIT 0").keys())
        chosen = ", ".join(values.get(column, f'o."{column}"') for column in own)
        listed = ", ".join(f'"{column}"' for column in own)
        database.exec_driver_sql(
            f"INSERT INTO {table} ({listed}) SELECT {chosen} FROM {table} o JOIN copies c ON {join}"
        )
    database.exec_driver_sql("DROP TABLE copies")


@contextlib.contextmanager
def postgresql():
    """Debian's server on loopback, with an empty database; yields its address."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    folder = Path(tempfile.mkdtemp(prefix="hcr-postgresql-"))
    who = {}
    if os.geteuid() == 0:  # the server refuses to be root
        who = {"user": "postgres", "group": "postgres"}
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    initdb = [programs / "initdb", "-D", folder / "data", "-U", "hcr", "--auth=trust"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)
    command = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", port, "-k", folder]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
        while subprocess.run(ready, check=False).returncode != 0:
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"postgresql+psycopg://hcr@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder)
