"""Operations that Keras saved as layers: told apart, listed, and refused with a reason."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from helpers import keras_files as kf
from segrt.errors import UnsupportedConfigError, UnsupportedLayerError
from segrt.importers._base import import_model


def keras3_call(*arguments, **named):
    def one(item):
        if isinstance(item, list):
            return [one(inner) for inner in item]
        if not isinstance(item, str):
            return item
        return {"class_name": "__keras_tensor__", "config": {"keras_history": [item, 0, 0]}}

    return [{"args": [one(item) for item in arguments], "kwargs": named}]


def operation(class_name, name, config, *arguments, module="keras.src.ops.numpy"):
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **config},
        "registered_name": class_name,
        "name": name,
        "inbound_nodes": keras3_call(*arguments),
    }


def function(name, path, node):
    return {
        "class_name": "TFOpLambda",
        "config": {"name": name, "function": path, "trainable": True, "dtype": "float32"},
        "name": name,
        "inbound_nodes": [node],
    }


def write(folder, *entries, version="3.15.1"):
    first = kf.conv_layer()
    if version >= "3":
        first = {**first, "module": "keras.layers", "inbound_nodes": keras3_call("image")}
    config = kf.model_config([kf.input_layer(), first, *entries], outputs=(entries[-1]["name"],))
    return kf.write_h5(folder / "m.h5", config=config, version=version)


def run(model, seed=0):
    """Return what the convolution and the last operation give for one random image."""
    model.graph.outputs.append(next(v for n in model.graph for v in n.outputs if v.name == "conv"))
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    shape = [size if isinstance(size, int) else 1 for size in session.get_inputs()[0].shape]
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    result, conv = session.run(None, {session.get_inputs()[0].name: image})
    return result, conv.transpose(0, 2, 3, 1)


def test_all_unknown_operations_are_listed_by_name(tmp_path):
    path = write(
        tmp_path,
        operation("FFT", "fft", {}, "conv"),
        operation("Multiply", "multiply", {}, "conv", 2.0),
        operation("SVD", "svd", {}, "conv", module="keras.src.ops.linalg"),
    )
    with pytest.raises(UnsupportedLayerError, match="segrt/importers/operations") as caught:
        import_model(path)
    assert caught.value.layers == [("fft", "keras.ops>FFT"), ("svd", "keras.ops>SVD")]


def test_unknown_functions_are_listed_by_name(tmp_path):
    node = ["conv", 0, 0, {"name": None}]
    path = write(tmp_path, function("tf.signal.fft", "signal.fft", node), version="2.15.0")
    with pytest.raises(UnsupportedLayerError) as caught:
        import_model(path)
    assert caught.value.layers == [("tf.signal.fft", "TFOpLambda(signal.fft)")]


def test_an_operation_never_gets_a_layers_defaults(tmp_path):
    """`ops.concatenate` without an axis joins the batch; the layer would join channels."""
    model = import_model(write(tmp_path, operation("Concatenate", "join", {}, ["conv", "conv"])))
    result, conv = run(model)
    np.testing.assert_array_equal(result, np.concatenate([conv, conv]))


@pytest.mark.parametrize("with_dtype", [False, True])
def test_hdf5_has_no_modules(with_dtype, tmp_path):
    """A cast's configuration has a dtype, as those of layers have."""
    entry = operation("Cast", "cast", {"dtype": "int32"}, "conv")
    if not with_dtype:
        entry = operation("Floor", "cast", {}, "conv")
    del entry["module"], entry["registered_name"]
    result, conv = run(import_model(write(tmp_path, entry)))
    np.testing.assert_array_equal(result, conv.astype(int) if with_dtype else np.floor(conv))


@pytest.mark.parametrize("module", ["keras.layers", None])
def test_the_layer_of_the_same_class_is_converted(module, tmp_path):
    settings = {} if module else {"trainable": True, "dtype": "float32"}
    entry = {**operation("Add", "add", settings), "module": module, "registered_name": None}
    entry["inbound_nodes"] = keras3_call(["conv", "conv"])
    model = import_model(write(tmp_path, entry))
    assert [value.name for value in model.graph.outputs] == ["add"]


def test_constants_in_front_and_lists_of_them(tmp_path):
    first = ["_CONSTANT_VALUE", -1, 1.0, {"y": ["conv", 0, 0], "name": None}]
    entries = [
        function("tf.math.subtract", "math.subtract", first),
        function("tf.math.add", "__operators__.add", ["tf.math.subtract", 0, 0, {"y": 2}]),
    ]
    result, conv = run(import_model(write(tmp_path, *entries, version="2.15.0")))
    np.testing.assert_allclose(result, np.float32(3) - conv, rtol=1e-6)


def test_an_argument_that_nobody_knows_is_refused(tmp_path):
    entry = function("tf.nn.relu", "nn.relu", ["conv", 0, 0, {"slope": 0.5}])
    with pytest.raises(UnsupportedConfigError, match=r"nn\.relu") as caught:
        import_model(write(tmp_path, entry, version="2.15.0"))
    assert "slope" in str(caught.value)


def test_einsum_of_keras_2_says_what_the_file_lacks(tmp_path):
    node = ["_CONSTANT_VALUE", -1, "bhwc,cd->bhwd", {}]
    entry = function("tf.einsum", "einsum", node)
    path = write(tmp_path, entry, version="2.15.0")
    with pytest.raises(UnsupportedConfigError, match="einsum") as caught:
        import_model(path)
    assert "did not save" in str(caught.value)


def test_kernels_of_tensorflow_1(tmp_path):
    """Constants by input number; attributes as JSON has them; unknown kernels by their name."""
    entry = {
        "class_name": "TensorFlowOpLayer",
        "name": "tf_op_layer_sub",
        "config": {
            "name": "sub",
            "trainable": True,
            "dtype": "float32",
            "node_def": {"name": "sub", "op": "Sub", "input": ["sub/x", "conv"], "attr": {}},
            "constants": {"0": 1.0},
        },
        "inbound_nodes": [[["conv", 0, 0, {}]]],
    }
    result, conv = run(import_model(write(tmp_path, entry, version="2.2.4-tf")))
    np.testing.assert_array_equal(result, np.float32(1) - conv)
    entry["config"]["node_def"]["op"] = "Betainc"
    with pytest.raises(UnsupportedLayerError, match=r"TensorFlowOpLayer\(Betainc\)"):
        import_model(write(tmp_path, entry, version="2.2.4-tf"))


def test_vectors_meet_channels_wherever_they_are_stored(tmp_path):
    """The convolution is stored channels first; a vector of Keras' order adds to its channels."""
    path = write(tmp_path, operation("Floor", "floor", {}, "conv"))
    channels = run(import_model(path))[1].shape[-1]
    vector = {"class_name": "__numpy__", "config": {"value": list(range(channels))}}
    result, conv = run(import_model(write(tmp_path, operation("Add", "add", {}, "conv", vector))))
    np.testing.assert_array_equal(result, conv + np.arange(channels, dtype=np.float32))


def test_blocks_move_into_the_batch_and_back(tmp_path):
    """Both directions by the definition: image ``(i * 3 + j)`` holds each block's place (i, j)."""
    block, pads = [2, 3], [[1, 1], [1, 2]]
    there = {"block_shape": block, "paddings": pads}
    entries = [
        function("there", "space_to_batch_nd", ["conv", 0, 0, there]),
        function(
            "back",
            "compat.v1.batch_to_space_nd",
            ["there", 0, 0, {"block_shape": block, "crops": pads}],
        ),
    ]
    moved, conv = run(import_model(write(tmp_path, entries[0], version="2.15.0")))
    padded = np.pad(conv, [(0, 0), *pads, (0, 0)])
    places = [padded[:, i::2, j::3] for i in range(2) for j in range(3)]
    np.testing.assert_array_equal(moved, np.concatenate(places))
    back, conv = run(import_model(write(tmp_path, *entries, version="2.15.0")))
    np.testing.assert_array_equal(back, conv)
    odd = {"block_shape": [3, 3], "paddings": [[0, 0], [0, 0]]}
    entry = function("there", "space_to_batch_nd", ["conv", 0, 0, odd])
    with pytest.raises(UnsupportedConfigError, match="paddings"):
        import_model(write(tmp_path, entry, version="2.15.0"))
