"""What MLflow shows with a model: the settings that tell it apart, and what it reads."""

from hcr.gate.compose import compose
from hcr.model_facts import point_settings, run_settings, what_it_reads

BASE = {"dataset.name": "digits", "model.name": "cnn", "optimizer.name": "adam", "training.epochs": 30, "seed": 0}


def test_a_single_run_shows_its_parts_and_what_the_command_line_changed() -> None:
    words = ["model.depth=1", "++model.dropout=0.1", "training=smoke", "optimizer=sgd", "experiment=keras_example"]
    cfg = compose(["model.depth=1", "model.dropout=0.1", "training=smoke", "optimizer=sgd"])
    changed = {"model.depth": 1, "model.dropout": 0.1, "training": "smoke", "experiment": "keras_example"}
    expected = BASE | {"optimizer.name": "sgd", "training.epochs": cfg.training.epochs} | changed
    assert run_settings(cfg, words) == expected


def test_what_changes_no_model_is_no_setting() -> None:
    words = ["notes=why", "tags={team: ocr}", "tracking.experiment_name=x", "check_only=true", "resume=never", "~tags"]
    assert run_settings(compose(), [*words, "hydra.verbose=true"]) == BASE


def test_a_fold_is_a_setting() -> None:
    cfg = compose(["split=kfold", "split.fold=2"])
    assert run_settings(cfg, [])["split.fold"] == 2
    assert point_settings(cfg, {"sweep.model.depth": "3", "hcr.sweep_point": "1"}) == {
        "model.depth": "3",
        "seed": 0,
        "split.fold": 2,
    }


def test_a_model_reads_prepared_images_of_its_classes() -> None:
    cfg = compose(["dataset=mnist", "dataset.classes=['3','5']", "dataset.image_size=[16,16]", "dataset.fit=stretch"])
    found = what_it_reads(cfg)
    assert (found["dataset"], found["classes"], found["image_shape"]) == ("mnist", ["3", "5"], [16, 16, 1])
    assert found["preparation"]["image_size"] == [16, 16]
    assert found["preparation"]["fit"] == "stretch"
    assert {"pixels", "invert", "color"} <= set(found["preparation"])
