"""Pixels in, masks out: the graph does at its ends what was done outside, to the last bit or so."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tensorrt_graphs import one_node, run, unet, weights
from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.graph.deploy_ends import deploy_ends
from segrt.graph.ends import read_ends
from segrt.graph.mask_output import parse_head, put_out_masks
from segrt.graph.output_kind import output_kind
from segrt.graph.pixel_input import pixel_steps, take_pixels
from segrt.graph.specs import input_specs, output_specs
from segrt.prediction.preprocess import Normaliser
from segrt.types import BuildOptions, Preprocess

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
USUAL = {
    "plain": Preprocess(scale=1 / 255),
    "as stored": Preprocess(scale=1.0),
    "minus one to one": Preprocess(scale=1 / 127.5, mean=(1.0,)),
    "ImageNet": Preprocess(scale=1 / 255, **IMAGENET),
    "ImageNet, bgr": Preprocess(scale=1 / 255, **IMAGENET, channel_order="bgr"),
    "caffe": Preprocess(scale=1.0, mean=(103.939, 116.779, 123.68), channel_order="bgr"),
    "standardised": Preprocess(scale=1.0, mean=(117.3,), std=(61.7,)),
}
ALL_PIXELS = np.random.default_rng(0).permuted(
    np.tile(np.arange(256, dtype=np.uint8), (3, 1)), axis=1
).T.reshape(16, 16, 3)  # fmt: skip


def image_net(shape, perm=None):
    """A graph whose output is its input, as the network's layers see it."""

    def fill(b, x):
        x = b.op("Transpose", [x], name="moved", perm=perm) if perm else x
        kernel = np.eye(3, dtype="f4")[:, :, None, None]
        return b.op("Conv", [x, b.constant("k", kernel)], name="y")

    model = one_node(fill, shape)
    metadata.tag_value(model.graph.inputs[0], "x", None)
    return model


@pytest.mark.parametrize("name", USUAL)
def test_preparing_inside_is_preparing_outside(name):
    _, error = pixel_steps(USUAL[name], 3)
    assert error <= 1
    expected = Normaliser(USUAL[name], 3, -1, "float32")(ALL_PIXELS)
    last = take_pixels(image_net((None, 16, 16, 3), [0, 3, 1, 2]), USUAL[name])
    first = take_pixels(image_net((None, 3, 16, 16)), USUAL[name])
    for model, pixels in ((last, ALL_PIXELS), (first, ALL_PIXELS.transpose(2, 0, 1))):
        assert model.graph.inputs[0].dtype == ir.DataType.UINT8
        found = run(model, {"x": pixels[None]})["y"][0].transpose(1, 2, 0)
        ulps = np.abs(found - expected) / np.spacing(np.abs(expected))
        assert ulps.max() <= error


def test_the_usual_scale_is_bit_equal():
    assert pixel_steps(USUAL["plain"], 1)[1] == 0
    assert pixel_steps(USUAL["as stored"], 1) == ((), 0)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(1e-3, 4), st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 4), min_size=3, max_size=3),
)  # fmt: skip
def test_any_preparation_stays_close(scale, mean, std):
    steps, _ = pixel_steps(Preprocess(scale=scale, mean=tuple(mean), std=tuple(std)), 3)
    levels = np.arange(256)[:, None]
    wanted = (levels * scale - np.array(mean)) / np.array(std)
    found = levels.astype("f4")
    for op, numbers in steps:
        found = {"Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op](found, numbers)
    # Relative to the largest value; near a mean a difference of pixels may vanish.
    assert np.abs(found - wanted).max() <= 2**-22 * np.abs(wanted).max()


def test_what_was_the_input_is_an_inner_value():
    model = take_pixels(image_net((None, 16, 16, 3), [0, 3, 1, 2]), USUAL["ImageNet"])
    names = dict(metadata.keras_values(model.graph))
    assert not names["x"].is_graph_input()
    assert (names["x"].dtype, names["x"].name) == (ir.DataType.FLOAT, "x:values")
    (spec,) = input_specs(model)
    assert (spec.name, spec.dtype, spec.channel_axis) == ("x", "uint8", -1)
    end = read_ends(model).pixels["x"]
    assert end.preprocess == USUAL["ImageNet"]
    values = end.values(ALL_PIXELS[None])
    assert np.array_equal(end.pixels(values), ALL_PIXELS[None])
    with pytest.raises(UsageError, match="no 8-bit pixels"):
        end.pixels(values + np.float32(0.004))


@pytest.mark.parametrize(
    ("preprocess", "shape", "said"),
    [
        (Preprocess(scale=0.0), (1, 3, 16, 16), "must not be 0"),
        (Preprocess(scale=1.0, mean=(1.0, 2.0)), (1, 3, 16, 16), "mean does not fit"),
        (Preprocess(scale=1.0), (1, 3), "no input takes images"),
    ],
)
def test_inputs_that_cannot_be_given_pixels(preprocess, shape, said):
    model = image_net(shape) if len(shape) == 4 else one_node(
        lambda b, x: b.op("Relu", [x], name="y"), shape
    )  # fmt: skip
    with pytest.raises(UsageError, match=said):
        take_pixels(model, preprocess)


def head(channels, *, act, last=True):
    """A network of one convolution and perhaps an activation, as Keras' importer writes it."""

    def fill(b, x):
        x = b.op("Transpose", [x], name="in", perm=[0, 3, 1, 2]) if last else x
        kernel = b.constant("k", weights(channels, 2, 3, 3))
        y = b.op("Conv", [x, kernel], name="y:conv", pads=[1] * 4)
        if act is not None:
            extra = {"axis": 1} if act == "Softmax" else {}
            y = b.op(act, [y], name="y:act", **extra)
        return b.op("Transpose", [y], name="y", perm=[0, 2, 3, 1]) if last else y

    model = one_node(fill, (None, 12, 10, 2) if last else (None, 2, 12, 10))
    model.graph.outputs[0].name = "y"
    metadata.tag_value(model.graph.outputs[0], "y", None)
    return model


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("channels", "act", "threshold"),
    [(1, "Sigmoid", 0.5), (1, "Sigmoid", 0.35), (1, None, 0.5), (1, None, 0.8),
     (5, "Softmax", 0.5), (5, None, 0.5)],
)  # fmt: skip
def test_masks_inside_are_masks_outside(channels, act, threshold, last):
    model = head(channels, act=act, last=last)
    shape = (2, 12, 10, 2) if last else (2, 2, 12, 10)
    feeds = {"x": np.random.default_rng(1).normal(0, 1, shape).astype("f4")}
    values, axis = run(model, feeds)["y"], -1 if last else 1
    made = put_out_masks(model, threshold)
    if channels == 1:
        probability = values if act else 1 / (1 + np.exp(-values.astype(np.float64)))
        assert np.abs(probability - threshold).min() > 1e-6, "a tie: choose another seed"
        wanted = probability > threshold
    else:
        wanted = np.expand_dims(values.argmax(axis), axis)
    found = run(made, feeds)
    assert list(found) == ["y:mask"]
    assert found["y:mask"].dtype == np.uint8
    assert np.array_equal(found["y:mask"], wanted.astype(np.uint8))
    assert 0 < found["y:mask"].astype(bool).mean() < 1
    end = read_ends(made).masks["y:mask"]
    assert np.array_equal(end.mask(values), found["y:mask"])
    assert output_kind(made) == ("binary" if channels == 1 else "classes")
    (spec,) = output_specs(made)
    assert spec.channel_axis == axis


def test_the_networks_output_stays_as_an_inner_value():
    made = put_out_masks(head(3, act="Softmax"))
    value = dict(metadata.keras_values(made.graph))["y"]
    assert value.name == "y"
    assert metadata.to_source(value) == (0, 2, 3, 1)
    # One channel is brought into the source's layout, not three.
    moved = [node for node in made.graph if node.op_type == "Transpose"][-1]
    assert moved.inputs[0].shape[1] == 1
    assert [node.op_type for node in made.graph][-1] == "Cast"


def test_heads_as_they_are_written():
    assert parse_head("mask") == 0.5
    assert parse_head("mask:0.35") == 0.35
    for bad in ("masks", "mask:", "mask:1", "mask:0", "mask:a", "mask:nan", ""):
        with pytest.raises(UsageError, match="unknown head"):
            parse_head(bad)


def test_outputs_that_cannot_become_masks():
    flat = one_node(lambda b, x: b.op("Relu", [x], name="y"), (2, 5))
    with pytest.raises(UsageError, match="no output is an image"):
        put_out_masks(flat)
    with pytest.raises(UsageError, match="8 bits") as caught:
        put_out_masks(head(257, act=None))
    assert "257 channels" in str(caught.value)


def test_ends_are_only_added_where_they_are_asked_for():
    model = unet((4, 8), side=16)
    assert deploy_ends(model, BuildOptions()) is model
    with pytest.raises(UsageError, match="uint16"):
        deploy_ends(model, BuildOptions(input="uint16"))
    both = deploy_ends(
        model, BuildOptions(input="uint8", head="mask", preprocess=Preprocess(scale=1 / 255))
    )
    assert set(read_ends(both).pixels) == {"image"}
    assert set(read_ends(both).masks) == {"mask:mask"}
    assert not read_ends(model)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("channels", "act"), [(5, "Softmax"), (5, None), (1, "Sigmoid")])
def test_heads_in_a_tensorrt_engine(channels, act, precision):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from segrt.targets.trt._flavour import RTX
    from segrt.targets.trt.decompile import decompile
    from segrt.targets.trt.engine import build_engine
    from segrt.targets.trt.network import write_network

    made = put_out_masks(head(channels, act=act))
    plain = head(channels, act=act)
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (2, 12, 10, 2)).astype("f4")}
    network = write_network(RTX, made, precision)
    found, wanted = run(decompile(network, made), feeds)["y:mask"], run(made, feeds)["y:mask"]
    assert found.dtype == np.uint8
    assert (found != wanted).mean() <= (0 if precision == "fp32" else 0.01)
    engine = build_engine(network, precision)
    assert engine.layers[-1].outputs[0].type == "UInt8"
    assert len(engine.layers) <= len(build_engine(write_network(RTX, plain, precision), precision)
                                     .layers) + 2  # fmt: skip


def test_both_ends_cost_no_kernel():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from segrt.targets.trt._flavour import RTX
    from segrt.targets.trt.engine import build_engine
    from segrt.targets.trt.network import write_network

    plain = unet((4, 8), side=16)
    options = BuildOptions(input="uint8", head="mask", preprocess=Preprocess(scale=1 / 255))
    engines = [
        build_engine(write_network(RTX, model, "fp16"), "fp16")
        for model in (plain, deploy_ends(plain, options))
    ]
    assert len(engines[1].layers) <= len(engines[0].layers)
    assert engines[1].layers[0].inputs[0].type == "UInt8"
    assert engines[1].layers[-1].outputs[0].type == "UInt8"
