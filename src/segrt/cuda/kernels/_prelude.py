"""What every kernel's source begins with: element types, vectors, the constants of its views.

No CUDA header is included: NVRTC needs none for this, so that compiling takes milliseconds and
works wherever NVRTC itself is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segrt.cuda.views import View

# Names of element types -> their C++ types below.
ELEMENTS = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", "uint8": "U8"}

PRELUDE = r"""
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
struct F32 {
    typedef float S;
    static __device__ __forceinline__ float load(S v) { return v; }
    static __device__ __forceinline__ S store(float v) { return v; }
};
struct F16 {
    typedef u16 S;
    static __device__ __forceinline__ float load(S v) {
        float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v)); return r;
    }
    static __device__ __forceinline__ S store(float v) {
        u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v)); return r;
    }
};
struct BF16 {
    typedef u16 S;
    static __device__ __forceinline__ float load(S v) { return __uint_as_float((u32)v << 16); }
    static __device__ __forceinline__ S store(float v) {
        // Rounds to nearest even by hand: the instruction for it begins with sm_80.
        u32 bits = __float_as_uint(v);
        if (v != v) return 0x7fff;
        return (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
};
struct U8 {
    typedef u8 S;
    static __device__ __forceinline__ float load(S v) { return (float)v; }
    static __device__ __forceinline__ S store(float v) {
        return (u8)__float2int_rn(fminf(fmaxf(v, 0.0f), 255.0f));
    }
};
template <class T, int V> struct alignas(sizeof(typename T::S) * V) Vec {
    typename T::S e[V];
    static __device__ __forceinline__ Vec read(const typename T::S* p) { return *(const Vec*)p; }
    __device__ __forceinline__ void write(typename T::S* p) const { *(Vec*)p = *this; }
};
__device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + __expf(-v)); }
"""


def constants(prefix: str, view: View) -> str:
    """Return ``<prefix>_H``, ``_W``, ``_C``, ``_PITCH`` and the types ``_T`` and ``_S``."""
    lines = [
        f"constexpr int {prefix}_{name} = {value};"
        for name, value in (
            ("N", view.n),
            ("H", view.h),
            ("W", view.w),
            ("C", view.c),
            ("PITCH", view.pitch),
        )
    ]
    kind = ELEMENTS.get(view.dtype, f"{prefix}_I8")
    if view.dtype == "int8" or (view.dtype == "uint8" and view.scale != 1):
        kind = f"{prefix}_I8"
        lines.append(_integer(kind, view))
    return "\n".join([*lines, f"typedef {kind} {prefix}_T; typedef {kind}::S {prefix}_S;", ""])


def _integer(name: str, view: View) -> str:
    """Return the type of eight bits with a scale; stores round to nearest even and saturate."""
    factor = np.float32(view.scale)
    sign, short = ("signed", "s8") if view.dtype == "int8" else ("unsigned", "u8")
    there, back = float(factor).hex(), float(np.float32(1) / factor).hex()
    return (
        f"struct {name} {{ typedef {sign} char S;\n"
        f"static __device__ __forceinline__ float load(S v) {{ return (float)v * {there}f; }}\n"
        "static __device__ __forceinline__ S store(float v) { int r;\n"
        f'asm("cvt.rni.sat.{short}.f32 %0, %1;" : "=r"(r) : "f"(v * {back}f)); return (S)r; }} }};'
    )


def setting(**values: int) -> str:
    """Return one ``constexpr int`` a keyword, the name in capitals."""
    return "".join(f"constexpr int {name.upper()} = {value};\n" for name, value in values.items())


def filled(source: str, parts: Mapping[str, str]) -> str:
    """Return a source with each mark, in turn, replaced by what it stands for."""
    for mark, text in parts.items():
        source = source.replace(mark, text)
    return source
