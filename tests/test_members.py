"""The members of an ensemble: chosen on validation alone, and refused if they share no split."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hcr.config import HcrError
from hcr.config.tracking import output_root, sqlite_uri
from hcr.gate.compose import compose
from hcr.gate.run_config import to_yaml
from hcr.members import choose_members
from hcr.recorded_sweep import RecordedSweep, ScoredRun
from hcr.tracking.journal import Journal

SHARED = {"hcr.dataset_digest": "d1", "hcr.split_digest": "s1"}


def write(key: str, *overrides: str, **tags: str) -> Path:
    """A finished run with a test score, which is the better the worse its place in the alphabet."""
    root = output_root()
    journal = Journal(root, uri=sqlite_uri(root / "mlflow.db"), experiment="hcr", parent="c0ffee")
    own = {f"hcr.{name}": value for name, value in tags.items()}
    journal.begin(name=key, tags=SHARED | own, key=key)
    journal.artifact("config/config.yaml").write_text(to_yaml(compose(list(overrides))))
    journal.metrics({"test/accuracy": ord(key[0]) / 1000, "test/loss": 1 / ord(key[0])}, step=1)
    journal.end("FINISHED")
    journal.release()
    return journal.folder


def sweep_of(*folders: Path, is_complete: bool = True, **changes: Any) -> RecordedSweep:
    values: dict[str, Any] = {
        "key": "c0ffee",
        "name": "depths",
        "monitor": "val/loss",
        "uri": "sqlite:////x.db",
        "experiment": "hcr",
        "runs": [ScoredRun(folder, value) for value, folder in enumerate(folders)],
        "num_planned": len(folders) + (not is_complete),
        "num_ended": Counter(finished=len(folders)),
        "is_complete": is_complete,
    }
    return RecordedSweep(**(values | changes))


def test_the_best_on_validation_are_chosen_where_test_would_choose_others() -> None:
    sweep = sweep_of(write("a1"), write("a2", "model=mlp"), write("z1"))
    chosen = choose_members(sweep, 2)
    assert [run.key for run in chosen] == ["a1", "a2"]
    by_test = sorted(choose_members(sweep, 3), key=lambda run: run.metrics["test/accuracy"], reverse=True)
    assert by_test[0].key == "z1"
    assert [run.cfg.model.name for run in chosen] == ["cnn", "mlp"]


def refusal(sweep: RecordedSweep, top: int = 2, **options: bool) -> str:
    with pytest.raises(HcrError) as refused:
        choose_members(sweep, top, **options)
    return str(refused.value)


def test_members_of_several_splits_are_refused_with_the_override_that_mends_it() -> None:
    sweep = sweep_of(write("a1"), write("a2"), write("b1", split_digest="s2"))
    assert len(choose_members(sweep, 2)) == 2  # these two share theirs
    message = refusal(sweep, 3)
    assert message.startswith("the 3 best runs have 2 splits: validation images of one are training images of another")
    assert message.endswith("sweep again with split.seed=0")
    folds = [write(f"f{i}", "split=kfold", f"split.fold={i}", split_digest=f"s{i}") for i in range(2)]
    assert refusal(sweep_of(*folds)).endswith("sweep again with one fold (split.fold=0 split.seed=0)")


def test_members_of_other_images_preparation_size_or_classes_are_refused() -> None:
    first = write("a1")
    letters = "dataset.classes=['1','2','3','4','5','6','7','8','9','0']"
    others = {
        "images": write("b1", dataset_digest="d2", split_digest="s2"),
        "preparation": write("b2", preparation_digest="p2"),
        "image size": write("b3", "dataset.image_shape=[9,9,1]"),
        "classes": write("b4", letters),
    }
    for what, folder in others.items():
        message = refusal(sweep_of(first, folder))
        assert message.startswith(f"runs a1 and {folder.name} were not trained on the same {what}; expected")


def test_an_unfinished_sweep_is_refused_unless_it_is_asked_for() -> None:
    sweep = sweep_of(write("a1"), write("a2"), is_complete=False)
    assert refusal(sweep) == (
        "sweep c0ffee: 2 of 3 runs have finished; its command trains the rest,"
        " or --allow-incomplete chooses among those that have finished"
    )
    assert len(choose_members(sweep, 2, allow_incomplete=True)) == 2


def test_more_members_than_runs_are_refused() -> None:
    sweep = sweep_of(write("a1"), write("a2"), num_planned=4, num_ended=Counter(finished=2, pruned=1, failed=1))
    assert refusal(sweep, 3) == (
        "--top: expected at most 2, got 3; of sweep c0ffee 2 of 4 runs have finished, 1 pruned, 1 failed"
    )
    assert refusal(sweep_of(write("b1"))) == (
        "--top: expected a sweep with 2 or more, got 2; of sweep c0ffee 1 of 1 run has finished"
    )
