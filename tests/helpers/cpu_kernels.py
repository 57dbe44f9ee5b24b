"""Run a kernel's CUDA source on the CPU: g++ compiles it behind a few definitions.

Threads of a block take turns, each from one barrier to the next; blocks run one after the other.
That is far too slow for anything but a kernel's smallest cases, and it knows only what simple
kernels use: no asynchronous copies, no tensor cores.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segrt.cuda.kernels._base import REGISTRY, Launch
from segrt.cuda.kernels._prelude import PRELUDE

# Numbers are not contracted (a * b + c rounded once): the sources say where they want that.
_OPTIONS = ("-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off")
SHIM = r"""
#include <algorithm>
#include <cmath>
#include <cstring>
#include <ucontext.h>
#include <utility>
using std::isnan;
using std::max;
using std::min;
#define __device__
#define __global__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __expf expf
struct alignas(16) float4 { float x, y, z, w; };
struct Three { unsigned x; };
static Three threadIdx, blockIdx, blockDim;
// Threads of the system would be stopped and started at each barrier, and may be too many.
static ucontext_t scheduler, fibers[1024];
static bool ended[1024];
static void __syncthreads() { swapcontext(&fibers[threadIdx.x], &scheduler); }
template <class To, class From> static To same(From v) { To r; memcpy(&r, &v, 4); return r; }
static float __uint_as_float(unsigned v) { return same<float>(v); }
static unsigned __float_as_uint(float v) { return same<unsigned>(v); }
static float __int_as_float(int v) { return same<float>(v); }
static int __float_as_int(float v) { return same<int>(v); }
static int __float2int_rn(float v) { return (int)rintf(v); }
// All threads of a block take part in every exchange.
static int exchanged[1024];
template <class T> static T __shfl_xor_sync(unsigned, T v, int k) {
    memcpy(&exchanged[threadIdx.x], &v, 4);
    __syncthreads();
    T r;
    memcpy(&r, &exchanged[threadIdx.x ^ k], 4);
    __syncthreads();
    return r;
}
static float __fadd_rn(float v, float w) { return v + w; }
static float __fsub_rn(float v, float w) { return v - w; }
static float __fmul_rn(float v, float w) { return v * w; }
static float __fdiv_rn(float v, float w) { return v / w; }
static float __saturatef(float v) { return fminf(fmaxf(v, 0.0f), 1.0f); }
"""
# Instructions that the host has other words for.
WORDS = {
    'float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v)); return r;':
        "_Float16 h; memcpy(&h, &v, 2); return (float)h;",
    'u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v)); return r;':
        "_Float16 h = (_Float16)v; u16 r; memcpy(&r, &h, 2); return r;",
}  # fmt: skip
_RUN = r"""
template <class... A, size_t... I> static void call(void (*f)(A...), void** p,
                                                    std::index_sequence<I...>) {
    f((A)p[I]...);
}
template <int COUNT, class F> struct Kernel {
    static inline F function;
    static inline void** pointers;
    static void thread() {
        call(function, pointers, std::make_index_sequence<COUNT>());
        ended[threadIdx.x] = true;
    }
};
template <int COUNT, class F> static void run_all(F f, int begin, int end, int threads,
                                                 void** p) {
    const size_t room = 1 << 17;
    char* stacks = new char[threads * room];
    Kernel<COUNT, F>::function = f;
    Kernel<COUNT, F>::pointers = p;
    blockDim.x = threads;
    for (int b = begin; b < end; ++b) {
        blockIdx.x = b;
        for (int t = 0; t < threads; ++t) {
            ended[t] = false;
            getcontext(&fibers[t]);
            fibers[t].uc_stack.ss_sp = stacks + t * room;
            fibers[t].uc_stack.ss_size = room;
            fibers[t].uc_link = &scheduler;
            makecontext(&fibers[t], Kernel<COUNT, F>::thread, 0);
        }
        // Each round takes every thread that has not ended to its next barrier.
        for (int left = threads; left;)
            for (int t = 0; t < threads; ++t)
                if (!ended[t]) {
                    threadIdx.x = t;
                    swapcontext(&scheduler, &fibers[t]);
                    left -= ended[t];
                }
    }
    delete[] stacks;
}
"""
_MACRO = re.compile(r"^#define (\w+)", re.MULTILINE)
_ENTRY = """
extern "C" void run_%(index)d(int begin, int end, int threads, void** p) {
    run_all<%(count)d>(&of_%(index)d::%(entry)s, begin, end, threads, p);
}
"""


@dataclass(frozen=True)
class CpuLaunch:
    """A launch and how many pointers it takes."""

    launch: Launch
    pointers: int


def launch_of(kernel: Any, spec: Any) -> CpuLaunch:
    """Return what one of a kernel's specs is launched with."""
    count = len(spec.sources) + len(kernel.parameters(spec, 0)) + 1
    return CpuLaunch(kernel.launch(spec), count)


def run_on_cpu(kernel: Any, case: int, arrays: list[np.ndarray]) -> None:
    """Run one of a kernel's cases; ``arrays`` are what its pointers point to.

    The last one is written.
    """
    launches = _cases(kernel.name)
    run_blocks(launches, case, [array.ctypes.data for array in arrays])


def run_blocks(
    launches: tuple[CpuLaunch, ...], index: int, addresses: list[int], last: int | None = None
) -> None:
    """Run a launch; all that may be run are compiled together, for headers take longest.

    Args:
        launches: All of them.
        index: Which one.
        addresses: What its pointers are.
        last: How many blocks at its end; None: all.
    """
    launch = launches[index].launch
    begin = 0 if last is None else max(0, launch.blocks - last)
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    getattr(_library(launches), f"run_{index}")(begin, launch.blocks, launch.threads, pointers)


@functools.cache
def _cases(name: str) -> tuple[CpuLaunch, ...]:
    kernel = REGISTRY.find(name)
    assert kernel is not None
    return tuple(launch_of(kernel, spec) for spec in kernel.cases)


@functools.cache
def _library(launches: tuple[CpuLaunch, ...]) -> ctypes.CDLL:
    """Compile launches, each in a namespace of its own."""
    parts = [SHIM, _RUN]
    for index, one in enumerate(launches):
        parts.append(f"namespace of_{index} {{\n{_for_the_host(one.launch)}\n}}\n")
        # Macros know no namespaces.
        parts += [f"#undef {name}\n" for name in _MACRO.findall(one.launch.source)]
        settings = {"index": index, "count": one.pointers, "entry": one.launch.entry}
        parts.append(_ENTRY % settings)
    return compiled(str(COMPILER), "".join(parts))


def compiled(compiler: str, text: str) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(prefix="kernels"))
    try:
        source, library = folder / "kernel.cpp", folder / "kernel.so"
        source.write_text(text)
        command = [compiler, *_OPTIONS, str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler}: {done.stderr[:2000]}")
        return ctypes.CDLL(str(library))
    finally:
        shutil.rmtree(folder)


def _working(name: str) -> str | None:
    """Return the compiler if it is one that can do it: older ones than GCC 12 cannot."""
    compiler = shutil.which(name)
    try:
        if compiler is None:
            return None
        compiled(compiler, "#include <ucontext.h>\n_Float16 half; inline int one = 1;\n")
    except OSError:
        return None
    return compiler


COMPILER = _working("g++")


def _for_the_host(launch: Launch) -> str:
    assert launch.source.startswith(PRELUDE)
    source = launch.source.replace('extern "C"', "static")
    for words, others in WORDS.items():
        assert words in source
        source = source.replace(words, others)
    source = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 static", source)
    for short, low, high in (("s8", -128, 127), ("u8", 0, 255)):
        source = re.sub(
            rf'asm\("cvt\.rni\.sat\.{short}\.f32 %0, %1;" : "=r"\(r\) : "f"\((.*?)\)\);',
            rf"r = (int)rintf(fminf(fmaxf(\1, {low}.0f), {high}.0f));",
            source,
        )
    return source
