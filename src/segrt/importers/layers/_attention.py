"""What the attention layers share: masks, and the product of scores and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import wrong_input

# What Keras puts in place of a masked score: far below any other, and finite.
_MASKED = -1e9
# The first version of Keras whose Softmax layer sets masked values to 0 behind the softmax.
_MASKED_TO_ZERO = (3, 14)
_UNSAID = (3, 0, 0)  # also taken where the file does not tell its version


def masked(call: Call, scores: ir.Value, masks: Sequence[ir.Value]) -> ir.Value:
    """Append ``scores`` with -1e9 wherever a mask (boolean, broadcastable) is false.

    Keras adds -1e9 or writes it, depending on its version: either leaves exactly 0 behind the
    softmax, as long as a row has any unmasked score.
    """
    for index, mask in enumerate(masks):
        low = call.scalar("masked", _MASKED)
        scores = call.op("Where", [mask, scores, low], role=f"masked_{index}")
    return scores


def nothing_masked(call: Call, shares: ir.Value, mask: ir.Value) -> ir.Value:
    """Append what newer Keras does behind its Softmax layer: masked values are 0.

    That differs from -1e9 before it only where nothing is left unmasked.
    """
    newest = call.keras_version >= _MASKED_TO_ZERO or "use_gate" in call.config
    if call.keras_version[:3] == _UNSAID and not newest:
        call.remark("the file does not tell its Keras: rows masked altogether may come out as 0")
    if not newest:
        return shares
    return call.op("Where", [mask, shares, call.scalar("zero", 0.0)], role="unmasked")


def as_boolean(call: Call, mask: Tensor) -> ir.Value:
    """Return a mask as booleans, in Keras' axis order: true where it is not 0."""
    value = call.source(mask)
    if value.dtype == ir.DataType.BOOL:
        return value
    return call.op("Cast", [value], role="mask", to=int(ir.DataType.BOOL))


def unsqueezed(
    call: Call, value: ir.Value, axes: Sequence[int], role: str = "expanded"
) -> ir.Value:
    """Append ``value`` with axes of size 1; ``axes`` count in the result."""
    if not axes:
        return value
    return call.op("Unsqueeze", [value, call.ints(f"{role}_axes", list(axes))], role=role)


def constant_masks(call: Call, queries: int | None, keys: int | None) -> list[ir.Value]:
    """Return the masks that follow from the lengths alone: causal, sliding window.

    Raises:
        ModelFileError: They depend on lengths that are unknown.
    """
    causal = bool(call.kwargs.get("use_causal_mask")) or bool(call.config.get("causal"))
    window = call.config.get("sliding_window")
    if not causal and window is None:
        return []
    if queries is None or keys is None:
        raise wrong_input(call, "a causal mask over unknown lengths", "sequences of known length")
    rows, columns = np.arange(queries)[:, None], np.arange(keys)[None]
    allowed = np.ones((queries, keys), bool)
    if causal:
        allowed &= rows >= columns
    if window is not None:
        if not isinstance(window, int) or window < 1:
            raise call.unsupported("sliding_window", window, "a positive integer")
        allowed &= np.abs(rows - columns) < window
    return [call.constant("causal_mask", allowed)]


def refuse_implicit(call: Call, names: Sequence[str]) -> None:
    """Raise where Keras' own mask arguments, which Masking layers fill, are given.

    Raises:
        UnsupportedConfigError: One of ``names`` is among the call's arguments.
    """
    for name in names:
        if call.kwargs.get(name) is not None:
            raise call.unsupported(name, "a mask", "attention_mask")


def length(value: ir.Value, axis: int) -> int | None:
    """Return one size of a value, None where it is unknown."""
    return static_shape(value)[axis]


def arguments(call: Call, names: Sequence[str], args: Sequence[Any]) -> dict[str, Any]:
    """Return positional and keyword arguments by name; a list of tensors counts as several.

    Raises:
        ModelFileError: More arguments than names.
    """
    if args and isinstance(args[0], list | tuple):
        args = [*args[0], *args[1:]]
    if len(args) > len(names):
        raise wrong_input(call, f"{len(args)} arguments", f"at most {len(names)}")
    bound = dict(zip(names, args, strict=False))
    return bound | {name: call.kwargs[name] for name in names if name in call.kwargs}
