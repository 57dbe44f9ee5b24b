"""Keras' ``.keras`` archives: a zip of ``config.json``, ``metadata.json``, ``model.weights.h5``."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import h5py
import onnx_ir as ir

from segrt.errors import ModelFileError, UnsafeFileError, UsageError
from segrt.graph.metadata import Source
from segrt.importers import _hdf5, _weights_by_class
from segrt.importers._base import REGISTRY, refuse_tensors, sha256_of
from segrt.importers._convert import convert
from segrt.importers._json import MAX_JSON_BYTES, parse_object
from segrt.importers._mistaken import explain_zip
from segrt.importers._model_config import read_model
from segrt.types import LoadOptions

_WEIGHTS = "model.weights.h5"
# Keras stores archives uncompressed; others may deflate, but weights barely shrink.
_MAX_COMPRESSION = 200
_ALWAYS_ALLOWED_BYTES = 1 << 20
_MAX_MEMBERS = 10_000
_MAX_WEIGHTS_BYTES = 64 << 30
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, OSError)


class KerasArchive:
    """``.keras`` archives of Keras 2.12 and later."""

    description = "Keras archive (.keras)"

    def recognises(self, head: bytes) -> bool:
        """Look for a zip's signature."""
        return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the model; see `segrt.importers._base.Importer`."""
        refuse_tensors(path, options)
        if options.architecture is not None:
            raise UsageError(
                f"{path.name} is a full model and brings its own architecture",
                found=f"--architecture {options.architecture.name}",
                hint="leave the architecture out",
            )
        try:
            with zipfile.ZipFile(path) as archive:
                return self._read(archive, path, options)
        except _ZIP_ERRORS as error:
            raise _damaged(path, error) from error

    def _read(self, archive: zipfile.ZipFile, path: Path, options: LoadOptions) -> ir.Model:
        members = _checked_members(archive, path.name)
        description = parse_object(
            _small_member(archive, members, "config.json", path.name), f"{path.name}/config.json"
        )
        version = ""
        if "metadata.json" in members:
            text = _small_member(archive, members, "metadata.json", path.name)
            version = str(parse_object(text, f"{path.name}/metadata.json").get("keras_version", ""))
        graph = read_model(description, version, path.name)
        _require_weights(members, path.name)
        source = Source(
            file=path.name,
            sha256=sha256_of(path),
            format="keras-archive",
            keras_version=version or "unknown",
            backend="unknown",
            model_name=graph.name,
        )
        with _open_weights(archive, members, path) as file:
            where = f"{path.name}/{_WEIGHTS}"
            return convert(
                graph, source, options, lambda: _weights_by_class.bind(graph, file, where)
            )


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[bytes, h5py.File]]:
    """Open an archive to look at: its ``config.json`` and its weights, unpacked meanwhile.

    Raises:
        ModelFileError: The archive is damaged or holds no weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive, path.name)
            config = _small_member(archive, members, "config.json", path.name)
            _require_weights(members, path.name)
            with _open_weights(archive, members, path) as file:
                yield config, file
    except _ZIP_ERRORS as error:
        raise _damaged(path, error) from error


@contextmanager
def _open_weights(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: Path
) -> Iterator[h5py.File]:
    with tempfile.TemporaryDirectory(prefix="segrt-") as folder:
        unpacked = Path(folder) / _WEIGHTS
        with archive.open(members[_WEIGHTS]) as stream, unpacked.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        with _hdf5.open_hdf5(unpacked, f"{path.name}/{_WEIGHTS}") as file:
            yield file


def _require_weights(members: dict[str, zipfile.ZipInfo], file: str) -> None:
    if _WEIGHTS not in members:
        raise ModelFileError(
            f"{file} holds no weights", found=", ".join(sorted(members))[:200], wanted=_WEIGHTS
        )


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{path.name} cannot be read as a .keras archive: it is damaged or truncated",
        found=str(error)[:200],
        hint="copy or download the file again and compare its size",
    )


def _checked_members(archive: zipfile.ZipFile, file: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name.

    Raises:
        UnsafeFileError: A name leaves the archive, occurs twice, or a size is absurd.
    """
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise UnsafeFileError(f"{file} has too many members", found=str(len(infos)))
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        if ".." in parts or info.filename.startswith("/") or "\\" in info.filename:
            raise UnsafeFileError(
                f"{file} has a member that leaves the archive", found=repr(info.filename)[:120]
            )
        if info.filename in members:
            raise UnsafeFileError(f"{file} has two members named {info.filename!r}")
        limit = max(info.compress_size * _MAX_COMPRESSION, _ALWAYS_ALLOWED_BYTES)
        if info.file_size > min(limit, _MAX_WEIGHTS_BYTES):
            raise UnsafeFileError(
                f"{file}: {info.filename} declares more data than it holds",
                found=f"{info.file_size} bytes out of {info.compress_size}",
            )
        if info.flag_bits & 1:
            raise ModelFileError(
                f"{file}: {info.filename} is encrypted", hint="save it unencrypted"
            )
        members[info.filename] = info
    return members


def _small_member(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, file: str
) -> bytes:
    info = members.get(name)
    if info is None:
        raise ModelFileError(
            f"{file} is a zip but no Keras archive",
            found=", ".join(sorted(members))[:200] or "an empty archive",
            wanted=name,
            hint=explain_zip(set(members)),
        )
    if info.file_size > MAX_JSON_BYTES:
        raise UnsafeFileError(f"{file}: {name} is too large", found=f"{info.file_size} bytes")
    return archive.read(info)


REGISTRY.register("keras-archive")(KerasArchive())
