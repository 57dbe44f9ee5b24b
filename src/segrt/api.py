"""The public functions: the one place that chains importers, passes, targets and the rest.

Composition only. Each function takes and returns the values of DESIGN's stages: a file becomes an
``onnx_ir.Model`` (`load`), a model a `Package` (`build`), a package a `Session` (`open_session`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

StrPath: TypeAlias = str | os.PathLike[str]


def load(path: StrPath, *, architecture: StrPath | None = None) -> ir.Model:
    """Read a trained model file, without Keras or TensorFlow.

    Args:
        path: A full-model HDF5 (``.h5``), a ``.keras`` archive, or a file of weights.
        architecture: What ``model.to_json()`` returned, for files that hold weights only.

    Returns:
        The graph: NCHW inside, the source's layout, names and dtypes at inputs and outputs; every
        Keras layer's output is a value under the layer's name. Nothing is rewritten yet.

    Raises:
        ModelFileError: The file is missing, damaged or of no known format.
        UnsupportedLayerError: Layers without a converter; all of them are listed.
        UnsupportedConfigError: A layer's settings cannot be converted exactly.
        UsageError: The architecture is missing, or is one too many.
    """
    from segrt.importers._base import import_model

    return import_model(Path(path), None if architecture is None else Path(architecture))
