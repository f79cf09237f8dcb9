"""A comparison as plain values, for JSON and CSV."""

import math
from typing import Any

from hcr.comparing.story import Compare
from hcr.config.text import csv_line
from hcr.evaluation.comparison import Pair, SingleRuns

CSV_COLUMNS = (
    *(
        "first",
        "second",
        "images",
        "groups",
        "mean_first",
        "mean_second",
        "difference",
        "low",
        "high",
        "p",
        "p_adjusted",
    ),
    *("basis", "smallest", "mcnemar_only_first", "mcnemar_only_second", "mcnemar_p", "runs_first", "runs_second"),
    *("permutation_p", "permutation_smallest_p", "welch_p", "welch_df", "images_alone_p", "verdict"),
)


def as_json(compared: Compare, run: str | None) -> dict[str, Any]:
    """All numbers of a comparison; `run` is the key that it is recorded under.

    Differences and their ends are fractions; of losses they are ratios. What does not apply is None.
    """
    found, images = compared.found, compared.images
    sides = [
        {
            "label": side.label,
            "runs": list(side.keys),
            "seeds": [own.cfg.seed for own in side.runs],
            "images": number,
            "mean": compared.means[side.label],
        }
        for side, number in zip(compared.sides, images.per_side, strict=True)
    ]
    return {
        "run": run,
        "on": compared.part,
        "metric": str(found.kind),
        "sides": sides,
        "same_images_for_all_runs": images.is_one_draw,
        "pairs": [_pair(pair, text) for pair, text in zip(found.pairs, found.verdict(), strict=True)],
        "differs": compared.differing.sections,
        "deciding": sorted(compared.differing.deciding),
        "notes": list(compared.differing.notes),
    }


def as_csv(compared: Compare) -> str:
    """A line for each pair, below a header; what does not apply is empty."""
    lines = [csv_line(CSV_COLUMNS)]
    for pair, verdict in zip(compared.found.pairs, compared.found.verdict(), strict=True):
        own = _pair(pair, verdict)
        mcnemar, seeds = own["mcnemar"] or {}, own["seeds"] or {}
        welch = seeds.get("welch") or {}
        flat = own | {
            **{f"mcnemar_{name}": mcnemar.get(name) for name in ("only_first", "only_second", "p")},
            "runs_first": seeds.get("first", 1),
            "runs_second": seeds.get("second", 1),
            "permutation_p": seeds.get("permutation_p"),
            "permutation_smallest_p": seeds.get("smallest_p"),
            "welch_p": welch.get("p"),
            "welch_df": welch.get("df"),
            "images_alone_p": own["images_alone"]["p"],
        }
        lines.append(csv_line(["" if flat[name] is None else flat[name] for name in CSV_COLUMNS]))
    return "".join(lines)


def difference_of(pair: Pair) -> tuple[float, float, float]:
    """The difference of a pair and the ends of its interval; of losses ratios."""
    value = pair.difference.value
    low, high = pair.interval
    return (math.exp(value) if pair.is_ratio else value, low, high)


def _pair(pair: Pair, verdict: str) -> dict[str, Any]:
    difference, low, high = difference_of(pair)
    over_low, over_high = pair.over_images.ends()
    if pair.is_ratio:
        over_low, over_high = math.exp(over_low), math.exp(over_high)
    seeds = None
    if pair.seeds is not None:
        own, welch = pair.seeds, pair.seeds.welch
        seeds = {
            "first": own.num_first,
            "second": own.num_second,
            "permutation_p": own.permutation_p,
            "smallest_p": own.smallest_p,
            "welch": None
            if welch is None
            else {"difference": welch.difference, "low": welch.low, "high": welch.high, "df": welch.df, "p": welch.p},
        }
    return {
        "first": pair.first,
        "second": pair.second,
        "images": pair.num_images,
        "groups": pair.num_groups,
        "mean_first": pair.means[0],
        "mean_second": pair.means[1],
        "difference": _finite(difference),
        "low": _finite(low),
        "high": _finite(high),
        "p": pair.p,
        "p_adjusted": pair.p_adjusted,
        "basis": str(pair.basis),
        "smallest": _finite(pair.smallest),
        "images_alone": {"low": _finite(over_low), "high": _finite(over_high), "p": pair.over_images.p},
        "mcnemar": None if pair.single is None else _mcnemar(pair.single),
        "mcnemar_by_seed": [_mcnemar(single) for single in pair.by_seed],
        "seeds": seeds,
        "verdict": verdict,
    }


def _mcnemar(single: SingleRuns) -> dict[str, Any]:
    own = single.replicate
    return {
        "seed": None if own is None else own.seed,
        "fold": None if own is None else own.fold,
        "only_first": single.only_first,
        "only_second": single.only_second,
        "p": single.p,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
