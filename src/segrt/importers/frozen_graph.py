"""Frozen GraphDef files (``.pb``) of TensorFlow 1, through tf2onnx (extra ``tf``)."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from segrt.graph.metadata import Source
from segrt.importers import _tensorflow
from segrt.importers._base import REGISTRY, sha256_of
from segrt.importers.onnx_file import refuse_unused
from segrt.types import LoadOptions


class FrozenGraph:
    """A graph whose variables became constants; it does not say what it returns."""

    description = "TensorFlow frozen graph (.pb; needs TensorFlow and --outputs)"

    def recognises(self, head: bytes) -> bool:
        """Look for a message of nodes: field 1, a node, which begins with its name."""
        # The node's length takes one to three bytes; its first field is its name.
        return head[:1] == b"\x0a" and b"\x0a" in head[2:5]

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the model; see `segrt.importers._base.Importer`."""
        refuse_unused(path, options)
        source = Source(
            file=path.name,
            sha256=sha256_of(path),
            format="frozen-graph",
            keras_version="",
            backend="tf2onnx",
            model_name=path.stem,
        )
        request = {
            "kind": "frozen-graph",
            "inputs": list(options.inputs),
            "outputs": list(options.outputs),
        }
        return _tensorflow.convert(path, request, source)


REGISTRY.register("frozen-graph")(FrozenGraph())
