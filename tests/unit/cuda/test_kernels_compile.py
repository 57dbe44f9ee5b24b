"""Every kernel compiles for every GPU generation, without a GPU."""

from __future__ import annotations

import pytest

from segrt.cuda.driver import compile_source
from segrt.cuda.kernels._base import REGISTRY

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
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
    digits = architecture.removeprefix("sm_")
    capability = (int(digits[:-1]), int(digits[-1]))
    for spec in kernel.cases[:5]:
        launch = kernel.launch(spec)
        if capability < kernel.capability or (launch.specific and capability != kernel.capability):
            continue
        target = architecture + ("a" if launch.specific else "")
        cubin = compile_source(launch.source, target, launch.entry)
        assert cubin[:4] == b"\x7fELF"
        assert launch.entry.encode() in cubin


def test_a_wrong_source_is_an_engine_error():
    from segrt.errors import EngineError

    with pytest.raises(EngineError, match="broken"):
        compile_source("__global__ void broken( {", "sm_90", "broken")
