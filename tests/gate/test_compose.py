"""From overrides to checked configs, a user's own YAML included, before Hydra acts on anything."""

from pathlib import Path

import pytest

from hcr.config.errors import ConfigError
from hcr.gate.compose import Composer, compose
from hcr.gate.loading import user_config_dir
from hcr.model.architectures.cnn import Cnn
from hcr.model.optimizers.adam import Adam


def own_model(folder: Path, text: str = "defaults:\n  - cnn\n\ndepth: 3\n", name: str = "mine") -> Path:
    """A user's own config folder with one model in it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not in the project, whose `./conf` would be found."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def refusal(*overrides: str, multirun: bool = False, config_dir: Path | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        Composer(config_dir).check(list(overrides), multirun=multirun)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_line_without_overrides_is_the_default_run() -> None:
    checked = Composer().check([])
    assert checked.multirun is False
    (cfg,) = checked.configs
    assert (cfg.dataset.name, cfg.split.name, cfg.model.name, cfg.seed) == ("digits", "stratified", "cnn", 0)


def test_an_override_changes_what_it_names_and_nothing_else() -> None:
    before, after = compose([]), compose(["model.depth=3"])
    assert isinstance(after.model, Cnn)
    assert after.model.depth == 3
    assert (after.dataset, after.training, after.optimizer) == (before.dataset, before.training, before.optimizer)


def test_a_data_set_chooses_its_split_and_the_command_line_still_wins() -> None:
    assert compose(["dataset=mnist"]).split.name == "official"
    assert compose(["dataset=mnist", "split=stratified"]).split.name == "stratified"
    assert compose(["split=stratified", "dataset=mnist"]).split.name == "stratified"


@pytest.mark.parametrize(
    ("overrides", "depth", "rate"),
    [
        ([], 4, 0.006),
        (["model=cnn", "optimizer=adam"], 2, 0.003),
        (["model.depth=3", "optimizer.learning_rate=0.002"], 3, 0.002),
    ],
)
def test_mnist_chooses_depth_and_rate_and_the_command_line_still_wins(
    overrides: list[str], depth: int, rate: float
) -> None:
    for order in (["dataset=mnist", *overrides], [*overrides, "dataset=mnist"]):
        cfg = compose(order)
        assert isinstance(cfg.model, Cnn)
        assert isinstance(cfg.optimizer, Adam)
        assert (cfg.model.depth, cfg.optimizer.learning_rate) == (depth, rate)


def test_an_experiment_wins_over_the_groups_and_the_command_line_over_it() -> None:
    cfg = compose(["experiment=keras_example", "training.batch_size=32"])
    assert (cfg.model.name, cfg.dataset.name, cfg.training.patience) == ("keras_convnet", "mnist", None)
    assert cfg.training.batch_size == 32


def test_own_yaml_is_found_by_config_dir(tmp_path: Path) -> None:
    model = compose(["model=mine"], config_dir=own_model(tmp_path / "own")).model
    assert isinstance(model, Cnn)
    assert model.depth == 3


def test_own_yaml_is_found_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_CONF_DIR", str(own_model(tmp_path / "own")))
    model = compose(["model=mine"]).model
    assert isinstance(model, Cnn)
    assert model.depth == 3


def test_own_yaml_is_found_in_conf_where_one_is(tmp_path: Path) -> None:
    own_model(tmp_path / "cwd" / "conf")
    model = compose(["model=mine"]).model
    assert isinstance(model, Cnn)
    assert model.depth == 3


def test_config_dir_wins_over_the_environment_and_the_environment_over_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_model(tmp_path / "cwd" / "conf", name="here")
    monkeypatch.setenv("HCR_CONF_DIR", str(own_model(tmp_path / "named", name="named")))
    assert user_config_dir() == tmp_path / "named"
    assert compose(["model=named"]).model.name == "cnn"
    assert "no 'here' here" in refusal("model=here")
    given = own_model(tmp_path / "given", name="given")
    assert compose(["model=given"], config_dir=given).model.name == "cnn"
    assert "no 'named' here" in refusal("model=named", config_dir=given)


def test_without_a_folder_of_ones_own_nothing_is_found() -> None:
    assert user_config_dir() is None


def test_a_folder_that_is_none_is_refused_by_what_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(config_dir=tmp_path / "nope").startswith("--config-dir: expected a folder, got ")
    monkeypatch.setenv("HCR_CONF_DIR", str(tmp_path / "nope"))
    assert refusal().startswith("HCR_CONF_DIR: expected a folder, got ")


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("name: cnn\ndepth: 2\n", ["model.filters: missing"]),
        ("defaults:\n  - cnn\nkernel: 3\n", ["model.kernel: unknown key", "model.kernel_size"]),
        ("defaults:\n  - cnn\n_target_: os.system\n", ["model._target_: not allowed"]),
        ("defaults:\n  - nowhere\n", ["model/mine", "model/nowhere"]),
        ("- a\n- b\n", ["model: expected a group of settings"]),
        ("name: [\n", ["mine"]),
    ],
)
def test_own_yaml_passes_the_same_gate(tmp_path: Path, text: str, fragments: list[str]) -> None:
    message = refusal("model=mine", config_dir=own_model(tmp_path / "own", text))
    assert [fragment for fragment in fragments if fragment not in message] == []


def test_own_yaml_cannot_slip_hydra_a_callback(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    a:\n      _target_: os.makedirs\n      name: made\n"
    )
    assert refusal("experiment=evil", config_dir=folder).startswith("hydra.callbacks: not allowed")
    assert list(Path.cwd().iterdir()) == []


def test_a_multirun_is_every_combination_in_order() -> None:
    checked = Composer().check(["model.depth=1,2", "seed=0,5"], multirun=True)
    assert checked.multirun is True
    points = [(cfg.model.depth, cfg.seed) for cfg in checked.configs if isinstance(cfg.model, Cnn)]
    assert points == [(1, 0), (1, 5), (2, 0), (2, 5)]


def test_a_multirun_of_one_combination_is_still_a_multirun() -> None:
    checked = Composer().check(["seed=3"], multirun=True)
    assert (checked.multirun, [cfg.seed for cfg in checked.configs]) == (True, [3])


def test_a_multirun_over_a_group_composes_each_choice() -> None:
    checked = Composer().check(["optimizer=adam,sgd"], multirun=True)
    assert [cfg.optimizer.name for cfg in checked.configs] == ["adam", "sgd"]


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["model.depth=2,9"], ["model.depth: block 4", "in the combination model.depth=9"]),
        (["seed=0,1", "model.depth=2,9"], ["in the combination model.depth=9 seed=0"]),
        (["seed=0,-1"], ["seed: ", "in the combination seed=-1"]),
        (["split=stratified,official"], ["split.name: ", "in the combination split=official"]),
        (["model=cnn,vgg"], ["model: no 'vgg' here", "in the combination model=vgg"]),
        (["tracking.experiment_name=a,b"], ["tracking.experiment_name: expected one value", "got several"]),
        (["launcher.workers=1,2"], ["launcher.workers: expected one value for all runs of a sweep"]),
        (["seed=1,2", "seed=3,4"], ["seed: given twice with several values"]),
        (["check_only=true,false"], ["check_only: expected one value for all runs of a sweep"]),
        (["monitor=val/loss,test/loss"], ["monitor: ", "in the combination monitor=test/loss"]),
        (["+model.widht=1,2"], ["model.widht: unknown key", "in the combination +model.widht=1"]),
    ],
)
def test_one_bad_combination_refuses_the_multirun_and_is_named(overrides: list[str], fragments: list[str]) -> None:
    message = refusal(*overrides, multirun=True)
    assert [fragment for fragment in fragments if fragment not in message] == []


def test_a_sweep_in_yaml_needs_no_flag_and_is_gated_point_by_point(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "experiment").mkdir(parents=True)
    sweep = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      model.depth: 1,%s\n"
    (folder / "experiment" / "good.yaml").write_text(sweep % 3)
    (folder / "experiment" / "bad.yaml").write_text(sweep % 9)
    checked = Composer(folder).check(["experiment=good"])
    assert checked.multirun is True
    assert [cfg.model.depth for cfg in checked.configs if isinstance(cfg.model, Cnn)] == [1, 3]
    assert "in the combination model.depth=9" in refusal("experiment=bad", config_dir=folder)


def test_the_command_line_wins_over_the_sweep_in_yaml(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "s.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n"
    )
    assert [cfg.seed for cfg in Composer(folder).check(["experiment=s", "seed=7"]).configs] == [7]


def test_a_multirun_finds_yaml_in_the_searchpath_as_a_single_run_does(tmp_path: Path) -> None:
    path = f"hydra.searchpath=[file://{own_model(tmp_path / 'own')}]"
    single = Composer().check([path, "model=mine"]).configs[0].model
    many = Composer().check([path, "model=mine,cnn"], multirun=True).configs
    assert many[0].model == single


def test_a_searchpath_imports_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "hcr_test_evil"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    assert "hydra.searchpath" in refusal("hydra.searchpath=[pkg://hcr_test_evil]")
    assert not (tmp_path / "imported").exists()


def test_a_sweep_over_hydra_s_own_settings_is_refused_at_the_gate() -> None:
    message = refusal("+hydra.job_logging.handlers.x.class=os.makedirs,os.mkdir", "seed=0,1", multirun=True)
    assert "hydra.job_logging" in message


@pytest.mark.parametrize(("override", "key"), [("model=null", "model"), ("model@foo=cnn", "model@foo"), ("=3", "'=3'")])
def test_an_override_that_cannot_be_applied_is_named(override: str, key: str) -> None:
    message = refusal(override)
    assert message.startswith(f"{key}: ")
    assert "did you mean 'model'" not in message


def test_a_sweep_that_hydra_s_sweeper_cannot_do_is_refused_by_its_key() -> None:
    assert refusal("model.depth=interval(1,3)", multirun=True).startswith("model.depth: ")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("~tags.password=x", "tags.password: is not in the config, so it cannot be deleted"),
        ("~tags=x", "tags: is not in the config, so it cannot be deleted"),
        ("~experiment=a", "experiment: is not in the config, so it cannot be deleted"),
        ("~seed=5", "seed: expected ~seed alone, or with its current value (0), got 5"),
        ("~model=resnet", "model: expected ~model alone, or with its current value ('cnn'), got 'resnet'"),
        ("+experiment=speedrun", "experiment: is in the config already; write experiment=... without the +"),
        ("++experiment=speedrun", "experiment: is in the config already; write experiment=... without the +"),
        ("+tags.password='hunter22${b'", "tags.password: cannot be set to '<hidden>'"),
        ("hydra.searchpath=[", "'hydra.searchpath=[': expected an override"),
    ],
)
def test_a_deletion_and_an_addition_are_answered_as_such(override: str, says: str) -> None:
    assert refusal(override).startswith(says)


def test_the_overrides_of_a_run_are_kept_as_they_were_written_without_hydra_s_own() -> None:
    own = ["hydra.mode=RUN", "hydra/job_logging=none", "++hydra.verbose=false"]
    assert Composer().check(["seed=1", *own, "+tags.version=1.10", "notes=007"]).overrides == [
        "seed=1",
        "+tags.version=1.10",
        "notes=007",
    ]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("{seed: '1,2,['}", "hydra.sweeper.params.seed: expected values as on the command line"),
        ("{+tags.password: 'hunter22['}", "hydra.sweeper.params.+tags.password: expected values"),
        ("[seed]", "hydra.sweeper.params: expected a group of settings, got ['seed']"),
    ],
)
def test_a_sweep_in_yaml_that_cannot_be_read_is_refused_by_its_key(tmp_path: Path, params: str, says: str) -> None:
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\nhydra:\n  sweeper:\n    params: {params}\n"
    (tmp_path / "experiment" / "own.yaml").write_text(text)
    told = refusal("experiment=own", "model.depth=1,2", multirun=True, config_dir=tmp_path)
    assert told.startswith(says)
    assert "hunter22" not in told


def test_an_unreadable_override_that_a_config_adds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  overrides:\n    task: ['seed=[1']\n"
    (tmp_path / "experiment" / "own.yaml").write_text(text)
    told = refusal("experiment=own", multirun=True, config_dir=tmp_path)
    assert told.startswith("'seed=[1': expected an override")


@pytest.mark.parametrize("text", ["a: [b\n", "a: ${b\n", "\xff\xfe\x00", "- a\n"])
def test_a_damaged_file_spoils_no_message_about_something_else(tmp_path: Path, text: str) -> None:
    (own_model(tmp_path) / "model" / "broken.yaml").write_text(text, encoding="latin-1")
    told = refusal("model=resnet", "model.depth=3", config_dir=tmp_path)
    assert told == "model.depth: unknown key of model=resnet; model=cnn has it"
    assert refusal("model=[cnn", config_dir=tmp_path).startswith("model: expected a name, got '[cnn'")


@pytest.mark.parametrize("override", ["model.deph=3", "seed=[", "seed=1,2", "+model.nothing=1"])
def test_a_damaged_primary_config_is_one_line(tmp_path: Path, override: str) -> None:
    (tmp_path / "own.yaml").write_text("defaults: [nothing]\n")
    with pytest.raises(ConfigError) as refused:
        Composer(tmp_path, "own").check([override])
    assert "\n" not in str(refused.value)
