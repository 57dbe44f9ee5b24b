"""Kernels that TensorRT for RTX compiled, kept from one session to the next.

They are code, so they are trusted no further than a plan: a file is used only if it lies in a
folder that nobody else can write to, was made for the very same plan, library and GPU, and has the
hash that was noted with it. Anything else is as good as no file; compiling takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from segrt.cuda.kept_files import cache_folder

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_LARGEST = 1 << 30
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class RuntimeCache:
    """The file of one plan on one kind of GPU, and the note beside it.

    A file that cannot be read or written costs only time: that is logged, never an error.

    Attributes:
        plan_sha256: Of the plan.
        library: Name and version of the library.
        device: Name of the GPU and version of its driver.
        folder: None is the user's cache folder.
    """

    plan_sha256: str
    library: str
    device: str
    folder: Path | None = None

    @property
    def path(self) -> Path:
        """Where the kernels are."""
        key = hashlib.sha256("\0".join(self._made_for().values()).encode()).hexdigest()[:32]
        return (self.folder or cache_folder() / "tensorrt") / f"{key}.kernels"

    def load(self) -> bytes | None:
        """Return the kernels, None unless they are exactly what was saved for this plan."""
        note = self.path.with_suffix(".json")
        try:
            for path in (self.path.parent, note, self.path):
                _check_ours(path)
            described = json.loads(note.read_text(encoding="utf-8"))
            if self.path.stat().st_size > _LARGEST:
                raise ValueError("it is too large")
            blob = self.path.read_bytes()
            if described != self._note(blob):
                raise ValueError("it is not what was noted about it")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _LOG.warning("the kernels in %s are ignored: %s", self.path, error)
            return None
        return blob

    def save(self, blob: bytes) -> None:
        """Write the kernels and the note, each whole or not at all."""
        note = json.dumps(self._note(blob), indent=1, sort_keys=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A note that does not fit the kernels makes them useless, not dangerous.
            _replace(self.path, blob)
            _replace(self.path.with_suffix(".json"), note.encode())
        except OSError as error:
            _LOG.warning("the kernels cannot be kept in %s: %s", self.path, error)

    def _made_for(self) -> dict[str, str]:
        return {"plan": self.plan_sha256, "library": self.library, "device": self.device}

    def _note(self, blob: bytes) -> dict[str, str | int]:
        digest = hashlib.sha256(blob).hexdigest()
        return {**self._made_for(), "format": _FORMAT, "sha256": digest, "bytes": len(blob)}


def _check_ours(path: Path) -> None:
    """Refuse links and what others own or may write, where the system knows such things."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise ValueError(f"{path.name} is a link")
    if not hasattr(os, "getuid"):
        return
    if found.st_uid != os.getuid() or found.st_mode & _OTHERS_MAY_WRITE:
        raise ValueError(f"others own or may write {path.name}")


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
