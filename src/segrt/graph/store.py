"""Write graphs to ONNX files and read them back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx_ir as ir

from segrt._outputs import check_output
from segrt.errors import ModelFileError, UsageError
from segrt.graph.onnx_bytes import write_onnx

# Protocol buffers cannot exceed 2 GiB; beyond this the weights go to a file beside the graph.
_MAX_EMBEDDED_BYTES = 1_900_000_000
# Under such a name nothing would look for ONNX.
_OTHER_FORMATS = {
    ".keras", ".pb", ".tflite", ".engine", ".plan", ".trt", ".pt", ".pth", ".npz", ".segrt",
}  # fmt: skip


def save_graph(model: ir.Model, path: Path) -> None:
    """Write ``model`` as ONNX: checked, beside the target, then renamed.

    Weights of more than 1.9 GB go to ``<name>.data`` beside the file.

    Raises:
        UsageError: The folder does not exist or cannot be written, or ``path`` is a device
            or called like a file of another format.
    """
    if path.suffix.lower() in _OTHER_FORMATS:
        raise UsageError(
            f"{path.name} would be an ONNX file called otherwise",
            wanted="a name that ends with .onnx",
        )
    check_output(path)
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", hint="create it first")
    size = sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".segrt-") as work:
            fresh = Path(work) / path.name
            data = f"{path.name}.data" if size > _MAX_EMBEDDED_BYTES else None
            if data is None:
                write_onnx(model, fresh)
            else:
                ir.save(model, fresh, external_data=data)
            onnx.checker.check_model(str(fresh))
            if data is not None:
                (Path(work) / data).replace(folder / data)
            fresh.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}", found=str(error)) from error


def load_graph(path: Path) -> ir.Model:
    """Read an ONNX file that `save_graph` wrote.

    Raises:
        ModelFileError: It is missing or damaged.
    """
    try:
        return ir.load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} cannot be read as ONNX", found=str(error)[:200]) from error
    except Exception as error:
        # protobuf's DecodeError has no stable import path across its backends.
        if type(error).__name__ != "DecodeError":
            raise
        raise ModelFileError(f"{path} is not an ONNX file", found=str(error)[:200]) from error
