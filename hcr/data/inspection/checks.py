"""The checks of a data set: each has a declared limit, and one line that says what is wrong and what to do.

MNIST, letters and digits pass. Of the letters, which are coarse binary glyphs, 6 % of test have a copy in training and
3 % an identical image with another label (i and l, mostly), so the limits leave room for what is natural in such data.
"""

from collections.abc import Iterator

import numpy as np

from hcr.data.inspection.inspect import Inspection

MOST_COPIES = 0.10  # share of validation or test images with an identical or nearly identical training image
MOST_CONFLICTS = 0.05  # share of training and validation images that are identical to one with another label
MOST_BLANK = 0.01  # share of images whose pixels are all the same
MOST_BLANK_IN_CLASS = 0.5  # the same in any class
MOST_TURNED = 0.10  # share of images that are dark on light where the others are light on dark, or the reverse
MOST_SUSPICIOUS = 0.05  # share of judged training and validation labels that the neighbours contradict
LEAST_AGREEMENT = 0.10  # of labels with that of the nearest image, from 0 for chance to 1
FEWEST_JUDGED = 500  # labels, for that check
MOST_NAMED = 5  # classes in a line

# For the help of `hcr data`, in the order of the checks.
DESCRIPTIONS = (
    "a class has no image in training, validation or test",
    f"more than {MOST_COPIES:.0%} of the validation or test images have a copy in training, identical or nearly so",
    f"more than {MOST_CONFLICTS:.0%} of the training and validation images are identical to one with another label",
    f"more than {MOST_BLANK:.0%} of all images, or of one class more than {MOST_BLANK_IN_CLASS:.0%}, are blank",
    f"more than {MOST_TURNED:.0%} of the images are dark on light where the others are light on dark, or the reverse",
    f"more than {MOST_SUSPICIOUS:.0%} of the training and validation labels are suspicious",
    f"the nearest image has the same label hardly more often than by chance (agreement below {LEAST_AGREEMENT:.0%};"
    f" only with {FEWEST_JUDGED} labels or more)",
)
NAMES = {"train": "training", "val": "validation", "test": "test"}


def failed_checks(found: Inspection) -> list[str]:
    """A line for each check that fails: what is wrong, the limit, and what to do. Empty if the data set passes."""
    return [*_absent_classes(found), *_copied(found), *_conflicts(found), *_ink(found), *_suspicious(found)]


def _absent_classes(found: Inspection) -> Iterator[str]:
    for side in found.counts.sides:
        absent = found.counts.absent(side)
        if absent:
            yield (
                f"{NAMES[side]}: expected images of every class, got none of {_listed(absent)}; add images, choose"
                f" larger fractions in split, or leave the classes out"
            )


def _copied(found: Inspection) -> Iterator[str]:
    for copies in found.copies:
        if copies.other == "train" and copies.side != "train" and copies.share > MOST_COPIES:
            near = f" or nearly identical ({copies.num_near:,} of {copies.num_compared:,} compared)"
            yield (
                f"{NAMES[copies.side]}: expected at most {MOST_COPIES:.0%} of the images to have a copy in training,"
                f" got {copies.share:.1%}: identical ({copies.num_identical:,}){near}; remove the copies, or keep them"
                " on one side with groups and split=grouped"
            )


def _conflicts(found: Inspection) -> Iterator[str]:
    share = len(found.conflicts) / found.num_open
    if share > MOST_CONFLICTS:
        yield (
            f"labels: expected at most {MOST_CONFLICTS:.0%} of the training and validation images to be identical to"
            f" one with another label, got {share:.1%} ({len(found.conflicts):,}); correct the labels, or merge classes"
            " that look the same"
        )


def _ink(found: Inspection) -> Iterator[str]:
    blank, turned, names = found.ink.blank, found.ink.turned, found.counts.class_names
    if blank.mean() > MOST_BLANK:
        yield (
            f"images: expected at most {MOST_BLANK:.0%} to be blank, got {blank.mean():.1%} ({int(blank.sum()):,});"
            " remove them, or look for images that were not read as they should"
        )
    in_class = np.bincount(found.labels[blank], minlength=len(names))
    empty = [names[k] for k in np.flatnonzero(in_class > MOST_BLANK_IN_CLASS * np.maximum(found.counts.of_class, 1))]
    if empty:
        yield (
            f"images: expected at most {MOST_BLANK_IN_CLASS:.0%} of the images of a class to be blank, got more of"
            f" {_listed(tuple(empty))}; remove these images, or leave the classes out"
        )
    if turned.mean() > MOST_TURNED:
        usual, other = ("dark on light", "light on dark")[:: 1 if found.ink.dark_on_light else -1]
        yield (
            f"images: expected all to be {usual} like most, got {turned.mean():.1%} ({int(turned.sum()):,}) {other};"
            " invert these before they are saved, x = 255 - x"
        )


def _suspicious(found: Inspection) -> Iterator[str]:
    share = found.suspicions.share
    if share > MOST_SUSPICIOUS:
        yield (
            f"labels: expected at most {MOST_SUSPICIOUS:.0%} to be contradicted by the nearest images, got {share:.1%}"
            f" ({len(found.suspicions.found):,} of {found.suspicions.num_judged:,} judged); look at the picture of"
            " suspicious labels"
        )
    agreement = found.suspicions.agreement
    if agreement < LEAST_AGREEMENT and found.suspicions.num_judged >= FEWEST_JUDGED:
        yield (
            f"labels: expected the nearest image to have the same label clearly more often than by chance, got an"
            f" agreement of {agreement:.2f} (0: chance, 1: always; limit {LEAST_AGREEMENT}); look whether labels and"
            " images are in the same order"
        )


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if names[MOST_NAMED:] else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
