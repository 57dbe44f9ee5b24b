"""Machine code of own kernels, remembered on disk: compiling one takes a second or more."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata

from segrt.cuda import kept_files

_ELF = b"\x7fELF"
_FOLDER = "cuda-code"
# Those that machine code depends on; the compiler is called by the CUDA version in some releases.
_PACKAGES = (
    "cuda-bindings", "cuda-core", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12",
    "nvidia-cuda-nvrtc-cu13",
)  # fmt: skip


def key(source: str, architecture: str) -> str:
    """Return what machine code depends on: source, architecture and compiler."""
    text = "\0".join((source, architecture, _compilers()))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _compilers() -> str:
    # By name: reading what all packages are called takes long where many are installed.
    found = []
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def find(key: str) -> bytes | None:
    """Return the code kept under a key, None if there is none that is whole."""
    code = kept_files.find(_FOLDER, key)
    return code if code is not None and code.startswith(_ELF) else None


def remember(key: str, code: bytes) -> None:
    """Keep code under a key; a folder that cannot be written only costs compiling again."""
    kept_files.remember(_FOLDER, key, code)
