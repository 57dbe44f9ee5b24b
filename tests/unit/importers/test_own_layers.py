"""Converters of the user's own: from files, modules, packages, ONNX; and what goes wrong."""

import importlib.metadata

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

import segrt
from helpers import keras_files as kf
from helpers.layer_calls import run_onnxruntime
from segrt.errors import ConverterError, UnsupportedLayerError, UsageError
from segrt.graph import metadata
from segrt.importers import _own_code

GATE = np.array([2.0, -1.0, 0.5], dtype=np.float32)
KERNEL = np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 3.0]], dtype=np.float32)
CONVERTER = """
import segrt


@segrt.keras_layer("Gate")
def gate(call, x):
    factor = call.weight("factor", call.weights["factor"].reshape(-1, 1, 1))
    value = call.op("Mul", [call.channels_first(x), factor], role="product")
    return call.wrap(value)
"""


@pytest.fixture(autouse=True)
def _nothing_stands(monkeypatch):
    monkeypatch.setattr(_own_code, "STANDING", {})


@pytest.fixture
def model(tmp_path):
    """A model with one custom layer between its input and nothing."""
    layers = [
        kf.input_layer(shape=(None, 4, 5, 3)),
        kf.layer("Gate", "gate", {"units": 3}, ("image",)),
    ]
    return kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("gate",)),
        weights={"gate": {"gate/factor:0": GATE}},
    )


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(CONVERTER)
    return path


def outputs_of(loaded):
    proto = ir.to_proto(loaded)
    image = np.random.default_rng(3).normal(size=(2, 4, 5, 3)).astype(np.float32)
    return image, run_onnxruntime(rename_input(proto), [image])


def rename_input(proto):
    """`run_onnxruntime` feeds x0."""
    old = proto.graph.input[0].name
    proto.graph.input[0].name = "x0"
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = "x0"
    return proto


@pytest.mark.parametrize(
    "layers",
    [
        lambda own: {"Gate": str(own)},
        lambda own: {"Gate": own},
        lambda own: {"Gate": f"{own}:gate"},
        lambda own: [f"Gate={own}"],
        lambda own: [own],
    ],
    ids=["text", "path", "function", "pair", "file alone"],
)
def test_a_file_is_bound(model, own, layers):
    loaded = segrt.load(model, layers=layers(own))
    image, result = outputs_of(loaded)
    np.testing.assert_allclose(result, image * GATE, rtol=1e-6)
    assert "gate" in dict(metadata.keras_values(loaded.graph))


def test_a_function_is_bound(model):
    def gate(call, x):
        factor = call.weight("factor", call.weights["factor"])
        return segrt.Tensor(call.op("Mul", [call.source(x), factor]), segrt.Layout.SOURCE)

    image, result = outputs_of(segrt.load(model, layers={"Gate": gate}))
    np.testing.assert_allclose(result, image * GATE, rtol=1e-6)


def test_a_module_is_bound(model, own, monkeypatch):
    own.rename(own.with_name("segrt_test_own_module.py"))
    monkeypatch.syspath_prepend(str(own.parent))
    loaded = segrt.load(model, layers={"Gate": "segrt_test_own_module:gate"})
    image, result = outputs_of(loaded)
    np.testing.assert_allclose(result, image * GATE, rtol=1e-6)


def test_a_program_registers(model):
    @segrt.keras_layer("Gate", weights=lambda config: [segrt.WeightSpec("renamed")])
    def gate(call, x):
        factor = call.weight("renamed", call.weights["renamed"])
        return segrt.Tensor(call.op("Mul", [call.source(x), factor]), segrt.Layout.SOURCE)

    image, result = outputs_of(segrt.load(model))
    np.testing.assert_allclose(result, image * GATE, rtol=1e-6)


def test_an_installed_package_offers_one(model, own, monkeypatch):
    entry = importlib.metadata.EntryPoint("Gate", f"{own}:gate", "segrt.keras_layers")
    monkeypatch.setattr(
        "segrt.importers._choose.entry_points",
        lambda group: [entry] if group == "segrt.keras_layers" else [],
    )
    loaded = segrt.load(model)
    image, result = outputs_of(loaded)
    np.testing.assert_allclose(result, image * GATE, rtol=1e-6)
    assert any("converted by the package" in text for text in metadata.remarks(loaded))


def test_bindings_do_not_outlive_the_call(model, own):
    segrt.load(model, layers=[own])
    with pytest.raises(UnsupportedLayerError):
        segrt.load(model)


def test_a_bound_converter_wins_with_a_remark(tmp_path):
    path = kf.write_h5(tmp_path / "m.h5")

    def conv(call, x):
        assert set(call.weights) == {"kernel", "bias"}
        return segrt.Tensor(call.op("Abs", [x.value]), x.layout)

    loaded = segrt.load(path, layers={"Conv2D": conv})
    assert [node.op_type for node in loaded.graph] == ["Abs"]
    assert any("not SegRT's but yours" in text for text in metadata.remarks(loaded))


def onnx_block(path, layout=None, kernel="kernel"):
    """x @ kernel on the last axis, as an ONNX model of opset 13."""
    node = helper.make_node("MatMul", ["x", kernel], ["y"])
    last = helper.make_node("Relu", ["y"], ["z"])
    graph = helper.make_graph(
        [node, last],
        "block",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 5, 3]),
            helper.make_tensor_value_info(kernel, TensorProto.FLOAT, [3, 2]),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4, 5, 2])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if layout:
        helper.set_model_props(proto, {"segrt.layout": layout})
    onnx.save(proto, path)
    return path


def mixing_model(tmp_path):
    layers = [kf.input_layer(shape=(None, 4, 5, 3)), kf.layer("Mix", "mix", {}, ("image",))]
    return kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("mix",)),
        weights={"mix": {"mix/kernel:0": KERNEL}},
    )


def test_an_onnx_function_is_put_in_place(tmp_path):
    block = onnx_block(tmp_path / "block.onnx")
    loaded = segrt.load(mixing_model(tmp_path), layers={"Mix": block})
    image, result = outputs_of(loaded)
    np.testing.assert_allclose(result, np.maximum(image @ KERNEL, 0), rtol=1e-5, atol=1e-6)
    assert [node.op_type for node in loaded.graph] == ["MatMul", "Relu"]
    assert "mix/kernel" in loaded.graph.initializers


def test_an_onnx_function_that_asks_for_other_arrays_is_refused(tmp_path):
    block = onnx_block(tmp_path / "block.onnx", kernel="weights")
    with pytest.raises(ConverterError, match="does not fit layer 'mix'") as caught:
        segrt.load(mixing_model(tmp_path), layers={"Mix": block})
    assert "kernel" in str(caught.value)


def test_a_binding_that_fits_no_layer_is_an_error(model, own):
    with pytest.raises(UsageError, match="has no layer of class Gaet") as caught:
        segrt.load(model, layers={"Gaet": own})
    assert "near matches: Gate" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("x = 1\n", UsageError, "has no converter for Gate"),
        ("import nowhere_at_all\n", ConverterError, "own.py, line 1"),
        ("def gate(call, x:\n", ConverterError, "own.py, line 1"),
        (CONVERTER.replace('["factor"]', '["gamma"]'), ConverterError, "KeyError: 'gamma: the"),
        (CONVERTER.replace('["factor"]', '["gamma"]'), ConverterError, "holds factor (3,)'"),
        (CONVERTER.replace('["factor"]', '["gamma"]'), ConverterError, "own.py, line 7"),
        (CONVERTER.replace("call.wrap(value)", "value"), ConverterError, "returned no tensor"),
        (CONVERTER.replace('"Mul"', '"Mull"'), ConverterError, "layer 'gate' (Gate) failed"),
    ],
    ids=["empty", "import", "syntax", "key", "listing", "line", "no tensor", "operator"],
)
def test_faults_of_the_users_code_are_told(model, own, code, error, text):
    own.write_text(code)
    with pytest.raises(error) as caught:
        segrt.load(model, layers={"Gate": own})
    assert text in str(caught.value)


def test_missing_files_and_modules_are_told(model, tmp_path):
    for source in (tmp_path / "none.py", "no_such_module_of_mine:f", tmp_path / "none.onnx"):
        with pytest.raises(UsageError, match="no such"):
            segrt.load(model, layers={"Gate": source})


def test_the_error_brings_a_stub_that_runs_and_refuses(model, tmp_path):
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(model)
    stub = caught.value.stub
    assert '# config: {"units": 3}' in stub
    assert "# input: (None, 4, 5, 3)" in stub
    assert "# weight: factor (3,) float32" in stub
    assert "segrt inspect m.h5 --stub my_converters.py" in str(caught.value)
    path = tmp_path / "my_converters.py"
    path.write_text(stub)
    with pytest.raises(segrt.SegrtError, match=r"layer 'gate' \(Gate\)") as refused:
        segrt.load(model, layers=[path])
    assert "a stub" in str(refused.value)


def test_parts_take_their_arrays(tmp_path):
    """A layer that holds a convolution: arrays by path, an existing converter for the part."""
    layers = [kf.input_layer(shape=(None, 8, 6, 1)), kf.layer("Block", "block", {}, ("image",))]
    path = kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("block",)),
        weights={
            "block": {
                "block/a/kernel:0": kf.KERNEL, "block/a/bias:0": kf.BIAS,
                "block/b/kernel:0": kf.KERNEL[..., :1].repeat(2, 2), "block/b/bias:0": kf.BIAS[:1],
            }
        },
    )  # fmt: skip
    seen = []

    def block(call, x):
        seen.append(list(call.weights))
        wide = {"filters": 2, "kernel_size": [3, 3], "padding": "same"}
        x = call.apply_part("Conv2D", wide, x, role="a")
        return call.apply_part("Conv2D", {**wide, "filters": 1}, x, role="b")

    loaded = segrt.load(path, layers={"Block": block})
    assert seen == [["a/kernel", "a/bias", "b/kernel", "b/bias"]]
    assert {"block/a/kernel", "block/b/bias"} <= set(loaded.graph.initializers)
    assert [node.op_type for node in loaded.graph if node.op_type == "Conv"] == ["Conv", "Conv"]


def test_a_known_layer_with_other_settings_is_refused(tmp_path):
    layers = [
        kf.input_layer(),
        kf.layer("DropPath", "path", {"rate": 0.1, "mode": "x"}, ("image",)),
    ]
    path = kf.write_h5(
        tmp_path / "m.h5", config=kf.model_config(layers, outputs=("path",)), weights={}
    )
    with pytest.raises(UnsupportedLayerError, match="keras-cv's has mode"):
        segrt.load(path)


def test_a_known_layer_with_foreign_arrays_is_refused(tmp_path):
    layers = [kf.input_layer(), kf.layer("Mish", "mish", {}, ("image",))]
    path = kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("mish",)),
        weights={"mish": {"mish/slope:0": GATE}},
    )
    with pytest.raises(segrt.SegrtError, match="weights cannot be converted"):
        segrt.load(path)


def stacked(tmp_path, class_name, weights):
    """TimeDistributed around a class, as Keras 2 writes it."""
    inner = {"class_name": class_name, "config": {"name": "inner"}}
    layers = [
        kf.input_layer(shape=(None, 2, 4, 5, 3)),
        kf.layer("TimeDistributed", "steps", {"layer": inner}, ("image",)),
    ]
    return kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("steps",)),
        weights={"steps": weights},
    )


def steps_of(loaded):
    stack = np.random.default_rng(3).normal(size=(2, 2, 4, 5, 3)).astype(np.float32)
    return stack, run_onnxruntime(rename_input(ir.to_proto(loaded)), [stack])


@pytest.mark.parametrize("bound", ["Mine>Gate", "Gate"])
def test_a_packaged_class_inside_a_wrapper_is_bound_by_either_name(tmp_path, own, bound):
    path = stacked(tmp_path, "Mine>Gate", {"steps/factor:0": GATE})
    stack, result = steps_of(segrt.load(path, layers={bound: own}))
    np.testing.assert_allclose(result, stack * GATE, rtol=1e-6)
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(path)
    assert caught.value.layers == [("steps", "Mine>Gate")]
    assert '@segrt.keras_layer("Mine>Gate")' in caught.value.stub


def test_a_known_class_inside_a_wrapper_needs_no_binding(tmp_path):
    loaded = segrt.load(stacked(tmp_path, "Addons>Mish", {}))
    stack, result = steps_of(loaded)
    np.testing.assert_allclose(
        result, stack * np.tanh(np.log1p(np.exp(stack))), rtol=1e-5, atol=1e-6
    )
    assert any("class Mish" in text for text in metadata.remarks(loaded)), metadata.remarks(loaded)


def test_what_fails_inside_a_wrapper_is_told_as_the_users(tmp_path, own):
    own.write_text(CONVERTER.replace('["factor"]', '["gamma"]'))
    with pytest.raises(ConverterError, match=r"own.py, line 7"):
        segrt.load(stacked(tmp_path, "Gate", {"steps/factor:0": GATE}), layers={"Gate": own})
