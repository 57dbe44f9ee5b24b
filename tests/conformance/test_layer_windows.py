"""Convolutions and pools against loops over pixels."""

import itertools

import numpy as np
import pytest

from helpers import keras_math
from helpers.closeness import assert_close, assert_same_bits, relative_l2
from helpers.layer_calls import apply, convert, run_onnxruntime, run_openvino

BOUND = 1e-6
ENGINES = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def test_the_measure_rejects_wrong_arrays():
    x = random(2, 4, 4, 3)
    broken = [x * 2, np.roll(x, 1, axis=2), x.transpose(0, 2, 1, 3), np.full_like(x, np.nan)]
    broken.append(np.concatenate([x[..., :2], -x[..., 2:]], axis=-1))
    assert relative_l2(x, x) == 0
    assert all(relative_l2(array, x) > 0.1 for array in broken)
    assert relative_l2(x[:1], x) == np.inf


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilations", "groups"),
    [
        *(((k, k), (s, s), (1, 1), 1) for k, s in itertools.product((1, 2, 3, 4), (1, 2, 3))),
        *(((k, k), (1, 1), (d, d), 1) for k, d in itertools.product((2, 3), (2, 3))),
        ((1, 1), (4, 4), (1, 1), 1),
        ((2, 2), (4, 4), (1, 1), 1),
        ((3, 2), (2, 1), (1, 1), 1),
        ((1, 3), (3, 2), (1, 1), 1),
        ((3, 3), (1, 1), (1, 2), 2),
        ((3, 3), (2, 2), (1, 1), 4),
    ],
)
def test_conv(kernel, strides, dilations, groups, padding, unknown):
    x, weights, bias = random(2, 9, 8, 4), random(*kernel, 4 // groups, 8), random(8)
    config = {
        "filters": 8,
        "kernel_size": list(kernel),
        "strides": list(strides),
        "dilation_rate": list(dilations),
        "groups": groups,
        "padding": padding,
    }
    found = apply("Conv2D", config, [weights, bias], x, unknown=unknown)
    wanted = keras_math.conv(
        x, weights, bias, strides=strides, dilations=dilations, groups=groups, padding=padding
    )
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "multiplier"),
    [(3, 1, 1, 1), (3, 2, 1, 2), (2, 2, 1, 3), (5, 1, 1, 1), (3, 1, 2, 2), (2, 3, 1, 1)],
)
def test_depthwise_and_separable(kernel, stride, dilation, multiplier, padding, unknown):
    x = random(2, 9, 10, 3)
    weights, bias = random(kernel, kernel, 3, multiplier), random(3 * multiplier)
    config = {
        "kernel_size": kernel,
        "strides": stride,
        "dilation_rate": dilation,
        "padding": padding,
        "depth_multiplier": multiplier,
    }
    settings = {"strides": (stride,) * 2, "dilations": (dilation,) * 2, "padding": padding}
    found = apply("DepthwiseConv2D", config, [weights, bias], x, unknown=unknown)
    assert_close(found, keras_math.depthwise(x, weights, bias, **settings), BOUND)
    pointwise, last = random(1, 1, 3 * multiplier, 5), random(5)
    config = {**config, "filters": 5, "activation": "relu"}
    found = apply("SeparableConv2D", config, [weights, pointwise, last], x, unknown=unknown)
    inner = keras_math.depthwise(x, weights, **settings)
    assert_close(found, np.maximum(keras_math.conv(inner, pointwise, last), 0), BOUND)


POOLS = [
    *itertools.product((1, 2, 3), (1, 2, 3, 4)),
    (4, 3),
    (5, 2),
]


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "stride"), POOLS)
def test_pools(size, stride, padding, unknown):
    x = random(2, 8, 11, 3) - 2  # mostly below 0: padding with zeros would show
    config = {"pool_size": [size, size], "strides": [stride, stride], "padding": padding}
    places = list(keras_math.windows(x, (size, size), (stride, stride), padding=padding))
    largest = keras_math.collect(
        (i, j, window[:, inside].max(axis=1)) for i, j, window, inside in places
    )
    average = keras_math.collect(
        (i, j, window[:, inside].mean(axis=1)) for i, j, window, inside in places
    )
    found = apply("MaxPooling2D", config, [], x, unknown=unknown)
    assert_same_bits(found, largest.astype(np.float32))
    assert_close(apply("AveragePooling2D", config, [], x, unknown=unknown), average, BOUND)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (1, 4), (2, 3), (3, 2), (3, 4)])
def test_same_padding_of_unknown_sizes_on_every_engine(engine, size, stride):
    weights, strides = random(size, size, 2, 3), (stride, stride)
    pool = {"pool_size": size, "strides": stride, "padding": "same"}
    conv = {"filters": 3, "kernel_size": size, "strides": stride, "padding": "same"}
    options = {"unknown": True, "run": ENGINES[engine]}
    images = [random(1, *shape, 2) for shape in ((8, 7), (9, 10), (5, 4))]
    for x in images:
        found = apply("Conv2D", {**conv, "use_bias": False}, [weights], x, **options)
        assert_close(found, keras_math.conv(x, weights, strides=strides, padding="same"), BOUND)
    for class_name, reduce in (("MaxPooling2D", np.max), ("AveragePooling2D", np.mean)):
        for x in images:
            places = keras_math.windows(x, (size, size), strides, padding="same")
            wanted = keras_math.collect(
                (i, j, reduce(window[:, inside], axis=1)) for i, j, window, inside in places
            )
            assert_close(apply(class_name, pool, [], x, **options), wanted, BOUND)


def keras_lengths(sizes, kernel, strides, padding, output_padding):
    if output_padding is None:
        extra = 0 if padding == "same" else 1
        return [
            i * s + extra * max(k - s, 0) for i, k, s in zip(sizes, kernel, strides, strict=True)
        ]
    cut = 1 if padding == "same" else 0
    return [
        (i - 1) * s + k - 2 * cut * (k // 2) + o
        for i, k, s, o in zip(sizes, kernel, strides, output_padding, strict=True)
    ]


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "output_padding"),
    [
        *(
            ((k, k), (s, s), padding, None)
            for k, s, padding in itertools.product((1, 2, 3, 4, 5), (1, 2, 3), ("same", "valid"))
        ),
        ((3, 3), (2, 2), "same", (1, 1)),
        ((3, 3), (2, 2), "same", (0, 0)),
        ((2, 2), (2, 2), "same", (1, 1)),
        ((5, 4), (3, 2), "same", (1, 1)),
        ((3, 3), (2, 2), "valid", (1, 0)),
        ((1, 2), (3, 3), "valid", (2, 1)),
        ((3, 1), (2, 4), "same", None),
    ],
)
def test_transposed(kernel, strides, padding, output_padding):
    x, weights, bias = random(2, 4, 5, 3), random(*kernel, 2, 3), random(2)
    config = {
        "filters": 2,
        "kernel_size": list(kernel),
        "strides": list(strides),
        "padding": padding,
        "output_padding": output_padding and list(output_padding),
    }
    lengths = keras_lengths((4, 5), kernel, strides, padding, output_padding)
    wanted = keras_math.transposed(x, weights, bias, lengths, strides, padding)
    # OpenVINO compiles slowly: it sees the models that a longer output makes unusual.
    engines = ["onnxruntime", "openvino"] if output_padding or max(strides) > 3 else ["onnxruntime"]
    for unknown, engine in itertools.product((False, True), engines):
        options = {"unknown": unknown, "run": ENGINES[engine]}
        found = apply("Conv2DTranspose", config, [weights, bias], x, **options)
        assert_close(found, wanted, BOUND)


def test_a_version_that_did_not_save_output_padding_is_remarked():
    config, weights = {"filters": 2, "kernel_size": 3}, [random(3, 3, 2, 4), random(2)]
    for version, count in (((2, 15, 0), 0), ((3, 0, 5), 1)):
        remarks = []
        convert(
            "Conv2DTranspose", config, weights, [(None, 8, 8, 4)], version=version, remarks=remarks
        )
        assert len(remarks) == count


@pytest.mark.parametrize(
    ("class_name", "config", "weights"),
    [
        ("Conv2D", {"filters": 5, "kernel_size": 3, "padding": "same"}, [(3, 3, 4, 5), (5,)]),
        ("DepthwiseConv2D", {"kernel_size": 2, "strides": 2}, [(2, 2, 4, 1), (4,)]),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": 2, "strides": 3}, [(2, 2, 2, 4), (2,)]),
        ("MaxPooling2D", {}, []),
        ("AveragePooling2D", {"pool_size": 3, "padding": "same"}, []),
        ("UpSampling2D", {"interpolation": "bilinear", "size": [2, 3]}, []),
        ("ZeroPadding2D", {"padding": [[1, 2], [3, 0]]}, []),
        ("Cropping2D", {"cropping": [1, 2]}, []),
        ("GlobalMaxPooling2D", {"keepdims": True}, []),
        ("Conv3D", {"filters": 5, "kernel_size": 3, "padding": "same"}, [(3, 3, 3, 4, 5), (5,)]),
        ("Conv3DTranspose", {"filters": 2, "kernel_size": 2}, [(2, 2, 2, 2, 4), (2,)]),
        ("AveragePooling3D", {"pool_size": 3, "padding": "same"}, []),
        ("UpSampling3D", {"size": [2, 3, 1]}, []),
        ("ZeroPadding3D", {"padding": [[1, 2], [3, 0], [0, 1]]}, []),
    ],
)
@pytest.mark.parametrize("unknown", [False, True])
def test_channels_first_is_channels_last_transposed(class_name, config, weights, unknown):
    arrays = [random(*shape) for shape in weights]
    x = random(2, 6, 8, 4) if "2D" in class_name else random(2, 6, 5, 8, 4)
    last = apply(class_name, config, arrays, x, unknown=unknown)
    config = {**config, "data_format": "channels_first"}
    first = apply(class_name, config, arrays, np.moveaxis(x, -1, 1).copy(), unknown=unknown)
    assert_close(first, np.moveaxis(last, -1, 1), BOUND)
