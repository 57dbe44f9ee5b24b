"""Pools that round the number of their windows up, written with pads instead.

Whether a window that begins in the padding counts was settled after the first engines had it:
ONNX' own inference and OpenVINO count it, PyTorch and ONNX Runtime do not, and neither does this
project. Nor does such a pool's average count what lies beyond the padding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import GraphBuilder, static_shape


def spell_ceiling(graph: ir.Graph, pool: ir.Node) -> ir.Node | None:
    """Take ``ceil_mode`` off a pool of known sizes, in place; return a Pad put before it."""
    get, image = pool.attributes, pool.inputs[0]
    mode = get.get_string("auto_pad", "NOTSET")
    if not get.get_int("ceil_mode", 0) or mode not in ("NOTSET", "VALID") or image is None:
        return None
    kernel = list(get.get_ints("kernel_shape", ()))
    count = len(kernel)
    sizes = () if image.shape is None else static_shape(image)[2:]
    if len(sizes) != count or None in sizes:
        return None
    ones = [1] * count
    strides, gaps = get.get_ints("strides", ones), get.get_ints("dilations", ones)
    given = list(get.get_ints("pads", [0] * (2 * count)) if mode == "NOTSET" else [0] * (2 * count))
    before, after = given[:count], given[count:]
    needed = [
        _behind(size or 0, (taps - 1) * gap + 1, step, (first, last))
        for size, taps, gap, step, first, last in zip(
            sizes, kernel, gaps, strides, before, after, strict=True
        )
    ]
    # Longer pads than the kernel are refused by ONNX Runtime.
    if any(pad is None or pad >= taps for pad, taps in zip(needed, kernel, strict=True)):
        return None
    ends = [pad or 0 for pad in needed]
    beyond = [max(0, pad - own) for pad, own in zip(ends, after, strict=True)]
    counted = (
        pool.op_type == "AveragePool" and get.get_int("count_include_pad", 0) != 0 and any(beyond)
    )
    get.pop("ceil_mode")
    get.pop("auto_pad", None)
    if not counted:
        get["pads"] = ir.AttrInt64s("pads", [*before, *ends])
        return None
    get.pop("count_include_pad")
    get["pads"] = ir.AttrInt64s("pads", [*[0] * count, *beyond])
    inside = [pad - more for pad, more in zip(ends, beyond, strict=True)]
    return _zeros_before(graph, pool, [0, 0, *before, 0, 0, *inside])


def _behind(size: int, reach: int, step: int, pads: tuple[int, int]) -> int | None:
    """Return the pad behind that lets exactly the counted windows fit; None: there is none."""
    spare = size + sum(pads) - reach
    if spare < 0:
        return None
    windows = -(-spare // step) + 1
    if (windows - 1) * step >= size + pads[0]:
        windows -= 1
    return max(0, (windows - 1) * step + reach - size - pads[0])


def _zeros_before(graph: ir.Graph, pool: ir.Node, pads: list[int]) -> ir.Node:
    builder = GraphBuilder(graph)
    for node in graph:
        for output in node.outputs:
            builder.unique(str(output.name))
    places = builder.constant(f"{pool.name}:pads", np.array(pads, np.int64))
    padded = builder.op("Pad", [pool.inputs[0], places], name=f"{pool.name}:padded")
    node = builder.appended[-1]
    graph.remove(node)
    graph.insert_before(pool, node)
    pool.replace_input_with(0, padded)
    return node
