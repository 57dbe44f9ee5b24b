"""Where the time goes when the mission's U-Net is built for the CUDA engine: cold, then warm.

With a GPU it builds the package twice, with an empty cache and then with the one that the first
build filled, and prints what ``segrt build -v`` says. Without one it compiles what a Hopper GPU
would want tuned, and says how long that takes:

    PYTHONPATH=src python benchmarks/cuda_build.py --precision fp16
    PYTHONPATH=src python benchmarks/cuda_build.py --compile-only --processors 16
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import onnx_ir as ir
from gpu_peers import network, weights

import segrt
from segrt.cli._progress import told
from segrt.cuda import compiling, driver
from segrt.cuda.choices import Chooser
from segrt.cuda.foresee import AbstractGpu, planned_jobs
from segrt.graph.fix_shapes import fix_batch_and_size
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS
from segrt.types import Precision

_HOPPER = (9, 0)


def build(model: ir.Model, precision: str, verbose: int) -> None:
    """Build twice; print what is told and the seconds of both."""
    for state in ("empty cache", "filled cache"):
        with tempfile.TemporaryDirectory() as folder, told(verbose, stream=sys.stdout):
            began = time.perf_counter()
            output = Path(folder) / "net.segrt"
            segrt.build(model, target="cuda", precision=precision, output=output)
            print(f"{state}: {time.perf_counter() - began:.2f} s")


def sources(model: ir.Model, precision: str) -> dict[compiling.Asked, int]:
    """Return what would be compiled for the first form of a network, and how many want it."""
    context = PassContext(LOWERINGS[0].upsampling_forms, extra_passes=LOWERINGS[0].extra_passes)
    fixed = fix_batch_and_size(lower(model, context)[0], batch=1, size=None)
    gpu = cast(driver.Gpu, AbstractGpu(_HOPPER))
    found: dict[compiling.Asked, int] = {}
    for job in planned_jobs(fixed, Precision(precision), _HOPPER):
        for way in Chooser(gpu, None, Precision(precision)).proposals(job):
            for launch in () if way.last_resort else way.launches:
                target = "sm_90a" if launch.specific else "sm_90"
                asked = (launch.source, target, launch.entry)
                found[asked] = found.get(asked, 0) + 1
    return found


def compile_all(asked: dict[compiling.Asked, int], processors: int) -> None:
    """Compile everything side by side; print the seconds, alone and together."""
    seconds: dict[str, list[float]] = {}

    def timed(source: str, target: str, entry: str) -> bytes:
        began = time.thread_time()
        code = driver.compile_source(source, target, entry)
        seconds.setdefault(entry, []).append(time.thread_time() - began)
        return code

    compiling.processors = lambda: processors
    compilations, began = compiling.Compilations(timed), time.perf_counter()
    for each in asked:
        compilations.begin(each)
    for each in asked:
        compilations.code(each)
    wall = time.perf_counter() - began
    compilations.close()
    for entry, each in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        print(f"{entry:24} {len(each):3} sources {sum(each):6.2f} s, longest {max(each):5.2f} s")
    total = sum(sum(each) for each in seconds.values())
    print(f"{len(asked)} sources for {sum(asked.values())} launches: {total:.2f} s of processor")
    print(f"{wall:.2f} s by the clock with {processors} threads on {os.cpu_count()} processors")


def main() -> None:
    """Read the arguments and go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("--processors", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", type=int, default=1)
    options = parser.parse_args()
    model = network(weights(options.width), options.side)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SEGRT_CACHE"] = cache
        if options.compile_only:
            compile_all(sources(model, options.precision), options.processors)
        else:
            build(model, options.precision, options.verbose)


if __name__ == "__main__":
    main()
