"""A comparison in words: the images, the tests beside the verdict, and the method."""

from hcr.comparing.story import PARTS, Compare
from hcr.evaluation.claims import told_p
from hcr.evaluation.comparison import Pair, SingleRuns
from hcr.evaluation.labels import counted
from hcr.evaluation.score_model import Basis
from hcr.evaluation.statistics import Kind


def told_images(compared: Compare) -> str:
    """Which images the sides are compared on, and how many of them are shared; one sentence."""
    pairs, images, part = compared.found.pairs, compared.images, PARTS[compared.part]
    numbers = [pair.num_images for pair in pairs]
    few, many = min(numbers), max(numbers)
    count = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    if images.is_one_draw:
        text = f"on {count} {part} images, the same for all runs"
    else:
        low, high = images.per_run
        each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        sides = ", ".join(
            f"{number:,} by {name}" for name, number in zip(compared.labels, images.per_side, strict=True)
        )
        both = f"{count} by both" if len(pairs) == 1 else f"{count} by both of a pair"
        text = (
            f"on the {part} images that both held out: the runs drew different ones, {each} each; {sides}, {both}"
            " (split.seed=0 draws the same for all)"
        )
    groups = sorted({pair.num_groups for pair in pairs if pair.num_groups is not None})
    if groups:
        ends = dict.fromkeys([groups[0], groups[-1]])
        text += f"; they are of {' to '.join(f'{end:,}' for end in ends)} groups, which are resampled whole"
    return text


def told_tests(compared: Compare, pair: Pair) -> list[str]:
    """The tests beside the verdict of a pair, one line each."""
    kind = compared.found.kind
    lines = []
    if pair.single is not None:
        lines.append(_mcnemar(pair.single, "the two runs"))
    for single in pair.by_seed:
        lines.append(_mcnemar(single, str(single.replicate)))
    if not lines and kind is Kind.ACCURACY and pair.num_groups is not None:
        lines.append("McNemar's exact test does not apply: images of a group are not independent")
    if pair.seeds is not None:
        seeds = pair.seeds
        ns = f"{seeds.num_first} and {counted(seeds.num_second, 'run')}"
        lines.append(
            f"seeds alone, permutation test: {told_p(seeds.permutation_p)}"
            f" ({ns}; {seeds.smallest_p:#.2g} is the smallest possible)"
        )
        if seeds.welch is not None:
            welch = seeds.welch
            lines.append(f"seeds alone, Welch's test: {told_p(welch.p)} ({ns}, {welch.df:.1f} degrees of freedom)")
    if pair.basis is not Basis.IMAGES:
        lines.append(f"images alone, these trained models: {told_p(pair.over_images.p)}")
    return lines


def relation(compared: Compare) -> str:
    """How the tests beside the verdict relate to it; one sentence."""
    pair = compared.found.pairs[0]
    if pair.basis is Basis.FOLDS:
        own = "The verdict's p is of the differences paired by fold and seed, with Nadeau and Bengio's correction"
    elif pair.basis is Basis.IMAGES:
        own = "The verdict's p is " + (
            "McNemar's exact test" if pair.single is not None else "of the paired difference over the images"
        )
        return f"{own}: of these trained models on new images, and not of other seeds."
    else:
        own = "The verdict's p counts the noise of seeds and of images in one error"
    return (
        f"{own}; McNemar's test knows only the images of two runs, the permutation and Welch tests only the seeds, so"
        " that each may differ from it."
    )


def method(compared: Compare) -> list[str]:
    """The method, in three sentences."""
    scale = (
        "The difference of two accuracies is paired: an image that both sides were scored on moves both"
        if compared.found.kind is Kind.ACCURACY
        else "Two losses are compared as a ratio, paired over the images that both sides were scored on"
    )
    count = len(compared.found.pairs)
    holm = (
        f"p is corrected for {count} pairs by Holm's method"
        if count > 1
        else "there is one pair, so p needs no correction"
    )
    return [
        f"{scale}, and its interval is at 95 %.",
        relation(compared),
        f"A difference is claimed up to p = 0.05; {holm}.",
    ]


def _mcnemar(single: SingleRuns, what: str) -> str:
    return (
        f"McNemar's exact test, {what}: {told_p(single.p)} ({counted(single.only_first, 'image')} only the first has"
        f" right, {single.only_second:,} only the second)"
    )
