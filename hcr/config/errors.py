"""The errors that a user can cause. Each is shown as one line, without a traceback."""

from hcr.config.secrets import redact, redact_shapes
from hcr.config.text import printable

LONGEST = 1000  # characters of a message
BROKEN_PIPE = 141  # exit code for a closed pipe: the shell's code for SIGPIPE


class HcrError(Exception):
    """Base of every error that a user's config, data or environment can cause.

    The message is one line: the key or file, the expected value, and the actual one.
    """


class ConfigError(HcrError, ValueError):
    """A config that the gate refuses."""


class DataError(HcrError):
    """Image files that are missing, damaged or do not match the config."""


class TrainingError(HcrError):
    """Training that cannot continue, such as after a NaN loss."""


class TrackingError(HcrError):
    """A store or a run folder that cannot be used."""


def one_line(error: BaseException) -> str:
    """The first non-blank line of an error's message, or its class name; redacted, at most LONGEST characters."""
    lines = (line.strip() for line in str(error).splitlines())
    line = printable(next((line for line in lines if line), type(error).__name__))
    line = redact_shapes(line) if isinstance(error, HcrError) else redact(line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
