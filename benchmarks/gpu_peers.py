"""SegRT's CUDA engine against the usual ways to run a U-Net on an NVIDIA GPU, in one run.

Needs a GPU, SegRT's extra ``cuda``, and PyTorch and JAX for the peers:

    PYTHONPATH=src python benchmarks/gpu_peers.py --width 64 --batches 1,8,32 --markdown table.md

Times are of the network alone, input and output on the GPU, medians of replays after a warm-up.
All candidates have the same weights and the same image; errors are relative L2 differences of the
output from a float64 run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from quantised import quantise
from tables import table

from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.fix_shapes import fix_batch_and_size
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS, CudaSession
from segrt.types import Precision

Layers = list[tuple[str, np.ndarray, np.ndarray]]


def weights(width: int) -> Layers:
    """Return (name, O I H W kernel, bias) of the published U-Net's convolutions, in order."""
    rng = np.random.default_rng(0)
    layers: Layers = []

    def add(name: str, inputs: int, outputs: int, size: int) -> None:
        deviation = np.sqrt(2 / (inputs * size * size))
        kernel = rng.normal(0, deviation, (outputs, inputs, size, size)).astype("f4")
        layers.append((name, kernel, rng.normal(0, 0.05, outputs).astype("f4")))

    before = 1
    for level in range(5):
        add(f"down{level}a", before, width << level, 3)
        add(f"down{level}b", width << level, width << level, 3)
        before = width << level
    for level in reversed(range(4)):
        add(f"up{level}", before, width << level, 2)
        add(f"merge{level}a", 2 * (width << level), width << level, 3)
        add(f"merge{level}b", width << level, width << level, 3)
        before = width << level
    add("last", before, 2, 3)
    add("mask", 2, 1, 1)
    return layers


def network(layers: Layers, side: int) -> ir.Model:
    """Return the network as an importer would."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    todo = iter(layers)

    def tagged(value: ir.Value, name: str, kind: str) -> ir.Value:
        producer = value.producer()
        if producer is not None:
            metadata.tag_node(producer, name, kind)
        metadata.tag_value(value, name, (0, 2, 3, 1))
        return value

    def conv(x: ir.Value, activation: str = "Relu") -> ir.Value:
        name, kernel, bias = next(todo)
        size = kernel.shape[2]
        low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
        parts = [x, b.constant(f"{name}/kernel", kernel), b.constant(f"{name}/bias", bias)]
        y = b.op("Conv", parts, name=f"{name}:conv", pads=[low, low, high, high])
        producer = y.producer()
        if producer is not None:
            metadata.tag_node(producer, name, "Conv2D")
        return tagged(b.op(activation, [y], name=name), name, "Conv2D")

    x = b.input("image", (None, side, side, 1), ir.DataType.FLOAT)
    metadata.tag_value(x, "image", None)
    x = b.op("Transpose", [x], name="image:nchw", perm=[0, 3, 1, 2])
    skips = []
    for level in range(5):
        x = conv(conv(x))
        if level < 4:
            skips.append(x)
            pool = b.op("MaxPool", [x], name=f"pool{level}", kernel_shape=[2, 2], strides=[2, 2])
            x = tagged(pool, f"pool{level}", "MaxPooling2D")
    for level in reversed(range(4)):
        scales = b.constant(f"scales{level}", np.array([1, 1, 2, 2], "f4"))
        large = b.op(
            "Resize", [x, None, scales], name=f"large{level}", mode="nearest",
            nearest_mode="floor", coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        x = conv(tagged(large, f"large{level}", "UpSampling2D"))
        joined = b.op("Concat", [skips[level], x], name=f"join{level}", axis=1)
        x = conv(conv(tagged(joined, f"join{level}", "Concatenate")))
    x = conv(conv(x), "Sigmoid")
    graph.outputs.append(b.op("Transpose", [x], name="output", perm=[0, 2, 3, 1]))
    return ir.Model(graph, ir_version=IR_VERSION)


def segrt_sessions(
    model: ir.Model, batch: int, precision: str, most: int, largest: dict[str, float]
) -> dict[str, CudaSession]:
    """Return a session for each of the first ``most`` lowerings."""
    sessions = {}
    for lowering in LOWERINGS[:most]:
        forms = lowering.upsampling_forms
        lowered, _ = lower(model, PassContext(upsampling_forms=forms))
        if precision == "int8":
            lowered = quantise(lowered, largest)
        fixed = fix_batch_and_size(lowered, batch=batch, size=None)
        sessions[f"segrt {precision} {forms[0]}"] = CudaSession(fixed, Precision(precision))
    return sessions


def torch_net(layers: Layers, x: Any, relu: Callable[..., Any]) -> Any:
    """Compute the network with PyTorch; ``relu`` is a convolution with bias and ReLU."""
    import torch
    from torch.nn import functional

    todo = iter(layers)

    def conv(x: Any) -> Any:
        _, kernel, bias = next(todo)
        if kernel.shape[2] == 2:
            x = functional.pad(x, (0, 1, 0, 1))
        return relu(x, kernel, bias, 1 if kernel.shape[2] == 3 else 0)

    skips = []
    for level in range(5):
        x = conv(conv(x))
        if level < 4:
            skips.append(x)
            x = functional.max_pool2d(x, 2)
    for level in reversed(range(4)):
        x = conv(functional.interpolate(x, scale_factor=2))
        x = conv(conv(torch.cat([skips[level], x], 1)))
    x = conv(x)
    _, kernel, bias = next(todo)
    return torch.sigmoid(functional.conv2d(x, kernel, bias))


def to_torch(layers: Layers, dtype: Any) -> Layers:
    """Return the weights on the GPU, channels last."""
    import torch

    return [
        (
            name,
            torch.tensor(kernel, device="cuda", dtype=dtype).to(memory_format=torch.channels_last),
            torch.tensor(bias, device="cuda", dtype=dtype),
        )
        for name, kernel, bias in layers
    ]


def reference(layers: Layers, image: np.ndarray) -> np.ndarray:
    """Compute the first image in float64."""
    import torch
    from torch.nn import functional

    def relu(x: Any, kernel: Any, bias: Any, padding: int) -> Any:
        return functional.relu(functional.conv2d(x, kernel, bias, padding=padding))

    x = torch.tensor(image[:1].transpose(0, 3, 1, 2), device="cuda", dtype=torch.float64)
    out = torch_net(to_torch(layers, torch.float64), x, relu)
    return np.asarray(out.permute(0, 2, 3, 1).cpu().numpy())


def ranges(layers: Layers, image: np.ndarray) -> dict[str, float]:
    """Return the largest number behind each ReLU, by layer, of the first image."""
    import torch
    from torch.nn import functional

    found: list[float] = []

    def relu(x: Any, kernel: Any, bias: Any, padding: int) -> Any:
        y = functional.relu(functional.conv2d(x, kernel, bias, padding=padding))
        found.append(float(y.max()))
        return y

    x = torch.tensor(image[:1].transpose(0, 3, 1, 2), device="cuda", dtype=torch.float32)
    torch_net(to_torch(layers, torch.float32), x, relu)
    return {name: most for (name, *_), most in zip(layers, found, strict=False)}


def timed(run: Callable[[], Any], rounds: int = 30) -> float:
    """Return the median time of ``run`` in milliseconds, by events, after a warm-up."""
    import torch

    for _ in range(5):
        run()
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def torch_peers(layers: Layers, image: np.ndarray, compile_mode: str) -> dict[str, Any]:
    """Time PyTorch in fp16, channels last: fused cuDNN calls in a CUDA graph, and compiled."""
    import torch
    from torch.nn import functional

    torch.backends.cudnn.benchmark = True
    half = to_torch(layers, torch.float16)
    x = torch.tensor(image.transpose(0, 3, 1, 2), device="cuda", dtype=torch.float16)
    x = x.to(memory_format=torch.channels_last)

    def fused(x: Any, kernel: Any, bias: Any, padding: int) -> Any:
        pads, ones = (padding, padding), (1, 1)
        return torch.cudnn_convolution_relu(x, kernel, bias, ones, pads, ones, 1)

    def plain(x: Any, kernel: Any, bias: Any, padding: int) -> Any:
        return functional.relu(functional.conv2d(x, kernel, bias, padding=padding))

    results: dict[str, Any] = {}
    with torch.no_grad():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                torch_net(half, x, fused)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = torch_net(half, x, fused)
        results["torch cudnn graph"] = (timed(graph.replay), _numpy(out))
        results["torch bytes"] = torch.cuda.max_memory_reserved()
        if compile_mode:
            net = torch.compile(lambda x: torch_net(half, x, plain), mode=compile_mode)
            results[f"torch.compile {compile_mode}"] = (timed(lambda: net(x)), _numpy(net(x)))
    return results


def _numpy(out: Any) -> np.ndarray:
    return np.asarray(out.permute(0, 2, 3, 1).float().cpu().numpy())


def jax_peer(layers: Layers, image: np.ndarray) -> dict[str, Any]:
    """Time JAX in fp16, N H W C."""
    import jax
    import jax.numpy as jnp

    arrays = [(jnp.asarray(k.transpose(2, 3, 1, 0), jnp.float16), jnp.asarray(b, jnp.float16))
              for _, k, b in layers]  # fmt: skip

    @jax.jit
    def net(parameters: Any, x: Any) -> Any:
        todo = iter(parameters)

        def conv(x: Any, *, last: bool = False) -> Any:
            kernel, bias = next(todo)
            dims = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dims)
            return jax.nn.sigmoid(y + bias) if last else jax.nn.relu(y + bias)

        skips = []
        for level in range(5):
            x = conv(conv(x))
            if level < 4:
                skips.append(x)
                window, low = (1, 2, 2, 1), jnp.float16(-jnp.inf)
                x = jax.lax.reduce_window(x, low, jax.lax.max, window, window, "VALID")
        for level in reversed(range(4)):
            x = conv(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2))
            x = conv(conv(jnp.concatenate([skips[level], x], axis=3)))
        return conv(conv(x), last=True)

    x = jnp.asarray(image, jnp.float16)
    compiled = net.lower(arrays, x).compile()
    out = compiled(arrays, x)
    out.block_until_ready()
    # No events: several runs queued, one wait.
    many = max(4, 64 // len(image))
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(many):
            out = compiled(arrays, x)
        out.block_until_ready()
        times.append((time.perf_counter() - start) * 1000 / many)
    return {"jax": (statistics.median(times), np.asarray(out, np.float32))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--precisions", default="fp16", help="fp32,tf32,fp16,bf16,int8")
    parser.add_argument("--peers", default="torch,compile,jax")
    parser.add_argument(
        "--compile-mode",
        default="reduce-overhead",
        help="of torch.compile, as in `segrt bench`; max-autotune takes many minutes",
    )
    parser.add_argument("--lowerings", type=int, default=len(LOWERINGS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the table for documents")
    options = parser.parse_args()
    layers = weights(options.width)
    model = network(layers, options.side)
    rows = []
    for batch in map(int, options.batches.split(",")):
        shape = (batch, options.side, options.side, 1)
        image = np.random.default_rng(1).random(shape, dtype=np.float32)
        wanted = reference(layers, image)
        results: dict[str, Any] = {}
        largest = ranges(layers, image)
        for precision in options.precisions.split(","):
            made = segrt_sessions(model, batch, precision, options.lowerings, largest)
            for name, session in made.items():
                with session:
                    engine = session.engine([shape])
                    output = session.run({"image": image})["output"]
                    results[name] = (engine.time_us() / 1000, output)
                    print(f"{name}: {engine.device_bytes / 2**20:.0f} MiB on the device")
                    for row in engine.profile() if options.profile else ():
                        what = f"{row.layer:10s} {row.operation:12s} {row.choice}"
                        print(f"  {row.time_us:8.1f} us  {what}")
        peers = options.peers.split(",")
        if "torch" in peers:
            mode = options.compile_mode if "compile" in peers else ""
            results |= torch_peers(layers, image, mode)
        if "jax" in peers:
            results |= jax_peer(layers, image)
        reserved = results.pop("torch bytes", 0)
        for name, (milliseconds, output) in results.items():
            error = np.linalg.norm(output[:1] - wanted) / np.linalg.norm(wanted)
            rows.append({"batch": batch, "what": name, "ms": milliseconds, "error": float(error)})
            print(f"batch {batch:3d}  {name:34s} {milliseconds:8.3f} ms  error {error:.1e}")
        print(f"batch {batch:3d}  PyTorch reserved {reserved / 2**20:.0f} MiB", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
