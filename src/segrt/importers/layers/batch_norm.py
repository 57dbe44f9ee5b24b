"""BatchNormalization as it works at inference: with the moving averages."""

from __future__ import annotations

import numpy as np

from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import refuse_training, single, weight, wrong_input

# TensorFlow's fused kernel, which Keras took for channels-last images, raised a smaller epsilon
# to cuDNN's minimum: measured with Keras 2.2.4 and tf.keras 1.15, in the sources up to TensorFlow
# 2.11, gone in 2.12. Keras 2.0.9 did not fuse.
_FUSED_EPSILON = 1.001e-5
_FUSED_SINCE = (2, 1)
_FUSED_UNCLAMPED = (2, 12)
# Volumes were fused too, by the sources of TensorFlow, since 2.6.
_FUSED_VOLUMES_SINCE = (2, 6)


def _batch_norm_weights(config: JsonObject, /) -> list[WeightSpec]:
    specs = [WeightSpec("gamma")] if config.get("scale", True) else []
    specs += [WeightSpec("beta")] if config.get("center", True) else []
    names = ["moving_mean", "moving_variance"]
    # What training corrects a batch's own statistics with; inference has no use for it.
    names += ["renorm_mean", "renorm_stddev"] if config.get("renorm") else []
    return [*specs, *(WeightSpec(name, False) for name in names)]


@keras_layer(
    "BatchNormalization",
    "BatchNormalizationV1",
    "BatchNormalizationV2",
    "SyncBatchNormalization",
    weights=_batch_norm_weights,
)
def batch_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert to BatchNormalization if the axis is stored as axis 1, else to Mul and Add."""
    x = single(call, x)
    refuse_training(call, "inference: a batch's own statistics cannot be converted")
    axis = call.stored_axis(x, _config.axis(call))
    size = x.shape[_config.axis(call)]
    mean = weight(call, "moving_mean", None if size is None else (size,))
    if mean.ndim != 1 or axis == 0:
        raise wrong_input(call, f"an input of shape {x.shape}", "an axis other than the batch")
    variance = weight(call, "moving_variance", mean.shape)
    gamma = _affine(call, "scale", "gamma", mean.shape, 1.0)
    beta = _affine(call, "center", "beta", mean.shape, 0.0)
    epsilon = _epsilon(call, x)
    if axis == 1:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        arrays = (gamma, beta, mean, variance)
        inputs = [call.weight(name, array) for name, array in zip(names, arrays, strict=True)]
        value = call.op("BatchNormalization", [x.value, *inputs], epsilon=epsilon)
        return Tensor(value, x.layout)
    scale = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    shift = np.asarray(beta, np.float64) - np.asarray(mean, np.float64) * scale
    shape = [1] * x.rank
    shape[axis] = mean.size
    scaled = call.op("Mul", [x.value, call.constant("scale", _fp32(scale, shape))], role="scaled")
    value = call.op("Add", [scaled, call.constant("shift", _fp32(shift, shape))], role="shifted")
    return Tensor(value, x.layout)


def _affine(call: Call, key: str, name: str, shape: tuple[int, ...], neutral: float) -> Array:
    if _config.flag(call, key, True):
        return weight(call, name, shape)
    return np.full(shape, neutral, dtype=np.float32)


def _fp32(array: Array, shape: list[int]) -> Array:
    return array.astype(np.float32).reshape(shape)


def _epsilon(call: Call, x: Tensor) -> float:
    epsilon = _config.number(call, "epsilon", 1e-3)
    if epsilon < 0:
        raise call.unsupported("epsilon", epsilon, "zero or more")
    since = {4: _FUSED_SINCE, 5: _FUSED_VOLUMES_SINCE}.get(x.rank, _FUSED_UNCLAMPED)
    last = _config.axis(call) in (x.rank - 1, -1)
    plain = not call.config.get("renorm") and call.config.get("virtual_batch_size") is None
    fused = last and plain and call.config.get("fused") is not False
    if fused and since <= call.keras_version < _FUSED_UNCLAMPED:
        return max(epsilon, _FUSED_EPSILON)
    return epsilon
