"""`hcr rm`: remove runs, here and in MLflow."""

from collections.abc import Sequence

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.console import PlainConsole
from hcr.importing import import_needed
from hcr.tracking.deletion import registered_versions
from hcr.tracking.finding import find_run
from hcr.tracking.lock import lock_run
from hcr.tracking.removal import plan_removal, remove, reusing_sweeps
from hcr.tracking.replay import Replay
from hcr.tracking.status import is_delivered

MOST_SHOWN = 20  # runs of a preview
MIB = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Show what would be removed; with --yes, remove it.

    Raises:
        TrackingError: a run does not exist, is alive, belongs to another host, or is a version of a registered model;
            nothing is removed then. Or the store could not be reached: `hcr sync` removes the rest.
    """
    parser = OneLineParser(
        "rm",
        "Remove runs: their files here, and the runs in MLflow, which can restore them until `mlflow gc`.\n"
        "Without --yes it shows what would be removed. A sweep's parent run includes its runs.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a key, a run id, a run name, latest or best")
    parser.add_argument("--yes", action="store_true", help="remove them")
    arguments = parser.parse_args(argv)
    root = output_root()
    if arguments.yes and {"latest", "best"} & set(arguments.runs):
        raise ConfigError("hcr rm: latest and best change; expected the keys that are shown without --yes")
    removals = plan_removal(root, [find_run(root, name) for name in arguments.runs])
    console = PlainConsole()
    for removal in removals[:MOST_SHOWN]:
        size = f"{removal.size_bytes / MIB:.1f} MiB"
        console.print(printable(f"{removal.folder.name}  {removal.status:<11} {size:>10}  {removal.name}"))
    if removals[MOST_SHOWN:]:
        console.print(f"and {len(removals) - MOST_SHOWN} more")
    for removal in removals:
        if sweeps := reusing_sweeps(removal.folder) - {other.folder.name for other in removals}:
            console.say(
                f"note: {removal.folder.name} is also a run of sweep {', '.join(sorted(sweeps))}, which reuses it"
            )
    total = sum(removal.size_bytes for removal in removals) / MIB
    what = f"{len(removals)} run{'s' * (len(removals) != 1)}, {total:.1f} MiB"
    import_needed("mlflow")
    for removal in removals:
        if versions := registered_versions(removal.folder):
            raise TrackingError(
                f"run {removal.folder.name} is version {versions[0][1]} of the registered model {versions[0][0]!r};"
                " delete that version in MLflow first"
            )
    if not arguments.yes:
        keys = " ".join(find_run(root, name).name for name in arguments.runs)
        console.say(f"{what} would be removed; hcr rm {keys} --yes removes them")
        return 0
    stopping.set_line("interrupted; the same command removes the rest")
    for removal in removals:
        remove(removal)
    late = []
    for removal in removals:
        try:
            with lock_run(removal.folder):
                Replay(removal.folder).upload()
        except Exception as error:  # any error of the store
            late.append(one_line(error))
    left = sum(not is_delivered(removal.folder) for removal in removals)
    if left:
        why = f" ({late[0]})" if late else ""
        raise TrackingError(f"{what} removed here; {left} not yet in MLflow{why}: `hcr sync` removes them there")
    console.say(f"{what} removed")
    return 0
