"""`hcr register`: a run's model as a version of a named model in MLflow's registry."""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import output_root
from hcr.tracking.events import first_event, last_event
from hcr.tracking.finding import look_up
from hcr.tracking.place import read_choice, store_of
from hcr.tracking.registry import register
from hcr.tracking.status import is_delivered, read_position
from hcr.tracking.stored import StoredRun

LONGEST = 250  # characters of a name or an alias


def main(argv: Sequence[str]) -> int:
    """Register the model of RUN under NAME, and print its version and how it is loaded.

    Raises:
        ConfigError: the registry takes no such name or alias.
        TrackingError: the run does not exist, has not finished, is not completely uploaded, or has no model; or the
            registry refuses it.
    """
    parser = OneLineParser(
        "register",
        "Register a run's model in MLflow under a name, with the run card as its description.\n"
        "models:/NAME@ALIAS is then a RUN for every verb, and loads the model in MLflow.",
    )
    parser.add_argument("run", metavar="RUN", help="a key, a run id, a run name, latest, best, or models:/NAME@ALIAS")
    parser.add_argument("name", metavar="NAME", help="of the registered model; it is created if there is none")
    parser.add_argument("--alias", help="name that moves to this version, such as champion")
    arguments = parser.parse_args(argv)
    _check_name(arguments.name)
    if arguments.alias is not None:
        _check_alias(arguments.alias)
    stored = _uploaded(arguments.run)
    stopping.set_line("interrupted; the same command registers the run, once")
    try:
        version = register(stored.uri, stored.run_id, arguments.name, arguments.alias)
    except TrackingError:
        raise
    except Exception as error:  # any error of the store
        why = f"{redact(stored.uri)} cannot register it ({one_line(error)})"
        raise TrackingError(f"run {stored.key}: {why}") from error
    verb = "is" if version.is_new else "is already"
    place = f"models:/{arguments.name}/{version.number}"
    print(f"run {stored.key} {verb} version {version.number} of {arguments.name}: {place}")
    if arguments.alias is not None:
        print(f"models:/{arguments.name}@{arguments.alias} is now version {version.number}")
    return 0


def _check_name(name: str) -> None:
    is_path = posixpath.normpath(name) != name or name in (".", "..")
    if not name.strip() or len(name) > LONGEST or not name.isprintable() or re.search(r"[/:@'\"]", name) or is_path:
        raise ConfigError(f"NAME: expected 1 to {LONGEST} characters without / : @ and quotes, got {redact(name)!r}")


def _check_alias(alias: str) -> None:
    is_taken = alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias) is not None
    if is_taken or len(alias) > LONGEST or re.fullmatch(r"[A-Za-z0-9_-]+", alias) is None:
        raise ConfigError(
            f"--alias: expected letters, digits, _ and -, and neither latest nor v1, v2 ..., got {redact(alias)!r}"
        )


def _uploaded(name: str) -> StoredRun:
    """The run called `name` in its store, once its upload is complete."""
    found = look_up(output_root(), name)
    if not isinstance(found, Path):
        return found
    if last_event(found).get("event") != "end":
        raise TrackingError(f"run {found.name}: expected a run that has ended")
    run_id = read_position(found).get("run_id")
    if read_choice(found).get("forgotten") or run_id is None or not is_delivered(found):
        raise TrackingError(f"run {found.name}: its upload is not complete; `hcr sync` uploads the rest")
    return StoredRun(store_of(found, first_event(found)), str(run_id), found.name)
