"""Settings outside the config that could change what hcr does, and how hcr treats each. Standard library only.

Libraries read environment variables, and files in the home and the current folder. TABLE lists those that were seen to
change results, output paths, pictures or served content, or to stop a run; tests/test_environment.py tests every row.
"""

import json
import logging
import os
import platform
import re
import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path


class Decision(Enum):
    """The treatment of a setting."""

    PINNED = "set to one value, or removed, when hcr is imported"
    PINNED_IN_OWN = "the same, in hcr's own processes: the command line, trials and their children"
    PINNED_BY_CODE = "overruled: hcr passes its own value to the library"
    NOT_SERVED = "removed for the servers of `hcr ui` and `hcr demo`"
    NOT_FOR_GIT = "removed when hcr asks git for its own commit and patch"
    FINGERPRINT = "part of the code version and a tag of the run, if it differs from hcr's default"
    PASSED_ON = "left unchanged: the user's choice"


# Values that Keras accepts in keras.json; with any other it cannot be imported.
KERAS_KNOWS = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table.

    Attributes:
        name: of a variable or a file; `*` matches any characters.
        library: the library that reads it.
        decision: the treatment.
        why: its effect without that treatment.
        value: the pinned value; None: removed.
        default: the value of FINGERPRINT that hcr sets where none is set; None: none.
        only_with: a variable without which this one has no effect.
    """

    name: str
    library: str
    decision: Decision
    why: str
    value: str | None = None
    default: str | None = None
    only_with: str | None = None


def _rows(decision: Decision, library: str, why: str, *names: str, **others: str | None) -> tuple[Setting, ...]:
    return tuple(Setting(name=name, library=library, decision=decision, why=why, **others) for name in names)


PINNED, PINNED_IN_OWN, PINNED_BY_CODE = Decision.PINNED, Decision.PINNED_IN_OWN, Decision.PINNED_BY_CODE
NOT_SERVED, NOT_FOR_GIT = Decision.NOT_SERVED, Decision.NOT_FOR_GIT
FINGERPRINT, PASSED_ON = Decision.FINGERPRINT, Decision.PASSED_ON

BOOLEANS = {"true": "1", "false": "0"}

# oneDNN is on by default; on other machines TensorFlow decides: hcr was not measured there.
ONEDNN = "1" if platform.machine() in ("x86_64", "AMD64") else None

# fmt: off
TABLE: tuple[Setting, ...] = (
    *_rows(PINNED, "Keras", "hcr trains with the TensorFlow backend only", "KERAS_BACKEND", value="tensorflow"),
    *_rows(PINNED, "Keras", "Keras cannot be imported without flax", "KERAS_NNX_ENABLED", value="false"),
    *_rows(PINNED, "Keras", "Keras cannot be imported if it is not a number",
           "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"),
    *_rows(PINNED_BY_CODE, "Keras", "image_data_format, floatx and epsilon change the model that a config builds; an"
           " unknown value is refused", "KERAS_HOME", "~/.keras/keras.json"),

    *_rows(PINNED, "TensorFlow", "training ignores weight updates: it is meant for inference",
           "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"),
    *_rows(PINNED, "TensorFlow", "XLA cannot compile the training loop", "TF_FUNCTION_JIT_COMPILE_DEFAULT"),
    *_rows(PINNED, "TensorFlow", "a process takes all memory of its GPU, and a second one fails (documented by"
           " TensorFlow; not tested on a GPU)", "TF_FORCE_GPU_ALLOW_GROWTH", value="true"),
    *_rows(FINGERPRINT, "TensorFlow", "other kernels round differently; without oneDNN, which TensorFlow leaves off on"
           " x86 without VNNI, bfloat16 or AMX instructions, training takes longer (experiments/speed/steps.py)",
           "TF_ENABLE_ONEDNN_OPTS", default=ONEDNN),
    *_rows(FINGERPRINT, "TensorFlow", "other kernels round differently", "TF_XLA_FLAGS"),
    *_rows(FINGERPRINT, "XLA", "other kernels round differently, if XLA is on", "XLA_FLAGS", only_with="TF_XLA_FLAGS"),
    *_rows(FINGERPRINT, "oneDNN", "other kernels round differently", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"),
    *_rows(FINGERPRINT, "oneDNN, TensorFlow", "sums in bfloat16, on CPUs that have it", "TF_SET_ONEDNN_FPMATH_MODE",
           "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *_rows(FINGERPRINT, "CUDA, cuDNN", "other kernels round differently (documented by NVIDIA; not tested on a GPU)",
           "NVIDIA_TF32_OVERRIDE", "TF_CUDNN_USE_AUTOTUNE", "TF_CUDNN_DETERMINISTIC", "TF_USE_CUBLASLT"),

    *_rows(PINNED_BY_CODE, "MLflow", "events sent to a failing store are lost, but count as uploaded",
           "MLFLOW_ENABLE_ASYNC_LOGGING"),
    *_rows(NOT_SERVED, "MLflow", "`hcr ui` serves another store, serves no runs, or does not start",
           "MLFLOW_ARTIFACTS_ONLY", "MLFLOW_ENABLE_WORKSPACES", "MLFLOW_REGISTRY_STORE_URI",
           "MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "MLFLOW_WORKSPACE_STORE_URI", "MLFLOW_GUNICORN_OPTS",
           "MLFLOW_UVICORN_OPTS", "MLFLOW_EXPOSE_PROMETHEUS", "_MLFLOW_*"),
    *_rows(NOT_SERVED, "Uvicorn", "`hcr ui` is served elsewhere, reloads, or runs other code", "UVICORN_*",
           "WEB_CONCURRENCY"),
    *_rows(NOT_SERVED, "Gradio", "`hcr demo` is served elsewhere, is shared, or serves files of this machine",
           "GRADIO_*", "SPACE_*"),
    *_rows(NOT_SERVED, "Python", "MLflow's server does not start", "PYTHONWARNINGS", "PYTHONOPTIMIZE"),
    *_rows(PASSED_ON, "MLflow", "credentials, timeouts and retries for a store", "MLFLOW_TRACKING_*",
           "MLFLOW_HTTP_*", "MLFLOW_WORKSPACE", "MLFLOW_SQLALCHEMYSTORE_*", "MLFLOW_S3_*", "MLFLOW_SERVER_*"),

    *_rows(PINNED_IN_OWN, "Matplotlib", "an unknown backend fails the run when its pictures are drawn",
           "MPLBACKEND", value="agg"),
    *_rows(PINNED_BY_CODE, "Matplotlib", "pictures look different", "MATPLOTLIBRC", "./matplotlibrc"),
    *_rows(PASSED_ON, "Matplotlib", "folder of the font cache", "MPLCONFIGDIR"),

    *_rows(PINNED_BY_CODE, "Rich", "cursor movements in a pipe; colours stay the user's choice",
           "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *_rows(PASSED_ON, "Rich", "width and colours of what is printed", "COLUMNS", "NO_COLOR", "TERM"),

    *_rows(PINNED_IN_OWN, "Python", "files in the current folder run as code", "PYTHONSAFEPATH", value="1"),
    *_rows(PASSED_ON, "Python", "where modules are found: the user's choice", "PYTHONPATH"),
    *_rows(PASSED_ON, "Python", "hcr works with any", "PYTHONHASHSEED"),

    *_rows(NOT_FOR_GIT, "git", "the commit and the patch are another project's, as inside a git hook",
           "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
           "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_IMPLICIT_WORK_TREE", "GIT_SHALLOW_FILE"),
    *_rows(NOT_FOR_GIT, "git", "`git apply` refuses the patch", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"),
    *_rows(PINNED_BY_CODE, "git", "`git apply` refuses the patch", "~/.gitconfig"),

    *_rows(PASSED_ON, "everything", "devices, proxies, certificates and credentials", "CUDA_VISIBLE_DEVICES",
           "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_*"),
    *_rows(PASSED_ON, "TensorFlow", "training.threads decides, and determinism is on", "TF_NUM_INTRAOP_THREADS",
           "TF_NUM_INTEROP_THREADS", "TF_DETERMINISTIC_OPS"),
    *_rows(PASSED_ON, "OpenMP, OpenBLAS, NumPy", "changes no number that hcr computes", "OMP_NUM_THREADS",
           "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"),
    *_rows(PASSED_ON, "Hydra", "hcr shows its own errors", "HYDRA_FULL_ERROR", "HYDRA_MAIN_MODULE"),
)
# fmt: on


def pin(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set or remove the PINNED variables in `environ`, and set those of FINGERPRINT that have a default and no value.

    Of the latter, TensorFlow's "true" and "false" become "1" and "0": one meaning is one code version. Importing
    hcr calls this, before a library reads them.
    """
    _pin(environ, PINNED)
    for setting in TABLE:
        if setting.default is not None:
            found = environ.get(setting.name, "")
            environ[setting.name] = BOOLEANS.get(found.lower(), found) if found.strip() else setting.default


def settle_environment() -> None:
    """Pin the settings that `import hcr` must not pin in a user's process. Called first in hcr's own processes.

    Child processes inherit the settings. Matplotlib's warnings about its cache are left out. A warning that
    PYTHONWARNINGS or `-W` turns into an error stays a warning if it comes from another package: hcr cannot fix it.
    """
    _pin(os.environ, PINNED_IN_OWN)
    logging.getLogger("matplotlib").addFilter(_tells_of_more_than_a_cache)
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.filterwarnings("default", module=r"(?!hcr(\.|$))")


def _tells_of_more_than_a_cache(record: logging.LogRecord) -> bool:
    """False for Matplotlib's warnings that its folder for caches cannot be written: it then uses a temporary one."""
    return record.funcName != "_get_config_or_cache_dir"


def deciding_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables in `environ` that can change results, value by name.

    Left out are unset and empty ones, and those with hcr's default.
    """
    is_set = {name for name, value in environ.items() if value.strip()}
    return {
        setting.name: environ[setting.name]
        for setting in TABLE
        if setting.decision is FINGERPRINT
        and setting.name in is_set
        and environ[setting.name] != setting.default
        and (setting.only_with is None or setting.only_with in is_set)
    }


def recorded_settings(tags: Mapping[str, str]) -> dict[str, str]:
    """The variables that could change results and were set when a run was trained, value by name; from its tags."""
    names = "|".join(re.escape(setting.name) for setting in TABLE if setting.decision is FINGERPRINT)
    parts = re.split(rf"(?:^| )({names})=", tags.get("hcr.environment", ""))[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def settings_text(settings: Mapping[str, str]) -> str:
    """Variables in one line, as they are recorded; see `recorded_settings`."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def default_setting(name: str, none: str) -> str:
    """The value of a FINGERPRINT variable that is not among the `deciding_settings`; `none` where hcr sets none."""
    return next((setting.default for setting in TABLE if setting.name == name and setting.default is not None), none)


def server_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of the server of `hcr ui`: it serves the store that `hcr ui` names, and imports nothing from the
    current folder.

    Uvicorn puts its app folder, by default the current folder, first on sys.path.

    Raises:
        ModuleNotFoundError: MLflow is not installed.
    """
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
    settings = {"PYTHONSAFEPATH": "1", "UVICORN_APP_DIR": str(Path(found.origin).parents[1])}
    return without(NOT_SERVED, environ) | settings


def unusable_keras_json(environ: Mapping[str, str] = os.environ) -> str | None:
    """The error in the user's keras.json that keeps Keras from being imported, in one line; None: there is none."""
    home = Path(environ["KERAS_HOME"]) if "KERAS_HOME" in environ else Path("~/.keras")
    path = (home / "keras.json").expanduser()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{path}: expected a file that can be read ({error.strerror})" if path.exists() else None
    except ValueError:  # Keras ignores the file
        return None
    if not isinstance(values, dict):
        return f"{path}: expected settings of Keras, got {values!r}; fix or delete the file"
    for key, expected in KERAS_KNOWS.items():
        if key in values and values[key] not in expected:
            return f"{path}: {key}: expected {' or '.join(expected)}, got {values[key]!r}; fix or delete the file"
    if not isinstance(values.get("epsilon", 1e-7), float):
        return f"{path}: epsilon: expected a number such as 1e-7, got {values['epsilon']!r}; fix or delete the file"
    return None


def without(decision: Decision, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without the variables that TABLE lists under `decision`."""
    patterns = [setting.name for setting in TABLE if setting.decision is decision]
    return {name: value for name, value in environ.items() if not any(fnmatchcase(name, each) for each in patterns)}


def _pin(environ: MutableMapping[str, str], decision: Decision) -> None:
    for setting in TABLE:
        if setting.decision is not decision:
            continue
        if setting.value is None:
            environ.pop(setting.name, None)
        else:
            environ[setting.name] = setting.value
