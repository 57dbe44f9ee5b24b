"""The Hopper kernels' layouts in eight bits, followed byte by byte as the hardware documents them.

Tiles lie swizzled by address bits (16-byte pieces xor the row of 128 bytes), a product reads rows
from where its descriptor begins, and sums lie in registers as PTX's tables say. Offsets are taken
from the kernels' source text.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from segrt.cuda.kernels import _hopper_int8, _phases, _resident, phase_int8, resident_int8
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.kernels.phase_int8 import PhaseInt8
from segrt.cuda.kernels.resident_int8 import ResidentInt8, ResidentInt8Spec
from segrt.cuda.views import View

_PRODUCT = re.compile(
    r"product_(\d)\(sums, at\(IMAGE, image \+ (\d+) \+ step \* 32\), "
    r"at\(KERNEL, kernel \+ (\d+) \+ step \* 32\)\)"
)


def _rows(memory: np.ndarray, start: int, rows: int, group: int) -> np.ndarray:
    """What a product reads: ``rows`` x 32 bytes, groups of 8 rows ``group`` bytes apart."""
    row = np.arange(rows)[:, None]
    linear = start + row // 8 * group + row % 8 * 128 + np.arange(32)
    return memory[linear ^ ((linear >> 7 & 7) << 4)].astype(np.int64)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """What the copy engine makes of pixels of up to 128 channels: rows filled up, swizzled."""
    rows = np.zeros((-(-pixels[..., 0].size // 8) * 8, 128), np.int8)
    rows[: pixels[..., 0].size, : pixels.shape[-1]] = pixels.reshape(-1, pixels.shape[-1])
    return _hopper_int8.swizzled(rows).reshape(-1)


def _products(text: str, tile: np.ndarray, weights: np.ndarray, cols: int, width: int, steps: int):
    """Sums (slot, 64 pixels, columns) of all products of a kernel's text."""
    found = _PRODUCT.findall(text)
    assert found
    sums = np.zeros((1 + max(int(slot) for slot, *_ in found), 64, width), np.int64)
    for slot, image, kernel in found:
        for step in range(steps):
            a = _rows(tile, int(image) + step * 32, 64, cols * 128)
            b = _rows(weights, int(kernel) + step * 32, width, 1024)
            sums[int(slot)] += a @ b.T
    return sums


@pytest.mark.parametrize(("channels", "outputs"), [(64, 64), (128, 64), (64, 2)])
def test_resident_products(channels: int, outputs: int):
    rng = np.random.default_rng(0)
    target = View(1, 8, 16, outputs, "int8" if outputs == 64 else "fp32")
    spec = ResidentInt8Spec(View(1, 8, 16, channels, "int8"), target, (3, 3), (1, 1), True)
    image = rng.integers(-128, 128, (10, 18, channels)).astype(np.int8)
    weights = rng.integers(-127, 128, (3, 3, channels, outputs)).astype(np.int8)
    text = _resident.products(spec, 2, 18)
    arranged = resident_int8.arrange(weights, spec).reshape(-1)
    steps = 4 // spec.taps_a_row
    sums = _products(text, _tile(image), arranged, 18, spec.outputs, steps)
    wanted = convolve(image[None].astype(float), weights.astype(float), (0, 0), (8, 16))[0]
    columns = _hopper_int8.order() if outputs == 64 else np.arange(outputs)
    for slot in range(2):
        part = wanted[:, 8 * slot : 8 * slot + 8].reshape(64, outputs)
        np.testing.assert_array_equal(sums[slot][:, : len(columns)], part[:, columns])


def test_phase_products():
    spec = PhaseInt8.cases[0]
    rng = np.random.default_rng(0)
    kernel = np.zeros((4 * 64, 128, 2, 2), np.int8)
    blocks = kernel.reshape(4, 64, 128, 4)
    for tap, phase in spec.uses:
        blocks[phase, :, :, tap] = rng.integers(-127, 128, (64, 128))
    image = rng.integers(-128, 128, (17, 9, 128)).astype(np.int8)
    arranged = phase_int8.arrange(kernel, spec.uses).reshape(-1)
    sums = _products(_phases.products(spec), _tile(image), arranged, 9, 64, 4)
    for phase in range(4):
        weights = blocks[phase].transpose(2, 1, 0).reshape(2, 2, 128, 64).astype(float)
        wanted = convolve(image[None].astype(float), weights, (0, 0), (8, 8))[0].reshape(64, 64)
        np.testing.assert_array_equal(sums[phase], wanted[:, _hopper_int8.order()])


def test_the_way_out():
    """Registers -> four channels packed -> stmatrix -> whole pixels: every byte at its place."""
    pixels = np.arange(16)[:, None] * 64 + np.arange(64)
    columns = pixels[:, _hopper_int8.order()]
    staging = np.full((16 * 64, 1), -1)
    lane = np.arange(32)
    for m in (0, 2):
        packed = np.zeros((4, 32, 4), int)
        for k in range(4):
            j, half = 2 * (m + k // 2), k % 2
            for byte in range(4):
                column = 8 * (j + byte // 2) + 2 * (lane % 4) + byte % 2
                packed[k, :, byte] = columns[lane // 4 + 8 * half, column]
            # The factors that a thread reads are those of the channels that it packs.
            channels = (m + k // 2) * 16 + lane[:, None] % 4 * 4 + np.arange(4)
            np.testing.assert_array_equal(packed[k] % 64, channels)
        row, block = lane % 16, m + lane // 16
        address = row * 64 + ((block ^ (row // 2 & 3)) << 4)
        for matrix in range(4):
            for thread in range(32):
                start = address[8 * matrix + thread // 4] + 4 * (thread % 4)
                staging[start : start + 4, 0] = packed[matrix, thread]
    for i in range(2):
        row, part = i * 8 + lane // 4, lane % 4
        address = row * 64 + ((part ^ (row // 2 & 3)) << 4)
        found = staging[address[:, None] + np.arange(16), 0]
        np.testing.assert_array_equal(
            found, pixels[row[:, None], part[:, None] * 16 + np.arange(16)]
        )


def test_staging_has_no_bank_conflicts():
    """Eight rows written at once, and eight pieces read at once, lie in different banks."""
    for block in range(4):
        for rows in (np.arange(8), np.arange(8, 16)):
            address = rows * 64 + ((block ^ (rows // 2 & 3)) << 4)
            assert len(set(address % 128)) == 8


@pytest.mark.parametrize("spec", ResidentInt8.cases)
def test_weights_come_back(spec: ResidentInt8Spec):
    shape = (*spec.window, spec.source.c, spec.target.c)
    weights = np.random.default_rng(1).integers(-127, 128, shape).astype(np.int8)
    restored = resident_int8.restore(resident_int8.arrange(weights, spec), spec)
    np.testing.assert_array_equal(restored, weights)
