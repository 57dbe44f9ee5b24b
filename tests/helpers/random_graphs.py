"""Random graphs, drawn node by node; ONNX Runtime says of each node whether it is one.

What a node computes is known while the graph is drawn. So no number overflows, and where an
operator decides, no number lies so near to its limit that rounding could decide otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

T = TypeVar("T")
OPSET = 18
_MOST_ELEMENTS, _LARGEST = 20_000, 300.0
# Distance from a limit that no rounding crosses.
FAR = 1e-3
_SIZES = {
    4: ((1, 1, 2, 3), (1, 2, 3, 4, 6, 8), (1, 2, 5, 6, 7, 8, 12), (1, 3, 5, 6, 8, 9)),
    3: ((1, 2), (1, 3, 4), (5, 8, 9)),
    2: ((1, 2, 3), (1, 4, 5)),
}


@dataclass
class Draw:
    """A graph that grows.

    Attributes:
        random: All choices are its own.
        values: What inputs and nodes hold, by name.
        constants: By name.
        nodes: In order.
    """

    random: np.random.Generator
    values: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def whole(self, least: int, most: int) -> int:
        return int(self.random.integers(least, most + 1))

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def one_of(self, items: Sequence[T]) -> T:
        return items[self.whole(0, len(items) - 1)]

    def numbers(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.random.normal(0, scale, shape).astype(np.float32)

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def floats(self, *numbers: float) -> str:
        return self.constant(np.array(numbers, np.float32))

    def constant(self, array: np.ndarray) -> str:
        """Return a constant's name; equal ones are shared now and then, whatever they mean."""
        for name, other in self.constants.items():
            same = other.dtype == array.dtype and np.array_equal(other, array)
            if same and other.shape == array.shape and self.chance(0.7):
                return name
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.array(name).shape

    def array(self, name: str) -> np.ndarray:
        return self.values[name] if name in self.values else self.constants[name]

    def pick(self, *ranks: int, kind: str = "float32") -> str | None:
        """Return a value of one of the ranks, a late one more often; None if there is none."""
        fits = [
            name
            for name, array in self.values.items()
            if array.dtype == kind and array.ndim in (ranks or range(1, 7))
        ]
        return self.one_of(fits[-2:] if self.chance(0.6) else fits) if fits else None

    def add(
        self, kind: str, inputs: Sequence[str], outputs: int = 1, **settings: Any
    ) -> str | None:
        """Add a node if ONNX Runtime runs it, and to numbers of a usual size; return its output."""
        names = [f"v{len(self.values)}_{index}" for index in range(outputs)]
        given = {name: value for name, value in settings.items() if value is not None}
        node = helper.make_node(kind, inputs, names, name=f"n{len(self.nodes)}", **given)
        found = self._computed(node)
        if not all(map(_is_usual, found)):
            return None
        self.nodes.append(node)
        self.values.update(zip(names, found, strict=True))
        return names[0]

    def _computed(self, node: onnx.NodeProto) -> list[np.ndarray | None]:
        taken = dict.fromkeys(node.input)
        feeds = {name: self.values[name] for name in taken if name in self.values}
        held = {name: self.constants[name] for name in taken if name in self.constants}
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        model = _model(
            [node], {name: _info(name, array) for name, array in feeds.items()}, outputs, held
        )
        try:
            return list(_session(model).run(list(node.output), feeds))
        except Exception:  # noqa: BLE001 - whatever the library finds wrong: it is no node
            return [None]


Rule = Callable[[Draw], str | None]
# Filled by `helpers.random_images` and `helpers.random_values`.
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def drawn(seed: int, most: int = 7) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return a graph of at most about ``most`` nodes, and what it is fed."""
    draw = Draw(np.random.default_rng(seed))
    rank = draw.one_of([4] * 8 + [3, 2])
    first = tuple(draw.one_of(sizes) for sizes in _SIZES[rank])
    draw.values["x"] = draw.numbers(*first)
    if draw.chance(0.25):
        draw.values["y"] = draw.numbers(*first)
    feeds = dict(draw.values)
    wanted = draw.whole(1, most)
    for _ in range(40):
        if len(draw.nodes) < wanted:
            draw.one_of(RULES)(draw)
    if not draw.nodes:
        draw.add("Relu", ["x"])
    free = draw.chance(0.3)
    read = {name for node in draw.nodes for name in node.input}
    made = [name for node in draw.nodes for name in node.output]
    ends = [name for name in made if name not in read] or made[-1:]
    kept = ends if draw.chance(0.4) else ends[-1:]
    if draw.chance(0.2):
        kept = list(dict.fromkeys([*kept, draw.one_of(made)]))
    inputs = {name: _info(name, array, free=free) for name, array in feeds.items()}
    # Sizes of outputs are left to inference where those of inputs are free.
    outputs = [_info(name, draw.values[name], unknown=free) for name in kept]
    held = {name: array for name, array in draw.constants.items() if name in read}
    return _model(draw.nodes, inputs, outputs, held), feeds


def _is_usual(array: np.ndarray | None) -> bool:
    if array is None or not 0 < array.size <= _MOST_ELEMENTS:
        return False
    return array.dtype.kind != "f" or bool(np.abs(array).max() <= _LARGEST)


def _info(
    name: str, array: np.ndarray, *, free: bool = False, unknown: bool = False
) -> onnx.ValueInfoProto:
    sizes: list[int | str] | None = list(array.shape)
    if free and sizes:
        sizes[0] = "N"
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, None if unknown else sizes)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs.values()), list(outputs), held)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
