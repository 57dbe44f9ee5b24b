"""The form ``transposed``: nearest and the convolution behind it as one transposed convolution.

With factor ``s`` and kernel ``k`` of length ``n``, pixel ``o`` of the result is
``sum_t k[t] * small[(o + t - p) // s]``. The small pixel ``q`` is read where
``o + t - p = s*q + e`` with ``0 <= e < s``, so it adds ``w[o - s*q + n - 1 - p]`` with
``w[j] = sum of k[t] over e - t = j - (n - 1)``: the kernel flipped and
smeared over ``s`` pixels, ``n + s - 1`` long. That is a transposed convolution of stride ``s``
that crops ``n - 1 - p`` pixels. A 2x2 kernel and a factor of 2 need 9 products a small pixel and
channel pair instead of 16, and nothing is shuffled. Zero padding carries over exactly, since pixels
outside the large image lie outside the small one too.
"""

from __future__ import annotations

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
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling.subpixel import obstacle_to_merging

Array: TypeAlias = npt.NDArray[Any]


def smear_kernel(kernel: Array, factors: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the transposed convolution's kernel, (C, K, kh + fy - 1, kw + fx - 1).

    Args:
        kernel: Of the convolution behind, (K, C, kh, kw); of a volume or a sequence likewise.
        factors: One a spatial axis.
    """
    outputs, inputs, *taps = kernel.shape
    flipped = np.flip(kernel, axis=tuple(range(2, kernel.ndim))).astype(np.float64)
    grown = [size + factor - 1 for size, factor in zip(taps, factors, strict=True)]
    smeared = np.zeros((outputs, inputs, *grown))
    for phase in np.ndindex(*factors):
        places = [slice(at, at + size) for at, size in zip(phase, taps, strict=True)]
        smeared[(slice(None), slice(None), *places)] += flipped
    return np.ascontiguousarray(smeared.swapaxes(0, 1), dtype=np.float32)


class TransposedForm:
    """See the module's docstring."""

    name = "transposed"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Merge nearest with the convolution behind it."""
        if site.kind != "nearest":
            return Refusal(f"only nearest upsampling can be merged so; this is {site.kind}")
        channels = static_shape(site.source)[1]
        conv = only_consumer(site.output)
        obstacle = obstacle_to_merging(site, conv)
        if conv is None or obstacle or channels is None:
            return Refusal(obstacle or "the number of channels is unknown")
        kernel = constant_array(conv.inputs[1])
        if kernel is None:
            return Refusal("the weights of the convolution behind it are not constant")
        taps = kernel.shape[2:]
        pads = conv_pads(conv, taps)
        if pads is None or min(pads) < 0:
            return Refusal("the padding of the convolution behind it is not known in advance")
        crop = [side - 1 - pad for side, pad in zip(taps * 2, pads, strict=True)]
        if min(crop) < 0:
            return Refusal("the convolution behind it pads by more than its kernel reaches")
        new = prod(size + factor - 1 for size, factor in zip(taps, site.factors, strict=True))
        layer = metadata.layer_of(conv) or conv.name
        return Candidate(
            replaces=conv.outputs[0],
            build=lambda rewriter: _build(rewriter, site, conv, kernel, crop),
            claim="up to rounding",
            reason=f"merged with {layer}: {new} instead of {prod(taps + site.factors)} tap "
            "products for a small pixel, and no upsampled image",
            # Room for one whole window, however large the kernel is.
            probe=(1, channels, *map(max, site.probe, (size + 1 for size in taps))),
            dissolves={
                site.output: f"merged with the convolution behind it ({conv.outputs[0].name})"
            },
        )


def _build(
    rewriter: Rewriter, site: Site, conv: ir.Node, kernel: Array, crop: list[int]
) -> ir.Value:
    name = metadata.layer_of(conv) or conv.name or site.layer
    weights = smear_kernel(kernel, site.factors)
    inputs = [site.source, rewriter.constant(f"{name}/kernel:transposed", weights)]
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        inputs.append(conv.inputs[2])
    large = rewriter.op(
        "ConvTranspose",
        inputs,
        name=f"{name}:transposed",
        kernel_shape=weights.shape[2:],
        strides=site.factors,
        pads=crop,
    )
    rewriter.tag(metadata.layer_of(conv), metadata.class_of(conv))
    return large


REGISTRY.register(TransposedForm.name)(TransposedForm())
