"""Small steps that the CPU targets share."""

from __future__ import annotations

from importlib import metadata as distributions
from pathlib import Path

import onnx_ir as ir

from segrt._optional import is_installed
from segrt.errors import EngineError, UsageError
from segrt.graph.onnx_bytes import onnx_pieces, write_onnx
from segrt.targets._base import Availability
from segrt.types import Precision


def serialize(model: ir.Model) -> bytes:
    """Return the graph as ONNX bytes.

    Raises:
        EngineError: It is larger than protobuf's 2 GiB.
    """
    try:
        return b"".join(onnx_pieces(model))
    except ValueError as error:
        raise _too_large(error) from error


def save_model(model: ir.Model, path: Path) -> None:
    """Write the graph as one ONNX file, weights inside.

    Raises:
        EngineError: It is larger than protobuf's 2 GiB.
    """
    try:
        write_onnx(model, path)
    except ValueError as error:
        raise _too_large(error) from error


def _too_large(error: ValueError) -> EngineError:
    return EngineError("the graph cannot be written as one ONNX file", found=str(error))


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
