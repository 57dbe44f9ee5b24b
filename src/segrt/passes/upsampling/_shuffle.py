"""Bring pixels from channels into height and width, for any factors and any sizes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.passes._rewrite import Rewriter


def pixel_shuffle(
    rewriter: Rewriter, x: ir.Value, factors: tuple[int, ...], *, name: str
) -> ir.Value:
    """Return the image N K fy*H fx*W from N K*fy*fx H W, channel = (k * fy + row) * fx + column."""
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
    factors: tuple[int, ...],
    *,
    name: str,
    known: bool = True,
) -> ir.Value:
    """Reshape ``value`` to ``leading`` and the spatial sizes of ``sized`` times ``factors``.

    Args:
        rewriter: Inserts the nodes.
        value: What is reshaped.
        sized: N C spatial...
        leading: The first sizes; 0 keeps that of ``value``.
        factors: One a spatial axis.
        name: Of the result.
        known: Write sizes that are known into the graph; else they are read off at run time, so
            that a small probe can run through the same nodes.
    """
    pairs = zip(static_shape(sized)[2:], factors, strict=True)
    large = [size * factor for size, factor in pairs if size is not None]
    if known and len(large) == len(factors):
        return rewriter.op(
            "Reshape", [value, rewriter.ints(f"{name}:sizes", [*leading, *large])], name=name
        )
    now = rewriter.op("Shape", [sized], name=f"{name}:now", start=2)
    times = rewriter.ints(f"{name}:times", factors)
    product = rewriter.op("Mul", [now, times], name=f"{name}:large")
    first = rewriter.ints(f"{name}:first", leading)
    sizes = rewriter.op("Concat", [first, product], name=f"{name}:sizes", axis=0)
    return rewriter.op("Reshape", [value, sizes], name=name)
