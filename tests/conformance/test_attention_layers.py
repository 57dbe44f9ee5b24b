"""Attention, products and wrappers in the settings that no golden model has, against NumPy."""

import numpy as np
import onnx_ir as ir
import pytest

from helpers.closeness import assert_close, assert_same_bits
from helpers.layer_calls import KERAS_3, apply, convert, run_onnxruntime
from segrt.errors import SegrtError, UnsupportedConfigError, UnsupportedLayerError
from segrt.importers._layer_graph import KerasVersion

BOUND = 2e-6


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def softmax(x):
    power = np.exp(x - x.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def attended(query, weights, allowed=None, heads=2, size=3):
    """Self-attention over N T C by its definition, in double precision."""
    q, k, v = (
        np.einsum("btc,chd->bthd", query.astype(np.float64), weights[2 * part])
        + weights[2 * part + 1]
        for part in range(3)
    )
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(size)
    if allowed is not None:
        scores = np.where(allowed, scores, -1e9)
    mixed = np.einsum("bhts,bshd->bthd", softmax(scores), v)
    return np.einsum("bthd,hdc->btc", mixed, weights[6]) + weights[7]


def attention_weights(channels=4, heads=2, size=3):
    shapes = [(channels, heads, size), (heads, size)] * 3 + [(heads, size, channels), (channels,)]
    return [random(*shape, seed=number) for number, shape in enumerate(shapes)]


HEADS = {"num_heads": 2, "key_dim": 3, "value_dim": 3, "use_bias": True}


def test_multi_head_attention_of_any_length():
    x, weights = random(2, 6, 4), attention_weights()
    proto = convert("MultiHeadAttention", HEADS, weights, [(None, None, 4)] * 2, version=KERAS_3)
    assert_close(run_onnxruntime(proto, [x, x]), attended(x, weights), BOUND)


@pytest.mark.parametrize(("window", "causal"), [(2, False), (None, True), (3, True)])
def test_causal_masks_and_sliding_windows(window, causal):
    x, weights = random(2, 6, 4), attention_weights()
    rows, columns = np.arange(6)[:, None], np.arange(6)[None]
    allowed = np.ones((6, 6), bool)
    allowed &= rows >= columns if causal else True
    allowed &= abs(rows - columns) < window if window else True
    found = apply(
        "MultiHeadAttention",
        {**HEADS, "sliding_window": window},
        weights,
        x,
        x,
        version=KERAS_3,
        kwargs={"use_causal_mask": causal},
    )
    assert_close(found, attended(x, weights, allowed), BOUND)


def test_a_causal_mask_needs_known_lengths():
    with pytest.raises(SegrtError, match="known length"):
        convert(
            "MultiHeadAttention",
            HEADS,
            attention_weights(),
            [(None, None, 4)] * 2,
            kwargs={"use_causal_mask": True},
        )


@pytest.mark.parametrize(
    "change",
    [
        {"num_heads": 0},
        {"key_dim": 4},
        {"attention_axes": [3]},
        {"attention_axes": [0]},
        {"output_shape": [5]},
        {"sliding_window": -1},
        {"value_dim": 5},
    ],
)
def test_attention_that_does_not_fit_is_refused(change):
    with pytest.raises(SegrtError, match="layer 'layer'"):
        convert(
            "MultiHeadAttention",
            {**HEADS, **change},
            attention_weights(),
            [(None, 6, 4)] * 2,
            version=KERAS_3,
        )


@pytest.mark.parametrize(
    ("equation", "kernel"),
    [
        ("abc,cd->abd", (4, 5)),
        ("abc,bd->adc", (3, 5)),
        ("abc,cde->abde", (4, 2, 3)),
        ("abc,bcd->ad", (3, 4, 5)),
        ("abc,bcd->abd", (3, 4, 5)),
        ("abc,cbd->adb", (4, 3, 5)),
        ("abc,bc->abc", (3, 4)),
        ("abc,bd->abdc", (3, 5)),
        ("...c,cd->...d", (4, 5)),
        ("ab...,bd->ad...", (3, 5)),
    ],
)
def test_einsum_dense_is_einsum(equation, kernel):
    x, array = random(2, 3, 4), random(*kernel, seed=1)
    wanted = np.einsum(equation, x.astype(np.float64), array)
    found = apply("EinsumDense", {"equation": equation, "bias_axes": None}, [array], x)
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize(
    "equation", ["abc,cd", "abcd,de->abce", "abc,cd->abe", "aac,cd->ad", "abc,cd->ad", 3]
)
def test_equations_that_keras_does_not_take_are_refused(equation):
    with pytest.raises(SegrtError, match="layer 'layer'"):
        convert("EinsumDense", {"equation": equation}, [random(4, 5)], [(None, 3, 4)])


def test_einsum_dense_with_a_kernel_of_another_size_is_refused():
    with pytest.raises(SegrtError, match="kernel of shape"):
        convert("EinsumDense", {"equation": "abc,cd->abd"}, [random(5, 5)], [(None, 3, 4)])


def test_time_distributed_of_an_unknown_number_of_steps():
    x, kernel = random(2, 6, 4), random(4, 5, seed=1)
    config = {"layer": {"class_name": "Dense", "config": {"units": 5, "use_bias": False}}}
    proto = convert("TimeDistributed", config, [kernel], [(None, None, 4)])
    assert_close(run_onnxruntime(proto, [x]), x.astype(np.float64) @ kernel, BOUND)


def test_a_wrapped_layer_without_a_converter_is_named():
    config = {"layer": {"class_name": "LSTM", "config": {"units": 5}}}
    with pytest.raises(UnsupportedLayerError) as caught:
        convert("TimeDistributed", config, [], [(None, 3, 4)])
    assert caught.value.layers == [("layer", "LSTM")]
    config = {"layer": {"class_name": "Dense", "registered_name": "Mine>Dense", "config": {}}}
    with pytest.raises(UnsupportedLayerError) as caught:
        convert("TimeDistributed", config, [], [(None, 3, 4)])
    assert caught.value.layers == [("layer", "Mine>Dense")]
    with pytest.raises(UnsupportedConfigError, match="layer"):
        convert("TimeDistributed", {}, [], [(None, 3, 4)])


def test_dot_over_more_axes_is_einsum():
    x, y = random(2, 3, 5, 4), random(2, 6, 4, seed=1)
    wanted = np.einsum("bcdz,bqz->bcdq", x.astype(np.float64), y)
    assert_close(apply("Dot", {"axes": [3, 2]}, [], x, y), wanted, BOUND)


@pytest.mark.parametrize("config", [{}, {"axes": 0}, {"axes": 3}, {"axes": [1, 2]}])
def test_dot_over_axes_that_do_not_fit_is_refused(config):
    with pytest.raises(SegrtError, match="layer 'layer'"):
        convert("Dot", config, [], [(None, 3, 4), (None, 5, 4)])


def test_embedding_takes_rows_and_refuses_masks():
    table, index = random(5, 3), np.array([[0.0, 4.9, 2.0]], np.float32)
    config = {"input_dim": 5, "output_dim": 3}
    assert_same_bits(apply("Embedding", config, [table], index), table[[[0, 4, 2]]])
    with pytest.raises(UnsupportedConfigError, match="mask_zero"):
        convert("Embedding", {**config, "mask_zero": True}, [table], [(None, 3)])


def test_random_layers_are_refused_where_keras_2_was_told_to_train():
    shape = [(None, 8, 8, 3)]
    trained = {"training": True}
    for class_name, config in (("RandomFlip", {}), ("RandomCrop", {"height": 4, "width": 4})):
        with pytest.raises(UnsupportedConfigError, match="training"):
            convert(class_name, config, [], shape, kwargs=trained)
    version = KerasVersion(3, 15, 0)
    proto = convert("RandomFlip", {}, [], shape, kwargs=trained, version=version)
    assert "Identity" in {node.op_type for node in ir.from_proto(proto).graph}


def test_random_crop_is_what_its_version_does():
    x = random(1, 6, 8, 2)
    config = {"height": 3, "width": 4}
    assert_same_bits(apply("RandomCrop", config, [], x, version=KerasVersion(3, 9, 0)), x)
    found = apply("RandomCrop", config, [], x, version=KerasVersion(2, 15, 0))
    means = x.astype(np.float64).reshape(1, 3, 2, 4, 2, 2).mean((2, 4))
    assert_close(found, means, BOUND)
    with pytest.raises(UnsupportedConfigError, match="RandomCrop"):
        convert("RandomCrop", config, [], [(None, 6, 8, 2)], version=KerasVersion(3, 6, 0))
