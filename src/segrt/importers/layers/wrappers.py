"""TimeDistributed and SpectralNormalization: layers around another layer."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import refuse_training, single, wrong_input
from segrt.importers.layers._wrapped import convert_wrapped, wrapped


def _inner_weights(config: JsonObject, /) -> list[WeightSpec]:
    layer = wrapped(config)
    return layer.weights() if layer else []


@keras_layer("TimeDistributed", weights=_inner_weights)
def time_distributed(call: Call, x: Tensor) -> Tensor:
    """Convert TimeDistributed: the time axis joins the batch, and is split off again."""
    x = single(call, x)
    if call.kwargs.get("mask") is not None:
        raise call.unsupported("mask", "a mask", "no mask")
    if x.rank < 3:
        raise wrong_input(call, f"an input of shape {x.shape}", "3 axes or more: batch, time, ...")
    value = call.source(x)
    joined = _reshaped(call, value, [-1], 2, role="joined")
    result = call.source(convert_wrapped(call, Tensor(joined, Layout.SOURCE)))
    steps = x.shape[1]
    if steps is None:
        return Tensor(_split(call, value, result), Layout.SOURCE)
    return Tensor(_reshaped(call, result, [-1, steps], 1, role="split"), Layout.SOURCE)


def _spectral_weights(config: JsonObject, /) -> list[WeightSpec]:
    inner = _inner_weights(config)
    trainable = [spec for spec in inner if spec.trainable]
    return [*trainable, WeightSpec("vector_u", False), *(s for s in inner if not s.trainable)]


@keras_layer("SpectralNormalization", weights=_spectral_weights)
def spectral_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert to the wrapped layer: training leaves its kernel normalized."""
    x = single(call, x)
    refuse_training(call, "inference: it would normalize the kernel again at every call")
    return convert_wrapped(call, x)


def _reshaped(call: Call, value: ir.Value, front: list[int], first: int, *, role: str) -> ir.Value:
    """Reshape to ``front`` and the value's own sizes from axis ``first`` on."""
    rest = list(static_shape(value))[first:]
    known = [size for size in rest if size is not None]
    if len(known) == len(rest):
        return call.op("Reshape", [value, call.ints(f"{role}_shape", front + known)], role=role)
    behind = call.op("Shape", [value], role=f"{role}_rest", start=first)
    parts = [call.ints(f"{role}_front", front), behind]
    result = call.op(
        "Reshape", [value, call.op("Concat", parts, role=f"{role}_sizes", axis=0)], role=role
    )
    shown = [size if size > 0 else None for size in front]
    result.shape = ir.Shape([*shown, *list(value.shape or [])[first:]])
    return result


def _split(call: Call, value: ir.Value, result: ir.Value) -> ir.Value:
    """Split an unknown number of steps off the batch again."""
    front = call.op("Shape", [value], role="steps", start=0, end=2)
    behind = call.op("Shape", [result], role="inner", start=1)
    shape = call.op("Concat", [front, behind], role="sizes", axis=0)
    split = call.op("Reshape", [result, shape], role="split")
    split.shape = ir.Shape([*list(value.shape or [])[:2], *list(result.shape or [])[1:]])
    return split
