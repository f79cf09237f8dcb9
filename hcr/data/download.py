"""Downloads: complete and checked, or no file at all."""

import logging
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from hcr.config.errors import DataError, one_line
from hcr.config.secrets import redact
from hcr.config.text import printable
from hcr.console import PlainConsole

TIMEOUT_S = 20.0  # timeout for an answer, and the window over which the speed is measured
SLOWEST_BYTES_PER_S = 1024  # below this a transfer counts as stalled
NUM_RETRIES = 2
BLOCK_BYTES = 1 << 16


class _BrokenOff(ValueError):
    """A transfer that a retry may complete; pooch retries after a ValueError."""


def download(
    url: str, file: Path, sha256: str, *, timeout_s: float = TIMEOUT_S, console: PlainConsole | None = None
) -> None:
    """Download `url` to `file` atomically, and check it; two processes may do so at once.

    pooch writes to a temporary file in the same folder, checks the SHA-256, moves the file into place, and retries
    transfers that broke off.

    Args:
        sha256: of the file, in hex.
        timeout_s: timeout for an answer; also the longest time below 1 KiB/s.
        console: shows the progress; default: standard output.

    Raises:
        DataError: no connection, an answer other than the file, every attempt broke off, or a full disk.
    """
    import pooch

    pooch.get_logger().setLevel(logging.CRITICAL)  # this module reports instead
    console = console or PlainConsole()
    fetcher = pooch.create(
        path=file.parent,
        base_url="",
        registry={file.name: sha256},
        urls={file.name: url},
        retry_if_failed=NUM_RETRIES,
    )
    try:
        fetcher.fetch(file.name, downloader=_Downloader(file.name, timeout_s, console))
    except _BrokenOff as error:
        raise DataError(f"{shown_url(url)}: {error}, {NUM_RETRIES + 1} times") from error
    except ValueError as error:  # from pooch, which has deleted the file
        raise DataError(
            f"{shown_url(url)}: the SHA-256 of the file differs from dataset.sha256; the file was deleted"
        ) from error
    except OSError as error:
        raise DataError(f"{file.parent}: the download cannot be written here ({one_line(error)})") from error


def shown_url(url: str) -> str:
    """`url` for printing: without its query, which may hold keys and signatures."""
    address, question, _ = url.partition("?")
    return redact(address) + ("?..." if question else "")


class _Downloader:
    """The downloader that pooch calls for each attempt. Unlike pooch's own, it detects a stalled transfer."""

    def __init__(self, name: str, timeout_s: float, console: PlainConsole) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._console = console
        self._attempts = 0

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        self._attempts += 1
        with ExitStack() as stack:
            response = stack.enter_context(self._open(url))
            size_bytes = int(response.headers.get("Content-Length") or 0) or None
            again = f" (attempt {self._attempts} of {NUM_RETRIES + 1})" if self._attempts > 1 else ""
            size = f"{size_bytes / 1e6:.1f} MB" if size_bytes else "unknown size"
            self._console.print(printable(f"downloading {self._name} ({size}) from {shown_url(url)}{again}"))
            out = stack.enter_context(Path(output_file).open("wb"))
            progress = stack.enter_context(_bar(self._console))
            task = progress.add_task(printable(self._name), total=size_bytes)
            written, window_start, window_bytes = 0, time.monotonic(), 0
            while block := self._read(response):
                out.write(block)
                written += len(block)
                window_bytes += len(block)
                progress.update(task, completed=written)
                elapsed_s = time.monotonic() - window_start
                if elapsed_s >= self._timeout_s:
                    if window_bytes < SLOWEST_BYTES_PER_S * elapsed_s:
                        raise _BrokenOff(f"the transfer stalled ({written:,} bytes received)")
                    window_start, window_bytes = time.monotonic(), 0
        if size_bytes is not None and written < size_bytes:
            raise _BrokenOff(f"the transfer broke off ({written:,} of {size_bytes:,} bytes received)")

    def _open(self, url: str) -> Any:
        try:
            return urllib.request.urlopen(url, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            message = f"the server answers {error.code} {error.reason}"
            error.close()
            if error.code >= 500:
                raise _BrokenOff(message) from error
            raise DataError(f"{shown_url(url)}: {message}") from error
        except TimeoutError as error:
            raise _BrokenOff(f"no answer within {self._timeout_s:g} s") from error
        except urllib.error.URLError as error:
            raise DataError(f"{shown_url(url)}: cannot be reached ({_reason(error.reason)})") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOff(f"the server broke off before it answered ({one_line(error)})") from error

    def _read(self, response: Any) -> bytes:
        """The next received bytes; b"" at the end."""
        try:
            block: bytes = response.read1(BLOCK_BYTES)
        except TimeoutError as error:
            raise _BrokenOff(f"no data for {self._timeout_s:g} s") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOff(f"the transfer broke off ({one_line(error)})") from error
        return block


def _reason(reason: object) -> str:
    """The reason as text, without the number of an OSError."""
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason)


def _bar(console: PlainConsole) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_interactive
    )
