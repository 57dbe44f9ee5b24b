"""MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers import _attention, _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import refuse_training, weight, wrong_input
from segrt.importers.layers._product import times_kernel

_ARGUMENTS_2 = ("query", "value", "key", "attention_mask", "return_attention_scores")
_ARGUMENTS_3 = (
    "query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask",
    "return_attention_scores",
)  # fmt: skip
_KERAS_MASKS = ("query_mask", "value_mask", "key_mask")


def _parts(config: JsonObject, /) -> list[WeightSpec]:
    parts = ["query", "key", *(["gate"] if config.get("use_gate") else []), "value", "output"]
    arrays = ["kernel", *(["bias"] if config.get("use_bias", True) else [])]
    return [WeightSpec(f"{part}_dense/{array}") for part in parts for array in arrays]


@keras_layer("MultiHeadAttention", weights=_parts)
def multi_head_attention(call: Call, *args: Any) -> Tensor | list[Tensor]:
    """Convert to a MatMul a projection, two for the attention, and a Softmax."""
    heads, size = _config.integer(call, "num_heads"), _config.integer(call, "key_dim")
    values = size if call.config.get("value_dim") is None else _config.integer(call, "value_dim")
    return _attend(call, args, (heads, size, values), repeats=1)


@keras_layer("GroupedQueryAttention", "GroupQueryAttention", weights=_parts)
def grouped_query_attention(call: Call, *args: Any) -> Tensor | list[Tensor]:
    """Convert like MultiHeadAttention; kernels of keys and values are repeated for their heads."""
    heads, size = _config.integer(call, "num_query_heads"), _config.integer(call, "head_dim")
    groups = _config.integer(call, "num_key_value_heads")
    if heads % groups:
        raise call.unsupported("num_key_value_heads", groups, f"a divisor of {heads}")
    return _attend(call, args, (heads, size, size), repeats=heads // groups)


def _attend(
    call: Call, args: Sequence[Any], sizes: tuple[int, int, int], repeats: int
) -> Tensor | list[Tensor]:
    refuse_training(call, "inference: dropout that stays on at inference cannot be converted")
    names = _ARGUMENTS_2 if call.keras_major == 2 else _ARGUMENTS_3
    given = _attention.arguments(call, names, args)
    query, value, key = _tensors(call, given)
    heads, size, value_size = sizes
    rank = query.rank
    axes = _axes(call, rank)
    # Projected: N, axes..., heads, size.
    q = _project(call, query, "query", (heads, size), 1)
    k = _project(call, key, "key", (heads, size), repeats)
    v = _project(call, value, "value", (heads, value_size), repeats)
    scale = call.scalar("scale", 1.0 / math.sqrt(size))
    q = call.op("Mul", [q, scale], role="query_scaled")
    # N, other axes..., heads, queries (or keys) flattened, size.
    batch = [axis for axis in range(rank - 1) if axis not in axes]
    order = [*batch, rank - 1, *axes, rank]
    inner = [_flattened(call, each, order, axes, role) for each, role in
             ((q, "query"), (k, "key"), (v, "value"))]  # fmt: skip
    swap = [*range(len(batch) + 1), len(batch) + 2, len(batch) + 1]
    turned = call.op("Transpose", [inner[1]], role="key_turned", perm=swap)
    scores = call.op("MatMul", [inner[0], turned], role="raw_scores")
    masks = _masks(call, given, scores, axes, (q, k))
    scores = call.op("Softmax", [_attention.masked(call, scores, masks)], role="scores", axis=-1)
    if _by_softmax_layer(call, given, rank):
        for mask in masks:
            scores = _attention.nothing_masked(call, scores, mask)
    mixed = call.op("MatMul", [scores, inner[2]], role="mixed")
    mixed = _unflattened(call, mixed, order, axes, q)
    if call.config.get("use_gate"):
        gate = _project(call, query, "gate", (heads, value_size), 1)
        gate = call.op("Sigmoid", [gate], role="gate")
        mixed = call.op("Mul", [mixed, gate], role="gated")
    output = Tensor(_output(call, mixed, query, (heads, value_size)), Layout.SOURCE)
    if not given.get("return_attention_scores"):
        return output
    lengths = [_attention.length(each, axis) for each in (q, k) for axis in axes]
    return [output, Tensor(_scores(call, scores, lengths, len(batch) + 1), Layout.SOURCE)]


def _by_softmax_layer(call: Call, given: dict[str, Any], rank: int) -> bool:
    """Say whether Keras 3 takes its Softmax layer here, and not the backend's own attention."""
    dropout = _config.number(call, "dropout", 0.0)
    return dropout > 0 or bool(given.get("return_attention_scores")) or rank != 3


def _tensors(call: Call, given: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    for name in _KERAS_MASKS:
        if given.get(name) is not None:
            raise call.unsupported(name, "a mask", "attention_mask")
    query, value = given.get("query"), given.get("value")
    key = value if given.get("key") is None else given["key"]
    if (
        not isinstance(query, Tensor)
        or not isinstance(value, Tensor)
        or not isinstance(key, Tensor)
    ):
        raise wrong_input(call, ", ".join(given) or "nothing", "tensors query and value")
    if not query.rank == value.rank == key.rank or query.rank < 3:
        shapes = [query.shape, value.shape, key.shape]
        raise wrong_input(call, f"shapes {shapes}", "one number of axes, 3 or more")
    return query, value, key


def _axes(call: Call, rank: int) -> list[int]:
    """Return the axes that are attended over, ascending: all but batch and features by default."""
    if call.config.get("attention_axes") is None:
        return list(range(1, rank - 1))
    found = _config.integers(call, "attention_axes")
    # Keras counts a negative axis from the end of the projected tensor, which has one more.
    axes = [axis if axis >= 0 else rank + axis for axis in found]
    if axes != sorted(set(axes)) or not axes or not 1 <= axes[0] <= axes[-1] < rank - 1:
        raise call.unsupported("attention_axes", found, f"ascending axes from 1 to {rank - 2}")
    return axes


def _project(call: Call, x: Tensor, part: str, sizes: tuple[int, int], repeats: int) -> ir.Value:
    heads, size = sizes
    stored = (heads // repeats, size)
    kernel = weight(call, f"{part}_dense/kernel")
    features = kernel.shape[0] if x.shape[-1] is None and kernel.ndim else x.shape[-1]
    kernel = weight(call, f"{part}_dense/kernel", (features or 0, *stored))
    bias = None
    if _config.flag(call, "use_bias", True):
        bias = np.repeat(weight(call, f"{part}_dense/bias", stored), repeats, axis=0)
    letters = string.ascii_lowercase[: x.rank]
    terms = (letters, f"{letters[-1]}YZ", f"{letters[:-1]}YZ")
    kernel = np.repeat(kernel, repeats, axis=1)
    return _product(call, call.source(x), (kernel, bias), terms, part)


def _product(
    call: Call,
    value: ir.Value,
    arrays: tuple[Array, Array | None],
    terms: tuple[str, str, str],
    part: str,
) -> ir.Value:
    value = times_kernel(call, value, arrays[0], terms, name=f"{part}/kernel")
    if arrays[1] is None:
        return value
    return call.op("Add", [value, call.weight(f"{part}/bias", arrays[1])], role=f"{part}_biased")


def _flattened(
    call: Call, value: ir.Value, order: list[int], axes: list[int], role: str
) -> ir.Value:
    value = call.op("Transpose", [value], role=f"{role}_heads", perm=order)
    if len(axes) == 1:
        return value
    shape = [0] * (len(order) - len(axes) - 1) + [-1, _attention.length(value, -1) or 0]
    return call.op("Reshape", [value, call.ints(f"{role}_shape", shape)], role=f"{role}_flat")


def _unflattened(
    call: Call, value: ir.Value, order: list[int], axes: list[int], query: ir.Value
) -> ir.Value:
    """Bring what attention gives back to N, axes..., heads, size."""
    if len(axes) > 1:
        lengths = [_attention.length(query, axis) for axis in axes]
        shape = [0] * (len(order) - len(axes) - 1)
        shape += [*_known(call, lengths), _attention.length(value, -1) or 0]
        value = call.op("Reshape", [value, call.ints("mixed_shape", shape)], role="mixed_axes")
    back = sorted(range(len(order)), key=lambda index: order[index])
    return call.op("Transpose", [value], role="mixed_back", perm=back)


def _known(call: Call, lengths: list[int | None]) -> list[int]:
    if lengths.count(None) > 1:
        raise wrong_input(call, "attention over several axes of unknown size", "known sizes")
    return [-1 if size is None else size for size in lengths]


def _scores(call: Call, scores: ir.Value, lengths: list[int | None], leading: int) -> ir.Value:
    if len(lengths) == 2:
        return scores
    shape = [0] * leading + _known(call, lengths)
    return call.op("Reshape", [scores, call.ints("scores_shape", shape)], role="all_scores")


def _masks(
    call: Call,
    given: dict[str, Any],
    scores: ir.Value,
    axes: list[int],
    projected: tuple[ir.Value, ir.Value],
) -> list[ir.Value]:
    """Return the masks, each broadcastable against N, others..., heads, queries, keys."""
    if len(axes) > 1 and call.kwargs.get("use_causal_mask"):
        raise call.unsupported("use_causal_mask", True, "attention over one axis")
    masks = _attention.constant_masks(
        call, _attention.length(scores, -2), _attention.length(scores, -1)
    )
    mask = given.get("attention_mask")
    if mask is None:
        return masks
    if not isinstance(mask, Tensor):
        raise wrong_input(call, f"attention_mask {mask!r}"[:80], "a tensor")
    value = _attention.as_boolean(call, mask)
    leading = mask.rank - 2 * len(axes)
    if leading < 0:
        raise wrong_input(call, f"a mask of shape {mask.shape}", "queries and keys behind a batch")
    if len(axes) > 1:
        lengths = [_attention.length(each, axis) for each in projected for axis in axes]
        if None in lengths or static_shape(value)[leading:] != tuple(lengths):
            raise wrong_input(call, f"a mask of shape {mask.shape}", f"(..., {lengths})")
        flat = [math.prod(size or 0 for size in half) for half in
                (lengths[: len(axes)], lengths[len(axes) :])]  # fmt: skip
        shape = call.ints("mask_shape", [0] * leading + flat)
        value = call.op("Reshape", [value, shape], role="mask_flat")
    # Keras inserts what is missing in front of the queries, behind the batch and other axes.
    missing = len(static_shape(scores)) - 2 - leading
    return [*masks, _attention.unsqueezed(call, value, range(leading, leading + missing))]


def _output(call: Call, mixed: ir.Value, query: Tensor, sizes: tuple[int, int]) -> ir.Value:
    rank = query.rank
    given = call.config.get("output_shape")
    kernel = weight(call, "output_dense/kernel")
    shape = kernel.shape[2:] if query.shape[-1] is None else (query.shape[-1],)
    if given is not None:
        shape = tuple(_config.integers(call, "output_shape"))
    kernel = weight(call, "output_dense/kernel", (*sizes, *shape))
    bias = None
    if _config.flag(call, "use_bias", True):
        bias = weight(call, "output_dense/bias", shape)
    kept = string.ascii_lowercase[: rank - 1]
    fresh = string.ascii_lowercase[rank : rank + len(shape)]
    return _product(
        call, mixed, (kernel, bias), (f"{kept}YZ", f"YZ{fresh}", kept + fresh), "output"
    )
