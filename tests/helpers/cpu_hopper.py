"""Run the CUDA source of a Hopper kernel on the CPU: what pixels as columns of products need.

Threads of a block take turns as in `cpu_kernels`, from each wait to the next. Barriers in shared
memory count arrivals and bytes; copies into it end some turns after they were asked for; products
read it when they are waited for, no sooner. So what is overwritten too early, or never arrives,
shows as wrong numbers or as threads that all wait.
"""

from __future__ import annotations

import ctypes
import functools
import re
from typing import Any

import numpy as np

from helpers.cpu_kernels import COMPILER, SHIM, WORDS, compiled
from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._base import Launch
from segrt.cuda.kernels._prelude import PRELUDE
from segrt.cuda.views import View

_MACHINE = r"""
#include <cstdlib>
#include <vector>
static Three gridDim;
static unsigned char arena[240 * 1024];
static const int BARRIERS = 232 * 1024;
struct Barrier { int count, pending, bytes, phase; };
static Barrier barrier_at[8192];
struct Copy { unsigned to, bytes, barrier; std::vector<unsigned char> data; };
static std::vector<Copy> copies;
struct Image { const unsigned short* data; int c, w, h, n, pitch, box_c, box_w, box_h; };
static int named_arrived[16], named_turn[16];
static bool moved;
static unsigned chance;
static void turn() { swapcontext(&fibers[threadIdx.x], &scheduler); }
template <class T> static T __shfl_sync(unsigned, T v, int) { return v; }
"""
_VECTORS = """
struct float2 { float x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
static float2 make_float2(float x, float y) { return {x, y}; }
"""
_HELPERS = r"""
static u32 shared_at(const void* p) { return (u32)((const u8*)p - arena); }
static Barrier& of(u32 at) { return barrier_at[(at - BARRIERS) / 8]; }
static void check(Barrier& b) {
    if (b.pending == 0 && b.bytes == 0) { b.phase ^= 1; b.pending = b.count; }
}
static void init(u32 at, u32 count) { of(at) = {(int)count, (int)count, 0, 0}; }
static void wait(u32 at, u32 parity) { while (of(at).phase == (int)parity) turn(); moved = true; }
static void arrive(u32 at) { if (--of(at).pending < 0) abort(); check(of(at)); }
static void expect(u32 at, u32 bytes) { of(at).bytes += bytes; arrive(at); }
static void fetch(u32 to, const void* from, u32 bytes, u32 barrier) {
    copies.push_back({to, bytes, barrier, {(const u8*)from, (const u8*)from + bytes}});
}
static void fetch_box(u32 to, const void* map, int c, int x, int y, int n, u32 barrier) {
    const Image& m = *(const Image*)map;
    std::vector<u8> box(m.box_c * m.box_w * m.box_h * 2);
    for (int v = 0; v < m.box_h; ++v)
        for (int u = 0; u < m.box_w; ++u)
            for (int k = 0; k < m.box_c; ++k) {
                int py = y + v, px = x + u, pc = c + k;
                bool in = py >= 0 && py < m.h && px >= 0 && px < m.w && pc < m.c && n >= 0
                    && n < m.n;
                u16 number = in ? m.data[(((u64)n * m.h + py) * m.w + px) * m.pitch + pc] : 0;
                u32 place = (v * m.box_w + u) * 128 + k * 2;
                memcpy(&box[place ^ ((place >> 7 & 7) << 4)], &number, 2);
            }
    if (to % 1024) abort();
    u32 bytes = (u32)box.size();
    copies.push_back({to, bytes, barrier, std::move(box)});
}
static void end_copies() {
    // The later ones first, and not all at once.
    while (!copies.empty() && (chance = chance * 1103515245u + 12345u) >> 30) {
        Copy copy = std::move(copies.back());
        copies.pop_back();
        memcpy(arena + copy.to, copy.data.data(), copy.bytes);
        of(copy.barrier).bytes -= copy.bytes;
        check(of(copy.barrier));
        moved = true;
    }
}
static void acquire(const void*) {}
static void named(int id, int count, bool waits) {
    int seen = named_turn[id];
    if (++named_arrived[id] == count) { named_arrived[id] = 0; ++named_turn[id]; moved = true; }
    while (waits && named_turn[id] == seen) turn();
}
struct Product { u64 rows, columns; float* sums; bool last; };
static std::vector<Product> asked[1024];
// Of every pattern of bits: conversions are slow here.
static float number_of[65536];
static float half(u32 linear) {
    u16 number;
    memcpy(&number, arena + (linear ^ ((linear >> 7 & 7) << 4)), 2);
    return number_of[number];
}
static void products_begin() {}
static void products_commit() { asked[threadIdx.x].back().last = true; }
static void multiply(const Product& p) {
    int thread = threadIdx.x % 128, lane = thread % 32;
    float rows[2][16];
    for (int r = 0; r < 2; ++r)
        for (int k = 0; k < 16; ++k) {
            int row = thread / 32 * 16 + lane / 4 + 8 * r;
            rows[r][k] = half((u32)p.rows + row / 8 * (u32)(p.rows >> 32) + row % 8 * 128 + k * 2);
        }
    for (int j = 0; j < COLUMNS_OF_PRODUCT / 8; ++j)
        for (int i = 0; i < 2; ++i) {
            int column = 8 * j + 2 * (lane % 4) + i;
            u32 begin = (u32)p.columns + column / 8 * (u32)(p.columns >> 32) + column % 8 * 128;
            for (int k = 0; k < 16; ++k) {
                float v = half(begin + k * 2);
                p.sums[4 * j + i] += rows[0][k] * v;
                p.sums[4 * j + 2 + i] += rows[1][k] * v;
            }
        }
}
template <int PENDING> static void products_wait() {
    auto& mine = asked[threadIdx.x];
    int groups = 0;
    for (auto& p : mine) groups += p.last;
    while (groups > PENDING) {
        bool last = mine.front().last;
        multiply(mine.front());
        mine.erase(mine.begin());
        groups -= last;
    }
}
template <int SIZE> static void settle(float (&)[SIZE]) {}
static constexpr u64 tile_of(u64 rows) { return rows << 32; }
static u64 at(u64 tile, u32 address) { return tile | address; }
static uint4 from_staging(u32 staging, u32 row, u32 part) {
    uint4 v;
    memcpy(&v, arena + staging + row * 128 + ((part ^ (row & 7)) << 4), 16);
    return v;
}
template <int SIZE> static void product_0(float (&sums)[SIZE], u64 rows, u64 columns) {
    asked[threadIdx.x].push_back({rows, columns, sums, false});
}
template <int SIZE> static void product_1(float (&sums)[SIZE], u64 rows, u64 columns) {
    asked[threadIdx.x].push_back({rows, columns, sums + COLUMNS_OF_PRODUCT / 2, false});
}
static float2 rows_of(const float* bias, int thread) {
    int row = thread % 128 / 32 * 16 + thread % 32 / 4;
    return {bias[row], bias[row + 8]};
}
template <int FIRST, int SIZE> static void columns_to_staging(
        const float (&sums)[SIZE], float2 b, u32 staging, int thread) {
    int lane = thread % 32;
    for (int j = 0; j < 8; ++j)
        for (int i = 0; i < 4; ++i) {
            int pixel = 8 * j + 2 * (lane % 4) + i % 2;
            int row = thread % 128 / 32 * 16 + lane / 4 + i / 2 * 8;
            float v = sums[FIRST + 4 * j + i] + (i / 2 ? b.y : b.x);
            u16 number = DST_T::store(ENDING[0] && v < 0 ? 0.0f : v);
            memcpy(arena + staging + pixel * 128 + ((row / 8 ^ (pixel & 7)) << 4) + row % 8 * 2,
                   &number, 2);
        }
}
static void meet(int group) { named(group + 1, 128, true); }
static u32 largest(u32 a, u32 b) {
    u32 v = 0;
    for (int i = 0; i < 32; i += 16) {
        u16 f = a >> i, g = b >> i;
        v |= (u32)(DST_T::load(f) > DST_T::load(g) ? f : g) << i;
    }
    return v;
}
static uint4 largest(uint4 a, uint4 b) {
    return {largest(a.x, b.x), largest(a.y, b.y), largest(a.z, b.z), largest(a.w, b.w)};
}
"""
_RUN = r"""
static void** given;
template <class... A, size_t... I> static void call(
        void (*f)(A...), std::index_sequence<I...>) { f((A)given[I]...); }
static void thread_body() {
    call(&@ENTRY@, std::make_index_sequence<@COUNT@>());
    ended[threadIdx.x] = moved = true;
}
extern "C" int run(int blocks, int threads, void** pointers) {
    const size_t room = 1 << 16;
    std::vector<char> stacks(threads * room);
    given = pointers;
    for (int i = 0; i < 65536; ++i) number_of[i] = DST_T::load((u16)i);
    gridDim.x = blocks;
    blockDim.x = threads;
    for (int b = 0; b < blocks; ++b) {
        blockIdx.x = b;
        memset(arena, 0xFF, sizeof arena);
        for (int t = 0; t < threads; ++t) {
            ended[t] = false;
            getcontext(&fibers[t]);
            fibers[t].uc_stack.ss_sp = stacks.data() + t * room;
            fibers[t].uc_stack.ss_size = room;
            fibers[t].uc_link = &scheduler;
            makecontext(&fibers[t], thread_body, 0);
        }
        int idle = 0;
        for (int left = threads; left;) {
            moved = false;
            for (int t = 0; t < threads; ++t)
                if (!ended[t]) {
                    threadIdx.x = t;
                    swapcontext(&scheduler, &fibers[t]);
                    left -= ended[t];
                }
            end_copies();
            idle = moved || !copies.empty() ? 0 : idle + 1;
            if (idle > 3) return 1;
        }
        if (!copies.empty()) return 2;
        for (int i = 0; i < 16; ++i) if (named_arrived[i]) return 3;
    }
    return 0;
}
"""


class _Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p)] + [
        (name, ctypes.c_int) for name in ("c", "w", "h", "n", "pitch", "box_c", "box_w", "box_h")
    ]


def run_hopper(
    launch: Launch, view: View, arrays: list[np.ndarray], blocks: int, images: int = 1
) -> None:
    """Run a launch; ``arrays`` are what its pointers point to, but for the tensor map.

    Args:
        launch: Of a kernel with one tensor map of its source.
        view: The source's.
        arrays: Source (from where the slice begins), other images, parameters, target.
        blocks: At most, as on a GPU of so many multiprocessors.
        images: How many there are beside the target.

    Raises:
        AssertionError: All threads wait, or something is left over.
    """
    (box,) = launch.maps
    sizes = (view.c, view.w, view.h, view.n, view.pitch, *box.box)
    image = _Image(arrays[0].ctypes.data, *sizes)
    addresses = [array.ctypes.data for array in arrays]
    addresses.insert(images, ctypes.addressof(image))
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    code = _library(launch, len(addresses)).run(
        min(blocks, launch.blocks), launch.threads, pointers
    )
    assert code == 0, {1: "all threads wait", 2: "copies are left", 3: "threads are left"}[code]


@functools.cache
def _library(launch: Launch, count: int) -> Any:
    source = launch.source
    assert source.startswith(_hopper.HELPERS)
    entry = source.index('extern "C"')
    body = source[entry:].replace('extern "C" __global__', "static")
    body = re.sub(r'asm volatile\("setmaxnreg.*?"\);', "", body)
    body = re.sub(r'asm volatile\("fence.*?\);', "", body)
    body = re.sub(
        r'asm volatile\("bar\.(sync|arrive) (\d+), (\d+);" ::: "memory"\);',
        lambda m: f"named({m[2]}, {m[3]}, {str(m[1] == 'sync').lower()});",
        body,
    )
    body = body.replace("extern __shared__ u8 memory[];", "u8* memory = arena;")
    body = re.sub(
        r"__shared__ u64 barriers\[(.*?)\];", "u64* barriers = (u64*)(arena + BARRIERS);", body
    )
    assert "asm" not in body
    between = source[len(_hopper.HELPERS) : entry]
    head, columns, rest = between.partition(_hopper.COLUMNS)
    assert columns
    # All but the constants is defined here.
    begin = head.index("template <int SIZE> __device__")
    (width,) = set(re.findall(r"m64n(\d+)k16", head[begin:]))
    tables = re.findall(r"^__constant__ (.*;)$", head[begin:], re.MULTILINE)
    head = "\n".join([head[:begin], f"constexpr int COLUMNS_OF_PRODUCT = {width};", *tables, ""])
    rest = re.sub(
        r'asm volatile\("bar\.arrive (\d+), (\d+);" ::: "memory"\);', r"named(\1, \2, false);", rest
    )
    run = _RUN.replace("@ENTRY@", launch.entry).replace("@COUNT@", str(count))
    return compiled(
        str(COMPILER),
        "".join((SHIM, _MACHINE, _prelude(), head, _HELPERS, rest, body, run)),
    )


def _prelude() -> str:
    """Return what every source begins with, and the vectors that CUDA knows by itself."""
    text = PRELUDE + _VECTORS
    for words, others in WORDS.items():
        text = text.replace(words, others)
    return text
