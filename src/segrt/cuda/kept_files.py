"""What takes long to make, kept on disk: whole or not at all, under a key."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

_LOG = logging.getLogger(__name__)
_DIGEST_BYTES = 32


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


def find(folder: str, key: str) -> bytes | None:
    """Return what is kept under a key in a folder of the cache, None if there is nothing whole."""
    try:
        kept = _file(folder, key).read_bytes()
    except OSError:
        return None
    digest, data = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
    return data if hashlib.sha256(data).digest() == digest else None


def remember(folder: str, key: str, data: bytes) -> None:
    """Keep bytes under a key; a folder that cannot be written only costs making them again."""
    path = _file(folder, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(data).digest() + data)
        Path(file.name).replace(path)
    except OSError as error:
        _LOG.warning("%s cannot be written: %s", path, error)


def _file(folder: str, key: str) -> Path:
    return cache_folder() / folder / f"{key}.bin"
