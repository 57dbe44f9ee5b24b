"""Layouts of the Hopper kernels with pixels as columns, followed byte by byte without a GPU.

Tiles lie swizzled by address bits (16-byte pieces xor the row of 128 bytes), a product reads rows
from where its descriptor begins, groups of eight rows a fixed distance apart. Offsets are taken
from the kernels' source text.
"""

from __future__ import annotations

import re

import numpy as np

from segrt.cuda.kernels import _first_products, opening, phase_wide, wide_convolution
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.kernels.opening import Opening
from segrt.cuda.kernels.phase_convolution import arrange as arrange_phases
from segrt.cuda.kernels.phase_wide import PhaseWide
from segrt.cuda.kernels.resident_convolution import arrange as arrange_resident
from segrt.cuda.kernels.wide_convolution import WideConvolution
from segrt.cuda.views import decode

_RNG = np.random.default_rng(0)


def _constant(source: str, name: str) -> int:
    found = re.search(rf"constexpr int (?:\w+ = \d+, )*{name} = (\d+)", source)
    assert found, name
    return int(found[1])


def _table(source: str, name: str) -> list[int]:
    found = re.search(rf"__constant__ int {name}\[\d+\] = {{(.*)}};", source)
    assert found, name
    return [int(value) for value in found[1].split(",")]


def _rows(memory: np.ndarray, start: int, rows: int, group: int) -> np.ndarray:
    """What a product over 16 numbers reads: groups of 8 rows ``group`` bytes apart."""
    row = np.arange(rows)[:, None]
    linear = start + row // 8 * group + row % 8 * 128 + np.arange(0, 32, 2)
    return memory[(linear ^ ((linear >> 7 & 7) << 4)) // 2].astype(np.float64)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """What the copy engine makes of pixels of 64 halves, as a row of numbers."""
    count = pixels[..., 0].size
    pieces = np.zeros((-(-count // 8) * 8, 8, 8), np.float16)
    row = np.arange(count)[:, None]
    pieces[row, np.arange(8)[None] ^ (row % 8)] = pixels.reshape(count, 8, 8)
    return pieces.reshape(-1)


def _halves(*shape: int) -> np.ndarray:
    return _RNG.normal(size=shape).astype(np.float16)


def _sums(weights, tile, kernel: int, image: int, cols: int, pixels: int) -> np.ndarray:
    """Outputs x pixels of the four products over 64 channels."""
    parts = [
        _rows(weights, kernel + 32 * step, 64, 1024)
        @ _rows(tile, image + 32 * step, pixels, cols * 128).T
        for step in range(4)
    ]
    return np.sum(parts, axis=0)


def test_whole_64s_of_channels():
    spec = WideConvolution.cases[0]
    source = WideConvolution().launch(spec).source
    taps, width, cols = (_constant(source, name) for name in ("TAPS", "WIDTH", "COLS"))
    kernel = _halves(3, 3, 128, 128)
    arranged = wide_convolution.arrange(kernel, "fp16").reshape(-1)
    pixels = _halves(1, wide_convolution.TILE_H + 2, wide_convolution.TILE_W + 2, 128)
    wanted = convolve(pixels.astype("f8"), kernel.astype("f8"), (0, 0), (32, 16))[0]
    tiles = [_tile(pixels[0, ..., 64 * chunk : 64 * chunk + 64]) for chunk in range(2)]
    for group in range(2):
        for outputs in range(2):
            sums = np.zeros((64, 256))
            for chunk in range(2):
                for tap in range(taps):
                    block = ((outputs * 2 + chunk) * taps + tap) * 8192
                    image = (tap // width * cols + tap % width) * 128 + group * 1024
                    sums += _sums(arranged, tiles[chunk], block, image, cols, 256)
            part = wanted[:, 8 * group : 8 * group + 8, 64 * outputs : 64 * outputs + 64]
            np.testing.assert_allclose(sums.T.reshape(32, 8, 64), part, atol=1e-9)


def test_second_layer_of_an_opening():
    source = Opening().launch(Opening.cases[0]).source
    cols = _constant(source, "COLS")
    products = re.findall(
        r"product_0\(sums, at\(KERNEL, kernel \+ (\d+) \+ step \* 32\), "
        r"at\(IMAGE, image \+ (\d+) \+ step \* 32\)\)",
        source,
    )
    assert len(products) == 9
    kernel, pixels = _halves(3, 3, 64, 64), _halves(1, opening.TILE_H + 2, opening.TILE_W + 2, 64)
    weights, tile = arrange_resident(kernel, "fp16").reshape(-1), _tile(pixels[0])
    sums = sum(_sums(weights, tile, int(k), int(i), cols, 256) for k, i in products)
    wanted = convolve(pixels.astype("f8"), kernel.astype("f8"), (0, 0), (32, 8))[0]
    np.testing.assert_allclose(sums.T.reshape(32, 8, 64), wanted, atol=1e-9)


def test_first_layer_of_an_opening():
    source = Opening().launch(Opening.cases[0]).source
    cols, mixed, bias_pair = (_constant(source, n) for n in ("IMAGE_COLS", "MIXED", "BIAS_PAIR"))
    one, two, how = (_table(source, name) for name in ("ONE", "TWO", "HOW"))
    kernel, bias = _RNG.normal(size=(3, 3, 1, 64)), _RNG.normal(size=64)
    arranged = _first_products.arrange(kernel, bias).reshape(-1)
    image = _RNG.normal(size=(36, cols)).astype(np.float32)
    high = decode((image.view(np.uint32) + 0x8000 >> 16).astype(np.uint16), "bf16").reshape(-1)
    low = image.reshape(-1) - high
    # Rows of 64 bytes, whose 16-byte pieces are swapped by the two bits above the row's lowest.
    linear = np.arange(64)[:, None] * 64 + np.arange(0, 64, 2)
    weights = decode(arranged[(linear ^ ((linear >> 7 & 3) << 4)) // 2], "bf16").astype("f8")
    y, x = 5, 3
    place = (y * cols + x) * 4
    row = np.zeros(32)
    for pair in range(16):
        first, second = ((place + table[pair]) // 4 for table in (one, two))
        picked = mixed >> (pair // 4) & 1 and how[pair] == 0x5410
        row[2 * pair : 2 * pair + 2] = high[first], high[second] if picked else low[first]
        if pair == bias_pair:
            row[2 * pair : 2 * pair + 2] = 1
    wanted = np.einsum("yx,yxo->o", image[y : y + 3, x : x + 3], kernel[:, :, 0]) + bias
    np.testing.assert_allclose(weights @ row, wanted, atol=2e-4)


def test_phases():
    spec = PhaseWide.cases[0]
    source = PhaseWide().launch(spec).source
    cols, uses, first = (_constant(source, name) for name in ("COLS", "USES", "FIRST"))
    offsets = _table(source, "PIXELS")
    loops = re.findall(r"for \(int use = (\d+); use < (\d+); \+\+use\)", source)
    kernel = np.zeros((4, 64, 64, 4), np.float16)
    for tap, phase in spec.uses:
        kernel[phase, :, :, tap] = _halves(64, 64)
    ordered = phase_wide.order(spec.uses)
    arranged = arrange_phases(kernel.reshape(256, 64, 2, 2), ordered, "fp16").reshape(-1)
    pixels = _halves(1, 17, 9, 64)
    tile = _tile(pixels[0])
    # Two loops a warpgroup's pair of phases, one a phase.
    assert [int(begin) for begin, _ in loops] == [0, *(int(end) for _, end in loops[:-1])]
    assert int(loops[1][1]) == first
    assert int(loops[3][1]) == uses
    for phase, (begin, end) in zip((0, 3, 1, 2), loops, strict=True):
        sums = sum(
            _sums(arranged, tile, use * 8192, offsets[use], cols, 128)
            for use in range(int(begin), int(end))
        )
        taps = kernel[phase].astype("f8").reshape(64, 64, 2, 2).transpose(2, 3, 1, 0)
        wanted = convolve(pixels.astype("f8"), taps, (0, 0), (16, 8))[0]
        np.testing.assert_allclose(sums.T.reshape(16, 8, 64), wanted, atol=1e-9)
