"""How fast a plain matrix product runs here: what a network's arithmetic is measured against.

A network has convolutions of many shapes, most of them worse to compute than a large square
product, so it stays below this; more can only come from a form with fewer operations.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt._optional import is_installed
from segrt.cuda.devices import chosen_device
from segrt.errors import SegrtError, UnavailableError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.measurement.timing import Effort, Sample, host_sample, time_in_turns
from segrt.targets._base import Target
from segrt.types import BuildOptions, Precision

# Large enough that starting and ending a product weighs nothing.
_GPU_SIDE = 8192
# Smaller, since the engine tries out every plan that cuDNN has for it.
_OWN_SIDE = 4096
_CPU_SIDE = 1536
_EFFORT = Effort(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The fastest matrix product that was found.

    Attributes:
        tflops: 10^12 operations a second, by the median.
        how: Whose product, of what size.
        problem: Why there is none; ``tflops`` is 0 then.
    """

    tflops: float
    how: str
    problem: str = ""


def measure_ceiling(target: Target, options: BuildOptions, *, torch: bool) -> Ceiling:
    """Multiply two large square matrices; return the fastest way.

    Args:
        target: Whose engine to ask for a product.
        options: Precision and threads.
        torch: PyTorch may be used: it was asked for as a peer.
    """
    ways: list[tuple[str, int, Callable[[int], Sample]]] = []
    if target.on_gpu:
        if torch and is_installed("torch"):
            ways.append(("PyTorch", _GPU_SIDE, lambda n: _torch(n, options.precision)))
        if options.precision is not Precision.INT8:
            ways.append(("the CUDA engine", _OWN_SIDE, lambda n: _own(n, options.precision)))
    else:
        ways.append((target.name, _CPU_SIDE, lambda n: _session(n, target, options)))
        if options.precision is Precision.FP32 and options.threads is None:
            ways.append(("NumPy", _CPU_SIDE, _numpy))
    found: list[Ceiling] = []
    for name, side, make in ways:
        found.append(_tried(name, side, make))
        # Tuning the own engine takes its time; PyTorch's product is as good.
        if target.on_gpu and found[-1].tflops:
            break
    if any(way.tflops for way in found):
        return max(found, key=lambda way: way.tflops)
    problem = "; ".join(way.problem for way in found if way.problem)
    unknown = f"nothing here multiplies matrices in {options.precision}"
    return Ceiling(0.0, "", problem or unknown)


def product_model(side: int) -> ir.Model:
    """Return a graph of one input ``x`` that is multiplied with a constant matrix."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="product")
    b = GraphBuilder(graph)
    x = b.input("x", (side, side), ir.DataType.FLOAT)
    graph.outputs.append(b.op("MatMul", [x, b.constant("w", _noise(side))], name="y"))
    return ir.Model(graph, ir_version=IR_VERSION)


def convolution_model(side: int) -> ir.Model:
    """Return a 1x1 convolution that is a product of two matrices; ``side`` is a square number."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="product")
    b = GraphBuilder(graph)
    height = math.isqrt(side)
    x = b.input("x", (1, side, height, side // height), ir.DataType.FLOAT)
    kernel = b.constant("w", _noise(side).reshape(side, side, 1, 1))
    graph.outputs.append(b.op("Conv", [x, kernel], name="y"))
    return ir.Model(graph, ir_version=IR_VERSION)


def _tried(name: str, side: int, make: Callable[[int], Sample]) -> Ceiling:
    how = f"{name}, {side} x {side} x {side}"
    try:
        milliseconds = time_in_turns({0: make(side)}, _EFFORT)[0].p50
    except (SegrtError, RuntimeError, MemoryError) as error:
        text = str(error).splitlines()
        return Ceiling(0.0, how, f"{name}: {text[0] if text else type(error).__name__}")
    return Ceiling(2 * side**3 / milliseconds / 1e9, how)


def _noise(side: int) -> Any:
    # On zeros, products run faster than on data.
    return np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)


def _numpy(side: int) -> Sample:
    left, right = _noise(side), _noise(side)
    return host_sample(lambda: left @ right)


def _session(side: int, target: Target, options: BuildOptions) -> Sample:
    session = target.open_model(product_model(side), options)
    feeds = {"x": _noise(side)}
    # The session lives as long as the sample.
    return host_sample(lambda: session.run(feeds))


def _own(side: int, precision: Precision) -> Sample:
    """Return the time of the engine's own choice for the product alone."""
    from segrt.targets.cuda import CudaSession

    with CudaSession(convolution_model(side), precision) as session:
        shapes = [tuple(size or 0 for size in spec.shape) for spec in session.inputs]
        rows = [row for row in session.profile(shapes) if row.operation == "Convolution"]
    if not rows:
        raise UnavailableError("the engine computes the product in another way")
    fastest = min(row.time_us for row in rows) / 1e3
    return lambda: fastest


def _torch(side: int, precision: Precision) -> Sample:
    import torch

    with warnings.catch_warnings():
        # Of a driver that is too old: what follows says that there is no GPU.
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            raise UnavailableError("the installed PyTorch finds no GPU")
    names = {Precision.FP16: "float16", Precision.BF16: "bfloat16", Precision.INT8: "float16"}
    eight = precision is Precision.INT8
    dtype: Any = getattr(torch, names.get(precision, "float32"))
    device = torch.device("cuda", chosen_device())
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product: Callable[..., Any] = torch.matmul
    if eight:
        left, right = ((matrix * 30).to(torch.int8) for matrix in (left, right.t()))
        right, product = right.t(), torch._int_mm

    def sample() -> float:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = precision is Precision.TF32
        with torch.cuda.device(device):
            events: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            events[0].record()
            product(left, right)
            events[1].record()
            events[1].synchronize()
        torch.backends.cuda.matmul.allow_tf32 = before
        return float(events[0].elapsed_time(events[1]))

    return sample
