"""`hcr export`: a finished run's model as a file for another runtime."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.text import printable
from hcr.exporting.formats import FORMATS, ExportFormat, check_packages, format_of
from hcr.exporting.target import check_target
from hcr.importing import import_keras
from hcr.recorded import RecordedRun, recorded_run
from hcr.tracking.ended import upload_added

if TYPE_CHECKING:
    from hcr.exporting.export import Exported

DESCRIPTION = (
    "Write the model of a finished run for another runtime: raw pixels in (uint8, N x H x W x C,\n"
    "any N), probabilities out, always computed in float32. The file is then run on the run's\n"
    "validation images, and kept only if its probabilities are those of the Keras model to 0.0001.\n"
    "Its metadata name the classes and say how images are prepared."
)
UNSAFE = re.compile(r"[^\w.+=-]+")  # in a run's name that becomes a file's


def main(argv: Sequence[str]) -> int:
    """Export the model of RUN, print where it is and what the check found, and record that.

    Raises:
        ConfigError: a package is missing, or the file cannot be written.
        TrackingError: the run does not exist or has not finished, or its model cannot be read.
        HcrError: the model cannot be converted, or the file differs from it.
    """
    parser = OneLineParser("export", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file (default: named after the run)")
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    arguments = parser.parse_args(argv)
    check_packages(arguments.to)
    run, kind = recorded_run(arguments.run), format_of(arguments.to)
    target = arguments.output or Path(_file_name(run, arguments.to, kind))
    check_target(target, kind, force=arguments.force)
    import_keras()
    from hcr.exporting.export import export_run, record_export

    with stopping.recording():  # a signal removes what is half written
        exported = export_run(run, arguments.to, target, force=arguments.force)
    print("\n".join(_report(run, exported)), flush=True)
    if run.folder is None:
        print("note: only the store has this run, so the check is not recorded")
        return 0
    record_export(run, arguments.to, exported)
    upload_added(run.folder)
    return 0


def _file_name(run: RecordedRun, name: str, kind: ExportFormat) -> str:
    stem = UNSAFE.sub("-", run.name).strip("-.") or run.key
    return f"{stem}{kind.ending or f'-{name}'}"


def _report(run: RecordedRun, exported: "Exported") -> list[str]:
    """What was made, and what the check found."""
    seen, apart, rounding = exported.seen, exported.from_keras, exported.from_bfloat16
    shape = "x".join(map(str, run.image_shape))
    lines = [
        f"{printable(str(exported.path))}: {exported.size_bytes / 1000:,.0f} kB, uint8 N x {shape} in,"
        f" probabilities of {len(run.class_names)} classes out",
        f"checked on {len(seen.images):,} {seen.what}: probabilities differ from Keras' by at most {apart.largest:.1g}",
    ]
    if seen.why_generated is not None:
        lines.append(f"note: the run's own images were not available ({seen.why_generated})")
    if rounding is not None:
        lines.append(
            "note: the run was trained in bfloat16 and is exported in float32, which is more exact: probabilities"
            f" differ from the run's by at most {rounding.largest:.2g}; the most probable class is another for"
            f" {rounding.num_other:,} of {len(seen.images):,} images"
        )
    return lines
