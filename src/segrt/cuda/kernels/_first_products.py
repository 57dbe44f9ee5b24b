"""A first layer's products on Hopper's tensor cores: one channel, numbers split in two."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import Floats
from segrt.cuda.kernels._prelude import setting
from segrt.cuda.views import decode, encode

# Pairs of numbers that a product of the first layer has room for, and bytes of its weights.
PAIRS = 16
FIRST_BYTES = 64 * PAIRS * 4

# Weights and pixels of the first layer are split into two bf16 each: w x = wh xh + wh xl + wl xh,
# which is exact to 2^-17 and holds every size of number. They are multiplied in pairs along the
# inner dimension: (xh, xl) of one tap, or xh of two taps; a last pair of ones brings the bias.
HELPERS = r"""
__device__ __forceinline__ u32 split(float v) {
    u16 high, low;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(high) : "f"(v));
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(low) : "f"(v - __uint_as_float((u32)high << 16)));
    return (u32)low << 16 | high;
}
__device__ __forceinline__ u32 load_shared(u32 address) {
    u32 v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return v;
}
__device__ __forceinline__ u32 pack_first(float f, float g, u32 keep) {
    u32 v;
    asm("cvt.rn." RELU_FIRST KIND "x2.f32 %0, %1, %2;" : "=r"(v) : "f"(g), "f"(f));
    return v & keep;
}
"""


def _pairs(window: tuple[int, int]) -> tuple[tuple[int, int, bool], ...]:
    """Return (tap, tap, whether both are high parts); a pair of one tap is (high, low)."""
    taps = range(window[0] * window[1])
    low = [(tap, min(tap + 1, taps[-1]), True) for tap in taps[::2]]
    return (*((tap, tap, False) for tap in taps), *low)


def _split(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    plain = np.asarray(array, np.float32)
    high = decode(encode(plain, "bf16"), "bf16")
    return high, decode(encode(plain - high, "bf16"), "bf16")


def arrange(weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Order weights (y, x, 1, 64) and bias (64) as the product wants them: (64, 32), swizzled."""
    height, width, _, outputs = weights.shape
    high, low = (part.reshape(-1, outputs) for part in _split(weights))
    pairs = np.zeros((PAIRS, 2, outputs), np.float32)
    places = _pairs((height, width))
    for index, (one, two, both_high) in enumerate(places):
        pairs[index] = [low[one], low[two]] if both_high else [high[one], high[one]]
        # The last tap of an odd number stands alone.
        if both_high and one == two:
            pairs[index, 1] = 0
    pairs[len(places)] = _split(bias)
    return encode(_swizzled(pairs.reshape(-1, outputs).T), "bf16")


def _swizzled(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Swap the four 16-byte pieces of rows of 64 bytes; twice brings each back."""
    count = np.arange(len(rows))[:, None]
    pieces = rows.reshape(len(rows), 4, 8)
    swapped: npt.NDArray[Any] = pieces[count, np.arange(4)[None] ^ (count // 2 % 4)]
    return swapped.reshape(rows.shape)


def restore(arranged: npt.NDArray[Any], window: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return weights (y, x, 1, 64) and bias from what `arrange_first` made."""
    values = _swizzled(decode(arranged, "bf16").astype(np.float64))
    pairs, places = values.T.reshape(PAIRS, 2, -1), _pairs(window)
    weights = np.zeros((window[0] * window[1], len(values)))
    for index, (one, two, both_high) in enumerate(places):
        weights[one] += pairs[index, 0]
        if both_high and two != one:
            weights[two] += pairs[index, 1]
    return weights.reshape(*window, 1, -1), pairs[len(places)].sum(axis=0)


def tables(window: tuple[int, int], cols: int) -> str:
    """Return where each pair's two pixels lie, how they are put together, and where the bias is."""
    place = len(_pairs(window))
    pairs = [*_pairs(window), *[(0, 0, False)] * (PAIRS - place)]
    at = [((one // window[1] * cols + one % window[1]) * 4) for one, _, _ in pairs]
    then = [((two // window[1] * cols + two % window[1]) * 4) for _, two, _ in pairs]
    how = [0x5410 if both_high else 0x3210 for _, _, both_high in pairs]
    mixed = sum(1 << index // 4 for index, pair in enumerate(pairs) if index % 4 == 0 and any(
        both_high for _, _, both_high in pairs[index : index + 4]))  # fmt: skip
    text = "".join(
        f"__constant__ int {name}[{PAIRS}] = {{{', '.join(map(str, values))}}};\n"
        for name, values in (("ONE", at), ("TWO", then), ("HOW", how))
    )
    return text + setting(mixed=mixed, bias_pair=place, first_bytes=FIRST_BYTES)


def products() -> str:
    """Return the first layer's products: 64 pixels (in registers) x 64 outputs x 8 pairs."""
    registers = ", ".join(f"%{i}" for i in range(32))
    sums = ", ".join(f'"+f"(d[{i}])' for i in range(32))
    return "".join(
        f"__device__ __forceinline__ void {name}_product("
        "float (&d)[32], u32 a, u32 b, u32 c, u32 e, u64 weights) {\n"
        f'    asm volatile("{{ .reg .pred p; setp.ne.b32 p, {adds}, 0; '
        'wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "\n'
        f'        "{{{registers}}}, {{%32, %33, %34, %35}}, %36, p, 1, 1, 0; }}"\n'
        f'        : {sums} : "r"(a), "r"(b), "r"(c), "r"(e), "l"(weights));\n}}\n'
        for name, adds in (("first", 0), ("more", 1))
    )
