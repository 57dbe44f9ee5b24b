"""A graph described in Keras' terms: layers, shapes, weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.metadata import Source
from segrt.types import Shape


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One Keras value.

    Attributes:
        name: The value's name (``outer/inner``, ``name@1`` for a second call).
        class_name: Keras class, "" for values without a node (inputs).
        shape: In the source's axis order; None is an unknown size.
        parameters: Numbers in the weights of its layer; 0 for a further call of the same layer.
        nodes: How many ONNX nodes make it.
    """

    name: str
    class_name: str
    shape: Shape
    parameters: int
    nodes: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model.

    Attributes:
        source: The file it came from, None for graphs made otherwise.
        inputs: Name and shape of every input.
        outputs: Name and shape of every output.
        layers: Every Keras value, in the order of computation.
        remarks: What the importer has to say.
    """

    source: Source | None
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]
    layers: tuple[LayerSummary, ...]
    remarks: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def classes(self) -> dict[str, int]:
        """Keras class -> how many values it makes, most frequent first."""
        counted = Counter(layer.class_name for layer in self.layers if layer.class_name)
        return dict(counted.most_common())


def summarise(model: ir.Model) -> ModelSummary:
    """Describe an imported graph; nothing is computed."""
    graph = model.graph
    nodes: Counter[str] = Counter()
    classes: dict[str, str] = {}
    for node in graph:
        layer = metadata.layer_of(node)
        nodes[layer] += 1
        classes.setdefault(layer, metadata.class_of(node))
    weights = _weights(graph)
    return ModelSummary(
        source=metadata.source(model),
        inputs=tuple((str(value.name), _shape(value)) for value in graph.inputs),
        outputs=tuple((str(value.name), _shape(value)) for value in graph.outputs),
        layers=tuple(
            LayerSummary(
                name, classes.get(name, ""), _shape(value), weights.get(name, 0), nodes[name]
            )
            for name, value in metadata.keras_values(graph)
        ),
        remarks=tuple(metadata.remarks(model)),
    )


def _weights(graph: ir.Graph) -> dict[str, int]:
    """Return the size of the weights ``<layer>/<role>`` by layer.

    Constants that are no weights are named ``<layer>:<role>`` and do not count.
    """
    sizes: Counter[str] = Counter()
    for name, value in graph.initializers.items():
        layer, slash, role = name.rpartition("/")
        if slash and ":" not in role and value.const_value is not None:
            sizes[layer] += value.const_value.size
    return dict(sizes)


def _shape(value: ir.Value) -> Shape:
    if value.shape is None:
        return ()
    stored = tuple(size if isinstance(size, int) else None for size in value.shape)
    axes = metadata.to_source(value)
    return stored if axes is None else tuple(stored[axis] for axis in axes)
