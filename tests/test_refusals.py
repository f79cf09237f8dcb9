"""What a user can get wrong on the command line: one line that names the key, at once, and nothing left behind."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Hcr

HEAVY = ("tensorflow", "keras", "mlflow", "sklearn", "matplotlib")

# The memory is bounded so that a refusal that computes before it compares fails here and not the machine.
CODE = f"""
import atexit, json, sys
if sys.platform == "linux":
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
atexit.register(lambda: print(json.dumps([name for name in {HEAVY} if name in sys.modules])))
"""


@dataclass(frozen=True)
class Row:
    """A command line after `hcr train`, and what its one line must say."""

    name: str
    argv: tuple[str, ...]
    says: tuple[str, ...]
    verb: str = "train"


def row(name: str, argv: str, *says: str, verb: str = "train") -> Row:
    return Row(name, tuple(argv.split("\t")) if argv else (), says, verb)


ROWS = [
    # Names.
    row("unknown key", "model.deph=3", "model.deph: unknown key; did you mean 'model.depth'?"),
    row("unknown key behind +", "+model.deph=3", "model.deph: unknown key; did you mean 'model.depth'?"),
    row("unknown key behind ++", "++model.deph=3", "model.deph: unknown key; did you mean 'model.depth'?"),
    row("unknown top key", "+colour=red", "colour: unknown key"),
    row("unknown key of hydra behind +", "+hydra.foo=1", "hydra.foo: unknown key"),
    row("unknown group", "modle=cnn", "modle: unknown key; did you mean 'model'?"),
    row("unknown choice", "model=cn", "model: no 'cn' here; did you mean 'cnn'?", "one of cnn, "),
    row("unknown data set", "dataset=minst", "dataset: no 'minst' here; did you mean 'mnist'?"),
    row("unknown experiment", "experiment=keras_exampel", "did you mean 'keras_example'?"),
    row("model.name typo", "model.name=cn", "model.name: no 'cn' here; did you mean 'cnn'?"),
    row(
        "key of another choice",
        "model.depth=3\tmodel=resnet",
        "model.depth: unknown key of model=resnet; model=cnn has",
    ),
    row(
        "key of another choice behind +",
        "model=resnet\t+model.depth=3",
        "unknown key of model=resnet; model=cnn has it",
    ),
    row(
        "other name of a key", "optimizer.lr=0.1", "optimizer.lr: unknown key; did you mean 'optimizer.learning_rate'?"
    ),
    row("key without its group", "epochs=3", "epochs: unknown key; did you mean 'training.epochs'?"),
    row("no setting at all", "gpus=2", "gpus: unknown key; a run trains on one GPU (training.device)"),
    row(
        "GPU that is not there", "training.device=gpu", "training.device: expected auto or cpu, as there is no GPU here"
    ),
    row("choice in capitals", "dataset=MNIST", "dataset: no 'MNIST' here; did you mean 'mnist'?"),
    row("group in capitals", "Model.depth=3", "Model.depth: unknown key; did you mean 'model.depth'?"),
    row("slash for a dot", "model/depth=3", "model/depth: unknown key; did you mean 'model.depth'?"),
    row("path for a name", "dataset=own/dataset/mine.yaml", "expected a name", "write --config-dir own dataset=mine"),
    row("data file for a name", "dataset=own/x.npz", "expected a name, got the path", "dataset.path"),
    row("tag that is not there yet", "tags.v=1.10", "tags.v: is not in the config yet; write +tags.v=1.10"),
    row("deleted key", "~model.depth", "model.depth: missing; expected an integer from 1 to 64"),
    row("key that is there already", "+model.depth=3", "model.depth: is in the config already", "without the +"),
    # Types.
    row("word for int", "model.depth=two", "model.depth: expected an integer from 1 to 64, got 'two'"),
    row("float for int", "model.depth=2.0", "model.depth: expected an integer from 1 to 64, got 2.0"),
    row("bool for int", "model.depth=true", "model.depth: expected an integer from 1 to 64, got True"),
    row("word for float", "model.dropout=high", "model.dropout: expected a number in [0, 1), got 'high'"),
    row("nan", "model.dropout=nan", "model.dropout: expected a finite number in [0, 1), got nan"),
    row("int for bool", "model.batch_norm=1", "model.batch_norm: expected true or false, got 1"),
    row(
        "bad list item",
        "model.dense_units=[128,x]",
        "model.dense_units[1]: expected an integer from 1 to 65536, got 'x'",
    ),
    row("nothing for int", "model.depth=", "model.depth: expected an integer from 1 to 64, got ''"),
    row("list for tags", "tags=[a]", "tags: expected a group of settings or null, got ['a']"),
    # Ranges.
    row("depth 0", "model.depth=0", "model.depth: expected an integer from 1 to 64, got 0"),
    row("dropout 1", "model.dropout=1", "model.dropout: expected a number in [0, 1), got 1"),
    row("learning rate 0", "optimizer.learning_rate=0", "optimizer.learning_rate: expected a number over 0, got 0"),
    row("seed -1", "seed=-1", "seed: expected an integer from 0 to 4294967295, got -1"),
    row("epochs 0", "training.epochs=0", "training.epochs: expected an integer of 1 or more, got 0"),
    row("batch 0", "training.batch_size=0", "training.batch_size: expected an integer from 1 to 1000000, got 0"),
    row("patience 0", "training.patience=0", "training.patience: expected an integer of 1 or more, or null, got 0"),
    row("fraction 0", "split.validation=0", "split.validation: expected a number in (0, 1), got 0"),
    row(
        "reserved tag",
        "tags={hcr.key: x}",
        "tags: expected names without a reserved prefix (hcr., mlflow.), got 'hcr.key'",
    ),
    # Parts that do not fit.
    row("too deep", "model.depth=4", "model.depth: block 4 shrinks a 8x8 image", "at most 3"),
    row(
        "kernel as large as the image",
        "model.padding=valid\tmodel.kernel_size=9\tmodel.pooling=none",
        "model.kernel_size: block 1 shrinks a 8x8 image",
        "a smaller one (or model.padding=same)",
    ),
    row("absurdly deep", "model.depth=99999999999999999999", "model.depth: ", "expected an integer from 1 to 64"),
    row("too deep for mnist", "dataset=mnist\tmodel.depth=5", "model.depth: block 5", "28x28", "at most 4"),
    row("too small for mnist's model", "dataset=mnist\tdataset.image_size=[14,14]", "block 4", "14x14", "at most 3"),
    row("filters per block", "model.filters=[8,16,32]", "model.filters: expected 2 values", "[8, 16, 32]"),
    row("too small for the convnet", "model=keras_convnet", "model.name: keras_convnet", "8x8", "10x10"),
    row("test metric", "monitor=test/accuracy", "monitor: expected a validation metric", "got 'test/accuracy'"),
    row("official split of digits", "split=official", "split.name: ", "'digits' has none; use split=stratified"),
    row("fractions over 1", "split.validation=0.6\tsplit.test=0.6", "split.validation + split.test: ", "got 1.2"),
    row("class names", "dataset.num_classes=11", "dataset.class_names: expected 11 names", "got 10"),
    row("file store", "tracking.uri=./mlruns", "tracking.uri: expected a URI such as http", "got './mlruns'"),
    # Imports and calls.
    row("target in model", "+model._target_=os.system", "model._target_: not allowed"),
    row("target in tags", "tags={_target_: os.system}", "tags._target_: not allowed"),
    row("target in a list", "model.dense_units=[{_target_: os.system}]", "model.dense_units[0]._target_: not allowed"),
    row("target deep in tags", "tags={a: [{b: {_target_: x}}]}", "tags.a[0].b._target_: not allowed"),
    row("callback", "+hydra.callbacks.a._target_=os.makedirs\t+hydra.callbacks.a.name=made", "hydra.callbacks: not"),
    row("env_set", "+hydra.job.env_set.A=b", "hydra.job.env_set: not allowed"),
    row(
        "logging class",
        "+hydra.job_logging.handlers.x.class=subprocess.Popen",
        "hydra.job_logging.handlers.x.class: 'subprocess.Popen' is not allowed",
    ),
    row(
        "logging from elsewhere",
        "+hydra.extra={version:1,root:{level:INFO,handlers:[x]},handlers:{x:{class:zipfile.ZipFile,file:made,mode:w}}}"
        "\thydra.job_logging=${hydra.extra}",
        "hydra.",
    ),
    row("sweep over hydra", "-m\tseed=0,1\t+hydra.job.env_set.A=b,c", "hydra.job.env_set"),
    row("imported searchpath", "hydra.searchpath=[pkg://mlflow]", "hydra.searchpath"),
    row("hydra's launcher", "hydra/launcher=evil", "hydra/launcher: hcr runs its sweeps itself", "launcher=local"),
    row("hydra's sweeper", "-m\tseed=0,1\thydra/sweeper=basic", "hydra/sweeper: hcr", "sweep.sampler=grid, tpe"),
    row("launcher target", "hydra.launcher._target_=os.makedirs", "hydra.launcher._target_: 'os.makedirs' is not"),
    # Grammar.
    row("sweep without -m", "seed=0,1", "seed: 0,1 means several values; add -m"),
    row("groups without -m", "model=cnn,keras_convnet", "model: cnn,keras_convnet means several values; add -m"),
    row("no equals sign", "model.depth", "'model.depth': expected an override (KEY=VALUE, GROUP=NAME"),
    row("open bracket", "model.depth=[1", "model.depth: expected an integer from 1 to 64, got '[1'"),
    row(
        "words that belong together",
        "model.depth\t=\t3",
        "'model.depth': expected an override",
        "; write model.depth=3",
    ),
    row("colon", "model.depth:3", "'model.depth:3': expected an override", "; write model.depth=3"),
    row("blank in a list", "model.filters=[16,\t32]", "; write 'model.filters=[16, 32]'"),
    row("trailing comma", "seed=1,", "; write seed=1"),
    row(
        "text that looks like several values", "notes=50% better, I think", "write 'notes=\"50% better, I think\"' for"
    ),
    row("path with a sign of the grammar", "dataset=mnist\tdataset.path=a#b", "; write 'dataset.path=\"a#b\"'"),
    row("name of a choice alone", "mnist", "'mnist': expected an override", "; write dataset=mnist"),
    row("one value after several", "-m\tseed=1,2\tseed=3", "seed: is given several values, then one"),
    row("missing value", "model.depth=???", "model.depth: "),
    row("interpolation of nothing", "model.depth=${model.nope}", "model.depth: ", "model.nope"),
    row("unknown resolver", "model.depth=${nope:1}", "model.depth: ", "nope"),
    row("unknown variable", "notes=${oc.env:HCR_TEST_ABSENT}", "notes: ", "HCR_TEST_ABSENT"),
    row("hydra's folder of nothing", "hydra.run.dir=${nope:1}", "hydra.run.dir: ", "nope"),
    row(
        "one bad point",
        "-m\tseed=0,1\tmodel.depth=2,9",
        "model.depth: block 4",
        "in the combination model.depth=9 seed=0",
    ),
    row("bad key in all points", "-m\tmodel.deph=2,3", "model.deph: unknown key; did you mean 'model.depth'?"),
    row("sweep of another kind", "-m\tmodel.depth=interval(1,3)", "model.depth"),
    row("batches of none", "-m\tseed=0,1\thydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size"),
    # Flags and verbs.
    row("unknown flag", "--nope", "--nope: unknown flag"),
    row("setting as a flag", "--epochs\t5", "--epochs: unknown flag", "write training.epochs=5"),
    row("setting as a flag with a value", "--lr=0.1", "--lr: unknown flag", "write optimizer.learning_rate=0.1"),
    row("setting as a flag of one dash", "-patience\t3", "-patience: unknown flag", "write training.patience=3"),
    row("misspelled flag", "--multrun", "--multrun: unknown flag; did you mean '--multirun'?"),
    row("half a flag", "--config\tx", "--config: expected one of --config-name, --config-dir"),
    row("no verb, a flag", "x", "--config: expected a verb first", "write hcr train --config-dir x", verb="--config"),
    row("no verb, a setting", "", "expected a verb first", "write hcr train seed=1", verb="seed=1"),
    row("other tool's verb", "", "verb: no 'fit' here; write hcr train", verb="fit"),
    row("unknown verb", "", "no 'tran' here; did you mean 'train'?", verb="tran"),
    row("no such folder", "--config-dir\tnowhere", "--config-dir: expected a folder, got 'nowhere'"),
    row("resolve alone", "--resolve\tcheck_only=true", "--resolve: expected together with --cfg or --help"),
    row("other config path", "--config-path\t.", "--config-path: hcr's own config cannot be replaced"),
    row("other config name", "--config-name\tnope", "--config-name: ", "nope"),
    row("rerun of a pickle", "--experimental-rerun\tx.pkl", "--experimental-rerun: not allowed"),
]


# Each composes the config some times over, to say what was meant: an eighth of them is enough to be told at once.
CASES = [bad if number % 8 == 0 else pytest.param(bad, marks=pytest.mark.slow) for number, bad in enumerate(ROWS)]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name.replace(" ", "_"))
def test_a_bad_command_line_is_one_line_that_names_the_key_and_leaves_nothing_behind(
    bad: Row, hcr: Hcr, tmp_path: Path
) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    done = hcr(bad.verb, *bad.argv, cwd=cwd, code=CODE, light=True)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("hcr: ")
    assert [words for words in bad.says if words not in lines[0]] == [], lines[0]
    assert done.returncode == 1
    assert json.loads(done.stdout) == []
    assert sorted(tmp_path.rglob("*")) == [cwd]


def test_every_row_has_a_name_of_its_own() -> None:
    names = [bad.name for bad in ROWS]
    assert sorted(set(names)) == sorted(names)
