"""Attention and AdditiveAttention: dot-product and additive scores of queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _attention, _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import refuse_training, several, weight, wrong_input

_Scores = Callable[[Call, ir.Value, ir.Value], ir.Value]


def _dot_weights(config: JsonObject, /) -> list[WeightSpec]:
    specs = [WeightSpec("scale")] if config.get("use_scale", False) else []
    concat = config.get("score_mode") == "concat"
    return specs + ([WeightSpec("concat_score_weight")] if concat else [])


@keras_layer("Attention", weights=_dot_weights)
def attention(call: Call, *args: Any) -> Tensor | list[Tensor]:
    """Convert Attention with ``score_mode`` dot or concat."""
    mode = _config.choice(call, "score_mode", ("dot", "concat"), "dot")
    return _attend(call, args, _dot_scores if mode == "dot" else _concat_scores)


def _additive_weights(config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("scale")] if config.get("use_scale", True) else []


@keras_layer("AdditiveAttention", weights=_additive_weights)
def additive_attention(call: Call, *args: Any) -> Tensor | list[Tensor]:
    """Convert AdditiveAttention: ``sum(scale * tanh(query + key))``."""
    return _attend(call, args, _additive_scores)


def _attend(call: Call, args: tuple[Any, ...], scores_of: _Scores) -> Tensor | list[Tensor]:
    refuse_training(call, "inference: dropout that stays on at inference cannot be converted")
    given = _attention.arguments(call, ("inputs", "mask"), [list(args[:1]), *args[1:]])
    tensors = several(call, given.get("inputs"))
    if not 2 <= len(tensors) <= 3 or len({x.rank for x in tensors}) != 1 or tensors[0].rank < 3:
        shapes = [x.shape for x in tensors]
        raise wrong_input(call, f"shapes {shapes}", "query, value and perhaps key, of one rank")
    query, value = (call.source(x) for x in tensors[:2])
    key = call.source(tensors[2]) if len(tensors) == 3 else value
    masks = _masks(call, given.get("mask"))
    raw = scores_of(call, query, key)
    allowed = _attention.constant_masks(
        call, _attention.length(raw, -2), _attention.length(raw, -1)
    )
    if masks[1] is not None:
        allowed.append(_attention.unsqueezed(call, masks[1], [1], "value_mask"))
    scores = call.op("Softmax", [_attention.masked(call, raw, allowed)], role="scores", axis=-1)
    result = call.op("MatMul", [scores, value], role="attended")
    if masks[0] is not None:
        kept = _attention.unsqueezed(call, masks[0], [2], "query_mask")
        result = call.op("Where", [kept, result, call.scalar("zero", 0.0)], role="kept")
    output = Tensor(result, Layout.SOURCE)
    if not call.kwargs.get("return_attention_scores"):
        return output
    return [output, Tensor(scores, Layout.SOURCE)]


def _masks(call: Call, masks: Any) -> tuple[ir.Value | None, ir.Value | None]:
    """Return the masks of queries and values, (N, length) each; the keys' own is not used."""
    found = list(masks) if isinstance(masks, list | tuple) else [masks]
    pair: list[ir.Value | None] = []
    for mask in [*found, None, None][:2]:
        if mask is None:
            pair.append(None)
        elif isinstance(mask, Tensor) and mask.rank == 2:
            pair.append(_attention.as_boolean(call, mask))
        else:
            raise wrong_input(call, f"mask {mask!r}"[:80], "masks of two axes")
    return pair[0], pair[1]


def _dot_scores(call: Call, query: ir.Value, key: ir.Value) -> ir.Value:
    rank = len(key.shape or [])
    perm = [*range(rank - 2), rank - 1, rank - 2]
    turned = call.op("Transpose", [key], role="key_turned", perm=perm)
    scores = call.op("MatMul", [query, turned], role="raw_scores")
    if _config.flag(call, "use_scale", False):
        scores = call.op(
            "Mul", [scores, call.weight("scale", weight(call, "scale", ()))], role="scaled"
        )
    return scores


def _concat_scores(call: Call, query: ir.Value, key: ir.Value) -> ir.Value:
    total = _sums(call, query, key)
    if _config.flag(call, "use_scale", False):
        total = call.op(
            "Mul", [total, call.weight("scale", weight(call, "scale", ()))], role="scaled"
        )
    bent = call.op("Tanh", [total])
    scores = call.op("ReduceSum", [bent, call.ints("axes", [-1])], role="summed", keepdims=0)
    factor = call.weight("concat_score_weight", weight(call, "concat_score_weight", ()))
    return call.op("Mul", [scores, factor], role="raw_scores")


def _additive_scores(call: Call, query: ir.Value, key: ir.Value) -> ir.Value:
    bent = call.op("Tanh", [_sums(call, query, key)])
    if not _config.flag(call, "use_scale", True):
        return call.op("ReduceSum", [bent, call.ints("axes", [-1])], role="raw_scores", keepdims=0)
    size = _attention.length(query, -1)
    scale = weight(call, "scale", None if size is None else (size,))
    product = call.op("MatMul", [bent, call.weight("scale", scale.reshape(-1, 1))], role="weighted")
    return call.op("Squeeze", [product, call.ints("axes", [-1])], role="raw_scores")


def _sums(call: Call, query: ir.Value, key: ir.Value) -> ir.Value:
    """Append every query plus every key: N, queries, keys, size."""
    rank = len(query.shape or [])
    rows = _attention.unsqueezed(call, query, [rank - 1], "queries")
    columns = _attention.unsqueezed(call, key, [rank - 2], "keys")
    return call.op("Add", [rows, columns], role="pairs")
