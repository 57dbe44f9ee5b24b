"""ONNX files that are damaged, unsafe, too new, too old, or hold what no network should."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import segrt
from segrt.errors import (
    ModelFileError,
    SegrtError,
    UnsafeFileError,
    UnsupportedConfigError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.graph import metadata

KERNEL = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3) / 10


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, *, weights=(), shape=("N", 3, "H", "W"), opset=17, output=None, functions=()):
    graph = helper.make_graph(
        list(nodes), "net", [info("x", shape)], [info("y", output)],
        initializer=[numpy_helper.from_array(np.asarray(a), n) for n, a in dict(weights).items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid("own", 1)] if functions else []
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def conv(**attributes):
    return helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)


def write(tmp_path, proto, name="net.onnx"):
    path = tmp_path / name
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


def run(graph, x):
    data = graph if isinstance(graph, bytes) else ir.to_proto(graph).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def same(tmp_path, proto, x):
    """The imported graph says what ONNX Runtime says of the file itself."""
    proto.ir_version = min(proto.ir_version, 10)
    loaded = segrt.load(write(tmp_path, proto))
    np.testing.assert_allclose(
        run(loaded, x), run(proto.SerializeToString(), x), rtol=1e-6, atol=1e-6
    )
    return loaded


def image(shape=(2, 3, 6, 5), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_plain_file_is_read(tmp_path):
    loaded = same(tmp_path, model([conv()], weights={"w": KERNEL}), image())
    assert [name for name, _ in metadata.keras_values(loaded.graph)] == ["x", "y"]
    assert "y/kernel" in loaded.graph.initializers


@pytest.mark.parametrize("keep", [40, 200, -3])
def test_a_truncated_file_is_refused(tmp_path, keep):
    data = model([conv()], weights={"w": KERNEL}).SerializeToString()
    with pytest.raises(ModelFileError):
        segrt.load(write(tmp_path, data[:keep]))


@pytest.mark.parametrize("opset", [6, 25])
def test_other_opsets_are_refused(tmp_path, opset):
    proto = model([conv()], weights={"w": KERNEL}, opset=opset)
    with pytest.raises(ModelFileError, match=f"opset {opset}"):
        segrt.load(write(tmp_path, proto))


def test_unknown_operators_are_all_listed(tmp_path):
    nodes = [
        helper.make_node("FusedConv", ["x", "w"], ["a"], name="one", domain="com.microsoft"),
        helper.make_node("ResizeNearestNeighbor", ["a"], ["y"], name="two"),
    ]
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(write(tmp_path, model(nodes, weights={"w": KERNEL})))
    assert caught.value.layers == [
        ("one", "com.microsoft.FusedConv"), ("two", "ResizeNearestNeighbor"),
    ]  # fmt: skip


def test_a_newer_operator_is_refused(tmp_path):
    node = helper.make_node("Swish", ["x"], ["y"], name="act")
    with pytest.raises(UnsupportedConfigError, match="act: Swish is newer"):
        segrt.load(write(tmp_path, model([node], opset=24)))


def test_newer_settings_are_refused_unless_they_change_nothing(tmp_path):
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    node = helper.make_node("AveragePool", ["x"], ["y"], dilations=[1, 1], **pool)
    same(tmp_path, model([node], opset=20), image())
    node = helper.make_node("AveragePool", ["x"], ["y"], dilations=[2, 2], **pool)
    with pytest.raises(UnsupportedConfigError, match="AveragePool with dilations"):
        segrt.load(write(tmp_path, model([node], opset=20)))


def test_numbers_of_a_newer_type_are_refused(tmp_path):
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    inputs = ["x", "scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", inputs, ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", *inputs[1:]], ["y"], name="back"),
    ]
    proto = model(nodes, opset=19, weights={"scale": np.array(0.1, np.float32)})
    proto.graph.initializer.append(zero)
    with pytest.raises(SegrtError, match="'quantise'") as caught:
        segrt.load(write(tmp_path, proto))
    assert "float8e4m3fn" in str(caught.value.found)


def external(proto, location, *, length=KERNEL.nbytes, offset=0):
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(length)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return proto


def test_weights_beside_the_file_are_read_and_hashed(tmp_path):
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    proto = external(model([conv()], weights={"w": KERNEL}), "w.bin")
    loaded = segrt.load(write(tmp_path, proto))
    np.testing.assert_array_equal(loaded.graph.initializers["y/kernel"].const_value.numpy(), KERNEL)
    before = metadata.source(loaded).sha256
    (tmp_path / "w.bin").write_bytes((KERNEL + 1).tobytes())
    assert metadata.source(segrt.load(tmp_path / "net.onnx")).sha256 != before


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "", "a/../../w.bin", "c:\\w.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    proto = external(model([conv()], weights={"w": KERNEL}), location)
    with pytest.raises(UnsafeFileError, match="outside the model's folder"):
        segrt.load(write(folder, proto))


def test_weights_behind_a_link_are_refused(tmp_path):
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    proto = external(model([conv()], weights={"w": KERNEL}), "w.bin")
    with pytest.raises(UnsafeFileError, match="behind a link"):
        segrt.load(write(folder, proto))


@pytest.mark.parametrize(("length", "offset"), [(10, 0), (KERNEL.nbytes, 8), (KERNEL.nbytes, -4)])
def test_weights_that_do_not_fit_their_file_are_refused(tmp_path, length, offset):
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    proto = external(model([conv()], weights={"w": KERNEL}), "w.bin", length=length, offset=offset)
    with pytest.raises(UnsafeFileError, match="does not hold what it declares"):
        segrt.load(write(tmp_path, proto))


def test_a_tensor_that_declares_more_than_it_holds_is_refused(tmp_path):
    proto = model([conv()], weights={"w": KERNEL})
    proto.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(UnsafeFileError, match="does not hold what it declares"):
        segrt.load(write(tmp_path, proto))
    proto = model([conv()], weights={"w": KERNEL})
    proto.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(UnsafeFileError, match="0 numbers"):
        segrt.load(write(tmp_path, proto))


def test_a_loop_is_refused(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Relu", ["v"], ["v2"])],
        "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("v", None)],
        [info("c2", [], TensorProto.BOOL), info("v2", None)],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="again", body=body)
    with pytest.raises(UnsupportedLayerError, match="again: Loop"):
        segrt.load(write(tmp_path, model([node], weights={"n": np.int64(2)})))


def branches():
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "yes", [], [info("a", None)])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "no", [], [info("b", None)])
    return {"then_branch": yes, "else_branch": no}


@pytest.mark.parametrize("flag", [True, False])
def test_a_settled_branch_is_taken(tmp_path, flag):
    nodes = [
        helper.make_node("If", ["flag"], ["z"], name="choice", **branches()),
        helper.make_node("Exp", ["z"], ["y"], name="exp"),
    ]
    proto = model(nodes, weights={"flag": np.bool_(flag)}, output=("N", 3, "H", "W"))
    loaded = same(tmp_path, proto, image())
    assert [node.op_type for node in loaded.graph] == ["Relu" if flag else "Neg", "Exp"]


def test_an_open_branch_is_refused(tmp_path):
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["flag"]),
        helper.make_node("If", ["flag"], ["y"], name="choice", **branches()),
    ]
    with pytest.raises(UnsupportedLayerError, match="choice: If"):
        segrt.load(write(tmp_path, model(nodes, weights={"zero": np.float32(0)})))


def test_functions_are_put_in_place(tmp_path):
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Down", ["a"], ["c"], body, opsets)
    node = helper.make_node("Down", ["x"], ["y"], domain="own", name="down")
    proto = model([node], functions=[function], output=("N", 3, "H", "W"))
    loaded = same(tmp_path, proto, image())
    assert [node.op_type for node in loaded.graph] == ["Relu", "Neg"]


def test_settings_for_other_formats_are_refused(tmp_path):
    path = write(tmp_path, model([conv()], weights={"w": KERNEL}))
    with pytest.raises(UsageError, match="names its own inputs and outputs"):
        segrt.load(path, outputs=["y"])
    (tmp_path / "arch.json").write_text("{}")
    with pytest.raises(UsageError, match="brings its own architecture"):
        segrt.load(path, architecture=tmp_path / "arch.json")


def test_nodes_that_do_not_fit_are_named(tmp_path):
    proto = model([conv()], weights={"w": KERNEL}, shape=("N", 4, 8, 8))
    with pytest.raises(ModelFileError, match=r"'conv' \(Conv\) does not fit"):
        segrt.load(write(tmp_path, proto))


@pytest.mark.parametrize("opset", [7, 9])
def test_upsample_becomes_resize_and_reads_the_same_pixels(tmp_path, opset):
    if opset == 7:
        node = helper.make_node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 3.0, 2.0])
        proto = model([node], opset=7, output=("N", 3, "H2", "W2"))
    else:
        node = helper.make_node("Upsample", ["x", "s"], ["y"], name="up")
        weights = {"s": np.float32([1, 1, 3, 2])}
        proto = model([node], weights=weights, opset=9, output=("N", 3, "H2", "W2"))
    loaded = segrt.load(write(tmp_path, proto))
    x = image()
    np.testing.assert_array_equal(run(loaded, x), x.repeat(3, axis=2).repeat(2, axis=3))


def test_shape_arithmetic_disappears(tmp_path):
    """PyTorch's flatten and unflatten: the sizes are computed from the input's."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["h"]),
        helper.make_node("Gather", ["s", "three"], ["w1"]),
        helper.make_node("Mul", ["h", "w1"], ["hw"]),
        helper.make_node("Concat", ["zero", "c", "hw"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("Exp", ["rows"], ["e"]),
        helper.make_node("Concat", ["zero", "c", "h", "w1"], ["back"], axis=0),
        helper.make_node("Reshape", ["e", "back"], ["y"]),
    ]
    weights = {
        "two": np.int64([2]), "three": np.int64([3]), "zero": np.int64([0]), "c": np.int64([3]),
    }  # fmt: skip
    proto = model(nodes, weights=weights, output=("N", 3, "H", "W"))
    loaded = same(tmp_path, proto, image())
    reshapes = [node for node in loaded.graph if node.op_type == "Reshape"]
    assert reshapes[0].inputs[1].const_value.numpy().tolist() == [0, 3, -1]
    # Two free sizes come back: no constant can say both.
    assert reshapes[1].inputs[1].const_value is None
    fixed = model(nodes, weights=weights, shape=("N", 3, 6, 5), output=("N", 3, 6, 5))
    kinds = [node.op_type for node in same(tmp_path, fixed, image()).graph]
    assert kinds == ["Reshape", "Exp", "Reshape"]
