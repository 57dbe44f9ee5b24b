"""Let a convolution of few outputs compute neighbouring pixels side by side.

Engines compute 16 outputs of a convolution at once; with 2 outputs, the masks of a typical
network, 14 of 16 lanes are idle. Here a block of neighbouring pixels becomes channels: the same
kernel, shifted to each pixel of the block inside a larger one, with the block as stride. The
larger kernel is mostly zeros, and still less work. What follows pixel by pixel (activations, 1x1
convolutions) works on the block as well; the pixels are put back behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._operators import Array, conv_pads
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    only_consumer,
    refusal,
    replace,
    subject_of,
)
from segrt.passes._transpose_region import UNARY
from segrt.passes.upsampling._shuffle import pixel_shuffle
from segrt.types import Certificate, Verdict

# Outputs -> rows and columns of the block: together 16 lanes of float32.
_BLOCKS = {1: (4, 4), 2: (2, 4), 3: (2, 2), 4: (2, 2)}
_GONE = "its pixels lie in blocks beside each other, as channels"


class FoldPixels:
    """See the module's docstring."""

    name = "fold_pixels"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every 3x3 or larger convolution of at most four outputs."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "Conv"):
            kernel = constant_array(node.inputs[1])
            if kernel is None or kernel.ndim != 4 or kernel.shape[0] not in _BLOCKS:
                continue
            if min(kernel.shape[2:]) < 3:
                continue
            subject = subject_of(node.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _fold(model, rewriter, node, kernel)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            block = "x".join(map(str, _BLOCKS[kernel.shape[0]]))
            reason = f"{kernel.shape[0]} outputs of {block} neighbouring pixels side by side"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _fold(model: ir.Model, rewriter: Rewriter, node: ir.Node, kernel: Array) -> Certificate:
    block = _BLOCKS[kernel.shape[0]]
    pads = _check(node, kernel, block)
    chain = _chain(node)
    rewriter.at(chain[-1])
    value = _folded(rewriter, node, kernel, pads, block)
    metadata_of = [(node, value)]
    for step in chain[1:]:
        value = _step(rewriter, step, value, block)
        metadata_of.append((step, value))
    last = chain[-1].outputs[0]
    new = pixel_shuffle(rewriter, value, block, name=f"{chain[-1].name}:folded")
    for old, made in metadata_of:
        maker = made.producer()
        if maker is not None:
            maker.metadata_props.update(old.metadata_props)
    rewriter.tag(metadata.layer_of(chain[-1]), metadata.class_of(chain[-1]))
    source = node.inputs[0]
    if source is None:
        raise PassError("the convolution has no input")
    probe = noise((1, kernel.shape[1], 2 * block[0], 3 * block[1]))
    certificate = prove(last, new, {source: probe}, claim="up to rounding", what="float64 probe")
    for step in chain[:-1]:
        metadata.dissolve(model, step.outputs[0], _GONE)
    replace(last, new)
    return certificate


def _check(node: ir.Node, kernel: Array, block: tuple[int, int]) -> list[int]:
    """Return the padding (begins, then ends).

    Raises:
        PassError: The result does not consist of whole blocks, or pixels are skipped.
    """
    steps = [node.attributes.get(name) for name in ("strides", "dilations")]
    group = node.attributes.get("group")
    if any(step is not None and set(step.as_ints()) != {1} for step in steps) or (
        group is not None and group.as_int() != 1
    ):
        raise PassError("strides, dilations or groups")
    pads = conv_pads(node, kernel.shape[2:])
    sizes = static_shape(node.outputs[0])[2:]
    if pads is None or None in sizes:
        raise PassError("the image's size is not fixed")
    if any(size is None or size % step for size, step in zip(sizes, block, strict=True)):
        raise PassError("the image does not consist of whole blocks", found=f"{sizes}, {block}")
    # So that the probe, which has whole blocks before the padding, has them behind it too.
    if any(pads[axis] + pads[axis + 2] != kernel.shape[axis + 2] - 1 for axis in (0, 1)):
        raise PassError("the convolution changes the image's size")
    return pads


def _chain(node: ir.Node) -> list[ir.Node]:
    """Return the convolution and what follows it pixel by pixel and is read nowhere else."""
    chain = [node]
    while (reader := only_consumer(chain[-1].outputs[0])) is not None and _is_pointwise(reader):
        chain.append(reader)
    return chain


def _is_pointwise(node: ir.Node) -> bool:
    if node.domain != "" or len(node.outputs) != 1:
        return False
    if node.op_type in UNARY:
        return True
    kernel = constant_array(node.inputs[1]) if node.op_type == "Conv" else None
    return (
        kernel is not None
        and kernel.shape[1:] == (kernel.shape[1], 1, 1)
        and set(node.attributes) <= {"kernel_shape", "dilations", "group", "strides", "pads"}
        and all(
            set(node.attributes[name].as_ints()) == {wanted}
            for name, wanted in (("strides", 1), ("dilations", 1), ("pads", 0))
            if name in node.attributes
        )
        and ("group" not in node.attributes or node.attributes["group"].as_int() == 1)
    )


def _folded(
    rewriter: Rewriter, node: ir.Node, kernel: Array, pads: list[int], block: tuple[int, int]
) -> ir.Value:
    """Insert the convolution by blocks; channel = (output * rows + row) * columns + column."""
    (rows, columns), (outputs, inputs, tall, wide) = block, kernel.shape
    large = np.zeros((outputs, rows, columns, inputs, tall + rows - 1, wide + columns - 1))
    for row in range(rows):
        for column in range(columns):
            large[:, row, column, :, row : row + tall, column : column + wide] = kernel
    flat = large.reshape(-1, *large.shape[3:]).astype(kernel.dtype)
    name = f"{node.name}:folded"
    inputs_of = [node.inputs[0], rewriter.constant(f"{name}:kernel", flat)]
    inputs_of += _repeated(rewriter, node, rows * columns, name)
    # The last block needs what lay behind the last pixel: the padding stays as it was.
    return rewriter.op(
        "Conv", inputs_of, name=name, kernel_shape=flat.shape[2:], strides=block, pads=pads
    )


def _step(rewriter: Rewriter, node: ir.Node, value: ir.Value, block: tuple[int, int]) -> ir.Value:
    """Insert what ``node`` does to each pixel, for all pixels of a block."""
    name = f"{node.name}:folded"
    kernel = constant_array(node.inputs[1]) if node.op_type == "Conv" else None
    if kernel is None:
        return rewriter.op(node.op_type, [value, *node.inputs[1:]], name=name, **node.attributes)
    count = block[0] * block[1]
    large = np.kron(kernel[:, :, 0, 0], np.eye(count, dtype=kernel.dtype))[:, :, None, None]
    inputs = [value, rewriter.constant(f"{name}:kernel", large)]
    inputs += _repeated(rewriter, node, count, name)
    return rewriter.op("Conv", inputs, name=name, kernel_shape=(1, 1))


def _repeated(rewriter: Rewriter, node: ir.Node, count: int, name: str) -> list[ir.Value]:
    """Return the bias, each number ``count`` times; nothing where there is none.

    Raises:
        PassError: It is not constant.
    """
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return []
    bias = constant_array(node.inputs[2])
    if bias is None:
        raise PassError("the convolution's bias is not constant")
    return [rewriter.constant(f"{name}:bias", bias.repeat(count))]


REGISTRY.register(FoldPixels.name)(FoldPixels())
