"""What MLflow shows of a sweep: settings as it has them, links, and the leaderboard as a table."""

from hcr.config.replicates import Replicate
from hcr.evaluation.ranking import PointScores, rank
from hcr.sweep.plan import PlannedRun
from hcr.sweep.shown import choices_of, leaderboard_table, links_of, settings_of
from hcr.tracking.tables import table_text
from hcr.tracking.views import CHARTS, TABLE, Setting


def test_a_key_is_a_param_and_a_choice_is_a_tag_because_two_choices_may_have_one_name() -> None:
    params = {"model.depth", "model.name", "optimizer.name"}
    assert settings_of(("model.depth", "model", "experiment"), params) == [
        Setting("model.depth"),
        Setting("sweep.model", "tag", drawn_as="model.name"),
        Setting("sweep.experiment", "tag", drawn_as=None),
    ]


def test_a_reused_run_gets_the_tags_of_its_choices_alone() -> None:
    planned = PlannedRun(
        number=0,
        overrides=("model=mlp", "model.depth=2", "seed=0"),
        values={"model": "mlp", "model.depth": 2},
        point=0,
        seed=0,
        config={"model": {"name": "mlp", "depth": 2}, "seed": 0},
    )
    assert choices_of(planned) == {"sweep.model": "mlp"}


def test_the_links_are_relative_to_whatever_host_serves_them() -> None:
    text = links_of({CHARTS: "a", TABLE: "b"})
    assert text.startswith("[Charts of the points](#/experiments/here/runs?viewStateShareKey=")
    assert text.count(" · ") == 1


def test_the_table_of_the_leaderboard_has_its_order_its_axes_and_headings_that_mlflow_shows() -> None:
    points = [
        PointScores(label=f"model.depth={depth}", values={"model.depth": depth}, scores=scores, num_planned=2)
        for depth, scores in ((1, {Replicate(0): 0.5, Replicate(1): 0.7}), (2, {Replicate(0): 0.1, Replicate(1): 0.3}))
    ]
    points.append(PointScores(label="model.depth=3", values={"model.depth": 3}, scores={}, num_planned=2))
    board = rank(points, monitor="val/loss", higher_is_better=False, allow_incomplete=True)
    columns = leaderboard_table(board)
    assert (columns["rank"], columns["depth"]) == ([1, 2, 3], ["2", "1", "3"])
    assert [None if mean is None else round(mean, 9) for mean in columns["mean val/loss"]] == [0.2, 0.6, None]
    assert columns["n"] == [2, 2, 0]
    assert table_text(columns)
