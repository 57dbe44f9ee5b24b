"""TensorFlow's SavedModel folders, through tf2onnx (extra ``tf``)."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from segrt.errors import ModelFileError, UnsafeFileError
from segrt.graph.metadata import Source
from segrt.importers import _tensorflow
from segrt.importers._base import REGISTRY, refuse_tensors, sha256_of
from segrt.importers.onnx_file import refuse_unused
from segrt.types import LoadOptions

# `SavedModel` begins with field 1, the schema version, which is 1, and goes on with field 2.
_BEGINNING = b"\x08\x01\x12"
_MOST_FILES = 10_000


class SavedModelFolder:
    """A folder with ``saved_model.pb`` and ``variables``; its first signature is taken."""

    description = "TensorFlow SavedModel (a folder with saved_model.pb; needs TensorFlow)"

    def recognises(self, head: bytes) -> bool:
        """Look for the beginning of ``saved_model.pb``."""
        return head.startswith(_BEGINNING)

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the model; see `segrt.importers._base.Importer`."""
        refuse_unused(path, options)
        refuse_tensors(path, options)
        folder = path if path.is_dir() else path.parent
        source = Source(
            file=folder.name,
            sha256=sha256_of(*_files(folder)),
            format="saved-model",
            keras_version="",
            backend="tf2onnx",
            model_name=folder.name,
        )
        return _tensorflow.convert(folder, {"kind": "saved-model"}, source)


def _files(folder: Path) -> list[Path]:
    """Return all files of the folder, in a fixed order; links are refused."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise UnsafeFileError(
                f"{folder.name} holds a link", found=str(path.relative_to(folder))[:120]
            )
        if path.is_file():
            files.append(path)
        if len(files) > _MOST_FILES:
            raise ModelFileError(f"{folder.name} holds more than {_MOST_FILES} files")
    return files


REGISTRY.register("saved-model")(SavedModelFolder())
