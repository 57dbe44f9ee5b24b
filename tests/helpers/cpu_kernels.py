"""Run a kernel's CUDA source on the CPU: g++ compiles it behind a few definitions.

Threads of a block are threads of the system, blocks run one after the other. That is far too slow
for anything but a kernel's smallest cases, and it knows only what simple kernels use: no
asynchronous copies, no tensor cores.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from segrt.cuda.kernels._base import Launch
from segrt.cuda.kernels._prelude import PRELUDE

COMPILER = shutil.which("g++")
_SHIM = r"""
#include <barrier>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>
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
struct Three { unsigned x; };
static thread_local Three threadIdx, blockIdx;
static Three blockDim;
static std::barrier<>* gate;
static void __syncthreads() { gate->arrive_and_wait(); }
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
static float __saturatef(float v) { return fminf(fmaxf(v, 0.0f), 1.0f); }
"""
# Instructions that the host has other words for.
_WORDS = {
    'float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v)); return r;':
        "_Float16 h; memcpy(&h, &v, 2); return (float)h;",
    'u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v)); return r;':
        "_Float16 h = (_Float16)v; u16 r; memcpy(&r, &h, 2); return r;",
}  # fmt: skip
_RUN = r"""
extern "C" void run_all(int blocks, int threads, void** p) {
    blockDim.x = threads;
    for (int b = 0; b < blocks; ++b) {
        std::barrier<> here(threads);
        gate = &here;
        std::vector<std::thread> team;
        for (int t = 0; t < threads; ++t)
            team.emplace_back([=] { threadIdx.x = t; blockIdx.x = b; ENTRY(ARGUMENTS);
                                    gate->arrive_and_drop(); });
        for (auto& each : team) each.join();
    }
}
"""


def run_on_cpu(launch: Launch, arrays: list[np.ndarray], folder: Path) -> None:
    """Run a launch; ``arrays`` are what its pointers point to, the last one is written."""
    assert launch.source.startswith(PRELUDE)
    source = launch.source
    for words, others in _WORDS.items():
        assert words in source
        source = source.replace(words, others)
    source = re.sub(
        r'asm\("cvt\.rni\.sat\.s8\.f32 %0, %1;" : "=r"\(r\) : "f"\((.*?)\)\);',
        r"r = (int)rintf(fminf(fmaxf(\1, -128.0f), 127.0f));",
        source,
    )
    count = len(arrays)
    caller = (
        "template <class... A, size_t... I> static void call(void (*f)(A...), void** p, "
        "std::index_sequence<I...>) { f((A)p[I]...); }\n"
    )
    run = _RUN.replace(
        "ENTRY(ARGUMENTS)", f"call({launch.entry}, p, std::make_index_sequence<{count}>())"
    )
    path = folder / "kernel.cpp"
    path.write_text(_SHIM + source + caller + run)
    library = folder / "kernel.so"
    subprocess.run(
        [
            str(COMPILER),
            "-std=c++20",
            "-O1",
            "-w",
            "-shared",
            "-fPIC",
            "-pthread",
            str(path),
            "-o",
            str(library),
        ],
        check=True,
    )
    pointers = (ctypes.c_void_p * count)(*[array.ctypes.data for array in arrays])
    ctypes.CDLL(str(library)).run_all(launch.blocks, launch.threads, pointers)
