"""Files for other runtimes: a run's model is written in their format, with what a user of it must know, and checked."""

from hcr.exporting.formats import FORMATS, ExportFormat

__all__ = ["FORMATS", "ExportFormat"]
