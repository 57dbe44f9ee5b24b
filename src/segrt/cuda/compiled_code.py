"""Machine code of own kernels, remembered on disk: compiling one takes a second or more."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
import tempfile
from pathlib import Path

_LOG = logging.getLogger(__name__)
_ELF = b"\x7fELF"


def cache_folder() -> Path:
    """Return where plans and code are remembered: ``SEGRT_CACHE``, or the user's cache folder."""
    given = os.environ.get("SEGRT_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "segrt"
    try:
        return Path.home() / ".cache" / "segrt"
    except RuntimeError:  # a user without a home (a container's number): nothing can be kept
        return Path(os.devnull) / "segrt"


def key(source: str, architecture: str) -> str:
    """Return what machine code depends on: source, architecture and compiler."""
    text = "\0".join((source, architecture, _compilers()))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _compilers() -> str:
    found = []
    for distribution in importlib.metadata.distributions():
        name = distribution.name or ""
        if name.startswith(("nvidia-cuda-nvrtc", "cuda-core", "cuda-bindings")):
            found.append(f"{name} {distribution.version}")
    return ", ".join(sorted(found))


def find(key: str) -> bytes | None:
    """Return the code kept under a key, None if there is none that is whole."""
    try:
        kept = _file(key).read_bytes()
    except OSError:
        return None
    digest, code = kept[:32], kept[32:]
    whole = hashlib.sha256(code).digest() == digest and code.startswith(_ELF)
    return code if whole else None


def remember(key: str, code: bytes) -> None:
    """Keep code under a key; a folder that cannot be written only costs compiling again."""
    path = _file(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(file.name).replace(path)
    except OSError as error:
        _LOG.warning("the compiled kernel %s cannot be written: %s", path, error)


def _file(key: str) -> Path:
    return cache_folder() / "cuda-code" / f"{key}.bin"
