"""Batch norm, padding, constants and no-ops, against ONNX Runtime on the old graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.fix_shapes import fix_shapes
from segrt.passes import fold_batch_norm
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext()


def check(model, bound=2e-5, shape=(2, 4, 6, 5)):
    """Lower, and compare every Keras value that is still there with the old graph."""
    before = ir.to_proto(model).SerializeToString()
    lowered, verdicts = lower(model, CONTEXT)
    assert ir.to_proto(model).SerializeToString() == before, "the argument was changed"
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    for name in wanted:
        if name in metadata.fused(lowered):
            continue
        scale = np.linalg.norm(wanted[name]) or 1.0
        assert np.linalg.norm(found[name] - wanted[name]) <= bound * scale, name
    return lowered, verdicts


@pytest.mark.parametrize("kind", ["conv", "1x1", "depthwise", "grouped", "transposed", "gemm"])
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_backward(kind, bias):
    net = Net()
    x = net.image(4)
    if kind == "gemm":
        x = net.input("x2", (None, 4), ir.DataType.FLOAT)
        net.graph.inputs[:] = [x]
        x.name = "x"
        inputs = [x, net.constant("k", net.normal((4, 3)))]
        inputs += [net.constant("b", net.normal(3))] if bias else []
        y = net.layer("Gemm", inputs, "conv")
    elif kind == "transposed":
        inputs = [x, net.constant("k", net.normal((4, 3, 3, 3)))]
        inputs += [net.constant("b", net.normal(6))] if bias else []
        y = net.layer("ConvTranspose", inputs, "conv", strides=(2, 2), group=2)
    else:
        group = {"depthwise": 4, "grouped": 2}.get(kind, 1)
        kernel = (1, 1) if kind == "1x1" else (3, 2)
        y = net.conv(x, 8, kernel, group=group, bias=bias)
    model = net.model(net.layer("Relu", [net.batch_norm(y)], "relu"))
    shape = (5, 4) if kind == "gemm" else (2, 4, 6, 5)
    lowered, verdicts = check(model, shape=shape)
    assert "BatchNormalization" not in ops(lowered)
    folded = [v for v in verdicts if v.pass_name == "fold_batch_norm"]
    assert folded[0].applied
    assert 0 < folded[0].certificate.error < 1e-6


def test_two_batch_norms_and_dropout_keep_every_layer_recoverable():
    net = Net()
    y = net.layer("Identity", [net.conv(net.image(4), 5)], "drop")
    y = net.batch_norm(net.batch_norm(y), "bn2")
    lowered, _ = check(net.model(net.layer("Relu", [y], "relu")))
    assert ops(lowered) == ["Conv", "Relu"]
    assert metadata.fused(lowered) == {}


def test_batch_norm_with_a_zero_scale_still_folds():
    net = Net()
    y = net.batch_norm(net.conv(net.image(4), 5))
    net.graph.initializers["bn/gamma"].const_value.numpy()[2] = 0
    model = net.model(net.layer("Relu", [y], "relu"))
    lowered, _ = lower(model, CONTEXT)
    assert ops(lowered) == ["Conv", "Relu"]
    x = np.ones((1, 4, 6, 5), np.float32)
    np.testing.assert_allclose(run(lowered, x)["relu"], run(model, x)["relu"], atol=1e-5)


@pytest.mark.parametrize(("pads", "folds"), [((0, 0, 0, 0), True), ((1, 1, 1, 1), False)])
def test_batch_norm_folds_forward_only_without_padding(pads, folds):
    net = Net()
    y = net.batch_norm(net.layer("Relu", [net.image(4)], "relu"))
    lowered, verdicts = check(net.model(net.conv(y, 3, (3, 3), pads)))
    assert ("BatchNormalization" not in ops(lowered)) is folds
    if not folds:
        assert "pads with zeros" in verdicts[-1].reason


def test_batch_norm_refuses_a_convolution_that_is_seen_elsewhere():
    for as_output in (True, False):
        net = Net()
        conv = net.conv(net.image(4), 5)
        bn = net.batch_norm(conv)
        last = [bn, conv] if as_output else [net.layer("Add", [bn, conv], "add")]
        lowered, verdicts = check(net.model(*last))
        assert "BatchNormalization" in ops(lowered)
        assert "used elsewhere" in verdicts[-1].reason


def test_a_wrong_factor_fails_the_certificate(monkeypatch):
    real = fold_batch_norm._affine

    def wrong(node):
        affine = real(node)
        affine.shift[-1] += 1e-3
        return affine

    monkeypatch.setattr(fold_batch_norm, "_affine", wrong)
    net = Net()
    model = net.model(net.batch_norm(net.conv(net.image(4), 5)))
    lowered, verdicts = lower(model, CONTEXT)
    assert ops(lowered) == ["Conv", "BatchNormalization"]
    assert "certificate" in verdicts[-1].reason


def padded(net, x, pads=(0, 0, 1, 2, 0, 0, 0, 1), **attributes):
    inputs = [x, net.constant("pads", np.int64(pads))]
    return net.layer("Pad", inputs, "pad", **attributes)


def test_zero_padding_folds_into_convolutions():
    net = Net()
    y = padded(net, net.image(4))
    one = net.conv(y, 3, (3, 3), (0, 0, 0, 0), strides=(2, 2))
    two = net.conv(y, 3, (3, 2), (1, 0, 0, 0), name="two", dilations=(2, 1))
    lowered, verdicts = check(net.model(one, two), bound=1e-6)
    assert ops(lowered) == ["Conv", "Conv"]
    assert set(metadata.fused(lowered)) == {"pad"}
    assert verdicts[0].certificate.error == 0.0


@pytest.mark.parametrize("case", ["reflect", "value", "average", "max", "output", "automatic"])
def test_padding_that_would_change_the_result_stays(case):
    net = Net()
    x = net.image(4)
    outputs = []
    if case == "reflect":
        y = net.conv(padded(net, x, mode="reflect"), 3, pads=(0, 0, 0, 0))
    elif case == "value":
        inputs = [
            x,
            net.constant("p", np.int64([0, 0, 1, 1] * 2)),
            net.constant("v", np.float32(1)),
        ]
        y = net.conv(net.layer("Pad", inputs, "pad"), 3)
    elif case in ("average", "max"):
        op = {"average": "AveragePool", "max": "MaxPool"}[case]
        y = net.layer(op, [padded(net, x)], "pool", kernel_shape=(3, 3), strides=(2, 2))
    elif case == "automatic":
        kernel = net.constant("k", net.normal((2, 4, 3, 3)))
        attributes = {"auto_pad": "SAME_UPPER", "strides": (2, 2)}
        y = net.layer("Conv", [padded(net, x), kernel], "conv", **attributes)
    else:
        outputs = [padded(net, x)]
        y = net.conv(outputs[0], 3)
    lowered, verdicts = check(net.model(y, *outputs), bound=1e-6)
    assert "Pad" in ops(lowered)
    refused = [v for v in verdicts if v.pass_name == "fold_padding"]
    assert len(refused) == 1
    assert not refused[0].applied


def test_padding_folds_into_max_pooling_of_values_that_are_never_negative():
    net = Net()
    y = padded(net, net.layer("Relu", [net.image(4)], "relu"), (0, 0, 1, 1, 0, 0, 1, 1))
    model = net.model(net.layer("MaxPool", [y], "pool", kernel_shape=(3, 3), strides=(2, 2)))
    lowered, _ = check(model, bound=0.0)
    assert ops(lowered) == ["Relu", "MaxPool"]


def test_noops_go_and_their_layers_stay_recoverable():
    net = Net()
    x = net.layer("Relu", [net.image(4)], "relu")
    y = net.layer("Dropout", [x], "dropout")
    y = net.layer("Mul", [y, net.constant("one", np.float32(1))], "mul")
    y = net.layer("Add", [net.constant("zero", np.zeros((4, 1, 1), np.float32)), y], "add")
    y = net.layer("Transpose", [y], "transpose", perm=(0, 1, 2, 3))
    y = net.layer("Reshape", [y, net.constant("shape", np.int64([0, 4, -1, 5]))], "reshape")
    y = net.layer("Pad", [y, net.constant("none", np.int64([0] * 8))], "pad")
    y = net.up(y, 1)
    lowered, _ = check(net.model(net.layer("Identity", [y], "out")), bound=0.0)
    assert ops(lowered) == ["Relu"]
    assert [value.name for value in lowered.graph.outputs] == ["out"]


def test_what_only_looks_like_a_noop_stays():
    net = Net()
    x = net.image(1)
    wide = net.layer("Add", [x, net.constant("zero", np.zeros((3, 1, 1), np.float32))], "wide")
    shape = net.constant("shape", np.int64([0, 3, 5, -1]))
    y = net.layer("Reshape", [wide, shape], "reshape")
    lowered, _ = check(net.model(y), shape=(2, 1, 6, 5))
    assert ops(lowered) == ["Add", "Reshape"]
    net = Net()
    lowered, _ = check(net.model(net.layer("Identity", [net.image(4)], "same")))
    assert ops(lowered) == ["Identity"]


def test_constants_and_known_shapes_fold():
    net = Net()
    x = net.image(4)
    kernel = net.op(
        "Transpose", [net.constant("k", net.normal((3, 3, 4, 2)))], name="t", perm=(3, 2, 0, 1)
    )
    size = net.op("Shape", [x], name="size", start=2, end=4)
    shape = net.op("Concat", [net.constant("lead", np.int64([0, 2])), size], name="sizes", axis=0)
    y = net.layer("Conv", [x, kernel], "conv", pads=(1, 1, 1, 1))
    half = net.op("Sqrt", [net.constant("q", np.float32([0.3, 2]))], name="root")
    y = net.layer(
        "Mul",
        [y, net.op("Reshape", [half, net.constant("r", np.int64([2, 1, 1]))], name="h")],
        "mul",
    )
    model = net.model(net.layer("Reshape", [y, shape], "out"))
    lowered, _ = check(model)
    # The last Reshape goes too: with its sizes known, it keeps the shape.
    assert ops(lowered) == ["Conv", "Mul"]


def test_sizes_that_keras_layers_compute_fold_where_they_are_used():
    net = Net()
    x = net.image(4, None, None)
    size = net.keras(net.op("Shape", [x], name="sizes", start=2, end=4), "tf.shape")
    double = net.layer("Mul", [size, net.constant("two", np.int64([2, 2]))], "tf.math.multiply")
    front = net.op("Shape", [x], name="front", start=0, end=2)
    target = net.op("Concat", [front, double], name="target", axis=0)
    big = net.layer("Resize", [x, None, None, target], "resize", mode="nearest")
    model = fix_shapes(net.model(net.layer("Relu", [big], "relu")), {"x": [2, 4, 6, 5]})
    lowered, verdicts = check(model)
    assert ops(lowered) == ["Resize", "Relu"]
    assert {"tf.shape", "tf.math.multiply"} <= {v.subject for v in verdicts if v.applied}
    assert set(metadata.fused(lowered)) == {"tf.shape", "tf.math.multiply"}


def test_a_size_that_a_network_returns_stays():
    net = Net()
    x = net.image(4)
    size = net.keras(net.op("Shape", [x], name="sizes"), "tf.shape")
    y = net.layer("Reshape", [net.layer("Relu", [x], "relu"), size], "again")
    model = net.model(y)
    model.graph.outputs.append(size)
    lowered, _ = lower(model, CONTEXT)
    assert "Shape" in ops(lowered)


def test_a_constant_bomb_is_not_computed():
    net = Net()
    huge = net.constant("huge", np.int64([1, 4, 1 << 14, 1 << 14]))
    bomb = net.op(
        "Expand", [net.constant("seed", np.zeros((1, 4, 1, 1), np.float32)), huge], name="bomb"
    )
    model = net.model(net.layer("Add", [net.image(4, None, None), bomb], "add"))
    lowered, _ = lower(model, CONTEXT)
    assert ops(lowered) == ["Expand", "Add"]


def test_a_pass_that_loses_a_layer_is_caught(monkeypatch):
    from segrt.passes.remove_noops import RemoveNoops

    def careless(self, model, context):
        for node in list(model.graph):
            if node.op_type == "Identity":
                node.outputs[0].replace_all_uses_with(node.inputs[0])
                model.graph.remove(node, safe=True)
        return []

    monkeypatch.setattr(RemoveNoops, "__call__", careless)
    net = Net()
    y = net.layer("Identity", [net.image(4)], "drop")
    with pytest.raises(PassError, match="lost Keras values"):
        lower(net.model(net.layer("Relu", [y], "relu")), CONTEXT)
