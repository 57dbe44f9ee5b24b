"""Values and launches that 32 bits do not count are refused; what is not refused is right."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.cpu_kernels import COMPILER, CpuLaunch, launch_of, run_blocks
from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.kernel_memory import numbers, random_memory
from segrt.cuda.choices import Chooser
from segrt.cuda.jobs import Job
from segrt.cuda.kernels._access import whole
from segrt.cuda.kernels._base import REGISTRY, THREADS, blocks_for
from segrt.cuda.kernels._limits import EXACT, LARGEST
from segrt.cuda.kernels._upsampling import UpsamplingSpec
from segrt.cuda.kernels.argmax import ArgmaxSpec
from segrt.cuda.kernels.direct_convolution import DirectConvolutionSpec
from segrt.cuda.kernels.first_convolution import FirstConvolutionSpec
from segrt.cuda.kernels.global_pooling import GlobalPoolingSpec
from segrt.cuda.kernels.group_normalization import GroupNormalizationSpec
from segrt.cuda.kernels.group_statistics import GroupStatisticsSpec
from segrt.cuda.kernels.head import HeadSpec
from segrt.cuda.kernels.layout import LayoutSpec
from segrt.cuda.kernels.normalise import NormaliseSpec
from segrt.cuda.kernels.pointwise import PointwiseSpec, Step
from segrt.cuda.kernels.pool_places import PoolPlacesSpec
from segrt.cuda.kernels.pooling import PoolingSpec
from segrt.cuda.kernels.product import ProductSpec
from segrt.cuda.kernels.reduce import ReduceSpec
from segrt.cuda.kernels.scatter import ScatterSpec
from segrt.cuda.kernels.softmax import SoftmaxSpec
from segrt.cuda.kernels.strided import StridedSpec
from segrt.cuda.kernels.take import TakeSpec
from segrt.cuda.operations import Convolution
from segrt.cuda.views import HOST_TYPES, View
from segrt.errors import EngineError
from segrt.types import Precision

SIDE = 4096


def _image(n: int, channels: int, dtype: str = "fp16", side: int = SIDE) -> View:
    return View(n, side, side, channels, dtype)


def _half(view: View) -> View:
    return replace(view, h=view.h // 2, w=view.w // 2)


def _row(length: int, dtype: str = "fp32") -> View:
    return View.dense((length,), dtype)


BATCH = _image(32, 64)
ODD = _image(32, 7)
FLAT = View.dense((4, 1 << 29), "fp16")
WIDE_PRODUCT = ProductSpec((FLAT,), _row(4), "mk", "k", "m", ((1, (1 << 29,)),))
# In numbers of threads, of elements, or of places beyond what a kernel counts.
TOO_LARGE = {
    "layout": LayoutSpec(BATCH, BATCH),
    "pointwise": PointwiseSpec((BATCH,), BATCH, (Step("relu"),)),
    "pooling": PoolingSpec(_image(32, 63), _half(_image(32, 63)), (2, 2), (2, 2)),
    "nearest": UpsamplingSpec(ODD, replace(ODD, h=2 * SIDE, w=2 * SIDE), (2, 2)),
    "bilinear": UpsamplingSpec(_half(ODD), ODD, (2, 2)),
    "direct_convolution": DirectConvolutionSpec(ODD, ODD, (3, 3), before=(1, 1)),
    "first_convolution": FirstConvolutionSpec(
        _image(128, 1, side=8192), _image(128, 64, side=8192), (3, 3), (1, 1), True
    ),
    "head": HeadSpec(_image(128, 2), _image(128, 1, "fp32"), 1, "sigmoid"),
    "softmax": SoftmaxSpec(_image(8, 128), _image(8, 128)),
    "argmax": ArgmaxSpec(_image(8, 128), _image(8, 1, "uint8")),
    "global_pooling": GlobalPoolingSpec(_image(1, 3, side=1 << 16), View(1, 1, 1, 3, "fp32")),
    "group_statistics": GroupStatisticsSpec(
        _image(1, 64, side=1 << 14), View(1, 4, 1, 2, "fp32")
    ),
    "group_normalization": GroupNormalizationSpec(
        _image(1, 63, side=1 << 13), View(1, 64, 1, 2, "fp32"), _image(1, 63, side=1 << 13), 1e-3
    ),
    "strided": StridedSpec((FLAT,), FLAT, (whole(FLAT.sizes),)),
    "reduce": ReduceSpec(FLAT, _row(4), "sum", (1,)),
    "normalise": NormaliseSpec(FLAT, FLAT, "softmax", (1,)),
    "product": WIDE_PRODUCT,
    "dot": WIDE_PRODUCT,
    "take": TakeSpec((_row(8),), View.dense((8, 1 << 28), "fp16"), 0, ((0, (8, 1 << 28)),)),
    "scatter": ScatterSpec((FLAT, _row(4)), FLAT, 1, "none", ((1, (4, 1)),)),
    "pool_places": PoolPlacesSpec(
        _image(1, 65, "fp32", 512), _image(1, 65, "fp32", 256), (2, 2), (2, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TOO_LARGE))
def test_what_is_not_counted_is_refused(name: str):
    with pytest.raises(EngineError, match="too large for one launch") as refusal:
        REGISTRY.find(name).launch(TOO_LARGE[name])
    assert refusal.value.hint


def test_threads_are_counted_up_to_the_limit():
    assert blocks_for(LARGEST) == -(-LARGEST // THREADS)
    with pytest.raises(EngineError, match="threads"):
        blocks_for(LARGEST + 1)


@pytest.mark.parametrize(
    ("name", "within", "beyond"),
    [
        (
            "take",
            TakeSpec((_row(EXACT),), _row(3), 0, ((1, (3,)),)),
            TakeSpec((_row(EXACT + 1),), _row(3), 0, ((1, (3,)),)),
        ),
        (
            "scatter",
            ScatterSpec((_row(EXACT), _row(3)), _row(EXACT), 0, "add", ((1, (3,)),)),
            ScatterSpec((_row(EXACT + 1), _row(3)), _row(EXACT + 1), 0, "add", ((1, (3,)),)),
        ),
        (
            "pool_places",
            PoolPlacesSpec(_image(1, 64, "fp32", 512), _image(1, 64, "fp32", 256), (2, 2), (2, 2)),
            PoolPlacesSpec(_image(2, 64, "fp32", 512), _image(2, 64, "fp32", 256), (2, 2), (2, 2)),
        ),
        (
            "reduce",
            ReduceSpec(View.dense((2, EXACT), "fp32"), View.dense((2,), "fp32"), "argmax", (1,)),
            ReduceSpec(
                View.dense((2, EXACT + 1), "fp32"), View.dense((2,), "fp32"), "argmax", (1,)
            ),
        ),
    ],
)
def test_places_beyond_float32_are_refused(name: str, within: object, beyond: object):
    kernel = REGISTRY.find(name)
    assert kernel.launch(within).blocks > 0
    with pytest.raises(EngineError, match="places"):
        kernel.launch(beyond)


def test_another_way_is_taken_where_a_kernel_refuses():
    """What the engine's own kernel does not count, cuDNN may compute."""
    kernel, bias = np.ones((7, 7, 3, 3), "f4"), np.zeros(7, "f4")
    operation = Convolution("layer", ("x",), "y", kernel, bias, (1, 1), (1, 1), (1, 1), (1, 1), 1)
    gpu = SimpleNamespace(capability=(9, 0))
    chooser = Chooser(gpu, EmulatedLibrary(gpu), Precision.FP16)
    found = list(chooser.proposals(Job(operation, (ODD,), (0,), ODD, 0)))
    refused = [proposal for proposal in found if proposal.name == "direct_convolution"]
    assert any(proposal.name.startswith("cudnn") for proposal in found)
    assert [proposal.launches for proposal in refused] == [()]
    with pytest.raises(EngineError, match="too large"):
        refused[0].make()


# Kernels on images, and which of their cases: those that take vectors or leave gaps, so that
# there are more elements than threads.
MANY = {
    "pointwise": 0, "layout": 0, "pooling": 0, "nearest": 0, "bilinear": 0, "pixel_shuffle": 0,
    "gather_pixels": 0, "resample": 0, "softmax": 0, "argmax": 0, "head": 1,
    "direct_convolution": 1, "first_convolution": 0, "global_pooling": 0, "group_statistics": 0,
    "group_normalization": 0,
}  # fmt: skip


def _batched(spec: Any, n: int) -> Any:
    """Return a spec for another number of images."""
    views = {f.name: getattr(spec, f.name) for f in fields(spec)}
    changed = {name: replace(v, n=n) for name, v in views.items() if isinstance(v, View)}
    if "sources" in views:
        changed["sources"] = tuple(replace(view, n=n) for view in views["sources"])
    return replace(spec, **changed)


def _largest(name: str) -> Any:
    """Return a case with so many images that their elements are not counted in 32 bits."""
    spec = REGISTRY.find(name).cases[MANY[name]]
    views = (*spec.sources, spec.target)
    return _batched(spec, 3 + (1 << 32) // max(v.h * v.w * v.pitch for v in views))


def _sparse(folder: Path, view: View) -> np.ndarray:
    """Return memory for a view in a file of which only what is written takes room."""
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    path.touch()
    os.truncate(path, view.span_bytes)
    shape = (view.n, view.h, view.w, view.pitch)
    return np.memmap(path, HOST_TYPES[view.dtype], "r+", shape=shape)


@pytest.fixture(scope="module")
def launches() -> tuple[CpuLaunch, ...]:
    return tuple(launch_of(REGISTRY.find(name), _largest(name)) for name in MANY)


@pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
@pytest.mark.parametrize("name", MANY)
def test_elements_beyond_32_bits_are_found(launches, tmp_path, name: str):
    """The last images of a batch of more than four thousand million elements, run on the CPU."""
    kernel, spec, images = REGISTRY.find(name), _largest(name), 2
    assert max(view.pixels * view.pitch for view in (*spec.sources, spec.target)) > 1 << 32
    small = _batched(spec, images)
    parameters = list(kernel.parameters(small, 7))
    arrays = [_sparse(tmp_path, view) for view in (*spec.sources, spec.target)]
    for seed, (array, part) in enumerate(zip(arrays, small.sources, strict=False)):
        array[-images:] = random_memory(part, seed)
    sources = [
        numbers(array[-images:], part) for array, part in zip(arrays, small.sources, strict=False)
    ]
    places = [
        array.ctypes.data + view.offset * view.item_bytes
        for array, view in zip(arrays, (*spec.sources, spec.target), strict=True)
    ]
    places[-1:-1] = [parameter.ctypes.data for parameter in parameters]
    index = list(MANY).index(name)
    # As many blocks as the last images take, and one that begins before them.
    blocks = 1 + -(-launches[index].launch.blocks * images // spec.target.n)
    run_blocks(launches, index, places, last=blocks)
    wanted = kernel.reference(small, sources, parameters)
    found = numbers(arrays[-1][-images:], small.target)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def _run_last(gpu: Any, kernel: Any, spec: Any, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Run a spec on a GPU; return the last images as computed, and as they should be."""
    small = _batched(spec, images)
    sources = [random_memory(view, seed) for seed, view in enumerate(small.sources)]
    parameters = kernel.parameters(small, 7)
    buffers, pointers = [], []
    for view, part in zip(spec.sources, sources, strict=True):
        whole, end = gpu.allocate(view.span_bytes, "test"), gpu.upload(part, "test")
        gpu.copy(int(whole.handle) + view.span_bytes - part.nbytes, end)
        buffers += [whole, end]
        pointers.append(int(whole.handle) + view.offset * view.item_bytes)
    uploads = [gpu.upload(parameter, "test") for parameter in parameters]
    result = gpu.allocate(spec.target.span_bytes, "test")
    place = int(result.handle) + spec.target.offset * spec.target.item_bytes
    launch = kernel.launch(spec)
    addresses = [*pointers, *(int(upload.handle) for upload in uploads), place]
    gpu.put(gpu.configuration(launch), gpu.kernel(launch), addresses)
    staging, memory = gpu.pinned(small.target.span_bytes)
    begin = int(result.handle) + spec.target.span_bytes - small.target.span_bytes
    gpu.copy_bytes(int(staging.handle), begin, small.target.span_bytes)
    gpu.stream.sync()
    view = small.target
    found = memory.copy().view(HOST_TYPES[view.dtype])
    found = numbers(found.reshape(view.n, view.h, view.w, view.pitch), view)
    staging.close()
    for buffer in (*buffers, *uploads, result):
        buffer.close(gpu.stream)
    read = [numbers(part, view) for part, view in zip(sources, small.sources, strict=True)]
    return found, kernel.reference(small, read, parameters)


# The images before them are not numbers.
@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("name", MANY)
def test_the_last_images_are_looked_at(monkeypatch, name: str):
    """The same test as on a GPU, of a small batch in the emulation."""
    gpu, kernel = EmulatedGpu(monkeypatch, size=1 << 24), REGISTRY.find(name)
    gpu.tuning = False
    found, wanted = _run_last(gpu, kernel, _batched(kernel.cases[MANY[name]], 5), 2)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["pointwise", "pooling", "nearest", "softmax", "global_pooling"])
def test_elements_beyond_32_bits_are_found_on_a_gpu(name: str):
    from segrt.cuda.driver import Gpu

    gpu, kernel, spec = Gpu(), REGISTRY.find(name), _largest(name)
    wanted = sum(view.span_bytes for view in (*spec.sources, spec.target)) + (1 << 28)
    if gpu.memory()[0] < wanted:
        pytest.skip(f"needs {wanted >> 30} GiB of device memory")
    found, wanted = _run_last(gpu, kernel, spec, 2)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)
    gpu.close()
