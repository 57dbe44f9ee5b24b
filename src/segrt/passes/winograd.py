"""Compute deep 3x3 convolutions with a quarter of their products, by Winograd's identity.

Four neighbouring outputs of a 3-tap filter need 12 products, or 6 after both sides were mapped
to other coordinates: ``A ((G g) * (B d))``. In two dimensions that is 36 products instead of 144
for 4x4 outputs, and with channels a batch of 36 matrix products. Here all of it is plain MatMul
nodes: the maps along one axis of the image are one small constant matrix each, zero padding and
overlapping tiles included, so no tile is ever cut out.

The maps cost products too, in proportion to the image's side, so this pays for many channels on
small images. Identity and method of the interpolation points: S. Winograd, Arithmetic Complexity
of Computations, 1980; for convolutions: Lavin and Gray, arXiv:1509.09308.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._operators import conv_pads
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

Matrix: TypeAlias = npt.NDArray[np.float64]

# Outputs of a tile along one axis, coordinates of a tile, and the points that make them: exact in
# a few bits, and with half the rounding of the usual 0, 1, -1, 2, -2.
_OUT, _TAPS = 4, 3
_IN = _OUT + _TAPS - 1
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
# How many times fewer products, those of the maps counted, make up for the memory traffic.
_WORTH = 1.6


@dataclass(frozen=True, slots=True)
class _Site:
    """A convolution that may be rewritten, with its sizes."""

    node: ir.Node
    source: ir.Value
    weight: ir.Value
    batch: int | None
    channels: tuple[int, int]
    size: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def result(self) -> tuple[int, int]:
        """Height and width of the result."""
        (height, width), (top, left, bottom, right) = self.size, self.pads
        return height + top + bottom - _TAPS + 1, width + left + right - _TAPS + 1

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles along height and width."""
        return ceil(self.result[0] / _OUT), ceil(self.result[1] / _OUT)

    def gain(self) -> float:
        """Return how many times fewer products there are."""
        (height, width), (tall, wide), (down, across) = self.size, self.result, self.tiles
        inputs, outputs = self.channels
        tiles, plane = down * across, _IN * _IN
        direct = _TAPS * _TAPS * tall * wide * inputs * outputs
        entering = inputs * (_IN * across * width * height + plane * tiles * height)
        leaving = outputs * (_IN * across * _IN * down * tall + tall * wide * _IN * across)
        return direct / (plane * tiles * inputs * outputs + entering + leaving)


class Winograd:
    """See the module's docstring."""

    name = "winograd"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every 3x3 convolution of stride 1 where it is worth it."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "Conv"):
            subject = subject_of(node.outputs[0])
            site = _site(node)
            if isinstance(site, str):
                verdicts.append(Verdict(self.name, subject, False, site))
                continue
            gain = site.gain()
            if gain < _WORTH:
                reason = f"{gain:.2f} times fewer products do not make up for the maps' traffic"
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            try:
                with rewriter.attempt():
                    certificate = _rewrite(rewriter, site)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            reason = f"{gain:.2f} times fewer products as {_IN * _IN} matrix products"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _site(node: ir.Node) -> _Site | str:
    """Read a convolution; say why it cannot be rewritten."""
    source, weight = node.inputs[0], node.inputs[1]
    kernel = constant_array(weight)
    if source is None or weight is None or kernel is None or kernel.ndim != 4:
        return "its kernel is not constant, or it is not two-dimensional"
    if kernel.shape[2:] != (_TAPS, _TAPS) or kernel.dtype != np.float32:
        return "only 3x3 kernels in float32 are rewritten"
    steps = [node.attributes.get(name) for name in ("strides", "dilations")]
    group = node.attributes.get("group")
    if any(step is not None and set(step.as_ints()) != {1} for step in steps) or (
        group is not None and group.as_int() != 1
    ):
        return "strides, dilations or groups"
    pads, shape = conv_pads(node, kernel.shape[2:]), static_shape(source)
    if pads is None or shape[2] is None or shape[3] is None:
        return "the image's size is not fixed"
    top, left, bottom, right = pads
    outputs, inputs = kernel.shape[:2]
    return _Site(
        node,
        source,
        weight,
        shape[0],
        (inputs, outputs),
        (shape[2], shape[3]),
        (top, left, bottom, right),
    )


def _rewrite(rewriter: Rewriter, site: _Site) -> Certificate:
    node = site.node
    rewriter.at(node)
    new = _build(rewriter, site)
    rewriter.tag(metadata.layer_of(node), metadata.class_of(node))
    certificate = prove(
        node.outputs[0],
        new,
        {site.source: noise((1, site.channels[0], *site.size))},
        claim="up to rounding",
        what="float64 probe",
    )
    replace(node.outputs[0], new)
    return certificate


def _build(rewriter: Rewriter, site: _Site) -> ir.Value:
    """Insert the nodes; j and i count a tile's coordinates along width and height."""
    name = f"{site.node.name}:winograd"
    inputs, outputs = site.channels
    (height, width), (tall, wide), (down, across) = site.size, site.result, site.tiles
    top, left = site.pads[:2]
    # With a single image the batch axis is left out, so that the engine sees one constant
    # matrix for each of 36 products and packs it beforehand.
    batch = [] if site.batch == 1 else [0]

    def shaped(value: ir.Value, sizes: Sequence[int], role: str) -> ir.Value:
        shape = rewriter.ints(f"{name}:{role}:sizes", sizes)
        return rewriter.op("Reshape", [value, shape], name=f"{name}:{role}")

    def product(a: ir.Value, b: ir.Value, role: str) -> ir.Value:
        return rewriter.op("MatMul", [a, b], name=f"{name}:{role}")

    def matrix(array: Matrix, role: str) -> ir.Value:
        return rewriter.constant(f"{name}:{role}", array.astype(np.float32))

    enter_rows, leave_rows = _along(height, tall, top)
    enter_columns, leave_columns = _along(width, wide, left)
    value = rewriter.op("Transpose", [site.source], name=f"{name}:in", perm=(0, 2, 3, 1))
    # N 1 H W C -> N j H across C
    value = shaped(value, [*batch, 1, height, width, inputs], "image")
    value = product(matrix(enter_columns[:, None], "B/columns"), value, "columns")
    # -> N j i down across*C
    value = shaped(value, [*batch, _IN, 1, height, across * inputs], "strips")
    value = product(matrix(enter_rows, "B/rows"), value, "rows")
    value = shaped(value, [*batch, _IN * _IN, down * across, inputs], "tiles")
    value = product(value, _kernel(rewriter, site, name), "products")
    # N j (i down) across*O -> N j H across*O
    value = shaped(value, [*batch, _IN, _IN * down, across * outputs], "found")
    value = product(matrix(leave_rows, "A/rows"), value, "rows:back")
    value = shaped(value, [0 if batch else 1, _IN, tall, across, outputs], "strips:back")
    value = rewriter.op("Transpose", [value], name=f"{name}:turn", perm=(0, 2, 1, 3, 4))
    value = shaped(value, [0, tall, _IN * across, outputs], "tiles:back")
    value = product(matrix(leave_columns, "A/columns"), value, "columns:back")
    bias = site.node.inputs[2] if len(site.node.inputs) > 2 else None
    if bias is not None:
        value = rewriter.op("Add", [value, bias], name=f"{name}:biased")
    return rewriter.op("Transpose", [value], name=f"{name}:out", perm=(0, 3, 1, 2))


def _kernel(rewriter: Rewriter, site: _Site, name: str) -> ir.Value:
    """Return the kernel in a tile's coordinates, (j i) C O.

    As nodes: engines compute it once, when they load the graph, and the file keeps the kernel of
    a quarter of the size.
    """
    to_taps = _maps()[1]
    # (y x) -> (j i)
    mapping = np.einsum("iy,jx->yxji", to_taps, to_taps).reshape(_TAPS * _TAPS, _IN * _IN)
    inputs, outputs = site.channels
    flat = rewriter.ints(f"{name}:kernel:sizes", [outputs * inputs, _TAPS * _TAPS])
    value = rewriter.op("Reshape", [site.weight, flat], name=f"{name}:kernel:flat")
    constant = rewriter.constant(f"{name}:G", mapping.astype(np.float32))
    value = rewriter.op("MatMul", [value, constant], name=f"{name}:kernel:mapped")
    split = rewriter.ints(f"{name}:kernel:split", [outputs, inputs, _IN * _IN])
    value = rewriter.op("Reshape", [value, split], name=f"{name}:kernel:tiles")
    return rewriter.op("Transpose", [value], name=f"{name}:kernel", perm=(2, 1, 0))


def _along(size: int, result: int, pad: int) -> tuple[Matrix, Matrix]:
    """Return the maps of a whole axis of the image into and out of its tiles' coordinates.

    Args:
        size: Pixels of the image.
        result: Pixels of the convolution's result.
        pad: Zeros before the first pixel.

    Returns:
        ``B`` (coordinate, tile, pixel) and ``A`` (pixel of the result, coordinate * tile).
    """
    out_of, _, into = _maps()
    tiles = ceil(result / _OUT)
    enter = np.zeros((_IN, tiles, size))
    leave = np.zeros((tiles * _OUT, _IN, tiles))
    for tile in range(tiles):
        for tap in range(_IN):
            pixel = tile * _OUT + tap - pad
            if 0 <= pixel < size:
                enter[:, tile, pixel] = into[:, tap]
        leave[tile * _OUT : (tile + 1) * _OUT, :, tile] = out_of
    return enter, leave[:result].reshape(result, _IN * tiles)


def _maps() -> tuple[Matrix, Matrix, Matrix]:
    """Return A (out, in), G (in, taps), B (in, in) of ``A ((G g) * (B d))``.

    Values of polynomials at the points, and their interpolation; the last point is infinity.
    """
    points = np.array(_POINTS)
    out_of, taps, into = np.zeros((_OUT, _IN)), np.zeros((_IN, _TAPS)), np.zeros((_IN, _IN))
    out_of[:, :-1], out_of[-1, -1] = np.vander(points, _OUT, increasing=True).T, 1
    taps[-1, -1] = 1
    for index, point in enumerate(points):
        others = np.delete(points, index)
        taps[index] = point ** np.arange(_TAPS) / np.prod(point - others)
        into[index, :-1] = np.poly(others)[::-1]
    into[-1] = np.poly(points)[::-1]
    return out_of, taps, into


REGISTRY.register(Winograd.name)(Winograd())
