"""Write padding that libraries read differently as numbers.

ONNX Runtime pads a dilated pool with ``auto_pad`` as if it had no gaps, so that its result is too
small, and refuses a dilated convolution, and pads of a pool that are as long as its kernel. Of a
transposed convolution OpenVINO (2026.4) ignores ``auto_pad``, and TensorRT's parser the
``output_padding`` beside ``VALID``; both share out what ``output_shape`` leaves over the other way.
ONNX defines them all.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.errors import UnsupportedConfigError
from segrt.graph.builder import GraphBuilder, static_shape

_SAME = ("SAME_UPPER", "SAME_LOWER")


def spell_padding(model: ir.Model) -> None:
    """Replace ``auto_pad`` of dilated windows by pads, in place, wherever they can be known."""
    for node in list(model.graph):
        if node.op_type == "ConvTranspose" and node.domain == "":
            _spell_transposed(node)
        if node.op_type not in ("Conv", "MaxPool", "AveragePool") or node.domain != "":
            continue
        mode = node.attributes.get_string("auto_pad", "NOTSET")
        gaps = any(step != 1 for step in node.attributes.get_ints("dilations", ()))
        totals = _totals(node) if mode in _SAME and gaps else None
        if totals is None:
            continue
        small = [total // 2 for total in totals]
        large = [total - total // 2 for total in totals]
        pads = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
        node.attributes.pop("auto_pad")
        taps = [*node.attributes.get_ints("kernel_shape", ())] * 2
        if node.op_type == "MaxPool" and any(a >= b for a, b in zip(pads, taps, strict=True)):
            _pad_before(model.graph, node, pads)
            pads = [0] * len(pads)
        node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def _spell_transposed(node: ir.Node) -> None:
    """Give a transposed convolution pads; the larger half of an odd sum is behind for SAME_UPPER.

    Raises:
        UnsupportedConfigError: They depend on a size that is free.
    """
    get = node.attributes
    mode, wanted = get.get_string("auto_pad", "NOTSET"), list(get.get_ints("output_shape", ()))
    kernel = _taps(node)
    if not kernel or (mode == "NOTSET" and not wanted):
        return
    ones = [1] * len(kernel)
    strides, dilations = get.get_ints("strides", ones), get.get_ints("dilations", ones)
    extra = get.get_ints("output_padding", [0] * len(kernel))
    reach = [
        (taps - 1) * gap + 1 + more
        for taps, gap, more in zip(kernel, dilations, extra, strict=True)
    ]
    if wanted:
        image = node.inputs[0]
        sizes = () if image is None or image.shape is None else static_shape(image)[2:]
        if len(sizes) != len(kernel) or None in sizes:
            raise UnsupportedConfigError(
                f"node {node.name!r} (ConvTranspose) has an output_shape, and its input free sizes",
                found=f"output_shape {wanted} of an input of {list(sizes)}",
                hint="export it with fixed sizes, or with pads",
            )
        full = [(size - 1) * step for size, step in zip(sizes, strides, strict=True) if size]
        totals = [a + b - c for a, b, c in zip(full, reach, wanted[-len(kernel) :], strict=True)]
    elif mode in _SAME:
        totals = [max(0, a - step) for a, step in zip(reach, strides, strict=True)]
    else:
        totals = [0] * len(kernel)
    if min(totals) < 0:
        return
    small, large = [n // 2 for n in totals], [n - n // 2 for n in totals]
    pads = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    get.pop("auto_pad", None)
    get.pop("output_shape", None)
    get["pads"] = ir.AttrInt64s("pads", pads)


def _taps(node: ir.Node) -> list[int]:
    """Return the sizes of a kernel; none where they are unknown."""
    weight = node.inputs[1]
    given = list(node.attributes.get_ints("kernel_shape", ()))
    if given or weight is None or weight.shape is None:
        return given
    sizes = static_shape(weight)[2:]
    return [] if None in sizes else [size or 0 for size in sizes]


def _pad_before(graph: ir.Graph, pool: ir.Node, pads: list[int]) -> None:
    """Put a Pad with minus infinity, which no maximum takes, in front of a pool."""
    builder, half = GraphBuilder(graph), len(pads) // 2
    for node in graph:
        for output in node.outputs:
            builder.unique(str(output.name))
    every = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
    inputs = [
        pool.inputs[0],
        builder.constant(f"{pool.name}:pads", every),
        builder.constant(f"{pool.name}:lowest", np.float32(-np.inf)),
    ]
    padded = builder.op("Pad", inputs, name=f"{pool.name}:padded", mode="constant")
    node = builder.appended[-1]
    graph.remove(node)
    graph.insert_before(pool, node)
    pool.replace_input_with(0, padded)


def _totals(node: ir.Node) -> list[int] | None:
    """Return what each axis is padded by, None if that depends on a size that is not known."""
    image = node.inputs[0]
    if image is None or image.shape is None:
        return None
    sizes = static_shape(image)[2:]
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if not kernel and weight is not None and weight.shape is not None:
        kernel = [taps or 0 for taps in static_shape(weight)[2:]]
    strides = node.attributes.get_ints("strides", [1] * len(sizes))
    dilations = node.attributes.get_ints("dilations", [1] * len(sizes))
    if len(kernel) != len(sizes) or 0 in kernel:
        return None
    totals = []
    for size, taps, step, gap in zip(sizes, kernel, strides, dilations, strict=True):
        extent = (taps - 1) * gap + 1
        if step == 1:
            totals.append(extent - 1)
        elif size is None:
            return None
        else:
            totals.append(max((-(-size // step) - 1) * step + extent - size, 0))
    return totals
