"""Small steps that the CPU targets share."""

from __future__ import annotations

from importlib import metadata as distributions
from pathlib import Path

import onnx_ir as ir

from segrt._optional import is_installed
from segrt.errors import EngineError, UsageError
from segrt.targets._base import Availability
from segrt.types import Precision


def serialize(model: ir.Model) -> bytes:
    """Return the graph as ONNX bytes.

    Raises:
        EngineError: It is larger than protobuf's 2 GiB.
    """
    try:
        data: bytes = ir.to_proto(model).SerializeToString()
    except ValueError as error:
        raise EngineError(
            "the graph cannot be written as one ONNX file", found=str(error)
        ) from error
    return data


def save_model(model: ir.Model, path: Path) -> None:
    """Write the graph as one ONNX file, weights inside."""
    path.write_bytes(serialize(model))


def library_availability(module: str, install: str) -> Availability:
    """Say whether a library is installed, without importing it."""
    if not is_installed(module):
        return Availability(False, False, f"{module} is not installed", f"run: {install}")
    return Availability(True, True, f"{module} {library_version(module)}")


def library_version(module: str) -> str:
    """Return a library's version, "unknown" if its distribution goes by another name."""
    try:
        return distributions.version(module)
    except distributions.PackageNotFoundError:
        return "unknown"


def precision_error(target: str, found: Precision, wanted: str, hint: str) -> UsageError:
    """Return the error for a precision that a target does not have; to be raised."""
    return UsageError(
        f"target {target!r} cannot compute in {found}", found=found, wanted=wanted, hint=hint
    )
