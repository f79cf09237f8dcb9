"""Views of MLflow's pages: what they filter, group, draw and sort by, and the links that open them."""

import hashlib
import json
from dataclasses import replace

import pytest

from hcr.tracking import views
from hcr.tracking.views import CHARTS, PARALLEL, TABLE, Setting, Shown

SHOWN = Shown(
    monitor="val/loss",
    higher_is_better=False,
    settings=[Setting("model.depth"), Setting("sweep.optimizer", "tag", drawn_as="optimizer.name")],
    with_test=True,
)


def made(shown: Shown = SHOWN) -> dict[str, dict]:
    return {name: json.loads(text) for name, text in views.sweep_views("abc123", shown).items()}


def test_every_view_shows_the_runs_of_the_sweep_alone_in_the_order_of_the_leaderboard() -> None:
    for state in made().values():
        assert state["searchFilter"] == "tags.`hcr.in_sweep.abc123` LIKE '%'"
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`sweep/mean_val_loss`", True)
    accuracy = made(replace(SHOWN, monitor="val/accuracy", higher_is_better=True))
    for state in accuracy.values():
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`sweep/mean_val_accuracy`", False)


def test_the_table_has_what_varies_the_metrics_and_the_costs() -> None:
    columns = made()[TABLE]["selectedColumns"]
    settings = ["params.`model.depth`", "tags.`sweep.optimizer`", "params.`seed`"]
    metrics = ["sweep/mean_val_loss", "best/val_loss", "best/val_accuracy", "test/accuracy", "test/loss"]
    costs = ["model/params", "time/total_s"]
    assert columns == [*(f"metrics.`{name}`" for name in [*metrics, *costs]), *settings]
    assert "test" not in str(made(replace(SHOWN, with_test=False))[TABLE])
    folds = made(replace(SHOWN, replicates=["seed", "split.fold"]))[TABLE]["selectedColumns"]
    assert folds[-2:] == ["params.`seed`", "params.`split.fold`"]


def test_the_charts_group_runs_by_their_point_and_draw_curves_bars_and_size_against_score() -> None:
    state = made()[CHARTS]
    keys = [(key["mode"], key["groupByData"]) for key in state["groupBy"]["groupByKeys"]]
    assert keys == [("tag", "hcr.in_sweep.abc123")]
    assert state["useGroupedValuesInCharts"]
    drawn = [(chart["type"], chart.get("metricKey")) for chart in state["compareRunCharts"]]
    assert drawn == [
        ("LINE", "val/loss"),
        ("LINE", "val/accuracy"),
        ("LINE", "train/loss"),
        ("BAR", "best/val_loss"),
        ("BAR", "test/accuracy"),
        ("SCATTER", None),
    ]
    assert state["globalLineChartConfig"]["lineSmoothness"] == 0, "a smoothed curve leaves its own band"
    scatter = state["compareRunCharts"][-1]
    assert (scatter["xaxis"]["key"], scatter["yaxis"]["key"]) == ("model/params", "best/val_loss")
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {state["compareRunSections"][0]["uuid"]}
    assert [section["name"] for section in state["compareRunSections"] if section["display"]] == ["Comparison"]


def test_parallel_coordinates_are_of_single_runs_and_take_params_alone() -> None:
    state = made()[PARALLEL]
    assert state["groupBy"] is None
    (chart,) = state["compareRunCharts"]
    assert (chart["type"], chart["selectedParams"]) == ("PARALLEL", ["model.depth", "optimizer.name"])
    assert chart["selectedMetrics"] == ["best/val_loss"]
    of_tags = replace(SHOWN, settings=[Setting("sweep.experiment", "tag")])
    assert set(made(of_tags)) == {CHARTS, TABLE}


def test_a_sweep_of_seeds_alone_is_not_grouped() -> None:
    seeds = made(replace(SHOWN, settings=[]))
    assert set(seeds) == {CHARTS, TABLE}
    assert seeds[CHARTS]["groupBy"] is None


def test_the_same_facts_give_the_same_bytes_and_so_the_same_key() -> None:
    first, second = views.sweep_views("abc123", SHOWN), views.sweep_views("abc123", replace(SHOWN))
    assert first == second
    text = first[CHARTS]
    assert views.key_of(text) == hashlib.sha256(text.encode()).hexdigest()


def test_a_sweep_of_many_long_settings_fits_what_a_server_stores() -> None:
    many = [Setting(f"augmentation.some_long_setting_{i:02}") for i in range(60)]
    for text in views.sweep_views("abc123", replace(SHOWN, settings=many)).values():
        assert len(text) <= views.LONGEST_TEXT
        assert "setting_00" in text


def test_the_view_of_some_runs_is_the_same_in_whatever_order_they_are_named() -> None:
    first, second = (views.runs_views(ids, SHOWN) for ids in (["b" * 32, "a" * 32], ["a" * 32, "b" * 32]))
    assert first == second
    state = json.loads(first[CHARTS])
    assert state["searchFilter"] == f"attributes.run_id IN ('{'a' * 32}', '{'b' * 32}')"
    assert state["groupBy"] is None
    assert state["orderByKey"] == "metrics.`best/val_loss`"


def test_the_overview_leaves_out_the_parents_of_sweeps_and_begins_with_the_newest() -> None:
    state = json.loads(views.overview(SHOWN))
    assert state["searchFilter"] == "tags.`hcr.kind` != 'sweep'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.`Created`", False)
    for column in ("attributes.`Dataset`", "metrics.`best/val_accuracy`", "metrics.`best/val_loss`"):
        assert column in state["selectedColumns"]


def test_links_written_before_the_experiment_was_known_get_its_id() -> None:
    link = views.view_link("f" * 64, CHARTS)
    assert views.settled(f"[charts]({link}) in #/experiments/7/", "12") == (
        f"[charts](#/experiments/12/runs?viewStateShareKey={'f' * 64}&compareRunsMode=CHART) in #/experiments/7/"
    )
    assert views.view_link("f" * 64, TABLE, "3") == f"#/experiments/3/runs?viewStateShareKey={'f' * 64}"


@pytest.mark.parametrize("value", ["no JSON", "[1, 2]", "3"])
def test_a_damaged_list_of_views_is_none(value: str) -> None:
    assert views.keys_of({views.VIEWS: value}) == {}
