"""WeightNormalization: a layer whose kernel is a direction times a length (arXiv:1602.07868).

Source: tensorflow-addons 0.23, layers/wrappers.py: ``kernel = l2_normalize(v, all axes but the
last) * g`` on every call, once the layer has been called for the first time.
"""

from __future__ import annotations

import numpy as np

from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers._base import REGISTRY, Call, Tensor, as_stored
from segrt.importers.layers._inputs import single

_WRAPPED = ("Conv1D", "Conv2D", "Conv3D", "Dense")
# `tf.nn.l2_normalize` divides by the root of at least this.
_SMALLEST = 1e-12


@known_layer(
    "WeightNormalization",
    origin="tensorflow-addons",
    packages=("Addons", "tensorflow_addons"),
    required=("layer", "data_init"),
    weights=as_stored,
)
def weight_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert the wrapped layer with the kernel that its arrays make."""
    inner: JsonObject = call.config["layer"]
    class_name, config = str(inner.get("class_name")), inner.get("config")
    converter = REGISTRY.find(class_name)
    if class_name not in _WRAPPED or converter is None or not isinstance(config, dict):
        raise call.unsupported("layer", class_name, f"one of {', '.join(_WRAPPED)}")
    arrays = {name.rpartition("/")[2]: array for name, array in _own_arrays(call).items()}
    called = bool(arrays.get("initialized", True))
    if not called and call.config["data_init"]:
        raise call.unsupported("initialized", False, "a layer that has been called once")
    if called:
        arrays["kernel"] = _kernel(arrays)
    names = [spec.name for spec in converter.weights(config)]
    part = call.part(class_name, config, weights={name: arrays[name] for name in names})
    result = converter.convert(part, single(call, x))
    assert isinstance(result, Tensor)
    return result


def _kernel(arrays: JsonObject) -> Array:
    """Return direction times length; before its first call the length is the kernel's own."""
    kernel, length = np.asarray(arrays["kernel"], np.float64), np.asarray(arrays["g"], np.float64)
    square = np.sum(kernel**2, axis=tuple(range(kernel.ndim - 1)), keepdims=True)
    return np.asarray(kernel / np.sqrt(np.maximum(square, _SMALLEST)) * length, dtype=np.float32)


def _own_arrays(call: Call) -> JsonObject:
    """Return the arrays without those of the copy that once found the first lengths."""
    return {name: array for name, array in call.weights.items() if "data_dep_init" not in name}
