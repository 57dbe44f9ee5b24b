"""Axes added, removed, exchanged; tensors joined."""

from __future__ import annotations

from collections.abc import Sequence

from segrt.importers.lambdas._base import integers, lambda_form
from segrt.importers.layers._base import REGISTRY, Call, Layout, Tensor
from segrt.importers.layers._inputs import single


@lambda_form("expand_dims", axis=integers)
def expand_dims(call: Call, x: Tensor, *, axis: Sequence[int]) -> Tensor:
    """`tf.expand_dims`; several axes as they lie in the result: 1/2 is ``x[:, None, None]``."""
    x = single(call, x)
    rank = x.rank + len(axis)
    places = sorted({one % rank for one in axis if -rank <= one < rank})
    if len(places) < len(axis) or 0 in places:
        raise call.unsupported("axis", tuple(axis), f"different axes of 1 to {rank - 1}")
    where = call.ints("axes", places)
    return Tensor(call.op("Unsqueeze", [call.source(x), where], role="expanded"), Layout.SOURCE)


@lambda_form("squeeze", axes=integers)
def squeeze(call: Call, x: Tensor, *, axes: Sequence[int]) -> Tensor:
    """`tf.squeeze` of the axes given."""
    x = single(call, x)
    where = call.ints("axes", [axis % x.rank for axis in axes])
    return Tensor(call.op("Squeeze", [call.source(x), where], role="squeezed"), Layout.SOURCE)


@lambda_form("transpose", perm=integers)
def transpose(call: Call, x: Tensor, *, perm: Sequence[int]) -> Tensor:
    """`tf.transpose`; the batch axis stays in front."""
    x = single(call, x)
    if sorted(perm) != list(range(x.rank)) or perm[0] != 0:
        raise call.unsupported("perm", tuple(perm), f"0 and an order of 1 to {x.rank - 1}")
    axes = [call.stored_axis(x, axis) for axis in perm]
    return Tensor(call.op("Transpose", [x.value], role="permuted", perm=axes), Layout.SOURCE)


@lambda_form("concatenate", axis=int)
def concatenate(call: Call, xs: list[Tensor], *, axis: int = -1) -> Tensor:
    """`tf.concat`."""
    converter = REGISTRY.find("Concatenate")
    assert converter is not None
    result = converter.convert(call.part("Concatenate", {"axis": axis}), xs)
    assert isinstance(result, Tensor)
    return result
