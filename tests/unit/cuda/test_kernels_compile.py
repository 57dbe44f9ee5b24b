"""Every kernel compiles for every GPU generation, without a GPU."""

from __future__ import annotations

import pytest

from helpers.cubins import wants
from segrt.cuda.driver import compile_source
from segrt.cuda.kernels import narrow_convolution
from segrt.cuda.kernels._base import REGISTRY, Launch
from segrt.cuda.kernels.first_convolution import FirstConvolutionSpec
from segrt.cuda.kernels.first_convolution import fits as first_fits
from segrt.cuda.kernels.group_normalization import GroupNormalizationSpec
from segrt.cuda.kernels.narrow_convolution import NarrowConvolutionSpec
from segrt.cuda.views import View

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
# Cases of a kernel that are compiled for all of them; of the others each is for one.
FOR_ALL = 3
# Of a multiprocessor, and the shared memory that a block may have without asking, on every GPU; of
# what a block may ask for on an sm_90, the last KiB is the system's.
REGISTERS, SHARED_BYTES, MOST_SHARED_BYTES = 1 << 16, 48 << 10, 227 << 10
pytest.importorskip("cuda.core", reason="cuda-core is not installed")


def test_kernels_are_registered():
    assert {"nearest", "bilinear", "pooling", "first_convolution"} <= set(REGISTRY.names())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", REGISTRY.names())
def test_compiles(monkeypatch, tmp_path, name: str, architecture: str):
    # Nothing is taken from another run.
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    kernel = REGISTRY.find(name)
    assert kernel is not None
    assert kernel.cases
    for index, spec in enumerate(kernel.cases):
        launch = kernel.launch(spec)
        turn = index % len(ARCHITECTURES) == ARCHITECTURES.index(architecture)
        if index < FOR_ALL or turn or launch.specific:
            _compile_for(architecture, kernel.capability, launch)


def _compile_for(architecture: str, oldest: tuple[int, int], launch: Launch) -> None:
    """Compile, where there are such instructions, and look at what a block wants."""
    digits = architecture.removeprefix("sm_")
    capability = (int(digits[:-1]), int(digits[-1]))
    if capability < oldest or (launch.specific and capability != oldest):
        return
    target = architecture + ("a" if launch.specific else "")
    cubin = compile_source(launch.source, target, launch.entry)
    assert cubin[:4] == b"\x7fELF"
    found = wants(cubin, launch.entry)
    # Registers are given out in eights.
    assert -(-found.registers // 8) * 8 * launch.threads <= REGISTERS
    static = found.shared_bytes - (1024 if capability >= (9, 0) and found.shared_bytes else 0)
    assert static <= SHARED_BYTES
    assert static + launch.shared_bytes <= MOST_SHARED_BYTES
    # Only the kernels of one architecture ask for more than every GPU has.
    assert launch.specific or launch.shared_bytes == 0


LARGEST = {
    "weights": FirstConvolutionSpec(
        View(1, 8, 8, 3, "fp32"), View(1, 8, 8, 256, "fp16"), (4, 4), (1, 1), True
    ),
    "window": NarrowConvolutionSpec(
        View(1, 8, 8, 64, "fp16"), View(1, 8, 8, 8, "fp16"), (5, 5), (2, 2), True
    ),
    "groups": GroupNormalizationSpec(
        View(1, 8, 8, 4096, "fp16"), View(1, 1, 1, 8192, "fp32"), View(1, 8, 8, 4096, "fp16"), 1e-3
    ),
}


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90", "sm_120"])
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_that_fit_have_room_everywhere(name: str, architecture: str):
    spec = LARGEST[name]
    kernels = {
        "weights": "first_convolution", "window": "narrow_convolution",
        "groups": "group_normalization",
    }  # fmt: skip
    kernel = REGISTRY.find(kernels[name])
    assert name != "weights" or first_fits(spec)
    assert name != "window" or narrow_convolution.fits(spec)
    _compile_for(architecture, kernel.capability, kernel.launch(spec))


def test_a_wrong_source_is_an_engine_error():
    from segrt.errors import EngineError

    with pytest.raises(EngineError, match="broken"):
        compile_source("__global__ void broken( {", "sm_90", "broken")
