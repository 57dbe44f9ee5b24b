"""Runs a loaded Keras model layer by layer and yields what every call of every layer returned.

Keras 2 and Keras 3 keep the same graph under other names; the differences live in `_Node`. Layers
are called eagerly, one after the other, so what is yielded comes from the very kernels Keras
uses, and a tensor is dropped after its last use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt._optional import require
from segrt.errors import UnsupportedConfigError

FloatArray: TypeAlias = npt.NDArray[np.float32]
# A tensor, layer or model of whichever Keras is installed: none of them is typed.
KerasObject: TypeAlias = Any


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts; dicts in the order of their keys."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def to_numpy(tensor: KerasObject) -> FloatArray:
    """Return a backend's tensor as a float32 array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
    return np.asarray(tensor, dtype=np.float32)


class _Node:
    """One call of a layer inside a Functional model."""

    def __init__(self, raw: KerasObject) -> None:
        self.raw = raw
        self.layer = raw.operation if hasattr(raw, "operation") else raw.layer
        if hasattr(raw, "arguments"):
            self.args, self.kwargs = raw.arguments.args, dict(raw.arguments.kwargs)
        else:
            self.args, self.kwargs = raw.call_args, dict(raw.call_kwargs)
        self.outputs = flatten(raw.outputs)
        self.is_input = bool(raw.is_input)

    def used(self) -> list[int]:
        """Return the identities of all arguments' leaves; tensors are among them."""
        return [] if self.is_input else [id(leaf) for leaf in flatten([self.args, self.kwargs])]


def _fill(structure: Any, values: Mapping[int, KerasObject]) -> Any:
    """Return ``structure`` with every symbolic tensor replaced by its value."""
    if isinstance(structure, Mapping):
        return {key: _fill(item, values) for key, item in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(_fill(item, values) for item in structure)
    return values.get(id(structure), structure)


class LayerWalk:
    """The values of one Keras model for one batch.

    Args:
        keras: The Keras module (``keras``, ``tf_keras`` or ``tensorflow.keras``).
    """

    def __init__(self, keras: KerasObject) -> None:
        self._keras = keras
        self._is_keras_3 = hasattr(keras, "ops")

    def input_names(self, model: KerasObject) -> list[str]:
        """Return the names of the model's input layers, in the model's order."""
        return [tensor._keras_history[0].name for tensor in flatten(model.inputs)]

    def output_names(self, model: KerasObject) -> list[str]:
        """Return the value name of every output of the model, in the model's order."""
        if self._is_sequential(model):
            return [model.layers[-1].name]
        names = self._value_names(self._nodes(model))
        return [names[id(tensor)] for tensor in flatten(model.outputs)]

    def call(self, model: KerasObject, inputs: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the outputs of the whole model in inference mode, without looking inside."""
        tensors = [self._tensor(array) for array in inputs]
        argument: Any = tensors[0] if len(tensors) == 1 else tensors
        if not self._is_sequential(model):
            # Keras 3 wants the structure the model was built with; Keras 2 takes lists for it.
            structure = getattr(model, "_inputs_struct", None)
            if isinstance(structure, Mapping):
                argument = dict(zip(sorted(structure), tensors, strict=True))
        return [to_numpy(tensor) for tensor in flatten(model(argument, training=False))]

    def values(
        self, model: KerasObject, inputs: Sequence[FloatArray]
    ) -> Iterator[tuple[str, FloatArray]]:
        """Yield ``(value name, array)`` of every layer's every call, nested models' included.

        Names: ``layer``, ``layer@1`` for its second call, ``layer#1`` for a second output,
        ``outer/inner`` inside a nested model. Input layers are left out: they pass on what the
        model was given.

        Raises:
            UnsupportedConfigError: The model is no Functional or Sequential model.
        """
        yield from self._model(model, [self._tensor(array) for array in inputs], "")

    def _model(
        self, model: KerasObject, inputs: list[KerasObject], prefix: str
    ) -> Generator[tuple[str, FloatArray], None, list[KerasObject]]:
        if self._is_sequential(model):
            return (yield from self._sequential(model, inputs, prefix))
        if self._is_functional(model):
            return (yield from self._functional(model, inputs, prefix))
        raise UnsupportedConfigError(
            f"model {model.name!r} cannot be looked into",
            found=type(model).__name__,
            wanted="a Functional or Sequential model",
        )

    def _sequential(
        self, model: KerasObject, inputs: list[KerasObject], prefix: str
    ) -> Generator[tuple[str, FloatArray], None, list[KerasObject]]:
        values = inputs
        calls: Counter[str] = Counter()
        for layer in model.layers:
            name = _call_name(prefix, layer.name, calls[layer.name])
            calls[layer.name] += 1
            values = yield from self._call(layer, (values[0],), {}, name)
        return values

    def _functional(
        self, model: KerasObject, inputs: list[KerasObject], prefix: str
    ) -> Generator[tuple[str, FloatArray], None, list[KerasObject]]:
        nodes = self._nodes(model)
        names = self._value_names(nodes)
        wanted = [id(tensor) for tensor in flatten(model.outputs)]
        uses = Counter(key for node in nodes for key in node.used()) + Counter(wanted)
        values = dict(zip((id(tensor) for tensor in flatten(model.inputs)), inputs, strict=True))
        for node in nodes:
            if node.is_input:
                continue
            name = prefix + names[id(node.outputs[0])]
            args, kwargs = _fill(node.args, values), _fill(node.kwargs, values)
            results = yield from self._call(node.layer, args, kwargs, name)
            values.update(zip((id(t) for t in node.outputs), results, strict=True))
            for key in node.used():
                uses[key] -= 1
                if uses[key] == 0:
                    values.pop(key, None)
        return [values[key] for key in wanted]

    def _call(
        self, layer: KerasObject, args: Sequence[Any], kwargs: dict[str, Any], name: str
    ) -> Generator[tuple[str, FloatArray], None, list[KerasObject]]:
        if self._is_sequential(layer) or self._is_functional(layer):
            inputs = self._nested_inputs(layer, args, kwargs)
            results = yield from self._model(layer, inputs, f"{name}/")
        else:
            expects = getattr(layer, "_call_has_training_arg", None)
            if expects is None:
                expects = getattr(layer, "_expects_training_arg", False)
            # Keras 3 overrides a saved `training=True` in predict, Keras 2 keeps it.
            if expects and (self._is_keras_3 or kwargs.get("training") is None):
                kwargs = {**kwargs, "training": False}
            results = flatten(layer(*args, **kwargs))
        for index, tensor in enumerate(results):
            yield (f"{name}#{index}" if index else name), to_numpy(tensor)
        return results

    def _nested_inputs(
        self, model: KerasObject, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> list[KerasObject]:
        given = args[0] if args else kwargs.get("inputs")
        if isinstance(given, Mapping):
            names = self.input_names(model)
            if set(names) == set(given):
                return [given[name] for name in names]
        return flatten(given)

    def _nodes(self, model: KerasObject) -> list[_Node]:
        by_depth = model._nodes_by_depth
        return [_Node(raw) for depth in sorted(by_depth, reverse=True) for raw in by_depth[depth]]

    def _value_names(self, nodes: Sequence[_Node]) -> dict[int, str]:
        """Return tensor identity -> name; calls are counted in the layer's own node order."""
        members = {id(node.raw) for node in nodes}
        names: dict[int, str] = {}
        for layer in {id(node.layer): node.layer for node in nodes}.values():
            own = [raw for raw in layer._inbound_nodes if id(raw) in members]
            for call, raw in enumerate(own):
                name = _call_name("", layer.name, call)
                for index, tensor in enumerate(flatten(raw.outputs)):
                    names[id(tensor)] = f"{name}#{index}" if index else name
        return names

    def _is_sequential(self, layer: KerasObject) -> bool:
        return isinstance(layer, self._keras.Sequential)

    def _is_functional(self, layer: KerasObject) -> bool:
        return isinstance(layer, self._keras.Model) and bool(getattr(layer, "_nodes_by_depth", 0))

    def _tensor(self, array: FloatArray) -> KerasObject:
        if self._is_keras_3:
            return self._keras.ops.convert_to_tensor(array)
        tensorflow = require(
            "tensorflow", purpose="running a Keras 2 model", install="pip install tensorflow"
        )
        return tensorflow.convert_to_tensor(array)


def _call_name(prefix: str, layer: str, call: int) -> str:
    return f"{prefix}{layer}@{call}" if call else f"{prefix}{layer}"
