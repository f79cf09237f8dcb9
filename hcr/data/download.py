"""Downloads: whole and checked, or not there at all."""

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
from hcr.config.text import printable
from hcr.console import PlainConsole

TIMEOUT_S = 20.0  # without an answer, and the window over which a speed is judged
SLOWEST_BYTES_PER_S = 1024  # below this a transfer counts as stalled
NUM_RETRIES = 2
BLOCK_BYTES = 1 << 16


class _BrokenOff(ValueError):
    """A transfer that another attempt may complete; pooch tries again after a ValueError."""


def download(
    url: str, file: Path, sha256: str, *, timeout_s: float = TIMEOUT_S, console: PlainConsole | None = None
) -> None:
    """Fetch `url` to `file`, which appears whole and checked or not at all; two processes may do it at once.

    pooch writes to a temporary file beside it, checks the SHA-256, moves it into place, and tries again after a
    transfer that broke off.

    Args:
        sha256: of the file, in hex.
        timeout_s: longest wait for an answer; also, how long a transfer may stay under 1 KiB/s.
        console: where progress is shown; standard output by default.

    Raises:
        DataError: no connection, an answer other than the file, a transfer that keeps breaking off, a full disk.
    """
    import pooch

    pooch.get_logger().setLevel(logging.CRITICAL)  # what there is to say is said here
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
        raise DataError(f"{url}: {error}, {NUM_RETRIES + 1} times") from error
    except ValueError as error:  # pooch's own, and it has deleted the file
        raise DataError(f"{url}: the file there has another SHA-256 than dataset.sha256, and was not kept") from error
    except OSError as error:
        raise DataError(f"{file.parent}: expected a folder to download into ({one_line(error)})") from error


class _Downloader:
    """What pooch calls for each attempt. Its own cannot tell a transfer that dribbles from one that goes on."""

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
            self._console.print(printable(f"downloading {self._name} ({size}) from {url}{again}"))
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
                        raise _BrokenOff(f"the transfer all but stopped ({written:,} bytes came)")
                    window_start, window_bytes = time.monotonic(), 0
        if size_bytes is not None and written < size_bytes:
            raise _BrokenOff(f"the transfer broke off ({written:,} of {size_bytes:,} bytes came)")

    def _open(self, url: str) -> Any:
        try:
            return urllib.request.urlopen(url, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            message = f"the server answers {error.code} {error.reason}"
            error.close()
            if error.code >= 500:
                raise _BrokenOff(message) from error
            raise DataError(f"{url}: {message}") from error
        except TimeoutError as error:
            raise _BrokenOff(f"no answer within {self._timeout_s:g} s") from error
        except urllib.error.URLError as error:
            raise DataError(f"{url}: cannot be reached ({_reason(error.reason)})") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOff(f"the server broke off before it answered ({one_line(error)})") from error

    def _read(self, response: Any) -> bytes:
        """What has come so far, b"" at the end."""
        try:
            block: bytes = response.read1(BLOCK_BYTES)
        except TimeoutError as error:
            raise _BrokenOff(f"nothing came for {self._timeout_s:g} s") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOff(f"the transfer broke off ({one_line(error)})") from error
        return block


def _reason(reason: object) -> str:
    """Without the number that the operating system gives it."""
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason)


def _bar(console: PlainConsole) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_interactive
    )
