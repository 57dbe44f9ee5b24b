"""CUDA C++ to PTX, by NVRTC itself: cuda-core asks for a driver before it hands PTX out."""

from __future__ import annotations

import functools
from typing import Any

from segrt._optional import require
from segrt.errors import EngineError

INSTALL = "pip install cuda-bindings nvidia-cuda-nvrtc"


@functools.lru_cache(maxsize=256)
def compile_ptx(source: str, architecture: str, name: str) -> bytes:
    """Compile CUDA C++ to PTX, which a driver compiles further; needs no GPU.

    Args:
        source: CUDA C++17.
        architecture: Such as ``compute_75``: the oldest GPU that is to run it.
        name: For messages.

    Raises:
        UnavailableError: NVRTC is not installed.
        EngineError: The compiler refuses the source; ``found`` is its log.
    """
    nvrtc = require("cuda.bindings.nvrtc", purpose="compiling a CUDA kernel", install=INSTALL)
    try:
        program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, None, None))
    except (RuntimeError, ImportError, OSError) as error:
        raise EngineError("NVRTC does not work here", found=str(error), hint=INSTALL) from error
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program)))
            nvrtc.nvrtcGetProgramLog(program, log)
            raise EngineError(
                f"kernel {name!r} does not compile for {architecture}",
                found=log.rstrip(b"\0").decode("utf-8", "replace").strip(),
            )
        code = bytearray(_checked(nvrtc.nvrtcGetPTXSize(program)))
        _checked((*nvrtc.nvrtcGetPTX(program, code), None))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return bytes(code.rstrip(b"\0"))


def compiler_version() -> tuple[int, int]:
    """Return NVRTC's version: that of the PTX it writes.

    Raises:
        UnavailableError: NVRTC is not installed.
    """
    nvrtc = require("cuda.bindings.nvrtc", purpose="compiling a CUDA kernel", install=INSTALL)
    _, major, minor = nvrtc.nvrtcVersion()
    return major, minor


def _checked(answer: tuple[Any, ...]) -> Any:
    """Return what came with a status, if that is good."""
    status, result = answer
    if int(status) != 0:
        raise EngineError("NVRTC failed", found=str(status))
    return result
