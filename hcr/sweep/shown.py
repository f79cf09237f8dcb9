"""What MLflow's pages show of a sweep: its views, the links to them, and the leaderboard as a table."""

from collections.abc import Sequence
from typing import Any

from hcr.config.replicates import REPLICATE_KEYS
from hcr.evaluation.labels import format_value, short_names
from hcr.evaluation.ranking import Leaderboard
from hcr.gate import RunConfig
from hcr.gate.run_config import flatten, to_dict
from hcr.model_facts import POINT
from hcr.sweep.plan import Plan, PlannedRun
from hcr.tracking.views import CHARTS, PARALLEL, TABLE, Setting, Shown, key_of, sweep_views, view_link

WORDS = {CHARTS: "Charts of the points", TABLE: "table of the runs", PARALLEL: "parallel coordinates"}


def views_of(plan: Plan, configs: Sequence[RunConfig]) -> dict[str, str]:
    """The views of a sweep by name, made from what it varies alone: more runs change none of them.

    Args:
        plan: with the key of its parent run.
        configs: of its runs, or of some of them.
    """
    params = {key for cfg in configs for key in flatten(to_dict(cfg))}
    shown = Shown(
        monitor=plan.monitor,
        higher_is_better=plan.higher_is_better,
        settings=settings_of(plan.axes, params),
        with_test=any(bool(cfg.score_test) for cfg in configs),
        replicates=[key for key in reversed(REPLICATE_KEYS) if key in params],
    )
    return sweep_views(plan.parents[-1], shown)


def settings_of(axes: Sequence[str], params: set[str]) -> list[Setting]:
    """The axes as MLflow has them: a key is a param; a choice, such as `model`, is the tag of its point.

    Args:
        params: the keys that runs have as params.
    """
    found = []
    for axis in axes:
        if axis in params:
            found.append(Setting(axis))
        else:
            name = f"{axis}.name"
            found.append(Setting(f"{POINT}{axis}", "tag", drawn_as=name if name in params else None))
    return found


def choices_of(planned: PlannedRun) -> dict[str, str]:
    """The tags of a run for the axes that are no params, as `settings_of` has them."""
    params = flatten(planned.config)
    return {f"{POINT}{key}": str(value) for key, value in planned.values.items() if key not in params}


def links_of(views: dict[str, str]) -> str:
    """The links to a sweep's views as Markdown, relative to whatever host serves them."""
    links = [f"[{WORDS[name]}]({view_link(key_of(text), name)})" for name, text in views.items()]
    return " · ".join(links)


def leaderboard_table(board: Leaderboard) -> dict[str, list[Any]]:
    """The leaderboard in columns, for MLflow's table: the best point first."""
    rows = board.rows
    columns: dict[str, list[Any]] = {"rank": [row.rank for row in rows]}
    short = short_names(board.axes)
    columns |= {
        short[axis].replace(".", " "): [format_value(row.values[axis]) if axis in row.values else "" for row in rows]
        for axis in board.axes
    }
    columns |= {"n": [row.n for row in rows], f"mean {board.monitor}": [row.mean for row in rows]}
    columns |= {
        "sd": [row.sd for row in rows],
        "95 % low": [None if row.interval is None else row.interval[0] for row in rows],
        "95 % high": [None if row.interval is None else row.interval[1] for row in rows],
        "p against the best": [row.p_adjusted for row in rows],
        "parameters": [row.num_params for row in rows],
        "seconds": [None if row.train_s is None else round(row.train_s, 2) for row in rows],
    }
    return columns
