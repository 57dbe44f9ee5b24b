"""Keras' JSON description of a model -> `LayerGraph`, for every dialect Keras has written.

Dialects, told apart by structure, not by version: Keras 2 nodes ``[["x", 0, 0, {...}], ...]``,
Keras 3 nodes ``{"args": [...], "kwargs": {...}}``; Sequential models as a bare list of layers
(oldest), or with a name; nested models as layers.
"""

from __future__ import annotations

import re
from typing import Any

from segrt.errors import ModelFileError
from segrt.importers._arguments import is_index, keras2_argument, keras3_argument, plain
from segrt.importers._call_numbers import count_calls_from_zero
from segrt.importers._layer_graph import (
    Argument,
    JsonObject,
    KerasLayer,
    KerasVersion,
    LayerCall,
    LayerGraph,
    TensorRef,
)

_FUNCTIONAL_CLASSES = {"Model", "Functional"}
MODEL_CLASSES = _FUNCTIONAL_CLASSES | {"Sequential"}
# Layers that hold another layer, or a model, and call it on parts of their input.
_WRAPPERS = {"TimeDistributed"}
_MAX_NESTING = 32


def read_model(description: JsonObject, keras_version: str, what: str) -> LayerGraph:
    """Read a model's description.

    Args:
        description: ``{"class_name": ..., "config": ...}`` as ``to_json`` or a file holds it.
        keras_version: Version text of the Keras that wrote it; "" or "unknown" where unsaid.
        what: Where it was found, for messages.

    Raises:
        ModelFileError: It is not a description of a Functional or Sequential model.
    """
    class_name = description.get("class_name")
    if class_name not in MODEL_CLASSES:
        raise ModelFileError(
            f"{what} does not describe a Functional or Sequential model",
            found=f"class {class_name!r}",
            wanted="Functional, Model or Sequential",
            hint="a subclassed model has no architecture in its file: save "
            "keras.Model(model.inputs, model.outputs) where it has those (keras_hub and other "
            "packages' models do), else rebuild it with Input -> call -> keras.Model",
        )
    return _ModelReader(parse_version(keras_version, description), what).model(description, 0)


def parse_version(text: str, description: JsonObject | None = None) -> KerasVersion:
    """Read a version such as ``2.2.4-tf``.

    Where the version is unsaid it follows from the description: Keras 3 writes the ``module`` of
    every layer, Keras 2 does not; then 3.0.0 or 2.15.0 is assumed.
    """
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text or "")
    if numbers:
        major, minor, patch = (int(part) for part in numbers.groups(default="0"))
        return KerasVersion(major, minor, patch, text.endswith("-tf"))
    if description is not None and "module" in description:
        return KerasVersion(3, 0, 0)
    return KerasVersion(2, 15, 0)


class _ModelReader:
    def __init__(self, version: KerasVersion, what: str) -> None:
        self._version = version
        self._what = what
        self._unnamed = 0

    def model(self, description: JsonObject, depth: int) -> LayerGraph:
        if depth > _MAX_NESTING:
            raise self._bad(f"models nested more than {_MAX_NESTING} deep")
        config = description.get("config")
        if description.get("class_name") == "Sequential":
            return self._sequential(description, config, depth)
        if not isinstance(config, dict):
            raise self._bad("a model without a configuration", found=type(config).__name__)
        return self._functional(config, depth)

    def _functional(self, config: JsonObject, depth: int) -> LayerGraph:
        name = str(config.get("name", "model"))
        layers: dict[str, KerasLayer] = {}
        entries = _list(config.get("layers"))
        if not entries:
            raise self._bad(f"model {name!r} has no layers")
        names = {str(entry.get("name")) for entry in entries if isinstance(entry, dict)}
        for entry in entries:
            layer = self._layer(entry, depth)
            if layer.name in layers:
                raise self._bad(f"model {name!r} has two layers named {layer.name!r}")
            nodes = _list(entry.get("inbound_nodes"))
            layer.calls = [self._call(node, layer.name, names) for node in nodes]
            if not layer.calls and layer.class_name == "InputLayer":
                layer.calls = [LayerCall((), {})]
            layers[layer.name] = layer
        inputs, _ = self._refs(config.get("input_layers"), "input_layers")
        outputs, output_names = self._refs(config.get("output_layers"), "output_layers")
        graph = LayerGraph(name, layers, inputs, outputs, output_names, self._version)
        count_calls_from_zero(graph)
        self._check_refs(graph)
        return graph

    def _sequential(self, description: JsonObject, config: Any, depth: int) -> LayerGraph:
        entries = _list(config if isinstance(config, list) else (config or {}).get("layers"))
        name = str(config.get("name", "sequential")) if isinstance(config, dict) else "sequential"
        if not entries:
            raise self._bad(f"Sequential model {name!r} has no layers")
        stack = [self._layer(entry, depth) for entry in entries]
        if stack[0].class_name != "InputLayer":
            stack.insert(0, self._implied_input(stack[0], description, config))
        layers: dict[str, KerasLayer] = {}
        previous: TensorRef | None = None
        for layer in stack:
            if layer.name in layers:
                raise self._bad(f"model {name!r} has two layers named {layer.name!r}")
            layer.calls = [LayerCall((previous,) if previous else (), {})]
            layers[layer.name] = layer
            previous = TensorRef(layer.name, 0, 0)
        assert previous is not None
        first = TensorRef(stack[0].name, 0, 0)
        return LayerGraph(name, layers, [first], [previous], None, self._version)

    def _implied_input(self, first: KerasLayer, description: JsonObject, config: Any) -> KerasLayer:
        """Make the InputLayer of a Sequential that was saved without one.

        Its shape may be unsaid; that matters only where the model is not called by another one.
        """
        build = description.get("build_config")
        places = [
            first.config.get("batch_input_shape"),
            first.config.get("batch_shape"),
            config.get("build_input_shape") if isinstance(config, dict) else None,
            build.get("input_shape") if isinstance(build, dict) else None,
        ]
        if first.model is not None:
            inner = first.model.layers[first.model.inputs[0].layer].config
            places += [inner.get("batch_input_shape"), inner.get("batch_shape")]
        shape = next((place for place in places if isinstance(place, list)), None)
        input_config: JsonObject = {"batch_input_shape": shape, "name": f"{first.name}_input"}
        if isinstance(first.config.get("dtype"), str):
            input_config["dtype"] = first.config["dtype"]
        return KerasLayer(f"{first.name}_input", "InputLayer", "", input_config, [])

    def _layer(self, entry: Any, depth: int) -> KerasLayer:
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict | list):
            raise self._bad("a layer without class or configuration", found=repr(entry)[:120])
        is_model = entry.get("class_name") in MODEL_CLASSES
        # A nested model's layers unwrap their own configurations.
        config = entry["config"] if is_model else plain(entry["config"])
        inner_name = config.get("name") if isinstance(config, dict) else None
        name = str(entry.get("name") or inner_name or "")
        class_name, package = _class_of(entry)
        if not name and class_name == "Sequential":  # Keras before 2.2.3 did not write its name
            self._unnamed += 1
            name = f"sequential_{self._unnamed}"
        if not name or not class_name:
            raise self._bad("a layer without a name or class", found=repr(entry)[:120])
        model = None
        if class_name in MODEL_CLASSES and not package:
            model = self.model({**entry, "config": config}, depth + 1)
        if class_name in _WRAPPERS and not package:
            model = self._wrapped_model(entry["config"], depth)
        config = config if isinstance(config, dict) else {}
        return KerasLayer(name, class_name, package, config, [], model=model)

    def _wrapped_model(self, config: Any, depth: int) -> LayerGraph | None:
        """Read the model that a wrapper holds; None where it holds a plain layer."""
        held = config.get("layer") if isinstance(config, dict) else None
        if not isinstance(held, dict) or held.get("class_name") not in MODEL_CLASSES:
            return None
        return None if _class_of(held)[1] else self.model(held, depth + 1)

    def _call(self, node: Any, layer: str, names: set[str]) -> LayerCall:
        """Read one entry of ``inbound_nodes``."""
        if isinstance(node, dict):  # Keras 3
            args = keras3_argument(node.get("args", []), self._bad, 0)
            kwargs = keras3_argument(node.get("kwargs", {}), self._bad, 0)
            if not isinstance(args, list) or not isinstance(kwargs, dict):
                raise self._bad(f"layer {layer!r} has a call that cannot be read")
            # `mask` and `training` say nothing about inference.
            return LayerCall(tuple(args), {k: v for k, v in kwargs.items() if v is not None})
        if not isinstance(node, list):
            raise self._bad(f"layer {layer!r} has a call that cannot be read", found=repr(node))
        if len(node) >= 3 and isinstance(node[0], str):  # a lone tensor, not wrapped in a list
            node = [node]
        named: dict[str, Any] = {}
        # An empty list among tensors is a constant, such as the sizes of no axes.
        tensors = [
            [] if item == [] and len(node) > 1 else self._keras2_input(item, layer, names, named, 0)
            for item in node
        ]
        argument = tensors[0] if len(tensors) == 1 else tensors
        return LayerCall((argument,), named)

    def _keras2_input(
        self, item: Any, layer: str, names: set[str], kwargs: dict[str, Any], depth: int
    ) -> Argument:
        """Read a tensor, a constant, or a list of them; what is named goes into ``kwargs``."""
        nested = isinstance(item, list) and item and isinstance(item[0], list)
        if nested and depth < _MAX_NESTING:
            return [self._keras2_input(i, layer, names, kwargs, depth + 1) for i in item]
        if not isinstance(item, list) or len(item) < 3:
            raise self._bad(
                f"layer {layer!r} has an input that cannot be read", found=repr(item)[:120]
            )
        if len(item) > 3 and isinstance(item[3], dict):
            kwargs.update(keras2_argument(item[3], names, 0, self._bad))
        return item[2] if item[0] == "_CONSTANT_VALUE" else self._ref(item)

    def _ref(self, item: list[Any]) -> TensorRef:
        name, call, tensor = item[:3]
        if not (isinstance(name, str) and is_index(call) and is_index(tensor)):
            raise self._bad("a tensor reference that cannot be read", found=repr(item)[:120])
        return TensorRef(name, call, tensor)

    def _refs(self, value: Any, key: str) -> tuple[list[TensorRef], list[str] | None]:
        """Read ``input_layers`` or ``output_layers``: a list, one flat reference, or a dict."""
        names = None
        if isinstance(value, dict):
            names = [str(name) for name in value]
            value = list(value.values())
        if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
            value = [value]
        if not isinstance(value, list) or not value:
            raise self._bad(f"no {key}", found=repr(value)[:120])
        refs: list[TensorRef] = []
        for item in value:
            while isinstance(item, list) and len(item) == 1:
                item = item[0]  # noqa: PLW2901 - unwraps [[name, 0, 0]] written one level too deep
            if not isinstance(item, list):
                raise self._bad(f"{key} cannot be read", found=repr(item)[:120])
            refs.append(self._ref(item))
        return refs, names

    def _check_refs(self, graph: LayerGraph) -> None:
        refs = [*graph.inputs, *graph.outputs]
        refs += [ref for layer in graph.layers.values() for c in layer.calls for ref in c.tensors()]
        for ref in refs:
            layer = graph.layers.get(ref.layer)
            if layer is None or ref.call >= len(layer.calls):
                raise self._bad(
                    f"model {graph.name!r} refers to output {ref.tensor} of call {ref.call} of "
                    f"layer {ref.layer!r}, which does not exist"
                )

    def _bad(self, message: str, found: str | None = None) -> ModelFileError:
        return ModelFileError(
            f"{self._what}: {message}", found=found, hint="save the model again from Keras"
        )


def _class_of(entry: JsonObject) -> tuple[str, str]:
    """Return ``(class name, package)``; the package is "" for Keras' own classes."""
    class_name = str(entry.get("class_name") or "")
    if ">" in class_name:
        package, _, class_name = class_name.rpartition(">")
        return class_name, package
    module = entry.get("module")
    registered = entry.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        return class_name, registered.rpartition(">")[0]
    if _is_operation(entry, module):
        return class_name, "keras.ops"
    own = not isinstance(module, str) or module.split(".")[0] in ("keras", "tf_keras", "tensorflow")
    return class_name, "" if own else str(module)


def _is_operation(entry: JsonObject, module: Any) -> bool:
    """Say whether an entry is an operation of Keras 3, such as `x + 1` or `keras.ops.concatenate`.

    It is called and configured unlike the layer that may share its class name: concatenate's
    default axis is another one.
    """
    if isinstance(module, str):
        return bool({"ops", "activations"} & set(module.split(".")))
    # Keras 3 writes no modules into HDF5; there only the settings that every layer has tell.
    nodes, config = entry.get("inbound_nodes"), entry.get("config")
    keras_3 = isinstance(nodes, list) and bool(nodes) and isinstance(nodes[0], dict)
    # SpatialDropout is the one family of layers that does not save it.
    layer = str(entry.get("class_name")).startswith("SpatialDropout")
    return keras_3 and isinstance(config, dict) and "trainable" not in config and not layer


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
