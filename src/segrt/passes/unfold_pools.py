"""Take a pool's maximum from slices, for engines that lack dilated pools or the places of maxima.

The maximum of a window is that of its rows' maxima: along one axis after the other, tap i of every
window is a slice that begins i dilations further on. Padding is minus infinity, which no maximum
takes. A place is chosen with its maximum, the first of equals as in the pool's own definition; it
counts pixels of the image without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import Rewriter, nodes_of, refusal, replace, subject_of
from segrt.types import Certificate, Verdict

# Beyond any size: to the end.
_FAR = 1 << 62
# Each tap of an axis is one slice.
_MOST_TAPS = 64
# Windows beyond those that padding reaches into, in a probe of free sizes.
_ROOM = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """How windows lie along one axis.

    Attributes:
        place: Which axis of the image.
        taps: Of a window.
        stride: From window to window.
        dilation: From tap to tap.
        before: Padding in front.
        after: Padding behind; as much as the last window needs.
    """

    place: int
    taps: int
    stride: int
    dilation: int
    before: int
    after: int


class UnfoldPools:
    """See the module's docstring."""

    name = "unfold_pools"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every MaxPool with gaps in its windows, or whose places are asked for."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for pool in nodes_of(model.graph, "MaxPool"):
            if not (_has_gaps(pool) or _tells_places(pool)):
                continue
            subject = subject_of(pool.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _unfold(rewriter, pool)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            reason = "the largest of its slices along one axis after the other"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _has_gaps(pool: ir.Node) -> bool:
    return any(step != 1 for step in pool.attributes.get_ints("dilations", ()))


def _tells_places(pool: ir.Node) -> bool:
    places = pool.outputs[1] if len(pool.outputs) > 1 else None
    return places is not None and bool(places.uses() or places.is_graph_output())


def _unfold(rewriter: Rewriter, pool: ir.Node) -> Certificate:
    source = pool.inputs[0]
    if source is None or source.shape is None:
        raise PassError("the rank of its image is unknown")
    axes = _axes(pool, source)
    rewriter.at(pool)
    best, places = source, None
    if any(axis.before or axis.after for axis in axes):
        best = _padded(rewriter, pool, source, axes)
    # The innermost axis first: the first of equals is then the first in the image's own order.
    for axis in reversed(axes):
        best, places = _along(rewriter, pool, best, axis, places)
    if places is not None:
        places = _counted_on(rewriter, pool, source, places)
    rewriter.tag(metadata.layer_of(pool), metadata.class_of(pool))
    feeds = {source: noise(_probe(source, axes))}
    certificate = prove(pool.outputs[0], best, feeds, claim="bit-equal", what="noise")
    if places is not None:
        prove(pool.outputs[1], places, feeds, claim="bit-equal", what="noise")
        replace(pool.outputs[1], places)
    replace(pool.outputs[0], best)
    return certificate


def _axes(pool: ir.Node, source: ir.Value) -> list[Axis]:
    """Read the windows.

    Raises:
        PassError: Padding depends on a size that is free, or a window is very large.
    """
    get = pool.attributes
    kernel = get.get_ints("kernel_shape", ())
    count = len(kernel)
    strides = get.get_ints("strides", [1] * count)
    dilations = get.get_ints("dilations", [1] * count)
    pads = get.get_ints("pads", [0] * (2 * count))
    mode, up = get.get_string("auto_pad", "NOTSET"), get.get_int("ceil_mode", 0)
    sizes, windows = static_shape(source)[2:], static_shape(pool.outputs[0])[2:]
    if max(kernel) > _MOST_TAPS:
        raise PassError("its windows are large", found=str(tuple(kernel)))
    in_columns = get.get_int("storage_order", 0) != 0
    if _tells_places(pool) and (None in sizes or in_columns):
        raise PassError("places of an image of free size, or counted along columns")
    axes = []
    for place in range(count):
        extent, step = (kernel[place] - 1) * dilations[place] + 1, strides[place]
        before, after = pads[place], pads[place + count]
        size, wanted = sizes[place], windows[place]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            if step == 1:
                total = extent - 1
            elif size is None:
                raise PassError("its padding depends on a size that is not fixed")
            else:
                total = max((-(-size // step) - 1) * step + extent - size, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
        elif mode == "VALID":
            before = after = 0
        if up and size is not None and wanted is not None:
            after = max(after, (wanted - 1) * step + extent - size - before)
        elif up and step != 1:
            raise PassError("rounding up depends on a size that is not fixed")
        axes.append(Axis(place + 2, kernel[place], step, dilations[place], before, after))
    return axes


def _padded(rewriter: Rewriter, pool: ir.Node, source: ir.Value, axes: list[Axis]) -> ir.Value:
    pads = [0, 0, *(axis.before for axis in axes), 0, 0, *(axis.after for axis in axes)]
    lowest = rewriter.constant(f"{pool.name}:lowest", np.float32(-np.inf))
    inputs = [source, rewriter.ints(f"{pool.name}:pads", pads), lowest]
    return rewriter.op("Pad", inputs, name=f"{pool.name}:padded", mode="constant")


def _along(
    rewriter: Rewriter, pool: ir.Node, x: ir.Value, axis: Axis, places: ir.Value | None
) -> tuple[ir.Value, ir.Value | None]:
    """Return the maxima along an axis and, if they are asked for, their places so far."""
    role = f"{pool.name}:axis{axis.place}"
    cuts = [_tap(rewriter, f"{role}:tap{tap}", x, axis, tap) for tap in range(axis.taps)]
    if not _tells_places(pool):
        return rewriter.op("Max", cuts, name=f"{role}:largest"), None
    best, chosen = cuts[0], _place(rewriter, pool, axis, 0, places)
    for tap, cut in enumerate(cuts[1:], start=1):
        later = rewriter.op("Greater", [cut, best], name=f"{role}:later{tap}")
        other = _place(rewriter, pool, axis, tap, places)
        chosen = rewriter.op("Where", [later, other, chosen], name=f"{role}:place{tap}")
        best = rewriter.op("Max", [best, cut], name=f"{role}:largest{tap}")
    return best, chosen


def _tap(rewriter: Rewriter, role: str, x: ir.Value, axis: Axis, tap: int) -> ir.Value:
    first = tap * axis.dilation
    rest = (axis.taps - 1) * axis.dilation - first
    bounds = [first, -rest if rest else _FAR, axis.place, axis.stride]
    names = ("from", "to", "axis", "steps")
    inputs = [
        rewriter.ints(f"{role}:{name}", (bound,)) for name, bound in zip(names, bounds, strict=True)
    ]
    return rewriter.op("Slice", [x, *inputs], name=role)


def _place(
    rewriter: Rewriter, pool: ir.Node, axis: Axis, tap: int, inner: ir.Value | None
) -> ir.Value:
    """Return where a tap of every window lies: pixels in front of it, counted in its channel."""
    image, windows = static_shape(pool.inputs[0] or pool.outputs[0]), static_shape(pool.outputs[0])
    role = f"{pool.name}:axis{axis.place}:at{tap}"
    pixels = int(np.prod([size or 0 for size in image[axis.place + 1 :]], dtype=np.int64))
    first = tap * axis.dilation - axis.before
    along = (np.arange(windows[axis.place] or 0) * axis.stride + first) * pixels
    shape = [1] * len(image)
    shape[axis.place] = -1
    own = rewriter.constant(f"{role}:own", along.reshape(shape).astype(np.int64))
    if inner is None:
        return own
    if static_shape(inner)[axis.place] != 1:  # else the same for all along this axis
        inner = _tap(rewriter, f"{role}:inner", inner, axis, tap)
    return rewriter.op("Add", [inner, own], name=role)


def _counted_on(rewriter: Rewriter, pool: ir.Node, source: ir.Value, places: ir.Value) -> ir.Value:
    """Count on from channel to channel and from image to image, as ONNX does."""
    _, channels, *sizes = static_shape(source)
    if channels is None:
        raise PassError("the number of channels is unknown")
    pixels = int(np.prod([size or 0 for size in sizes], dtype=np.int64))
    rest = [1] * len(sizes)
    each = (np.arange(channels, dtype=np.int64) * pixels).reshape(1, channels, *rest)
    role = f"{pool.name}:place"
    inside = rewriter.op(
        "Add", [places, rewriter.constant(f"{role}:channels", each)], name=f"{role}:inside"
    )
    shape = rewriter.op("Shape", [source], name=f"{role}:batch", start=0, end=1)
    ones = rewriter.ints(f"{role}:ones", [1] * (1 + len(sizes)))
    size = rewriter.op("Concat", [shape, ones], name=f"{role}:size", axis=0)
    whole = np.full((1, 1, *rest), channels * pixels, np.int64)
    step = rewriter.constant(f"{role}:whole", whole)
    steps = rewriter.op("Expand", [step, size], name=f"{role}:steps")
    zero = rewriter.constant(f"{role}:first", np.int64(0))
    images = rewriter.op("CumSum", [steps, zero], name=f"{role}:images", exclusive=1)
    return rewriter.op("Add", [inside, images], name=role)


def _probe(source: ir.Value, axes: list[Axis]) -> tuple[int, ...]:
    """Return a shape for the proof: two images, and sizes that are fixed as they are."""
    _, channels, *sizes = static_shape(source)
    reach = [(axis.taps - 1) * axis.dilation + 1 + _ROOM * axis.stride for axis in axes]
    spatial = [size or room for size, room in zip(sizes, reach, strict=True)]
    return 2, (channels or 1) if None not in sizes else 1, *spatial


REGISTRY.register(UnfoldPools.name)(UnfoldPools())
