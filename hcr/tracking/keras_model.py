"""Saving a trained Keras model as a folder that MLflow loads and serves."""

from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from hcr.tracking.store import import_mlflow

REQUIREMENTS = ("tensorflow", "keras", "numpy", "mlflow")


def save_keras_model(model: keras.Model, folder: Path) -> None:
    """Save `model`, without its optimizer, in MLflow's format.

    The signature takes raw pixels, uint8 (N, H, W, C), and returns probabilities, float32 (N, K). The requirements
    are listed here because MLflow takes seven seconds to infer them.
    """
    mlflow = import_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *model.input_shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, model.output_shape[-1]))]),
    )
    requirements = [f"{name}=={version(name)}" for name in REQUIREMENTS]
    mlflow.keras.save_model(model, str(folder), signature=signature, pip_requirements=requirements)
