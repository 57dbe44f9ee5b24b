"""Depth to space: groups of channels become the pixels of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.kernels._prelude import filled
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
extern "C" __global__ void pixel_shuffle(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    int phase = @DEEPER@(py % BLOCK) * BLOCK + px % BLOCK;
    const SRC_S* source =
        x + (((u64)@SLICE@ * SRC_H + py / BLOCK) * SRC_W + px / BLOCK) * SRC_PITCH;
    Vec<DST_T, V> out;
    if (PHASE_FIRST) {
        auto v = Vec<SRC_T, V>::read(source + phase * DST_C + group * V);
#pragma unroll
        for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(SRC_T::load(v.e[i]));
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i)
            out.e[i] = DST_T::store(SRC_T::load(source[(group * V + i) * BLOCK * BLOCK + phase]));
    }
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
""".replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class PixelShuffleSpec:
    """Each pixel of ``source`` becomes ``block`` x ``block`` pixels of ``target``.

    Attributes:
        source: ``block * block`` times as many channels as ``target``.
        target: Written.
        block: Side of a block.
        phase_first: Channels are ordered (y, x, channel), ONNX's DCR; else (channel, y, x), CRD.
        depth: Images that each one becomes, slices of a volume: ordered (image, y, x, channel).
    """

    source: View
    target: View
    block: int
    phase_first: bool
    depth: int = 1

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class PixelShuffle:
    """Kernel ``pixel_shuffle``; bit-equal where the types are."""

    name = "pixel_shuffle"
    capability = (7, 5)
    cases = (
        PixelShuffleSpec(View(2, 3, 5, 64, "fp16"), View(2, 6, 10, 16, "fp16", 48, 16), 2, True),
        PixelShuffleSpec(View(1, 3, 2, 27, "fp32"), View(1, 9, 6, 3, "fp32"), 3, False),
        PixelShuffleSpec(
            View(1, 3, 2, 64, "int8", scale=0.1), View(1, 6, 4, 16, "int8", 32, 16, 0.1), 2, True
        ),
        PixelShuffleSpec(
            View(3, 1, 1, 12, "bf16", 20, 4), View(3, 2, 2, 3, "bf16", 5, 2), 2, True
        ),
        PixelShuffleSpec(
            View(3, 2, 5, 64, "fp16"), View(6, 4, 10, 8, "fp16", 24, 8), 2, True, depth=2
        ),
    )  # fmt: skip

    def launch(self, spec: PixelShuffleSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        width = vector_width(spec.target)
        if spec.phase_first:
            width = min(width, vector_width(spec.source))
        settings = {"block": spec.block, "phase_first": int(spec.phase_first)}
        depth = spec.depth
        parts = {
            "@SLICE@": "n" if depth == 1 else f"(n / {depth})",
            "@DEEPER@": "" if depth == 1 else f"(n % {depth}) * BLOCK * BLOCK + ",
        }
        return image_launch(self.name, filled(_SOURCE, parts), spec, width, settings)

    def parameters(self, spec: PixelShuffleSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: PixelShuffleSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Reshape and permute."""
        s, c, b = spec.source, spec.target.c, spec.block
        if spec.depth > 1:
            split = images[0].reshape(s.n, s.h, s.w, spec.depth, b, b, c)
            split = split.transpose(0, 3, 1, 4, 2, 5, 6)
        elif spec.phase_first:
            split = images[0].reshape(s.n, s.h, s.w, b, b, c).transpose(0, 1, 3, 2, 4, 5)
        else:
            split = images[0].reshape(s.n, s.h, s.w, c, b, b).transpose(0, 1, 4, 2, 5, 3)
        return split.reshape(s.n * spec.depth, s.h * b, s.w * b, c)


REGISTRY.register(PixelShuffle.name)(PixelShuffle())
