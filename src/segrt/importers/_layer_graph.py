"""The description of a Keras model that every Keras reader returns: layers, calls and weights.

It says what the file says; nothing is computed or converted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

JsonObject: TypeAlias = dict[str, Any]
Array: TypeAlias = npt.NDArray[Any]
Leaf = TypeVar("Leaf")
WeightLoader: TypeAlias = Callable[[], Array]


class KerasVersion(NamedTuple):
    """Which Keras saved a file; compares like a tuple: ``version >= (2, 3)``.

    Attributes:
        major, minor, patch: As written.
        tensorflow: Whether it was marked as TensorFlow's own copy (``2.2.4-tf``).
    """

    major: int
    minor: int
    patch: int
    tensorflow: bool = False


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One symbolic tensor: output ``tensor`` of call ``call`` of the layer named ``layer``."""

    layer: str
    call: int
    tensor: int


# Arguments of a call: TensorRef leaves inside lists, tuples and dicts, other leaves are constants.
Argument: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer: what it was called with."""

    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument]

    def tensors(self) -> list[TensorRef]:
        """Return all tensors among the arguments, in order."""
        return list(iter_tensors((self.args, dict(self.kwargs))))


@dataclass(frozen=True, slots=True)
class WeightEntry:
    """One array of a layer, as the file holds it; read when `load` is called.

    Attributes:
        path: Where it lies in the file, for messages and listings.
        name: Its own name without the layer's and without ``:0`` (``kernel``), or its number
            where the file keeps no names (``0``).
        shape: As stored.
        dtype: NumPy's name of the stored type.
        load: Reads the array.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    load: WeightLoader


@dataclass(slots=True)
class KerasLayer:
    """One layer of a model.

    Attributes:
        name: Unique within its model.
        class_name: Keras' class, without the registration package (``Conv2D``).
        package: The registration package (``Custom``), "" for Keras' own classes.
        config: The layer's saved configuration.
        calls: In the order of Keras' node index.
        weights: Its arrays in Keras' order; empty for a nested model, whose layers own them.
        model: The nested model, where the layer is one.
        converter: The `LayerConverter` chosen for this layer ahead of the registered one of its
            class: bound by the user, or recognised by more than the class' name.
    """

    name: str
    class_name: str
    package: str
    config: JsonObject
    calls: list[LayerCall]
    weights: list[WeightEntry] = field(default_factory=list)
    model: LayerGraph | None = None
    converter: Any = None


@dataclass(slots=True)
class LayerGraph:
    """A Functional or Sequential model.

    Attributes:
        name: The model's name.
        layers: By name, in the file's order.
        inputs: Tensors of the input layers, in the model's order.
        outputs: Tensors, in the model's order.
        output_names: One per output where the model names them (dict outputs), else None.
        keras_version: Of the Keras that saved the file.
    """

    name: str
    layers: dict[str, KerasLayer]
    inputs: list[TensorRef]
    outputs: list[TensorRef]
    output_names: list[str] | None
    keras_version: KerasVersion


def iter_tensors(argument: Argument) -> Iterator[TensorRef]:
    """Yield the tensors inside a nested argument, in order."""
    return iter_leaves(TensorRef, argument)


def iter_leaves(kind: type[Leaf], argument: Argument) -> Iterator[Leaf]:
    """Yield what is of type ``kind`` inside nested lists, tuples and mappings, in order."""
    if isinstance(argument, kind):
        yield argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from iter_leaves(kind, item)
    elif isinstance(argument, Mapping):
        for item in argument.values():
            yield from iter_leaves(kind, item)


def map_tensors(argument: Argument, function: Callable[[TensorRef], Any]) -> Argument:
    """Return ``argument`` with every tensor in it replaced by ``function(tensor)``."""
    if isinstance(argument, TensorRef):
        return function(argument)
    if isinstance(argument, list):
        return [map_tensors(item, function) for item in argument]
    if isinstance(argument, tuple):
        return tuple(map_tensors(item, function) for item in argument)
    if isinstance(argument, Mapping):
        return {key: map_tensors(item, function) for key, item in argument.items()}
    return argument


def walk_layers(graph: LayerGraph, prefix: str = "") -> Iterator[tuple[str, KerasLayer]]:
    """Yield ``(path, layer)`` of every layer, those of nested models (``outer/inner``) too."""
    for layer in graph.layers.values():
        path = f"{prefix}{layer.name}"
        yield path, layer
        if layer.model is not None:
            yield from walk_layers(layer.model, f"{path}/")


def as_float32(array: Array) -> npt.NDArray[np.float32]:
    """Return floating data as C-contiguous float32 (half and double are cast)."""
    return np.ascontiguousarray(array, dtype=np.float32)
