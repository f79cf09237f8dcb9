"""The one family of errors a user can cause. Each is shown as one line, without a traceback."""

from hcr.config.secrets import redact
from hcr.config.text import printable

LONGEST = 1000  # characters of a message
BROKEN_PIPE = 141  # the exit code where nobody reads any more: what a shell makes of the signal SIGPIPE


class HcrError(Exception):
    """Base of every error that a user's config, data or surroundings can cause.

    The message is one line: the key or file, what was expected, and what came.
    """


class ConfigError(HcrError, ValueError):
    """A config that the gate refuses."""


class DataError(HcrError):
    """Image files that are absent, damaged or not what the config says."""


class TrainingError(HcrError):
    """Training that cannot go on, such as a loss that became NaN."""


class TrackingError(HcrError):
    """A store or a run folder that cannot be used."""


def one_line(error: BaseException) -> str:
    """The first line of an error's message that says anything, or the name of its class; no longer than one reads."""
    lines = (line.strip() for line in str(error).splitlines())
    line = redact(printable(next((line for line in lines if line), type(error).__name__)))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
