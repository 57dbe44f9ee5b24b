"""Take the maximum of a pool's pixels one by one, where the pool reads a skip connection.

A U-Net's skip is read twice: by the pool on the way down and by the concatenation on the way up.
TensorRT for RTX writes it straight into the concatenation's memory, between the channels of the
other half; its pooling kernels cannot read it there, so it copies the skip first. The maximum of
strided slices is compiled, not picked from a library, and reads where the skip lies.

The slices alone have the opposite effect: the engine then keeps the skip apart and copies both
halves when it concatenates. ``Max(x, x)`` in front, which is ``x``, keeps the slices from being
taken for views of the skip. Measured in docs/lab/LOG.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import Rewriter, nodes_of, refusal, replace, subject_of
from segrt.types import Certificate, Verdict

# Each pixel of a window is one slice: beyond this a pooling kernel's copy is the smaller evil.
_MOST_PIXELS = 4
# Beyond any size: to the end.
_FAR = 1 << 62
# Of a probe, where the image's size is free.
_WINDOWS = 4


class SlicePools:
    """See the module's docstring."""

    name = "slice_pools"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every MaxPool whose input is concatenated as well."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for pool in nodes_of(model.graph, "MaxPool"):
            source = pool.inputs[0]
            if source is None or all(use.node.op_type != "Concat" for use in source.uses()):
                continue
            subject = subject_of(pool.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _slice(rewriter, pool, source)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            reason = "the largest of its slices, which are read where the skip connection lies"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _slice(rewriter: Rewriter, pool: ir.Node, source: ir.Value) -> Certificate:
    window = _window(pool)
    rewriter.at(pool)
    same = rewriter.op("Max", [source, source], name=f"{pool.name}:same")
    steps = rewriter.ints(f"{pool.name}:steps", window)
    axes = rewriter.ints(f"{pool.name}:axes", (2, 3))
    slices = []
    for place in itertools.product(*map(range, window)):
        role = f"{pool.name}:{place[0]}_{place[1]}"
        # Up to where the last whole window has its pixel: those behind it belong to none.
        ends = [at - step + 1 or _FAR for at, step in zip(place, window, strict=True)]
        bounds = [rewriter.ints(f"{role}:from", place), rewriter.ints(f"{role}:to", ends)]
        slices.append(rewriter.op("Slice", [same, *bounds, axes, steps], name=role))
    largest = rewriter.op("Max", slices, name=f"{pool.name}:largest")
    rewriter.tag(metadata.layer_of(pool), metadata.class_of(pool))
    sizes = [
        size or _WINDOWS * step + 1
        for size, step in zip(static_shape(source)[2:], window, strict=True)
    ]
    feeds = {source: noise((1, 1, *sizes))}
    certificate = prove(pool.outputs[0], largest, feeds, claim="bit-equal", what="noise")
    replace(pool.outputs[0], largest)
    return certificate


def _window(pool: ir.Node) -> tuple[int, int]:
    """Return rows and columns of a window.

    Raises:
        PassError: Windows overlap, leave gaps, are large, or are padded or may be.
    """
    attributes = pool.attributes
    window = tuple(attributes.get_ints("kernel_shape", ()))
    steps = tuple(attributes.get_ints("strides", (1, 1)))
    sizes = static_shape(pool.inputs[0])[2:] if pool.inputs[0] is not None else ()
    if len(window) != 2 or len(sizes) != 2 or len(pool.outputs) != 1:
        raise PassError("it does not pool images")
    if window != steps or not 1 < window[0] * window[1] <= _MOST_PIXELS:
        raise PassError("its windows overlap or are large", found=f"{window}, strides {steps}")
    # Where whole windows cover the image, SAME pads nothing and rounding up is no rounding.
    remainder = any(
        step > 1 and (size is None or size % step) for size, step in zip(sizes, steps, strict=True)
    )
    to_cover = attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    to_cover = to_cover or attributes.get_int("ceil_mode", 0) != 0
    if any(attributes.get_ints("pads", ())) or (remainder and to_cover):
        raise PassError("it is padded")
    if any(dilation != 1 for dilation in attributes.get_ints("dilations", ())):
        raise PassError("its windows have gaps")
    return window[0], window[1]


REGISTRY.register(SlicePools.name)(SlicePools())
