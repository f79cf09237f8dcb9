"""What `hcr data --json` prints."""

from dataclasses import asdict
from math import isfinite
from typing import Any

from hcr.data.inspection.inspect import Inspection
from hcr.data.splitting import Splits, Subset
from hcr.gate.run_config import RunConfig


def facts_of(cfg: RunConfig, splits: Splits, found: Inspection, failed: list[str]) -> dict[str, Any]:
    """The facts about a data set as plain values.

    An image is named by its `index` in the canonical order, as in the predictions of a run. Shares are fractions,
    pixels 0 to 255, and what does not exist is null, such as the mean of a class without images.
    """
    counts, ink, suspicions = found.counts, found.ink, found.suspicions
    subsets = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {
        "name": cfg.dataset.name,
        "source": splits.source,
        "split": {"name": cfg.split.name, "seed": cfg.split.seed_for(cfg.seed)},
        "digests": {
            "dataset": splits.dataset_digest,
            "split": splits.split_digest,
            "preparation": splits.preparation_digest,
        },
        "image_shape": list(found.prepared),
        "source_sizes": None if found.source_sizes is None else asdict(found.source_sizes),
        "class_names": list(counts.class_names),
        "images": dict(zip(counts.sides, counts.images.tolist(), strict=True)),
        "imbalance": _number(counts.imbalance),
        "ink": {
            "mean": ink.mean,
            "sd": ink.sd,
            "bright_share": ink.bright_share,
            "border_bright_share": ink.border_bright_share,
            "class_means": [_number(mean) for mean in ink.class_means.tolist()],
            "dark_on_light": ink.dark_on_light,
            "blank": _indices(subsets, found, ink.blank.nonzero()[0].tolist()),
            "other_polarity": _indices(subsets, found, ink.turned.nonzero()[0].tolist()),
        },
        "copies": [
            {
                "side": copies.side,
                "in": copies.other,
                "images": copies.num_images,
                "identical": copies.num_identical,
                "compared": copies.num_compared,
                "near": copies.num_near,
                "share": copies.share,
                "near_pairs": [
                    {
                        "index": int(subsets[copies.side].index[pair.index]),
                        "other": int(subsets[copies.other].index[pair.other]),
                        "correlation": pair.correlation,
                    }
                    for pair in copies.pairs
                ],
            }
            for copies in found.copies
        ],
        "conflicts": _indices(subsets, found, found.conflicts.tolist()),
        "labels": {
            "judged": suspicions.num_judged,
            "neighbours_among": suspicions.num_references,
            "agreement": suspicions.agreement,
            "suspicious_share": suspicions.share,
            "suspicious": [
                {
                    "index": _indices(subsets, found, [one.index])[0],
                    "side": found.side_of(one.index)[0],
                    "label": counts.class_names[one.label],
                    "neighbours_say": counts.class_names[one.neighbours_label],
                    "neighbours": one.agreement,
                    "ratio": _number(one.ratio),
                }
                for one in suspicions.found
            ],
        },
        "notes": list(splits.data_notes),
        "failed_checks": failed,
    }


def _indices(subsets: dict[str, Subset], found: Inspection, places: list[int]) -> list[int]:
    """The indices in the canonical order of the images at these places."""
    return [int(subsets[side].index[place]) for side, place in map(found.side_of, places)]


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
