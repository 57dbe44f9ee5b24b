"""The form ``subpixel``: compute on the small image, then shuffle channels into pixels.

Nearest with a convolution behind it becomes one convolution of the small image. Pixel
``o = s*q + r`` of the result is ``sum_t k[t] * large[o + t - p]``, ``large[i] = small[i // s]``;
``(s*q + r + t - p) // s = q + d`` with ``d = (r + t - p) // s``, so phase ``r`` is a convolution of
the small image whose tap ``d`` is the sum of the taps ``t`` that fall on it. A pixel outside the
large image lies outside the small one too, so zero padding carries over exactly.

Bilinear becomes a depthwise convolution of the small image with its border repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._operators import conv_pads
from segrt.passes._rewrite import Rewriter, constant_array, only_consumer
from segrt.passes.upsampling._base import (
    PROBE_HEIGHT,
    PROBE_WIDTH,
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling._shuffle import pixel_shuffle
from segrt.passes.upsampling._sites import describe_foreign

Array: TypeAlias = npt.NDArray[Any]

_MOST_WEIGHTS = 1 << 28  # merged elements: 1 GiB of float32


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis of the merged convolution works.

    Attributes:
        factor: ``s``.
        before: Zeros in front of the small image.
        after: Zeros behind it.
        taps: Size of the merged kernel: the union over all phases.
        crop: Pixels too many at the end, after the shuffle.
        where: ``where[r][t]``: the merged tap that old tap ``t`` of phase ``r`` goes to.
    """

    factor: int
    before: int
    after: int
    taps: int
    crop: int
    where: tuple[tuple[int, ...], ...]


def plan_axis(factor: int, kernel: int, before: int, after: int) -> Axis:
    """Plan one axis of ``conv(kernel, pads before and after) . nearest(factor)``."""
    first = -before // factor
    last = (factor - 1 + kernel - 1 - before) // factor
    grown = before + after - kernel + 1  # the old result has factor * H + grown pixels
    blocks = -(-grown // factor)  # the new one has H + blocks pixels before the shuffle
    return Axis(
        factor=factor,
        before=-first,
        after=blocks + last,
        taps=last - first + 1,
        crop=blocks * factor - grown,
        where=tuple(
            tuple((phase + tap - before) // factor - first for tap in range(kernel))
            for phase in range(factor)
        ),
    )


def merge_kernel(kernel: Array, rows: Axis, columns: Axis) -> npt.NDArray[np.float32]:
    """Return the merged kernel, (K*fy*fx, C, taps, taps), from (K, C, kh, kw).

    Output channel ``(k * fy + row) * fx + column`` is phase (row, column) of channel ``k``. Sums
    are taken in float64, one phase at a time, and rounded once.
    """
    outputs, inputs, height, width = kernel.shape
    fy, fx = rows.factor, columns.factor
    merged = np.empty((outputs, fy * fx, inputs, rows.taps, columns.taps), dtype=np.float32)
    for row in range(fy):
        for column in range(fx):
            phase = np.zeros((rows.taps, columns.taps, outputs, inputs))
            for i in range(height):
                for j in range(width):
                    phase[rows.where[row][i], columns.where[column][j]] += kernel[:, :, i, j]
            merged[:, row * fx + column] = phase.transpose(2, 3, 0, 1)
    return merged.reshape(outputs * fy * fx, inputs, rows.taps, columns.taps)


class SubpixelForm:
    """See the module's docstring."""

    name = "subpixel"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Merge nearest with the convolution behind it, or compute bilinear by phases."""
        if site.kind == "transposed convolution":
            return Refusal("a transposed convolution already computes on the small image")
        if site.kind == "foreign":
            return Refusal(describe_foreign(site))
        channels, image = static_shape(site.source)[1], len(site.factors) == 2
        if channels is None or not image:
            return Refusal(
                "the number of channels is unknown"
                if image
                else "pixels are shuffled in images only"
            )
        probe = (1, channels, PROBE_HEIGHT, PROBE_WIDTH)
        if site.kind == "bilinear":
            return Candidate(
                replaces=site.output,
                build=lambda rewriter: _build_bilinear(rewriter, site, channels),
                claim="up to rounding",
                reason="a depthwise convolution a phase, with the border repeated",
                probe=probe,
            )
        conv = only_consumer(site.output)
        obstacle = obstacle_to_merging(site, conv)
        if conv is None or obstacle:
            return Refusal(obstacle)
        return _merged(site, conv, probe)


def obstacle_to_merging(site: Site, conv: ir.Node | None) -> str:
    """Return why there is no convolution to merge with, "" if there is."""
    if site.output.is_graph_output():
        return "the upsampled image is an output of the network"
    if conv is None:
        readers = sorted({use.node.op_type for use in site.output.uses()})
        return (
            f"the upsampled image is read by {len(site.output.uses())} nodes: {', '.join(readers)}"
        )
    if conv.op_type != "Conv" or conv.inputs[0] is not site.output:
        return f"behind it stands {conv.op_type}, no convolution"
    return _unmergeable(site, conv)


def _unmergeable(site: Site, conv: ir.Node) -> str:
    """Return why this convolution cannot be merged, "" if it can."""
    kernel = constant_array(conv.inputs[1])
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    if kernel is None or (bias is not None and constant_array(bias) is None):
        return "the weights of the convolution behind it are not constant"
    for name, wanted in (("strides", 1), ("dilations", 1)):
        attribute = conv.attributes.get(name)
        if attribute is not None and any(size != wanted for size in attribute.as_ints()):
            return f"the convolution behind it has {name} {list(attribute.as_ints())}"
    if "group" in conv.attributes and conv.attributes["group"].as_int() != 1:
        return "the convolution behind it is grouped"
    phases = prod(site.factors)
    if kernel.size * phases > _MOST_WEIGHTS:
        return f"the merged kernel would be {phases} times {kernel.size} numbers"
    return ""


def _merged(site: Site, conv: ir.Node, probe: tuple[int, int, int, int]) -> Candidate | Refusal:
    kernel = constant_array(conv.inputs[1])
    if kernel is None:
        return Refusal("the weights of the convolution behind it are not constant")
    height, width = kernel.shape[2:]
    pads = conv_pads(conv, (height, width))
    if pads is None or min(pads) < 0:
        return Refusal("the padding of the convolution behind it is not known in advance")
    rows = plan_axis(site.factors[0], height, pads[0], pads[2])
    columns = plan_axis(site.factors[1], width, pads[1], pads[3])
    # Room for one whole window, however large the kernel is.
    tall, wide = max(probe[2], rows.taps + 1), max(probe[3], columns.taps + 1)
    dense = rows.taps * columns.taps * site.factors[0] * site.factors[1]
    needed = sum(len(set(phase)) for phase in rows.where) * sum(
        len(set(phase)) for phase in columns.where
    )
    old = height * width * site.factors[0] * site.factors[1]
    return Candidate(
        replaces=conv.outputs[0],
        build=lambda rewriter: _build_merged(rewriter, site, conv, rows, columns),
        claim="up to rounding",
        reason=f"merged with {metadata.layer_of(conv) or conv.name}: {dense} tap "
        f"products a small pixel ({needed} of them not zero) instead of {old}, no upsampled image",
        probe=(probe[0], probe[1], tall, wide),
        dissolves={site.output: f"merged with the convolution behind it ({conv.outputs[0].name})"},
    )


def _build_merged(
    rewriter: Rewriter, site: Site, conv: ir.Node, rows: Axis, columns: Axis
) -> ir.Value:
    kernel = constant_array(conv.inputs[1])
    bias = constant_array(conv.inputs[2]) if len(conv.inputs) > 2 else None
    if kernel is None or conv.inputs[1] is None:
        raise ValueError(f"{conv.name!r} has no constant weights")
    name = metadata.layer_of(conv) or conv.name or site.layer
    weights = merge_kernel(kernel, rows, columns)
    inputs = [site.source, rewriter.constant(f"{conv.inputs[1].name}:subpixel", weights)]
    if bias is not None:
        repeated = np.repeat(bias, rows.factor * columns.factor)
        inputs.append(rewriter.constant(f"{name}:bias_subpixel", repeated))
    small = rewriter.op(
        "Conv",
        inputs,
        name=f"{name}:phases",
        kernel_shape=(rows.taps, columns.taps),
        pads=(rows.before, columns.before, rows.after, columns.after),
    )
    large = pixel_shuffle(rewriter, small, site.factors, name=name)
    if rows.crop or columns.crop:
        large = _crop(rewriter, large, rows.crop, columns.crop, name)
    rewriter.tag(metadata.layer_of(conv), metadata.class_of(conv))
    return large


def _crop(rewriter: Rewriter, x: ir.Value, bottom: int, right: int, name: str) -> ir.Value:
    end = np.iinfo(np.int64).max  # "to the end", whatever the size
    starts = rewriter.ints(f"{name}:starts", (0, 0))
    ends = rewriter.ints(f"{name}:ends", (-bottom or end, -right or end))
    axes = rewriter.ints(f"{name}:axes", (2, 3))
    return rewriter.op("Slice", [x, starts, ends, axes], name=f"{name}:crop")


def _phase_weights(site: Site, factor: int) -> npt.NDArray[np.float64]:
    """Return (factor, 3): weights of the pixels -1, 0, +1 for each phase of bilinear."""
    if site.rule is None:
        raise ValueError("bilinear without a rule")
    weights = np.zeros((factor, 3))
    for phase in range(factor):
        # Seen from pixel 1 of three, away from any border.
        where = float(site.rule.positions(3, factor)[factor + phase])
        low = int(np.floor(where))
        weights[phase, low] += 1 - (where - low)
        if where > low:
            weights[phase, low + 1] += where - low
    return weights


def _build_bilinear(rewriter: Rewriter, site: Site, channels: int) -> ir.Value:
    fy, fx = site.factors
    name = site.layer
    taps = np.einsum("ri,cj->rcij", _phase_weights(site, fy), _phase_weights(site, fx))
    kernel = np.tile(taps.reshape(fy * fx, 1, 3, 3), (channels, 1, 1, 1)).astype(np.float32)
    pads = rewriter.ints(f"{name}:pads", (0, 0, 1, 1, 0, 0, 1, 1))
    padded = rewriter.op("Pad", [site.source, pads], name=f"{name}:border", mode="edge")
    weights = rewriter.constant(f"{name}:phase_weights", kernel)
    small = rewriter.op("Conv", [padded, weights], name=f"{name}:phases", group=channels)
    large = pixel_shuffle(rewriter, small, site.factors, name=name)
    rewriter.tag(metadata.layer_of(site.node), metadata.class_of(site.node))
    return large


REGISTRY.register(SubpixelForm.name)(SubpixelForm())
