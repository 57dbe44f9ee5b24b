"""ONNX files of other exporters: tf2onnx, Keras' ``model.export``, PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION
from segrt.importers import _onnx_names
from segrt.importers._base import REGISTRY, refuse_tensors, sha256_of
from segrt.importers._onnx_branches import settle_branches
from segrt.importers._onnx_opset import to_opset
from segrt.importers._onnx_read import read_proto, to_model
from segrt.importers._onnx_simplify import simplify
from segrt.importers._onnx_windows import spell_padding
from segrt.importers._random import refuse_random
from segrt.types import LoadOptions

# `ModelProto` begins with field 1, the IR version; 1 and 2 are older than ONNX 1.0.
_IR_VERSIONS = range(3, 64)


class OnnxFile:
    """``.onnx``, with its weights inside or in a file beside it."""

    description = "ONNX (.onnx, opset 7 to 24)"

    def recognises(self, head: bytes) -> bool:
        """Look for a message that begins with ONNX' version number."""
        return len(head) > 2 and head[0] == 0x08 and head[1] in _IR_VERSIONS

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the model; see `segrt.importers._base.Importer`."""
        refuse_unused(path, options)
        refuse_tensors(path, options)
        proto, files = read_proto(path)
        source = metadata.Source(
            file=path.name,
            sha256=sha256_of(path, *files),
            format="onnx",
            keras_version="",
            backend=" ".join(filter(None, (proto.producer_name, proto.producer_version))),
            model_name=proto.graph.name or path.stem,
        )
        return from_proto(proto, path, source)


def from_proto(proto: onnx.ModelProto, path: Path, source: metadata.Source) -> ir.Model:
    """Turn a checked ONNX model into a graph of this project.

    Args:
        proto: As `read_proto` returned it.
        path: Where it lies, for its weights and for messages.
        source: Recorded in the metadata.
    """
    model = to_model(to_opset(proto, path), path)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "segrt", None
    model.graph.metadata_props.clear()
    settle_branches(model, path.name)
    refuse_random(model, path.name)
    simplify(model, path.name)
    spell_padding(model)
    _onnx_names.tag(model)
    metadata.set_source(model, source)
    return model


def refuse_unused(path: Path, options: LoadOptions) -> None:
    """Refuse reading options that mean nothing for a model that is complete in itself.

    Raises:
        UsageError: An architecture was given.
    """
    if options.architecture is not None:
        raise UsageError(
            f"{path.name} brings its own architecture",
            found=f"--architecture {options.architecture.name}",
            hint="leave the architecture out",
        )


REGISTRY.register("onnx")(OnnxFile())
