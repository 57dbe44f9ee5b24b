"""Keras' HDF5 files: full models, and weights with their architecture in a JSON file."""

from __future__ import annotations

from pathlib import Path

import h5py
import onnx_ir as ir

from segrt.errors import ModelFileError, UsageError
from segrt.graph.metadata import Source
from segrt.importers import _hdf5, _weights_by_class, _weights_by_name
from segrt.importers._base import REGISTRY, refuse_tensors, sha256_of
from segrt.importers._convert import convert
from segrt.importers._json import MAX_JSON_BYTES, parse_object
from segrt.importers._layer_graph import JsonObject, LayerGraph
from segrt.importers._model_config import read_model
from segrt.importers._yaml import is_yaml, parse_yaml
from segrt.types import LoadOptions


class KerasH5:
    """Full-model ``.h5`` (any Keras), weights-only ``.h5`` and ``.weights.h5`` with a JSON."""

    description = "Keras HDF5 (.h5, .hdf5, .keras of Keras 2)"

    def recognises(self, head: bytes) -> bool:
        """Look for HDF5's signature."""
        return head.startswith(_hdf5.SIGNATURE)

    def read(self, path: Path, options: LoadOptions) -> ir.Model:
        """Read the model; see `segrt.importers._base.Importer`."""
        refuse_tensors(path, options)
        with _hdf5.open_hdf5(path, path.name) as file:
            if "model_config" in file.attrs:
                return self._full(file, path, options)
            return self._weights_only(file, path, options)

    def _full(self, file: h5py.File, path: Path, options: LoadOptions) -> ir.Model:
        if options.architecture is not None:
            raise UsageError(
                f"{path.name} is a full model and brings its own architecture",
                found=f"--architecture {options.architecture.name}",
                hint="leave the architecture out",
            )
        text = _hdf5.text_attribute(file, "model_config", path.name) or ""
        description = parse_object(text, f"attribute 'model_config' of {path.name}")
        version = _hdf5.text_attribute(file, "keras_version", path.name) or ""
        graph = read_model(description, version, path.name)
        source = Source(
            file=path.name,
            sha256=sha256_of(path),
            format="keras-h5",
            keras_version=version or "unknown",
            backend=_hdf5.text_attribute(file, "backend", path.name) or "unknown",
            model_name=graph.name,
        )

        def bind() -> list[str]:
            root = _hdf5.get_group(file, "model_weights", path.name)
            return _weights_by_name.bind(graph, root, path.name)

        return convert(graph, source, options, bind)

    def _weights_only(self, file: h5py.File, path: Path, options: LoadOptions) -> ir.Model:
        architecture = options.architecture
        if architecture is None:
            raise UsageError(
                f"{path.name} holds weights without an architecture",
                wanted="a full model, or the architecture beside the weights",
                hint="in Keras: open('arch.json', 'w').write(model.to_json()); then pass "
                "--architecture arch.json",
            )
        description = read_architecture(architecture)
        version = str(description.get("keras_version") or "")
        version = _hdf5.text_attribute(file, "keras_version", path.name) or version
        graph = read_model(description, version, architecture.name)
        source = Source(
            file=path.name,
            sha256=sha256_of(path, architecture),
            format="keras-weights-h5",
            keras_version=version or "unknown",
            backend=str(description.get("backend") or "unknown"),
            model_name=graph.name,
        )
        return convert(graph, source, options, lambda: bind_weights(graph, file, path.name))


def read_architecture(path: Path) -> JsonObject:
    """Read what ``model.to_json()``, or ``model.to_yaml()`` of Keras 2, returned.

    Raises:
        ModelFileError: Too large, or neither JSON nor YAML.
        UnsafeFileError: YAML that names code.
        UnavailableError: YAML, and PyYAML is not installed.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelFileError(
            f"{path.name} is too large to be an architecture",
            found=f"{path.stat().st_size} bytes",
            wanted=f"at most {MAX_JSON_BYTES} bytes",
        )
    text = path.read_bytes()
    return parse_yaml(text, path.name) if is_yaml(text) else parse_object(text, path.name)


def bind_weights(graph: LayerGraph, root: h5py.Group, file: str) -> list[str]:
    """Bind the weights of a weights-only file in whichever layout it has."""
    if _weights_by_class.holds_this_layout(root):
        return _weights_by_class.bind(graph, root, file)
    if "layer_names" not in root.attrs and "model_weights" in root:
        root = _hdf5.get_group(root, "model_weights", file)
    return _weights_by_name.bind(graph, root, file)


REGISTRY.register("keras-h5")(KerasH5())
