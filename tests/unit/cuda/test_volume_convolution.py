"""The layout of the kernel for volumes, followed byte by byte without a GPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from segrt.cuda.kernels import _volume_products as products
from segrt.cuda.kernels import volume_convolution
from segrt.cuda.kernels.volume_convolution import VolumeConvolution, VolumeConvolutionSpec
from segrt.cuda.views import View, decode

CASES = list(enumerate(VolumeConvolution.cases))
_RNG = np.random.default_rng(0)


def _rows(memory: np.ndarray, start: int, rows: int, group: int) -> np.ndarray:
    """What a product over 16 numbers reads: groups of 8 rows ``group`` bytes apart, swizzled."""
    row = np.arange(rows)[:, None]
    linear = start + row // 8 * group + row % 8 * 128 + np.arange(0, 32, 2)
    return memory[(linear ^ ((linear >> 7 & 7) << 4)) // 2]


def _fetched(volume: np.ndarray, chunk: int, rows: int, cols: int, at: tuple[int, int, int]):
    """What the copy engine brings of (slices, H, W, C): zeros outside, 64 channels, swizzled."""
    n, top, left = at
    box = np.zeros((rows, cols, 64))
    ys, xs = top + np.arange(rows), left + np.arange(cols)
    own = volume[n, :, :, chunk : chunk + 64]
    inside = np.ix_((ys >= 0) & (ys < own.shape[0]), (xs >= 0) & (xs < own.shape[1]))
    found = own[ys[inside[0].ravel()]][:, xs[inside[1].ravel()]]
    box[:, :, : own.shape[2]][inside] = found
    pixel = np.arange(rows * cols)[:, None]
    pieces = np.zeros((-(-rows * cols // 8) * 8, 8, 8))
    pieces[pixel, np.arange(8)[None] ^ (pixel % 8)] = box.reshape(-1, 8, 8)
    return pieces.reshape(-1)


def _sums(
    spec: VolumeConvolutionSpec, volume: np.ndarray, weights: np.ndarray, place
) -> np.ndarray:
    """Rows x pixels of a warpgroup's products: the loops of the kernel, their addresses too."""
    outputs, z, ty, tx = place
    (rows, cols), own = spec.halo, spec.outputs
    slices = products.ROWS // own + spec.window[0] - 1
    parts = list(products.chunks(spec.source.c, spec.taps))
    blocks = sum(count for *_, count in parts)
    sums = np.zeros((64, 256))
    for met in range(slices):
        n = z - spec.before[0] + met
        if not 0 <= n < spec.source.depth:
            continue
        block = (outputs * slices + met) * blocks
        for chunk, steps, count in parts:
            corner = (n, ty * 32 - spec.before[1], tx // 2 * 16 - spec.before[2])
            tile = _fetched(volume, chunk, rows, cols, corner)
            for index in range(spec.taps * steps):
                tap = index // steps
                image = tx % 2 * 1024 + index % steps * 32
                image += (tap // spec.window[2] * cols + tap % spec.window[2]) * 128
                kernel = (block + index // 4) * 8192 + index % 4 * 32
                sums += _rows(weights, kernel, 64, 1024) @ _rows(tile, image, 256, cols * 128).T
            block += count
    return sums


@pytest.mark.parametrize(("number", "spec"), CASES)
def test_products_are_the_convolution(number, spec):
    kernel = VolumeConvolution()
    arranged, bias = kernel.parameters(spec, number)
    source, target = spec.source, spec.target
    image = _RNG.normal(size=(source.n, source.h, source.w, source.c))
    wanted = kernel.reference(dataclasses.replace(spec, relu=False), [image], [arranged, bias])
    wanted = wanted.reshape(-1, target.depth, *wanted.shape[1:])[0]
    weights = decode(arranged.reshape(-1), source.dtype).astype(np.float64)
    volume, own = image[: source.depth], spec.outputs
    tiles = [(ty, tx) for ty in range(-(-target.h // 32)) for tx in range(-(-target.w // 8))]
    for outputs in range(-(-target.c // own)):
        for z in range(0, target.depth, products.ROWS // own):
            ty, tx = tiles[(outputs + z) % len(tiles)]
            sums = _sums(spec, volume, weights, (outputs, z, ty, tx))
            sums += bias.reshape(-1, 64)[outputs][:, None]
            pixels = sums.reshape(-1, own, 32, 8).transpose(0, 2, 3, 1)
            part = wanted[
                z : z + products.ROWS // own, ty * 32 : ty * 32 + 32, tx * 8 : tx * 8 + 8,
                outputs * own : (outputs + 1) * own,
            ]  # fmt: skip
            found = pixels[tuple(map(slice, part.shape))]
            np.testing.assert_allclose(found, part, atol=1e-9)


@pytest.mark.parametrize("sizes", [(3, 3, 3, 96, 32), (2, 3, 1, 8, 24), (3, 3, 3, 112, 96)])
def test_weights_come_back(sizes):
    weights = _RNG.normal(size=sizes).astype(np.float16).astype(np.float64)
    arranged = products.arrange(weights, "fp16")
    found = products.restore(arranged, "fp16", sizes[:3], *sizes[3:])
    np.testing.assert_array_equal(found, weights)


@pytest.mark.parametrize(
    ("channels", "outputs"), [(16, 16), (32, 32), (48, 64), (64, 64), (96, 64), (128, 64)]
)
def test_few_outputs_share_a_product_with_their_neighbours(channels: int, outputs: int):
    assert products.outputs_of(channels, 3) == outputs
    assert products.outputs_of(channels, 1) in {64, outputs}


_VIEW = View(8, 32, 32, 32, "fp16", depth=4)
_FITS = VolumeConvolutionSpec(_VIEW, _VIEW, (3, 3, 3), (1, 1, 1), True)


@pytest.mark.parametrize(
    "other",
    [
        {"source": dataclasses.replace(_VIEW, c=4)},
        {"source": dataclasses.replace(_VIEW, offset=4, pitch=48)},
        {"source": dataclasses.replace(_VIEW, dtype="fp32")},
        {"source": dataclasses.replace(_VIEW, depth=0)},
        {"source": dataclasses.replace(_VIEW, n=4)},
        {"target": dataclasses.replace(_VIEW, dtype="bf16")},
        {"target": dataclasses.replace(_VIEW, n=12, depth=6)},
        {"window": (5, 3, 3)},
        {"before": (3, 1, 1)},
    ],
)
def test_what_does_not_fit(other):
    assert volume_convolution.fits(_FITS)
    assert not volume_convolution.fits(dataclasses.replace(_FITS, **other))
