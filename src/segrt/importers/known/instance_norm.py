"""InstanceNormalization and GroupNormalization as the add-on packages saved them.

Sources:
    keras-contrib: https://github.com/keras-team/keras-contrib, instancenormalization.py, b20aa1a:
        ``(x - mean) / (std + epsilon)``, not ``sqrt(variance + epsilon)``; axis None takes the
        statistics over all but the batch.
    tensorflow-addons 0.23, layers/normalizations.py: Keras' GroupNormalization of later versions;
        instance normalization is that with a group for each channel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec
from segrt.importers.layers._inputs import single, weight, wrong_input

_AFFINE = ("epsilon", "center", "scale")
_TRAINING = (
    "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
    "beta_constraint", "gamma_constraint",
)  # fmt: skip


def _weights(config: JsonObject, /) -> list[WeightSpec]:
    names = [
        name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)
    ]
    return [WeightSpec(name) for name in names]


@known_layer(
    "InstanceNormalization",
    origin="keras-contrib",
    packages=("keras_contrib",),
    required=("axis", *_AFFINE),
    optional=_TRAINING,
    weights=_weights,
)
def of_keras_contrib(call: Call, x: Tensor) -> Tensor:
    """Convert to the definition's arithmetic."""
    x = single(call, x)
    axis = None if call.config.get("axis") is None else _config.axis(call)
    kept = 0 if axis is None else call.stored_axis(x, axis)
    if (axis is not None and kept == 0) or x.rank < 3:
        raise wrong_input(call, f"an input of shape {x.shape}", "an image, an axis but the batch")
    axes = call.ints("axes", [one for one in range(1, x.rank) if axis is None or one != kept])
    mean = call.op("ReduceMean", [x.value, axes], role="mean", keepdims=1)
    centered = call.op("Sub", [x.value, mean], role="centered")
    square = call.op("Mul", [centered, centered], role="square")
    variance = call.op("ReduceMean", [square, axes], role="variance", keepdims=1)
    deviation = call.op("Sqrt", [variance], role="deviation")
    epsilon = call.scalar("epsilon", _config.number(call, "epsilon"))
    deviation = call.op("Add", [deviation, epsilon], role="divisor")
    value = call.op("Div", [centered, deviation], role="normalized")
    for name, key, op_type in (("gamma", "scale", "Mul"), ("beta", "center", "Add")):
        if _config.flag(call, key, True):
            factor = _broadcast(call, x, name, None if axis is None else kept)
            value = call.op(op_type, [value, factor], role=f"with_{name}")
    return Tensor(value, x.layout)


@known_layer(
    "InstanceNormalization",
    "GroupNormalization",
    origin="tensorflow-addons",
    packages=("Addons", "tensorflow_addons"),
    required=("groups", "axis", *_AFFINE),
    optional=_TRAINING,
    weights=_weights,
)
def of_tensorflow_addons(call: Call, x: Tensor) -> Tensor:
    """Convert like Keras' GroupNormalization, which took over this definition."""
    x = single(call, x)
    config = {key: call.config[key] for key in ("groups", "axis", *_AFFINE)}
    if call.class_name == "InstanceNormalization":
        config["groups"] = -1
    return call.apply_part("GroupNormalization", config, x)


def _broadcast(call: Call, x: Tensor, name: str, stored: int | None) -> ir.Value:
    array = np.asarray(weight(call, name))
    shape = [1] * x.rank
    if stored is not None:
        shape[stored] = array.size
    return call.weight(f"{name}_of_{x.rank}", array.reshape(shape))
