"""Numbers moved between space and channels."""

from __future__ import annotations

from segrt.importers.lambdas._base import lambda_form
from segrt.importers.layers import _rearrange
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, wrong_input


@lambda_form("depth_to_space", "pixel_shuffle", block=int)
def depth_to_space(call: Call, x: Tensor, *, block: int) -> Tensor:
    """`tf.nn.depth_to_space`."""
    return call.wrap(_rearrange.depth_to_space(call, call.channels_first(image(call, x)), block))


@lambda_form("space_to_depth", block=int)
def space_to_depth(call: Call, x: Tensor, *, block: int) -> Tensor:
    """`tf.nn.space_to_depth`."""
    return call.wrap(_rearrange.space_to_depth(call, call.channels_first(image(call, x)), block))


@lambda_form("channel_shuffle", groups=int)
def channel_shuffle(call: Call, x: Tensor, *, groups: int) -> Tensor:
    """ShuffleNet's: channels as (groups, rest), transposed, flattened (arXiv:1707.01083)."""
    x = image(call, x)
    depth = x.shape[-1]
    if depth is None or groups < 1 or depth % groups:
        raise wrong_input(call, f"{depth} channels", f"a multiple of {groups}")
    value = call.channels_first(x)
    shape = call.op("Shape", [value], role="shape")
    ends = [call.ints("two", [2]), call.ints("four", [4])]
    spatial = call.op("Slice", [shape, *ends], role="spatial")
    batch = call.op("Slice", [shape, call.ints("zero", [0]), call.ints("one", [1])], role="batch")
    split = call.ints("split", [groups, depth // groups])
    grouped = call.op("Concat", [batch, split, spatial], role="grouped", axis=0)
    value = call.op("Reshape", [value, grouped], role="groups")
    value = call.op("Transpose", [value], role="shuffled", perm=[0, 2, 1, 3, 4])
    joined = call.op("Concat", [batch, call.ints("depth", [depth]), spatial], role="joined", axis=0)
    return call.wrap(call.op("Reshape", [value, joined], role="channels"))
