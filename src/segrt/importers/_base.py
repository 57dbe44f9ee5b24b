"""The contract of an importer: a reader of one file format."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from segrt._registry import Registry
from segrt.errors import ModelFileError, UsageError
from segrt.importers._mistaken import explain
from segrt.types import LoadOptions


class Importer(Protocol):
    """Reads one format."""

    description: str

    def recognises(self, head: bytes) -> bool:
        """Say whether a file that begins with ``head`` (16 bytes) is of this format.

        For a folder these are the first bytes of its ``saved_model.pb``.

        By content and never by suffix: Keras 2.12 writes HDF5 into ``.keras`` files.
        """
        ...

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the file.

        Raises:
            ModelFileError, UnsupportedLayerError, UnsupportedConfigError: See `segrt.errors`.
        """
        ...


REGISTRY: Registry[Importer] = Registry("importer", "segrt.importers")


def import_model(path: Path, options: LoadOptions | None = None) -> ir.Model:
    """Read a model file of any registered format, told apart by content.

    Args:
        path: The model file.
        options: How it is to be read.

    Raises:
        ModelFileError: No such file, or of no known format.
    """
    options = options or LoadOptions()
    # A SavedModel is a folder; the file in it that describes the graph tells it.
    described = path / "saved_model.pb" if path.is_dir() else path
    if (path / "manifest.json").is_file() and not described.is_file():
        raise ModelFileError(
            f"{path} is a package, not the model it was built from",
            hint="packages are for: segrt predict, verify, bench, doctor, inspect --engine; "
            f"the network in it is {path / 'imported.onnx'}",
        )
    for file in (described, options.architecture):
        if file is not None and not file.is_file():
            raise ModelFileError(
                f"no such model file: {path if file is described else file}",
                found="a directory without saved_model.pb" if path.is_dir() else "nothing",
                hint="check the path",
            )
    try:
        with described.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", found=str(error)) from error
    for _, importer in REGISTRY:
        if importer.recognises(head):
            return importer.read(path, options)
    found, hint = explain(described, head)
    raise ModelFileError(
        f"{path} is of no known format",
        found=found,
        wanted="; ".join(importer.description for _, importer in REGISTRY),
        hint=hint,
    )


def refuse_tensors(path: Path, options: LoadOptions) -> None:
    """Refuse ``inputs`` and ``outputs`` for a format that names its own.

    Raises:
        UsageError: Some were given.
    """
    if options.outputs or options.inputs:
        raise UsageError(
            f"{path.name} names its own inputs and outputs",
            found=", ".join(options.outputs + options.inputs),
            hint="leave --inputs and --outputs out: they are for frozen graphs",
        )


def sha256_of(*paths: Path | None) -> str:
    """Return the hash over the contents of the files, hexadecimal; None is skipped."""
    digest = hashlib.sha256()
    for path in paths:
        if path is None:
            continue
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
