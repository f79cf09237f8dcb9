"""The pictures of `hcr data`: samples, class balance, suspicious labels and near copies."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import TrackingError, one_line
from hcr.config.naming import safe_file_name
from hcr.config.tracking import output_root
from hcr.data.inspection.copies import NEAR
from hcr.data.inspection.inspect import OPEN_SIDES, SIDES, Inspection
from hcr.data.inspection.suspicious import NEIGHBOURS
from hcr.data.splitting import Splits, Subset
from hcr.gate.run_config import RunConfig

if TYPE_CHECKING:
    from hcr.evaluation.inspection_pictures import Doubted, Pairs

SHOWN = 24  # images or pairs that are handed to a picture; it may show fewer


def draw_data(cfg: RunConfig, splits: Splits, found: Inspection) -> dict[str, Path]:
    """Write the pictures under `<output root>/data`; return their paths.

    Raises:
        TrackingError: the folder cannot be written.
    """
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.class_plots import class_balance_info, draw_class_balance
    from hcr.evaluation.inspection_pictures import draw_doubted, draw_pairs
    from hcr.evaluation.pictures import draw_samples, samples_info
    from hcr.evaluation.style import default_style

    names, subsets = splits.class_names, _subsets(splits)
    labels = {side: subset.labels for side, subset in subsets.items()}
    folder = output_root() / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with default_style():
            figures = {
                "samples": draw_samples(samples_info(splits.train.images, splits.train.labels, names)),
                "balance": draw_class_balance(class_balance_info(labels, names)),
            }
            if found.suspicions.found:
                figures["suspicious"] = draw_doubted(_doubted(subsets, found))
            if any(copies.pairs for copies in found.copies):
                figures["near copies"] = draw_pairs(_pairs(subsets, found))
            files = {
                what: folder / f"{safe_file_name(cfg.dataset.name)}-{what.replace(' ', '-')}.png" for what in figures
            }
            for what, figure in figures.items():
                partial = files[what].with_suffix(".partial.png")
                try:
                    save_figure(figure, partial)
                    partial.replace(files[what])
                finally:
                    partial.unlink(missing_ok=True)
    except OSError as error:
        raise TrackingError(
            f"{folder}: expected a folder that can be written ({one_line(error)}); HCR_OUTPUT_DIR names another"
        ) from error
    return files


def _subsets(splits: Splits) -> dict[str, Subset]:
    return dict(zip(SIDES, (splits.train, splits.val, splits.test), strict=True))


def _doubted(subsets: dict[str, Subset], found: Inspection) -> "Doubted":
    from hcr.evaluation.inspection_pictures import doubted_info

    shown = found.suspicions.found[:SHOWN]
    places = [found.side_of(one.index) for one in shown]
    return doubted_info(
        _images(subsets, places),
        [f"{side} {subsets[side].index[place]}" for side, place in places],
        np.array([one.label for one in shown], np.int64),
        np.array([one.neighbours_label for one in shown], np.int64),
        [f"{one.agreement} of {NEIGHBOURS}" for one in shown],
        found.counts.class_names,
        num_doubted=len(found.suspicions.found),
        num_judged=found.suspicions.num_judged,
    )


def _pairs(subsets: dict[str, Subset], found: Inspection) -> "Pairs":
    from hcr.evaluation.inspection_pictures import pairs_info

    worst_first = sorted(
        found.copies,
        key=lambda copies: (copies.side == copies.other, SIDES.index(copies.other), -SIDES.index(copies.side)),
    )
    pairs = [(copies.side, copies.other, pair) for copies in worst_first for pair in copies.pairs]
    shown = pairs[:SHOWN]
    first = [(side, pair.index) for side, _, pair in shown]
    second = [(other, pair.other) for _, other, pair in shown]
    return pairs_info(
        _images(subsets, first),
        _images(subsets, second),
        [
            (_caption(subsets, found, *left), _caption(subsets, found, *right))
            for left, right in zip(first, second, strict=True)
        ],
        [pair.correlation for _, _, pair in shown],
        num_pairs=len(pairs),
        limit=NEAR,
    )


def _caption(subsets: dict[str, Subset], found: Inspection, side: str, place: int) -> str:
    """The image's side and place, and its label if the side is not sealed."""
    subset = subsets[side]
    label = f": {found.counts.class_names[subset.labels[place]]}" if side in OPEN_SIDES else ""
    return f"{side} {subset.index[place]}{label}"


def _images(subsets: dict[str, Subset], places: list[tuple[str, int]]) -> NDArray[np.uint8]:
    """The images at these places of their sides, (n, H, W, C)."""
    if not places:
        return np.zeros((0, *subsets["train"].images.shape[1:]), np.uint8)
    return np.stack([subsets[side].images[np.array([place])][0] for side, place in places])
