"""Normalisation by recorded statistics, where it could not be folded into a convolution."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain
from segrt.cuda.readers._base import IMAGES, constant, names_of, number


@IMAGES.register("BatchNormalization")
def read_normalisation(node: ir.Node, layer: str) -> Chain | None:
    """Read it as a factor and a shift for each channel."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    if node.inputs[0] is None or any(array is None for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + number(node, "epsilon", 1e-5))
    vectors = (factor.astype(np.float32), (shift - mean * factor).astype(np.float32))
    steps = (Step("mul", "channel"), Step("add", "channel"))
    return Chain(layer, *names_of(node), steps, vectors)
