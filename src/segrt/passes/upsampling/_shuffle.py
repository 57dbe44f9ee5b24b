"""Bring pixels from channels into height and width, for any factors and any sizes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.passes._rewrite import Rewriter


def pixel_shuffle(
    rewriter: Rewriter, x: ir.Value, factors: tuple[int, int], *, name: str
) -> ir.Value:
    """Return N K fy*H fx*W from ``x``, N K*fy*fx H W, channel = (k * fy + row) * fx + column."""
    fy, fx = factors
    if fy == fx:
        return rewriter.op("DepthToSpace", [x], name=f"{name}:shuffle", blocksize=fy, mode="CRD")
    channels = (static_shape(x)[1] or 0) // (fy * fx)
    split = with_sizes(
        rewriter, x, x, (0, channels, fy, fx), (1, 1), name=f"{name}:split", known=False
    )
    # N K fy fx H W -> N K H fy W fx
    mixed = rewriter.op("Transpose", [split], name=f"{name}:mix", perm=(0, 1, 4, 2, 5, 3))
    return with_sizes(
        rewriter, mixed, x, (0, channels), factors, name=f"{name}:shuffle", known=False
    )


def with_sizes(
    rewriter: Rewriter,
    value: ir.Value,
    sized: ir.Value,
    leading: tuple[int, ...],
    factors: tuple[int, int],
    *,
    name: str,
    known: bool = True,
) -> ir.Value:
    """Reshape ``value`` to ``leading`` and the height and width of ``sized`` times ``factors``.

    Args:
        rewriter: Inserts the nodes.
        value: What is reshaped.
        sized: N C H W.
        leading: The first sizes; 0 keeps that of ``value``.
        factors: Of height and width.
        name: Of the result.
        known: Write sizes that are known into the graph; else they are read off at run time, so
            that a small probe can run through the same nodes.
    """
    height, width = static_shape(sized)[2:]
    if known and height is not None and width is not None:
        sizes = rewriter.ints(f"{name}:sizes", [*leading, height * factors[0], width * factors[1]])
        return rewriter.op("Reshape", [value, sizes], name=name)
    now = rewriter.op("Shape", [sized], name=f"{name}:now", start=2, end=4)
    times = rewriter.ints(f"{name}:times", factors)
    large = rewriter.op("Mul", [now, times], name=f"{name}:large")
    first = rewriter.ints(f"{name}:first", leading)
    sizes = rewriter.op("Concat", [first, large], name=f"{name}:sizes", axis=0)
    return rewriter.op("Reshape", [value, sizes], name=name)
