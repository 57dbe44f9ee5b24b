"""Transposes that undo one another, also across operators that work in any layout."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run

from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def check(model, shape=(2, 4, 6, 5)):
    lowered, verdicts = lower(model, PassContext())
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    before, after = run(model, x), run(lowered, x)
    assert list(before) == list(after)
    for name, wanted in before.items():
        np.testing.assert_allclose(after[name], wanted, rtol=2e-6, atol=1e-6)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    for name in set(wanted) - set(metadata.fused(lowered)):
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-6, atol=1e-6, err_msg=name)
    return lowered, verdicts


class Last(Net):
    """A net in which some layers work channels last: stored as Keras has them."""

    def last(self, value, name):
        self.rename(value, name)
        metadata.tag_value(value, name, None)
        metadata.tag_node(value.producer(), name, "Layer")
        return value

    def turn(self, x, perm):
        return self.op("Transpose", [x], name="turn", perm=perm)


def test_neighbours_cancel_or_merge():
    net = Last()
    x = net.layer("Relu", [net.image(4)], "relu")
    y = net.turn(net.turn(x, LAST), FIRST)
    z = net.last(net.turn(net.turn(x, LAST), LAST), "turned")
    lowered, verdicts = check(net.model(net.layer("Neg", [y], "neg"), z))
    assert ops(lowered).count("Transpose") == 1
    assert all(v.certificate.claim == "bit-equal" for v in verdicts if v.applied)


def test_a_sandwich_of_layout_free_layers_loses_its_transposes():
    net = Last()
    x = net.layer("Relu", [net.image(4)], "relu")
    t = net.turn(x, LAST)
    a = net.last(net.op("Sigmoid", [t], name="s"), "sig")
    scale = net.constant("scale", net.normal(4))
    b = net.last(net.op("Mul", [a, scale], name="m"), "mul")
    c = net.last(net.op("Concat", [b, t], name="c", axis=-1), "cat")
    axes = net.constant("axes", np.int64([1, 2]))
    d = net.last(net.op("ReduceMean", [c, axes], name="r", keepdims=1), "mean")
    e = net.last(net.op("Add", [c, d], name="a"), "add")
    f = net.last(net.op("Softmax", [e], name="x", axis=-1), "soft")
    model = net.model(net.layer("Relu", [net.turn(f, FIRST)], "out"))
    lowered, _ = check(model)
    assert "Transpose" not in ops(lowered)
    softmax = next(node for node in lowered.graph if node.op_type == "Softmax")
    assert softmax.attributes["axis"].as_int() == 1


def test_outputs_keep_name_and_layout():
    net = Last()
    t = net.turn(net.layer("Relu", [net.image(4)], "relu"), LAST)
    a = net.last(net.op("Tanh", [t], name="t"), "tanh")
    y = net.layer("Relu", [net.turn(a, FIRST)], "out")
    lowered, _ = check(net.model(y, a))
    assert [value.name for value in lowered.graph.outputs] == ["out", "tanh"]
    net = Last()
    t = net.turn(net.layer("Relu", [net.image(4)], "relu"), LAST)
    a = net.last(net.op("Tanh", [t], name="t"), "tanh")
    back = net.turn(a, FIRST)
    net.rename(back, "result")
    lowered, _ = check(net.model(back))
    assert ops(lowered) == ["Relu", "Tanh"]
    assert lowered.graph.outputs[0].name == "result"


def test_a_network_in_and_out_channels_last_keeps_its_two():
    net = Last()
    x = net.input("x", (None, 6, 5, 4), ir.DataType.FLOAT)
    y = net.layer("Relu", [net.conv(net.turn(x, FIRST), 3)], "relu")
    out = net.turn(y, LAST)
    net.rename(out, "y")
    lowered, _ = check(net.model(out), shape=(2, 6, 5, 4))
    assert ops(lowered) == ["Transpose", "Conv", "Relu", "Transpose"]


@pytest.mark.parametrize("inner", ["Softmax", "MatMul"])
def test_what_depends_on_the_layout_keeps_its_transposes(inner):
    net = Last()
    t = net.turn(net.layer("Relu", [net.image(4)], "relu"), LAST)
    if inner == "MatMul":
        y = net.op("MatMul", [t, net.constant("w", net.normal((4, 3)))], name="mm")
    else:
        y = net.op("Flatten", [t], name="flat")
    model = net.model(net.last(net.op("Relu", [y], name="r"), "out"))
    lowered, _ = check(model)
    assert "Transpose" in ops(lowered)


def test_a_sandwich_with_unknown_sizes():
    net = Last()
    t = net.turn(net.layer("Relu", [net.image(4, None, None)], "relu"), LAST)
    a = net.last(net.op("LeakyRelu", [t], name="l", alpha=0.1), "leaky")
    slope = net.constant("slope", net.normal((1, 1, 4)))
    b = net.last(net.op("PRelu", [a, slope], name="p"), "prelu")
    lowered, _ = check(net.model(net.layer("Relu", [net.turn(b, FIRST)], "out")))
    assert "Transpose" not in ops(lowered)


def test_recoveries_follow_their_value_into_the_other_layout():
    net = Last()
    t = net.turn(net.layer("Relu", [net.image(4)], "relu"), LAST)
    a = net.last(net.op("Tanh", [t], name="t"), "tanh")
    d = net.last(net.op("Identity", [a], name="d"), "drop")
    lowered, _ = check(net.model(net.layer("Relu", [net.turn(d, FIRST)], "out")))
    assert ops(lowered) == ["Relu", "Tanh", "Relu"]
    values = {value.name: value for node in lowered.graph for value in node.outputs}
    (entry,) = metadata.recoveries(values["tanh"])
    assert (entry.keras, entry.scale.size, entry.to_source) == ("drop", 4, "0,2,3,1")
