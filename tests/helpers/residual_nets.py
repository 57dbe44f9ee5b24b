"""Networks with shortcuts: blocks in which a convolution's result and another image are added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

SHAPE = (2, 16, 9, 11)


class Net:
    """A graph in the making: convolutions with weights of their own, and other nodes."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, kind: int = TensorProto.FLOAT) -> None:
        self.shape, self._kind = shape, kind
        self._nodes: list[NodeProto] = []
        self._arrays: list[TensorProto] = []
        self._random = np.random.default_rng(11)

    def convolve(
        self, value: str, sizes: tuple[int, int], window: int = 3, **attributes: Any
    ) -> str:
        """Add a convolution from the first of ``sizes`` to the second, at the same place."""
        inputs, outputs = sizes
        shape = (outputs, inputs // attributes.get("group", 1), window, window)
        reach = np.sqrt(2 / np.prod(shape[1:]))
        kernel = self.constant(self._random.normal(0, reach, shape))
        bias = self.constant(self._random.normal(0, 0.5, outputs))
        pads = [window // 2] * 4
        return self.apply("Conv", value, kernel, bias, pads=pads, **attributes)

    def apply(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant; return its name."""
        name = f"c{len(self._arrays)}"
        self._arrays.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def shaped(self, value: str, sizes: tuple[int, ...]) -> str:
        """Add a Reshape; return the name of its output."""
        name = f"c{len(self._arrays)}"
        self._arrays.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        return self.apply("Reshape", value, name)

    def model(self, *outputs: str) -> ModelProto:
        """Return the model."""
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", self._kind, self.shape)],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self._arrays,
        )
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return shape_inference.infer_shapes(model, strict_mode=True)


def _body(net: Net) -> tuple[str, str]:
    """Return a stem's output, and what two convolutions make of it, the second one bare."""
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    inner = net.apply("Relu", net.convolve(stem, (24, 24)))
    return stem, net.convolve(inner, (24, 24))


def identity(net: Net) -> list[str]:
    stem, last = _body(net)
    return [net.apply("Relu", net.apply("Add", last, stem))]


def _second_operand(net: Net) -> list[str]:
    stem, last = _body(net)
    return [net.apply("Relu", net.apply("Add", stem, last))]


def projection(net: Net) -> list[str]:
    """A block with strides, its shortcut a 1x1 convolution that is made later."""
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    inner = net.apply("Relu", net.convolve(stem, (24, 32), strides=[2, 2]))
    body = net.convolve(inner, (32, 32))
    shortcut = net.convolve(stem, (24, 32), 1, strides=[2, 2])
    return [net.apply("Relu", net.apply("Add", body, shortcut))]


def _later_shortcut(net: Net) -> list[str]:
    """The convolution comes first, and what is added only exists behind it."""
    body = net.convolve("x", (16, 24))
    pooled = net.apply("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    shortcut = net.apply("Tanh", net.apply("Concat", pooled, net.convolve("x", (16, 8)), axis=1))
    return [net.apply("Add", body, shortcut)]


def _linear(net: Net) -> list[str]:
    """Without an activation, and read twice: by the next block and by its shortcut."""
    stem, last = _body(net)
    total = net.apply("Add", stem, last)
    inner = net.apply("Relu", net.convolve(total, (24, 24)))
    return [net.apply("Add", net.convolve(inner, (24, 24)), total)]


def _other_activation(net: Net) -> list[str]:
    stem, last = _body(net)
    return [net.apply("LeakyRelu", net.apply("Add", last, stem), alpha=0.2)]


def _read_by_others(net: Net) -> list[str]:
    stem, last = _body(net)
    total = net.apply("Relu", net.apply("Add", last, stem))
    return [total, net.apply("Sigmoid", stem)]


def _network_input(net: Net) -> list[str]:
    inner = net.apply("Relu", net.convolve("x", (16, 16)))
    return [net.apply("Relu", net.apply("Add", "x", net.convolve(inner, (16, 16))))]


def _own_input(net: Net) -> list[str]:
    return [net.apply("Add", net.convolve("x", (16, 16)), "x")]


def _attention(net: Net) -> list[str]:
    """Two convolutions added together, and neither of them read by anything else."""
    gate = net.apply("Relu", net.convolve("x", (16, 24)))
    both = net.apply("Add", net.convolve(gate, (24, 12), 1), net.convolve("x", (16, 12), 1))
    return [net.convolve(net.apply("Relu", both), (12, 24))]


def _slices(net: Net) -> list[str]:
    """The sum lies in a concatenation, and so does what is added: both in slices of one."""
    stem, last = _body(net)
    total = net.apply("Relu", net.apply("Add", last, stem))
    return [net.convolve(net.apply("Concat", stem, total, axis=1), (48, 16))]


def _odd_slices(net: Net) -> list[str]:
    """Slices that begin where no vector may: the parts are copied."""
    stem, last = _body(net)
    total = net.apply("Relu", net.apply("Add", last, stem))
    thin = net.convolve("x", (16, 3))
    return [net.convolve(net.apply("Concat", thin, total, stem, axis=1), (51, 16))]


def _three(net: Net) -> list[str]:
    """A sum of three: two additions."""
    stem, last = _body(net)
    total = net.apply("Add", net.apply("Add", last, stem), net.convolve("x", (16, 24), 1))
    return [net.apply("Relu", total)]


def _grouped(net: Net) -> list[str]:
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    return [net.apply("Add", net.convolve(stem, (24, 24), group=24), stem)]


def _shuffled(net: Net) -> list[str]:
    """Phases to which something is added, and their shuffle."""
    stem = net.apply("Relu", net.convolve("x", (16, 32)))
    total = net.apply("Add", net.convolve(stem, (32, 32)), stem)
    return [net.apply("DepthToSpace", total, blocksize=2, mode="CRD")]


def _phases_first(net: Net) -> list[str]:
    stem = net.apply("Relu", net.convolve("x", (16, 32)))
    total = net.apply("Add", net.convolve(stem, (32, 32)), stem)
    return [net.apply("DepthToSpace", total, blocksize=2, mode="DCR")]


def _body_read_twice(net: Net) -> list[str]:
    """What the convolution makes without the addition is wanted too."""
    stem, last = _body(net)
    return [net.apply("Add", last, stem), net.apply("Tanh", last)]


def _three_in_turn(net: Net) -> list[str]:
    """A sum of three, of which two convolutions add one each."""
    lateral = net.convolve("x", (16, 24), 1)
    stem, last = _body(net)
    return [net.apply("Add", lateral, net.apply("Add", last, stem))]


def _head(net: Net) -> list[str]:
    """A last layer to few channels with something added, and the decision behind it."""
    stem = net.apply("Relu", net.convolve("x", (16, 3)))
    return [net.apply("Add", net.convolve("x", (16, 3), 1), stem)]


def _pooled(net: Net) -> list[str]:
    stem, last = _body(net)
    total = net.apply("Relu", net.apply("Add", last, stem))
    return [net.apply("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])]


# With how many convolutions that add.
NETS: dict[Callable[[Net], list[str]], int] = {
    identity: 1, _second_operand: 1, projection: 1, _later_shortcut: 1, _linear: 2,
    _other_activation: 0, _read_by_others: 1, _network_input: 1, _own_input: 1, _attention: 1,
    _slices: 1, _odd_slices: 1, _three: 1, _grouped: 1, _shuffled: 1, _head: 0, _pooled: 1,
    _phases_first: 1, _body_read_twice: 0, _three_in_turn: 2,
}  # fmt: skip


def feeds_for(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return random numbers for a net's input."""
    return {"x": np.random.default_rng(5).normal(size=shape).astype(np.float32)}


def ort_outputs(model: ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime computes."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def check(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], bound: float) -> None:
    """Compare outputs by their relative L2 error."""
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert np.isfinite(found[name]).all()
        error = np.linalg.norm(found[name] - array) / np.linalg.norm(array)
        assert error <= bound, (name, error)
