"""UpSampling1D, 2D and 3D: nearest, and for images bicubic, and bilinear in its two meanings."""

from __future__ import annotations

import numpy as np

from segrt.graph.builder import static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import dimensions, image
from segrt.importers.layers._resize import enlarge_bicubic, resize


@keras_layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(call: Call, x: Tensor) -> Tensor:
    """Convert UpSampling to Resize: output pixel i of nearest is input pixel i // factor."""
    x = image(call, x)
    rank = dimensions(call)
    factors = _config.sizes(call, "size", rank, 2)
    known = ("nearest", "bilinear", "bicubic") if rank == 2 else ("nearest",)
    interpolation = _config.choice(call, "interpolation", known, default="nearest")
    if interpolation == "bicubic":
        return _bicubic(call, x, factors)
    if interpolation == "nearest":
        mode = {"mode": "nearest", "nearest_mode": "floor"}
        coordinates = "asymmetric"
    else:
        mode = {"mode": "linear"}
        coordinates = "asymmetric" if _asymmetric_bilinear(call) else "half_pixel"
    scales = call.constant("scales", np.array([1, 1, *factors], dtype=np.float32))
    value = call.op(
        "Resize",
        [call.channels_first(x), None, scales],
        role="resize",
        coordinate_transformation_mode=coordinates,
        **mode,
    )
    return call.wrap(value)


def _bicubic(call: Call, x: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Convert by the target size: TensorFlow rounds the weights of some factors."""
    value, (rows, cols) = call.channels_first(x), factors
    height, width = static_shape(value)[2:]
    if height is None or width is None:
        return call.wrap(enlarge_bicubic(call, value, (rows, cols)))
    return call.wrap(resize(call, value, (height * rows, width * cols), "bicubic"))


def _asymmetric_bilinear(call: Call) -> bool:
    """Say whether the file's Keras samples bilinearly without half-pixel centers.

    Standalone Keras before 2.3 did. tf.keras of that time marks its version: ``2.2.4-tf``.
    """
    if call.keras_version >= (2, 3):
        return False
    if call.keras_version.tensorflow:
        # The measured 1.15 samples with half-pixel centers; 1.13, 1.14 and 2.0 share its mark.
        call.remark(
            "bilinear upsampling of a tf.keras of TensorFlow 1.13 to 2.0, which the file does not "
            "tell apart: taken as half-pixel sampling, as 1.15 does; verify against a recording"
        )
        return False
    return True
