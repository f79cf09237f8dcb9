"""What an exported file says of its model: classes, the images that it takes, and the run that it is from."""

from typing import Any

from hcr import __version__
from hcr.gate.run_config import to_dict
from hcr.recorded import RecordedRun

PREPARATION = ("color", "invert", "fit", "image_size", "pixels")
MADE_AS = "made_as"  # of a data set whose config says how its images were made


def describe(run: RecordedRun) -> dict[str, Any]:
    """The metadata of an export of `run`, as plain values for JSON.

    `class_names` are in the order of the probabilities. The keys of PREPARATION are the data set's, as its config has
    them; `data_notes` say what was decided where it says auto.
    """
    dataset = to_dict(run.cfg)["dataset"]
    height, width, channels = run.image_shape
    return {
        "class_names": list(run.class_names),
        "input": f"uint8 (N, {height}, {width}, {channels}), pixels 0 to 255, prepared as below; N: any number",
        "output": f"float32 (N, {len(run.class_names)}), probabilities of class_names",
        "image_shape": [height, width, channels],
        **{key: dataset[key] for key in PREPARATION},
        **({MADE_AS: dataset[MADE_AS]} if dataset.get(MADE_AS) is not None else {}),
        "data_notes": run.tags.get("hcr.data_notes", ""),
        "dataset": dataset["name"],
        "run": run.key,
        "run_name": run.name,
        "hcr_version": __version__,
    }
