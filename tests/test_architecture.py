"""The house: imports only go down, and nothing heavy is imported before a config is accepted."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hcr"
README = PACKAGE / "README.md"

# Rooms that share a floor do not import one another. The longest prefix that fits says where a module lives.
FLOORS = {
    "hcr.environment": -1,
    "hcr.sources": -1,
    "hcr": 0,
    "hcr.console": 0,
    "hcr.config": 0,
    "hcr.verbs": 0,
    "hcr.stopping": 0,
    "hcr.archives": 1,
    "hcr.importing": 1,
    "hcr.output": 1,
    "hcr.streams": 1,
    "hcr.data": 1,
    "hcr.model": 1,
    "hcr.evaluation.calibration": 1,
    "hcr.evaluation.best_of_many": 1,
    "hcr.evaluation.claims": 1,
    "hcr.evaluation.comparison": 1,
    "hcr.evaluation.image_scores": 1,
    "hcr.evaluation.metrics": 1,
    "hcr.evaluation.paired_tests": 1,
    "hcr.evaluation.score_model": 1,
    "hcr.evaluation.seed_noise": 1,
    "hcr.evaluation.statistics": 1,
    "hcr.evaluation.labels": 1,
    "hcr.evaluation.ranking": 1,
    "hcr.evaluation.sparkline": 1,
    "hcr.evaluation.reject": 1,
    "hcr.evaluation.table": 1,
    "hcr.evaluation.verdict": 1,
    "hcr.gpus": 1,
    "hcr.machine": 1,
    "hcr.gate": 2,
    "hcr.evaluation": 3,
    "hcr.training": 3,
    "hcr.tracking": 3,
    "hcr.card": 3,
    "hcr.naming": 3,
    "hcr.model_facts": 3,
    "hcr.ensemble_card": 3,
    "hcr.readiness": 4,
    "hcr.recording": 4,
    "hcr.drawing": 4,
    "hcr.recorded": 4,
    "hcr.frames": 4,
    "hcr.comparing": 5,
    "hcr.held_out": 5,
    "hcr.bundling": 4,
    "hcr.looks": 4,
    "hcr.resuming": 4,
    "hcr.record": 4,
    "hcr.recorded_sweep": 4,
    "hcr.members": 4,
    "hcr.runner": 5,
    "hcr.ensembling": 5,
    "hcr.scoring": 5,
    "hcr.exporting": 5,
    "hcr.reproducing": 5,
    "hcr.evaluating": 5,
    "hcr.recognition": 5,
    "hcr.demo": 5,
    "hcr.commands": 6,
    "hcr.sweep": 6,
    "hcr.launch": 7,
    "hcr.cli": 8,
    "hcr.__main__": 9,
}
# Within a floor: these belong together, the lower one first.
SAME_FLOOR = {
    ("hcr.demo", "hcr.recognition"),
    ("hcr.drawing", "hcr.recorded"),
    ("hcr.members", "hcr.recorded"),
    ("hcr.members", "hcr.recorded_sweep"),
    ("hcr.recording", "hcr.record"),
    ("hcr.reproducing", "hcr.runner"),
    ("hcr.ensemble_card", "hcr.card"),
    ("hcr.looks", "hcr.recorded"),
    ("hcr.sources", "hcr.environment"),
    ("hcr.evaluation.calibration", "hcr.evaluation.metrics"),
    ("hcr.evaluation.claims", "hcr.evaluation.score_model"),
    ("hcr.evaluation.comparison", "hcr.evaluation.best_of_many"),
    ("hcr.evaluation.comparison", "hcr.evaluation.claims"),
    ("hcr.evaluation.comparison", "hcr.evaluation.image_scores"),
    ("hcr.evaluation.comparison", "hcr.evaluation.metrics"),
    ("hcr.evaluation.comparison", "hcr.evaluation.paired_tests"),
    ("hcr.evaluation.comparison", "hcr.evaluation.score_model"),
    ("hcr.evaluation.comparison", "hcr.evaluation.statistics"),
    ("hcr.evaluation.image_scores", "hcr.evaluation.metrics"),
    ("hcr.evaluation.metrics", "hcr.evaluation.statistics"),
    ("hcr.evaluation.ranking", "hcr.evaluation.best_of_many"),
    ("hcr.evaluation.ranking", "hcr.evaluation.image_scores"),
    ("hcr.evaluation.ranking", "hcr.evaluation.score_model"),
    ("hcr.evaluation.ranking", "hcr.evaluation.statistics"),
    ("hcr.evaluation.score_model", "hcr.evaluation.best_of_many"),
    ("hcr.evaluation.score_model", "hcr.evaluation.image_scores"),
    ("hcr.evaluation.score_model", "hcr.evaluation.paired_tests"),
    ("hcr.evaluation.score_model", "hcr.evaluation.seed_noise"),
    ("hcr.evaluation.score_model", "hcr.evaluation.statistics"),
    ("hcr.evaluation.table", "hcr.evaluation.labels"),
    ("hcr.evaluation.table", "hcr.evaluation.ranking"),
    ("hcr.evaluation.table", "hcr.evaluation.score_model"),
    ("hcr.evaluation.verdict", "hcr.evaluation.best_of_many"),
    ("hcr.evaluation.verdict", "hcr.evaluation.claims"),
    ("hcr.evaluation.verdict", "hcr.evaluation.labels"),
    ("hcr.evaluation.verdict", "hcr.evaluation.ranking"),
    ("hcr.evaluation.verdict", "hcr.evaluation.score_model"),
    ("hcr.evaluation.verdict", "hcr.evaluation.statistics"),
}

# Who imports a library, for its types too. Of a folder: all in it.
KNOWS = {
    "mlflow": {
        f"hcr.tracking.{name}"
        for name in (
            "comparison",
            "deletion",
            "fetching",
            "keras_model",
            "logged_model",
            "pages",
            "reading",
            "registry",
            "replay",
            "store",
            "stored",
            "stores",
            "suspicion",
        )
    },
    "tensorflow": {"hcr.training", "hcr.model", "hcr.exporting.saved_model"},
    "keras": {
        "hcr.training",
        "hcr.model",
        "hcr.drawing",
        "hcr.exporting",
        "hcr.recorded",
        "hcr.recording",
        "hcr.record",
        "hcr.ensembling",
        "hcr.tracking.keras_model",
    },
    "matplotlib": {"hcr.drawing", "hcr.evaluation"},
    "hydra": {
        "hcr.gate.as_written",
        "hcr.gate.axes",
        "hcr.gate.compose",
        "hcr.gate.explaining",
        "hcr.gate.hydra_node",
        "hcr.gate.loading",
        "hcr.gate.package_files",
        "hcr.gate.points",
        "hcr.gate.remedies",
        "hcr.launch",
    },
    "onnx": {"hcr.exporting.onnx_file"},
    "onnxruntime": {"hcr.exporting.onnx_file"},
    "ai_edge_litert": {"hcr.exporting.litert_file"},
    "optuna": {"hcr.sweep.search"},
    "rich": {
        "hcr.console",
        "hcr.training.progress",
        "hcr.data.batches",
        "hcr.data.download",
        "hcr.commands",
        "hcr.sweep.screen",
        "hcr.sweep.preview",
    },
    "pandas": {"hcr.frames"},
    "gradio": {"hcr.demo"},
    "pooch": {"hcr.data.download"},
    "cleanlab": {"hcr.evaluation.suspects"},
    "ray": {"hcr.sweep.workers.ray_driver", "hcr.sweep.workers.ray_node"},
}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(file: Path, *, types: bool = False) -> set[str]:
    """Every module that `file` imports, inside functions too; with `types`, also for type checkers, and by its name."""
    tree = ast.parse(file.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not types
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module.startswith("hcr")}
        elif types and isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names.add(ast.unparse(node.args[0]).removeprefix("f").strip("'\""))
    return names


def room(module: str) -> str:
    return max((name for name in FLOORS if f"{module}.".startswith(f"{name}.")), key=len)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_only_go_down(module: str) -> None:
    own = room(module)
    known = modules()
    for imported in imports(known[module]):
        if imported not in known or room(imported) == own or imported == "hcr":
            continue
        other = room(imported)
        assert FLOORS[other] < FLOORS[own] or (own, other) in SAME_FLOOR, f"{module} imports {imported}"


@pytest.mark.parametrize("library", sorted(KNOWS))
def test_a_library_is_known_only_in_its_rooms(library: str) -> None:
    every = {module: imports(file, types=True) for module, file in modules().items()}
    users = {module for module, names in every.items() if library in {name.split(".")[0] for name in names}}
    known = {room: {user for user in users if f"{user}.".startswith(f"{room}.")} for room in KNOWS[library]}
    assert users - set().union(*known.values()) == set()
    assert [room for room, inside in known.items() if not inside] == [], "imports it no more: take it off the list"


def test_the_readme_names_the_modules_that_import_mlflow() -> None:
    (told,) = re.findall(r"only modules that import\s+MLflow, or are typed by it: ([\w\s,]+)\n", README.read_text())
    assert {f"hcr.tracking.{name}" for name in re.split(r",\s+", told.strip())} == KNOWS["mlflow"]


def test_no_module_is_called_utils() -> None:
    assert [
        name for name in modules() if name.rpartition(".")[2] in ("utils", "util", "helpers", "common", "misc")
    ] == []


@pytest.mark.parametrize("module", ["hcr.cli", "hcr.launch", "hcr.gate.compose", "hcr.commands.completion"])
def test_nothing_heavy_is_imported_before_a_config_is_accepted(module: str) -> None:
    heavy = "{'tensorflow', 'keras', 'mlflow', 'sklearn', 'matplotlib', 'scipy', 'numpy', 'rich'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_dependency_is_declared_and_every_declared_one_is_used() -> None:
    import tomllib

    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    declared = {line.split(">")[0].strip().lower() for line in project["dependencies"]}
    to_distribution = {"sklearn": "scikit-learn", "hydra": "hydra-core", "PIL": "pillow", "yaml": "pyyaml"}
    to_distribution["annotated_types"] = "annotated-types"
    ours = {"hcr", *sys.stdlib_module_names}
    of_extras = {"cleanlab", "ray", "submitit", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers", "gradio"}
    of_extras |= {"fastapi", "uvicorn"}  # Gradio's
    used = {name.split(".")[0] for file in modules().values() for name in imports(file)} - ours - of_extras
    assert {to_distribution.get(name, name) for name in used} == declared - {"cmaes"}  # Optuna imports it


def test_the_wheel_has_every_package() -> None:
    import tomllib

    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    found = {".".join(file.parent.relative_to(PACKAGE.parent).parts) for file in PACKAGE.rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"hcr.conf"}
