"""Saving a trained Keras model as a folder that MLflow loads and serves."""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hcr.tracking.store import import_mlflow

REQUIREMENTS = ("tensorflow", "keras", "numpy", "mlflow")


def save_keras_model(model: keras.Model, folder: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Save `model`, without its optimizer, in MLflow's format.

    Args:
        folder: the folder to write; if it has a model, that is replaced.
        metadata: kept in the model's `MLmodel` file; values of YAML.

    The signature takes raw pixels, uint8 (N, H, W, C), and returns probabilities, float32 (N, K). The requirements
    are listed here because MLflow takes seven seconds to infer them.
    """
    shutil.rmtree(folder, ignore_errors=True)  # left by a kill: MLflow refuses to save into it
    mlflow = import_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *model.input_shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, model.output_shape[-1]))]),
    )
    requirements = [f"{name}=={version(name)}" for name in REQUIREMENTS]
    mlflow.keras.save_model(
        model,
        str(folder),
        signature=signature,
        pip_requirements=requirements,
        metadata=None if metadata is None else dict(metadata),
    )
