"""The table of verbs, the source of `hcr --help`, `hcr VERB --help` and tab completion.

To add a verb, add its row and the module that the row names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType

GROUPS = ("run", "look", "decide", "use", "keep", "shell")  # in the order of help

FILES = "files"  # in `Verb.options`: the value is a path


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        group: its section in help; one of GROUPS.
        usage: its arguments, for help; may be empty.
        summary: one line.
        examples: two command lines.
        function: `module:name` of the function that takes the verb's arguments and returns the exit code.
        options: its flags, each with the values to complete: none, some words, or FILES.
        words: the completions of other arguments: "overrides", "run" (names and keys of runs), "run overrides" (a run,
            then overrides), or the words themselves.
        keys: the top-level keys of the config that its overrides may name; empty: all.
        takes_path: True if an argument may be a file or folder.
    """

    group: str
    usage: str
    summary: str
    examples: tuple[str, str]
    function: str
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    words: str | tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    takes_path: bool = False

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import and return the verb's function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)  # type: ignore[no-any-return]


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "train": Verb(
            group="run",
            usage="[OVERRIDES] [-m]",
            summary="train and record a model; Hydra's grammar and flags",
            examples=("hcr train dataset=mnist model.depth=3", "hcr train -m model.depth=2,3 seed=0,1,2"),
            function="hcr.launch:train",
            options={
                "--help": (),
                "--hydra-help": (),
                "--version": (),
                "--multirun": (),
                "--cfg": ("job", "hydra", "all"),
                "--resolve": (),
                "--package": (),
                "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
                "--config-dir": FILES,
                "--config-name": (),
            },
            words="overrides",
        ),
        "reproduce": Verb(
            group="run",
            usage="RUN",
            summary="train a run again from its record, and compare every number",
            examples=("hcr reproduce latest", "hcr reproduce a3f09c21b7d4 --check"),
            function="hcr.commands.reproduce:main",
            options={"--help": (), "--check": (), "--trust": (), "--data": FILES},
            words="run",
        ),
        "ensemble": Verb(
            group="run",
            usage="SWEEP --top K",
            summary="average the best runs of a sweep into one model",
            examples=("hcr ensemble latest --top 5", "hcr ensemble a3f09c21b7d4 --top 3 --no-test"),
            function="hcr.commands.ensemble:main",
            options={"--help": (), "--top": (), "--no-test": (), "--allow-incomplete": (), "--new-run": ()},
            words="run",
        ),
        "runs": Verb(
            group="look",
            usage="[SWEEP]",
            summary="show the recorded runs, or a sweep's, with the settings that differ",
            examples=("hcr runs --where 'val/accuracy > 0.98' --sort best/val_loss", "hcr runs latest --csv"),
            function="hcr.commands.runs:main",
            options={
                "--help": (),
                "--where": (),
                "--sort": (),
                "--reverse": (),
                "--top": (),
                "--csv": (),
                "--markdown": (),
                "--json": (),
            },
            words="run",
        ),
        "show": Verb(
            group="look",
            usage="RUN",
            summary="show one run: state, scores, curves, confusions, what to do next",
            examples=("hcr show latest", "hcr show models:/digits@champion"),
            function="hcr.commands.show:main",
            options={"--help": ()},
            words="run",
        ),
        "plots": Verb(
            group="look",
            usage="RUN",
            summary="draw the pictures of a finished run, such as one of a sweep",
            examples=("hcr plots latest", "hcr plots a3f09c21b7d4"),
            function="hcr.commands.plots:main",
            options={"--help": ()},
            words="run",
        ),
        "data": Verb(
            group="look",
            usage="[OVERRIDES|PATH]",
            summary="show a data set, its split, its faults, or the YAML that reads a PATH",
            examples=("hcr data dataset=letters split.test=0.3", "hcr data scans > conf/dataset/scans.yaml"),
            function="hcr.commands.data:main",
            options={"--help": (), "--config-dir": FILES, "--json": ()},
            words="overrides",
            takes_path=True,
        ),
        "ui": Verb(
            group="look",
            usage="[RUN_OR_SWEEP...]",
            summary="open a sweep, a run, some runs or all in MLflow's UI",
            examples=("hcr ui latest", "hcr ui 3f09c21b7d4e b81c0a4e5f02 --port 8080"),
            function="hcr.commands.ui:main",
            options={"--help": (), "--host": (), "--port": (), "--no-browser": ()},
            words="run",
        ),
        "compare": Verb(
            group="decide",
            usage="RUN_OR_SWEEP...",
            summary="say whether one run or point is better than another, and what differs",
            examples=(
                "hcr compare 3f09c21b7d4e b81c0a4e5f02",
                "hcr compare a3f09c21b7d4/1 a3f09c21b7d4/2 --html compare.html",
            ),
            function="hcr.commands.compare:main",
            options={
                "--help": (),
                "--on": ("val", "test"),
                "--metric": ("accuracy", "loss"),
                "--csv": (),
                "--json": (),
                "--html": FILES,
                "--force": (),
                "--no-record": (),
            },
            words="run",
        ),
        "suspects": Verb(
            group="decide",
            usage="RUN_OR_SWEEP",
            summary="list the images whose labels are probably wrong",
            examples=("hcr suspects latest", "hcr suspects a3f09c21b7d4 -o suspects.csv"),
            function="hcr.commands.suspects:main",
            options={"--help": (), "--output": FILES},
            words="run",
        ),
        "evaluate": Verb(
            group="decide",
            usage="RUN [OVERRIDES]",
            summary="score a model on its test images or other data; each look is counted",
            examples=("hcr evaluate latest", "hcr evaluate a3f09c21b7d4 dataset=usps"),
            function="hcr.commands.evaluate:main",
            options={"--help": (), "--config-dir": FILES},
            words="run overrides",
            keys=("dataset", "split", "notes", "tags", "tracking"),
        ),
        "predict": Verb(
            group="use",
            usage="RUN IMAGE...",
            summary="read photos and scans with a finished run's model",
            examples=("hcr predict latest photo.jpg", "hcr predict latest 'scans/*.png' --reject 0.99 --csv"),
            function="hcr.commands.predict:main",
            options={
                "--help": (),
                "--json": (),
                "--csv": (),
                "--reject": (),
                "--explain": FILES,
                "--made-as": ("digits", "mnist"),
            },
            words="run",
            takes_path=True,
        ),
        "demo": Verb(
            group="use",
            usage="RUN",
            summary="draw a character in the browser and see what a run's model makes of it",
            examples=("hcr demo latest", "hcr demo a3f09c21b7d4 --host 0.0.0.0 --port 8080"),
            function="hcr.commands.demo:main",
            options={"--help": (), "--host": (), "--port": ()},
            words="run",
        ),
        "export": Verb(
            group="use",
            usage="RUN --to FORMAT",
            summary="write a model for ONNX, LiteRT, TensorFlow or Keras, checked",
            examples=("hcr export latest --to onnx", "hcr export a3f09c21b7d4 --to litert -o digits.tflite"),
            function="hcr.commands.export:main",
            options={
                "--help": (),
                "--to": ("onnx", "litert", "saved_model", "keras"),
                "--output": FILES,
                "--force": (),
            },
            words="run",
        ),
        "register": Verb(
            group="use",
            usage="RUN NAME",
            summary="register a run's model in MLflow, as a version of NAME",
            examples=("hcr register best digits --alias champion", "hcr register a3f09c21b7d4 digits"),
            function="hcr.commands.register:main",
            options={"--help": (), "--alias": ("champion", "challenger")},
            words="run",
        ),
        "note": Verb(
            group="keep",
            usage="RUN TEXT",
            summary="put a note above a run's description in MLflow",
            examples=("hcr note latest 'the best so far'", "hcr note a3f09c21b7d4 'see the *worst mistakes*'"),
            function="hcr.commands.note:main",
            options={"--help": ()},
            words="run",
        ),
        "bundle": Verb(
            group="keep",
            usage="SWEEP_OR_RUN FILE",
            summary="write a run, or a sweep with its runs, into one portable file",
            examples=("hcr bundle latest run.tar.gz", "hcr bundle a3f09c21b7d4 sweep.tar.gz"),
            function="hcr.commands.bundle:main",
            options={"--help": ()},
            words="run",
            takes_path=True,
        ),
        "unbundle": Verb(
            group="keep",
            usage="FILE",
            summary="bring the runs of a bundle here and upload them, once",
            examples=("hcr unbundle sweep.tar.gz", "hcr unbundle ~/Downloads/run.tar.gz"),
            function="hcr.commands.unbundle:main",
            options={"--help": ()},
            takes_path=True,
        ),
        "rm": Verb(
            group="keep",
            usage="RUN...",
            summary="with --yes, remove runs here and in MLflow; else show which",
            examples=("hcr rm a3f09c21b7d4", "hcr rm a3f09c21b7d4 b81c0a4e5f02 --yes"),
            function="hcr.commands.rm:main",
            options={"--help": (), "--yes": ()},
            words="run",
        ),
        "sync": Verb(
            group="keep",
            usage="[RUN...]",
            summary="upload runs and events that MLflow has not received, or has lost",
            examples=("hcr sync --check", "hcr sync --to sqlite:////data/mlflow.db"),
            function="hcr.commands.sync:main",
            options={"--help": (), "--take-over": (), "--check": (), "--repair": (), "--to": (), "--forget": ()},
            words="run",
        ),
        "schema": Verb(
            group="shell",
            usage="[GROUP[/NAME]]",
            summary="print the JSON Schema that editors check YAML files with",
            examples=("hcr schema", "hcr schema model > conf/model/schema.json"),
            function="hcr.commands.schema:main",
            options={"--help": ()},
            words=(
                "augmentation",
                "dataset",
                "launcher",
                "model",
                "optimizer",
                "schedule",
                "split",
                "sweep",
                "tracking",
                "training",
            ),
        ),
        "completion": Verb(
            group="shell",
            usage="bash|zsh",
            summary="print the script by which the Tab key completes verbs and keys",
            examples=('eval "$(hcr completion bash)"', "hcr completion zsh >> ~/.zshrc"),
            function="hcr.commands.completion:main",
            options={"--help": ()},
            words=("bash", "zsh"),
        ),
    }
)


# Names that other tools use for these verbs.
OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fit": "train",
        "run": "train",
        "start": "train",
        "sweep": "train -m",
        "tune": "train -m",
        "multirun": "train -m",
        "average": "ensemble",
        "vote": "ensemble",
        "config": "train --cfg job",
        "dataset": "data",
        "datasets": "data",
        "dashboard": "ui",
        "mlflow": "ui",
        "serve": "ui",
        "promote": "register",
        "classify": "predict",
        "infer": "predict",
        "recognize": "predict",
        "draw": "demo",
        "gradio": "demo",
        "push": "sync",
        "upload": "sync",
    }
)


def help_text() -> str:
    """The text of `hcr --help`: the verbs by group, at most 100 columns."""
    usages = {name: f"{name} {verb.usage}".rstrip() for name, verb in VERBS.items()}
    width = max(len(usage) for usage in usages.values())
    lines = ["hcr: YAML in, one honest MLflow run out.", ""]
    for group in GROUPS:
        rows = [name for name, verb in VERBS.items() if verb.group == group]
        lines += [group] * bool(rows) + [f"  {usages[name]:<{width}}   {VERBS[name].summary}" for name in rows]
    lines += [
        "",
        "  hcr train                                  the bundled digits: no download, seconds",
        "  hcr train dataset=mnist model.depth=3      other data, another depth",
        "  hcr train -m model.depth=2,3 seed=0,1,2    every combination, under one parent run",
        "",
        "`hcr VERB --help` has more, with examples. Runs are stored under ./hcr-output, or HCR_OUTPUT_DIR;",
        "HCR_TRACEBACK=1 shows the traceback of an error.",
    ]
    return "\n".join(lines)
