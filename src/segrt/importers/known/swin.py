"""SwinTransformerBlock: attention within shifted windows (arXiv:2103.14030).

Source: https://github.com/yingkaisha/keras-vision-transformer, swin_layers.py, and the same in
keras-unet-collection 0.1.13, transformer_layers.py.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.known import _tokens
from segrt.importers.known._base import known_layer
from segrt.importers.known.patches import ORIGIN, PACKAGES
from segrt.importers.layers import _config
from segrt.importers.layers._activation_functions import gelu
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec
from segrt.importers.layers._inputs import single, weight, wrong_input

_NORM = {"axis": -1, "epsilon": 1e-5, "center": True, "scale": True}
_SETTINGS = (
    "dim", "num_patch", "num_heads", "window_size", "shift_size", "num_mlp", "qkv_bias", "qk_scale",
    "mlp_drop", "attn_drop", "proj_drop", "drop_path_prob",
)  # fmt: skip


def _weights(config: JsonObject, /) -> list[WeightSpec]:
    names = ["norm1/gamma", "norm1/beta", "attn/relative_position_bias_table", "attn/qkv/kernel"]
    names += ["attn/qkv/bias"] if config.get("qkv_bias", True) else []
    names += ["attn/proj/kernel", "attn/proj/bias", "norm2/gamma", "norm2/beta"]
    names += ["mlp/fc1/kernel", "mlp/fc1/bias", "mlp/fc2/kernel", "mlp/fc2/bias"]
    fixed = ["attn_mask"] if config.get("shift_size") else []
    fixed.append("attn/relative_position_index")
    return [WeightSpec(name) for name in names] + [WeightSpec(name, False) for name in fixed]


@known_layer(
    "SwinTransformerBlock", origin=ORIGIN, packages=PACKAGES, required=_SETTINGS, weights=_weights
)
def swin_transformer_block(call: Call, x: Tensor) -> Tensor:
    """Convert to the definition's arithmetic: ``x += attention(norm(x)); x += mlp(norm(x))``."""
    x = single(call, x)
    rows, columns, width = _tokens.grid(call, x)
    window, shift = _config.integer(call, "window_size"), _config.integer(call, "shift_size", low=0)
    if rows % window or columns % window or shift >= window:
        raise call.unsupported("window_size", window, f"a divisor of {rows} and {columns}")
    start = Tensor(call.source(x), Layout.SOURCE)
    normed = call.apply_part("LayerNormalization", _NORM, start, role="norm1")
    value = _tokens.reshape(call, normed.value, [-1, rows, columns, width], "grid")
    for axis in (1, 2) if shift else ():
        value = _tokens.roll(call, value, axis, -shift, f"shifted_{axis}")
    split = [-1, rows // window, window, columns // window, window, width]
    value = _tokens.reshape(call, value, split, "split")
    value = _tokens.permute(call, value, [0, 1, 3, 2, 4, 5], "by_window")
    value = _tokens.reshape(call, value, [-1, window * window, width], "windows")
    value = _attention(call, value, window * window, width).value
    back = [-1, rows // window, columns // window, window, window, width]
    value = _tokens.reshape(call, value, back, "attended")
    value = _tokens.permute(call, value, [0, 1, 3, 2, 4, 5], "by_row")
    value = _tokens.reshape(call, value, [-1, rows, columns, width], "joined")
    for axis in (1, 2) if shift else ():
        value = _tokens.roll(call, value, axis, shift, f"restored_{axis}")
    value = _tokens.reshape(call, value, [-1, rows * columns, width], "tokens")
    middle = Tensor(call.op("Add", [start.value, value], role="middle"), Layout.SOURCE)
    return Tensor(
        call.op("Add", [middle.value, _mlp(call, middle, width).value], role="sum"), Layout.SOURCE
    )


def _mlp(call: Call, x: Tensor, width: int) -> Tensor:
    normed = call.apply_part("LayerNormalization", _NORM, x, role="norm2")
    dense = {"units": _config.integer(call, "num_mlp")}
    hidden = call.apply_part("Dense", dense, normed, role="mlp/fc1")
    active = Tensor(gelu(call.part("Activation", {}, role="mlp"), hidden), hidden.layout)
    return call.apply_part("Dense", {"units": width}, active, role="mlp/fc2")


def _attention(call: Call, value: ir.Value, count: int, width: int) -> Tensor:
    """Attention among the ``count`` tokens of each window, biased by their relative places."""
    heads = _config.integer(call, "num_heads")
    if width % heads:
        raise call.unsupported("num_heads", heads, f"a divisor of {width}")
    dense = {"units": 3 * width, "use_bias": _config.flag(call, "qkv_bias", True)}
    mixed = call.apply_part("Dense", dense, Tensor(value, Layout.SOURCE), role="attn/qkv")
    shape = [-1, count, 3, heads, width // heads]
    value = _tokens.reshape(call, mixed.value, shape, "qkv")
    value = _tokens.permute(call, value, [2, 0, 3, 1, 4], "by_head")
    query, key, values = (_pick(call, value, index) for index in range(3))
    factor = call.config.get("qk_scale") or (width // heads) ** -0.5
    query = call.op("Mul", [query, call.scalar("scale", float(factor))], role="query_scaled")
    key = _tokens.permute(call, key, [0, 1, 3, 2], "key_transposed")
    scores = call.op("MatMul", [query, key], role="scores")
    bias = call.weight("attn/relative_position_bias", _bias(call, count, heads))
    scores = call.op("Add", [scores, bias], role="biased")
    if _config.integer(call, "shift_size", low=0):
        scores = _masked(call, scores, count, heads)
    shares = call.op("Softmax", [scores], role="shares", axis=-1)
    value = call.op("MatMul", [shares, values], role="mixed")
    value = _tokens.permute(call, value, [0, 2, 1, 3], "by_token")
    value = _tokens.reshape(call, value, [-1, count, width], "heads_joined")
    return call.apply_part(
        "Dense", {"units": width}, Tensor(value, Layout.SOURCE), role="attn/proj"
    )


def _pick(call: Call, value: ir.Value, index: int) -> ir.Value:
    number = call.constant(f"pick_{index}", np.int64(index))
    return call.op("Gather", [value, number], role=("query", "key", "values")[index], axis=0)


def _bias(call: Call, count: int, heads: int) -> Array:
    """Return what the table says for every pair of tokens: (1, heads, count, count)."""
    window = _config.integer(call, "window_size")
    table = weight(call, "attn/relative_position_bias_table", ((2 * window - 1) ** 2, heads))
    index = np.asarray(call.weights["attn/relative_position_index"])
    if index.shape != (count, count) or index.min() < 0 or index.max() >= len(table):
        raise wrong_input(call, f"places of shape {index.shape}", f"places of {count} tokens")
    return table[index.astype(np.int64)].transpose(2, 0, 1)[None]


def _masked(call: Call, scores: ir.Value, count: int, heads: int) -> ir.Value:
    """Keep apart tokens that only the shift brought into one window."""
    mask = np.asarray(call.weights["attn_mask"])
    if mask.ndim != 3 or mask.shape[1:] != (count, count):
        raise wrong_input(call, f"a mask of shape {mask.shape}", f"a mask of {count} tokens")
    windows = mask.shape[0]
    shape = [-1, windows, heads, count, count]
    scores = _tokens.reshape(call, scores, shape, "by_place")
    scores = call.op("Add", [scores, call.weight("attn_mask", mask[None, :, None])], role="masked")
    return _tokens.reshape(call, scores, [-1, heads, count, count], "all_windows")
