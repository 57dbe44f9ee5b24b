"""EinsumDense: a product with a kernel by an einsum equation."""

from __future__ import annotations

import re
import string

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import single, weight, wrong_input
from segrt.importers.layers._product import fits, times_kernel

# The forms that Keras takes: without an ellipsis, or with one in front of both or behind both.
_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def _weights(config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("kernel")] + ([WeightSpec("bias")] if config.get("bias_axes") else [])


@keras_layer("EinsumDense", weights=_weights)
def einsum_dense(call: Call, x: Tensor) -> Tensor:
    """Convert to MatMul with what brings the axes there."""
    x = single(call, x)
    terms = _terms(call, x.rank)
    kernel = weight(call, "kernel")
    sizes = dict(zip(terms[0], x.shape, strict=True))
    inside = dict(zip(terms[1], kernel.shape, strict=False))
    unlike = any(sizes.get(letter) not in (None, size) for letter, size in inside.items())
    if kernel.ndim != len(terms[1]) or unlike:
        raise wrong_input(
            call, f"a kernel of shape {kernel.shape}", f"{terms[1]} of {terms[0]}={x.shape}"
        )
    value = call.source(x)
    value = times_kernel(call, value, kernel, terms)
    if call.config.get("bias_axes"):
        bias = weight(call, "bias")
        found = static_shape(value)
        fits_behind = zip(reversed(bias.shape), reversed(found), strict=False)
        if bias.ndim > len(found) or any(s not in (1, o) and o is not None for s, o in fits_behind):
            raise wrong_input(call, f"a bias of shape {bias.shape}", f"what fits {found}")
        value = call.op("Add", [value, call.weight("bias", bias)], role="biased")
    return call.activation(Tensor(value, Layout.SOURCE), call.config.get("activation"))


def _terms(call: Call, rank: int) -> tuple[str, str, str]:
    """Return the equation's terms with one letter for each axis behind an ellipsis."""
    wanted = "an equation such as 'abc,cd->abd' that fits the input"
    found = _config.setting(call, "equation", _config.REQUIRED, wanted)
    match = _EQUATION.fullmatch(found.replace(" ", "")) if isinstance(found, str) else None
    if match is None:
        raise call.unsupported("equation", found, wanted)
    before, source, behind, kernel, out_before, out, out_behind = match.groups()
    hidden = rank - len(source)
    elided = bool(before or behind)
    good = (before, behind) == (out_before, out_behind) and not (before and behind)
    free = [letter for letter in string.ascii_letters if letter not in source + kernel + out]
    good = good and (hidden >= 0 if elided else hidden == 0) and hidden <= len(free)
    dots = "".join(free[:hidden])
    terms = (dots + source, kernel, dots + out) if before else (source + dots, kernel, out + dots)
    if not good or not fits(terms):
        raise call.unsupported("equation", found, wanted)
    return terms
