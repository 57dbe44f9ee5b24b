"""Factors a channel: LayerScale (arXiv:2103.17239) and Scale.

Sources:
    LayerScale: keras.applications.convnext of Keras 2.11 to 3.
    Scale (factor and shift behind a BatchNormalization without them):
        https://github.com/flyyufelix/cnn_finetune, custom_layers/scale_layer.py.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec
from segrt.importers.layers._inputs import single, weight, wrong_input


def _gamma(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("gamma")]


def _gamma_and_beta(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("gamma"), WeightSpec("beta")]


@known_layer(
    "LayerScale",
    origin="keras.applications",
    packages=("keras.applications", "keras.src.applications"),
    required=("init_values", "projection_dim"),
    weights=_gamma,
)
def layer_scale(call: Call, x: Tensor) -> Tensor:
    """Convert ``x * gamma``."""
    x = single(call, x)
    gamma = _along(call, x, "gamma", -1)
    return Tensor(call.op("Mul", [x.value, gamma], role="scaled"), x.layout)


@known_layer(
    "Scale",
    origin="cnn_finetune",
    required=("momentum", "axis"),
    weights=_gamma_and_beta,
)
def scale(call: Call, x: Tensor) -> Tensor:
    """Convert ``x * gamma + beta``."""
    x = single(call, x)
    axis = _config.axis(call)
    scaled = call.op("Mul", [x.value, _along(call, x, "gamma", axis)], role="scaled")
    return Tensor(call.op("Add", [scaled, _along(call, x, "beta", axis)], role="shifted"), x.layout)


def _along(call: Call, x: Tensor, name: str, axis: int) -> ir.Value:
    """Return a weight of the layer as it broadcasts along ``axis`` of Keras' order."""
    stored = call.stored_axis(x, axis)
    if stored == 0:
        raise wrong_input(call, f"an input of shape {x.shape}", "an axis other than the batch")
    size = x.shape[axis]
    array = weight(call, name, None if size is None else (size,))
    shape = [1] * x.rank
    shape[stored] = array.size
    return call.weight(f"{name}_{stored}_of_{x.rank}", array.reshape(shape))
