"""Every way to compute a convolution that adds an image, one by one, on slices of wider images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.residual_nets import Net, check, feeds_for, ort_outputs, projection
from segrt.cuda import library_choices
from segrt.cuda.choices import Chooser
from segrt.cuda.driver import Gpu
from segrt.cuda.jobs import Job
from segrt.cuda.operations import Convolution
from segrt.cuda.views import HOST_TYPES, View, decode, encode, storage
from segrt.errors import EngineError
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 2e-6, "fp16": 2e-3}
GPU_BOUNDS = {"fp32": 1e-5, "fp16": 2e-3}
_FIRST_PLANS = 4


# Pitch and offset of what is added: like what is written, or not.
ALIKE, UNLIKE = (80, 16), (96, 32)


def _job(
    gpu: Any, dtype: str, relu: bool, residual: tuple[int, int]
) -> tuple[Job, list[Any], np.ndarray]:
    """Return a job on slices, the memory it writes, and what is to be there."""
    random = np.random.default_rng(3)
    views = (View(2, 14, 10, 32, dtype, 48, 16), View(2, 14, 10, 64, dtype, *residual))
    target = View(2, 14, 10, 64, dtype, 80, 8)
    images = [encode(random.normal(size=(*v.sizes[::2], v.w, v.pitch)), dtype) for v in views]
    kernel = random.normal(0, 0.1, (64, 32, 3, 3)).astype(np.float32)
    bias = random.normal(size=64).astype(np.float32)
    pair = ((1, 1), (1, 1), (1, 1), (1, 1))
    operation = Convolution(
        "sum", ("a", "b"), "y", kernel, bias, *pair, groups=1,
        activation="relu" if relu else "none",
    )  # fmt: skip
    memory = [gpu.upload(image, "image") for image in images]
    memory.append(gpu.allocate(target.span_bytes, "result"))
    width = target.item_bytes
    at = [int(m.handle) + v.offset * width for m, v in zip(memory, (*views, target), strict=True)]
    job = Job(operation, views, (at[0], at[1]), target, at[2])
    net = Net((2, 32, 14, 10))
    result = net.apply("Conv", "x", *map(net.constant, (kernel, bias)), pads=[1] * 4)
    slices = [
        decode(image[..., v.offset : v.offset + v.c], dtype).transpose(0, 3, 1, 2)
        for image, v in zip(images, views, strict=True)
    ]
    plain = ort_outputs(net.model(result), {"x": np.ascontiguousarray(slices[0])})[result]
    wanted = plain + slices[1]
    return job, memory, np.maximum(wanted, 0) if relu else wanted


def _every_way(
    gpu: Any, library: Any, precision: str, relu: bool, residual: tuple[int, int] = ALIKE
) -> Iterator[tuple[str, float]]:
    """Compute a job in many of the ways that are proposed; yield their names and errors.

    Of cuDNN's plans of one kind the first few are taken: some of the others take long to build.
    """
    kind = storage(Precision(precision))
    job, memory, wanted = _job(gpu, kind, relu, residual)
    chooser, target = Chooser(gpu, library, Precision(precision)), job.target
    refusals = (EngineError, RuntimeError, library.module.cudnnGraphNotSupportedError)
    kinds: Counter[tuple[Any, ...]] = Counter()
    for proposal in chooser.proposals(job):
        # cuDNN's, with which bias, and whether a pass follows; or an own kernel.
        kinds[sort := (*proposal.name.split()[:2], "+" in proposal.name)] += 1
        if kinds[sort] > _FIRST_PLANS:
            continue
        try:
            choice = proposal.make()
        except EngineError:
            continue
        blank = gpu.upload(np.full(target.span_bytes, 0xFF, np.uint8), "blank")
        gpu.copy(int(memory[-1].handle), blank)
        scratch = gpu.allocate(max(choice.workspace, 1), "scratch memory")
        try:
            choice.run(int(scratch.handle))
        except refusals:
            continue
        staging, array = gpu.pinned(target.span_bytes)
        memory[-1].copy_to(staging, stream=gpu.stream)
        gpu.stream.sync()
        found = array.copy().view(HOST_TYPES[kind]).reshape(2, 14, 10, target.pitch)
        part = found[..., target.offset : target.offset + target.c]
        numbers = decode(part, kind).transpose(0, 3, 1, 2)
        # Nothing beside the slice is touched.
        rest = np.delete(found, np.s_[target.offset : target.offset + target.c], axis=3)
        assert (rest.view(np.uint8) == 0xFF).all(), proposal.name
        yield proposal.name, float(np.linalg.norm(numbers - wanted) / np.linalg.norm(wanted))
        staging.close()
        for held in (blank, scratch):
            held.close(gpu.stream)
        choice.free()
    for held in memory:
        held.close(gpu.stream)
    chooser.close()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_way_on_slices(monkeypatch, precision, relu):
    gpu = EmulatedGpu(monkeypatch, size=1 << 25)
    gpu.tuning = False
    errors = dict(_every_way(gpu, EmulatedLibrary(gpu), precision, relu))
    assert max(errors.values()) <= BOUNDS[precision], errors
    assert {"cudnn fp32 0 plan0", "cudnn fp32 0 plan0 + pointwise"} <= errors.keys()
    assert "direct_convolution + pointwise" in errors


def test_only_what_lies_as_the_result_does_is_added_by_the_library(monkeypatch):
    # An engine was seen to read what it adds by the strides of what it writes.
    gpu = EmulatedGpu(monkeypatch, size=1 << 25)
    gpu.tuning = False
    errors = dict(_every_way(gpu, EmulatedLibrary(gpu), "fp32", True, UNLIKE))
    assert max(errors.values()) <= BOUNDS["fp32"], errors
    assert all("+" in name or "bare" in name for name in errors), errors


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[Any, Any]]:
    from segrt.cuda.cudnn_graph import Library

    gpu = Gpu()
    library = Library(gpu)
    yield gpu, library
    library.close()
    gpu.close()


@pytest.mark.gpu
@pytest.mark.parametrize("residual", [ALIKE, UNLIKE], ids=["alike", "unlike"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_way_on_a_gpu(real, precision, relu, residual):
    errors = dict(_every_way(*real, precision, relu, residual))
    fused = [name for name in errors if "+" not in name and "bare" not in name]
    print(f"{precision}: {len(errors)} ways, {len(fused)} fused, {errors}")  # noqa: T201
    assert max(errors.values()) <= GPU_BOUNDS[precision], errors
    assert "direct_convolution + pointwise" in errors


@pytest.mark.gpu
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_block_on_a_gpu(monkeypatch, tmp_path, precision, refused):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    if refused:
        made = library_choices.convolution_graph
        monkeypatch.setattr(
            library_choices,
            "convolution_graph",
            lambda library, spec: None if len(spec.views) > 2 else made(library, spec),
        )
    target = REGISTRY.find("cuda")
    assert target is not None
    net = Net((2, 16, 40, 56))
    model, feeds = net.model(*projection(net)), feeds_for(net.shape)
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        found = session.run(feeds)
    check(found, ort_outputs(model, feeds), GPU_BOUNDS[precision])
