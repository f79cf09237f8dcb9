"""Comparison of the runs under an output root with their stores, and the upload of what is missing."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcr.config.errors import one_line
from hcr.config.secrets import redact
from hcr.config.tracking import sqlite_path
from hcr.tracking.comparison import missing, missing_inside, read_contents
from hcr.tracking.events import first_event, is_removed
from hcr.tracking.journal import end_dead_run
from hcr.tracking.known import Known, ask
from hcr.tracking.lock import lock_run
from hcr.tracking.place import read_choice, store_of
from hcr.tracking.replay import Replay, RunDeleted
from hcr.tracking.status import is_delivered, is_ours, oldest_first
from hcr.tracking.store import all_runs, copy_of_store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


class Survey:
    """Compares runs with their stores, without changing anything.

    Args:
        folders: the folders of the runs.
        take_over: include runs of other hosts.
        whole: also compare all metric values and artifacts, which a search of the store does not return.

    Attributes:
        lines: messages to print.
        lacking: runs that are not complete in their store, oldest first.
        failed: (run key or store, error) of each run or store that could not be read or uploaded.
        num_running, num_whole: numbers of runs that are alive and of runs that are complete in their store.
        num_unknown: number of runs that could not be compared with their store.
        is_whole: the same as `whole`.
    """

    def __init__(self, folders: Sequence[Path], *, take_over: bool, whole: bool) -> None:
        self.lines: list[str] = []
        self.lacking: list[Path] = []
        self.failed: list[tuple[str, Exception]] = []
        self.num_running = self.num_whole = self.num_unknown = 0
        self._take_over, self.is_whole = take_over, whole
        self._deleted: list[Path] = []
        self._purged: list[Path] = []
        by_store: dict[str, list[Path]] = {}
        for folder in folders:
            if not read_choice(folder).get("forgotten"):
                by_store.setdefault(store_of(folder, first_event(folder)), []).append(folder)
        for uri, of_store in by_store.items():
            self._check_store(uri, of_store)
        self._report_skipped(self._deleted, "deleted in MLflow (`mlflow runs restore` restores a run)")
        self._report_skipped(
            self._purged, "permanently deleted from MLflow (`hcr sync --to URI RUN` uploads a run again)"
        )
        self.lacking = oldest_first(self.lacking)

    def _report_skipped(self, folders: Sequence[Path], why: str) -> None:
        if folders:
            keys = ", ".join(sorted(folder.name for folder in folders))
            are = "run was" if len(folders) == 1 else "runs were"
            self.lines.append(f"skipped: {len(folders)} {are} {why}: {keys}")

    def _check_store(self, uri: str, folders: Sequence[Path]) -> None:
        if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
            self._check_runs(folders, None, {}, Known())  # the upload creates the file
            return
        with contextlib.ExitStack() as stack:
            try:
                client = stack.enter_context(copy_of_store(uri))
                runs = all_runs(client)
                known = ask(uri, 5.0, {}) if uri.startswith("sqlite:") else None
            except Exception as error:  # one store may be unreachable while another answers
                self._report_unreachable(uri, folders, error)
            else:
                self._check_runs(folders, client, runs, known)

    def _report_unreachable(self, uri: str, folders: Sequence[Path], error: Exception) -> None:
        """Report a store that does not answer, and count its runs."""
        waiting = [folder for folder in folders if not is_delivered(folder) and self._may_upload(folder)]
        self.failed += [(folder.name, error) for folder in waiting]
        self.num_unknown += len(waiting) + sum(is_delivered(folder) for folder in folders)
        if self.is_whole or not waiting:
            self.lines.append(f"note: {redact(uri)} cannot be reached ({one_line(error)})")
        if self.is_whole and not waiting:
            self.failed.append((redact(uri), error))

    def _check_runs(
        self, folders: Sequence[Path], client: "MlflowClient | None", runs: "dict[str, Run]", known: Known | None
    ) -> None:
        for folder in folders:
            try:
                self._check_run(folder, client, runs, known)
            except Exception as error:  # a damaged journal
                self.failed.append((folder.name, error))
                self.num_unknown += 1
                if self.is_whole:
                    self.lines.append(f"note: run {folder.name} cannot be compared ({one_line(error)})")

    def _check_run(
        self, folder: Path, client: "MlflowClient | None", runs: "dict[str, Run]", known: Known | None
    ) -> None:
        run = runs.get(folder.name)
        if is_removed(folder):
            self._check_removed(folder, run)
            return
        if is_delivered(folder):
            if run is None and known is not None and known.standing(folder) == "purged":
                self._purged.append(folder)
                return
        elif not self._may_upload(folder):
            return
        if run is not None and run.info.lifecycle_stage == "deleted":
            self._deleted.append(folder)
            return
        if run is None or client is None:
            lacks = ["the run"]
        else:
            contents = read_contents(folder)
            lacks = missing(contents, run) + (missing_inside(contents, run, client) if self.is_whole else [])
        if not lacks and is_delivered(folder):
            self.num_whole += 1
            return
        self.lacking.append(folder)
        if is_delivered(folder):
            self.lines.append(f"run {folder.name} is incomplete in MLflow; missing: {'; '.join(lacks)}")
        elif self.is_whole:
            self.lines.append(f"run {folder.name} is not uploaded yet; missing: {'; '.join(lacks) or 'its end'}")

    def _check_removed(self, folder: Path, run: "Run | None") -> None:
        """A run that the user removed: the store should not show it."""
        if run is None or run.info.lifecycle_stage == "deleted":
            return
        if self._may_upload(folder):
            self.lacking.append(folder)
            self.lines.append(f"run {folder.name} was removed; MLflow still has it")

    def _may_upload(self, folder: Path) -> bool:
        """True if this process may upload the run: it belongs to this host, or is taken over, and is not alive."""
        if not (self._take_over or is_ours(folder)):
            self.lines.append(
                f"skipped: run {folder.name} belongs to another host; `hcr sync` there, or --take-over, uploads it"
            )
            return False
        try:
            with lock_run(folder):
                return True
        except BlockingIOError:
            self.num_running += 1
            return False


def upload_all(survey: Survey) -> int:
    """Upload what `survey` found missing; return the number of runs uploaded. Errors are added to `survey.failed`."""
    uploaded = 0
    for folder in survey.lacking:
        try:
            with lock_run(folder):
                end_dead_run(folder)
                replay = Replay(folder)
                if is_delivered(folder) or survey.is_whole:
                    replay.restart()
                uploaded += replay.upload()
        except BlockingIOError:
            survey.num_running += 1
        except RunDeleted as error:
            print(f"skipped: {one_line(error)}", flush=True)
        except Exception as error:  # one store may be unreachable while another answers: continue with the others
            survey.failed.append((folder.name, error))
    return uploaded
