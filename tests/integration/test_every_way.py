"""Small graphs that some way once got wrong, by every way, against ONNX Runtime on the file."""

from __future__ import annotations

import pytest

from helpers.every_way import SAME, WAYS, outcome, text_case

EVERY = tuple(WAYS)

# Name -> graph, shapes of the inputs, the ways that have to compute it.
CASES: dict[str, tuple[str, dict[str, tuple[int, ...]], tuple[str, ...]]] = {}


def case(name: str, text: str, *, ways: tuple[str, ...] = EVERY, **shapes: tuple[int, ...]) -> None:
    assert name not in CASES
    CASES[name] = (text, shapes, ways)


case(
    "an input that nothing reads",
    "g (float[1,2,4,4] unused, float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Relu(x) }",
    unused=(1, 2, 4, 4),
    x=(1, 2, 4, 4),
)
case(
    "channels last put out and read on",
    """g (float[1,3,4,5] x) => (float[1,4,5,3] a, float[1,3,4,5] b) {
        a = Transpose<perm = [0, 2, 3, 1]>(x)
        b = Transpose<perm = [0, 3, 1, 2]>(a)
    }""",
    x=(1, 3, 4, 5),
)
case(
    "the least of three small vectors",
    "g (float[4] x, float[4] y) => (float[4] a) { b = Min(x, y, x) a = Min(b) }",
    ways=("import", "passes", "onnxruntime", "openvino"),
    x=(4,),
    y=(4,),
)
case(
    "a region with another value outside",
    """g (float[1,2,4,4] x) => (float[1,2,6,6] y)
    <float[8] roi = {0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1}, int64[4] sizes = {1, 2, 6, 6}> {
        y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize",
                   extrapolation_value = 0.5>(x, roi, , sizes)
    }""",
    ways=("import", "passes", "onnxruntime"),
    x=(1, 2, 4, 4),
)
case(
    "fixed sizes that no probe has",
    """g (float[N,2,H,W] x) => (float[N,2,8,7] y)
    <int64[4] shape = {3, 2, 8, 7}, float[2] s = {1, 2}, float[2] b = {0, 1}> {
        a = Expand(x, shape)
        y = BatchNormalization(a, s, b, b, s)
    }""",
    ways=("import", "passes", "all passes", "onnxruntime", "cuda"),
    x=(3, 2, 8, 7),
)
case(
    "shrunk by a factor that does not divide",
    """g (float[1,2,5,5] x) => (float[1,2,3,3] y) <float[4] scales = {1, 1, 0.7, 0.7}> {
        y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric">(x, , scales)
    }""",
    x=(1, 2, 5, 5),
)
case(
    "a longer result of a transposed convolution without padding",
    """g (float[1,2,5,8] x) => (float[1,1,15,17] y)
    <float[2,1,1,2] w = {1, 2, 3, 4}> {
        y = ConvTranspose<auto_pad = "VALID", strides = [3, 2], output_padding = [2, 1]>(x, w)
    }""",
    x=(1, 2, 5, 8),
)
case(
    "an output of constants alone",
    """g (float[1,2,4,4] x) => (float[1,2,1,1] a, float[1,2,4,4] y)
    <float[1,2,1,1] c = {-0.5, 2}> {
        a = Max(c)
        y = LogSoftmax<axis = 1>(x)
    }""",
    ways=("import", "passes", "all passes", "onnxruntime", "openvino"),
    x=(1, 2, 4, 4),
)
for mode in ("SAME_UPPER", "SAME_LOWER"):
    case(
        f"a transposed convolution padded by the word {mode}",
        f"""g (float[1,2,5,4] x) => (float[1,1,10,12] y)
        <float[2,1,3,2] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}> {{
            y = ConvTranspose<auto_pad = "{mode}", strides = [2, 3]>(x, w)
        }}""",
        x=(1, 2, 5, 4),
    )
case(
    "a transposed convolution with an odd number of pixels over",
    """g (float[1,1,9,3] x) => (float[1,1,18,7] y)
    <float[1,1,3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
        y = ConvTranspose<output_shape = [18, 7], strides = [2, 2]>(x, w)
    }""",
    x=(1, 1, 9, 3),
)
case(
    "places of a pool put out",
    """g (float[1,2,6,6] x) => (int64[1,2,3,3] places, float[1,2,3,3] y) {
        y, places = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
    }""",
    x=(1, 2, 6, 6),
)
case(
    "a part from before the beginning",
    """g (float[3,1] x) => (float[3,1] y)
    <int64[1] starts = {-2}, int64[1] ends = {2147483647}, int64[1] axes = {1}> {
        a = Slice(x, starts, ends, axes)
        y = Tanh(a)
    }""",
    x=(3, 1),
)
case(
    "dropout between transposes that go away",
    """g (float[3,2,5,1] x) => (float[3,1,5,1] y) <int64[2] axes = {2, 3}> {
        a = Abs(x)
        b = Transpose<perm = [0, 2, 3, 1]>(a)
        c = Dropout(b)
        d = ReduceMax<keepdims = 1>(c, axes)
        y = Transpose<perm = [0, 3, 1, 2]>(d)
    }""",
    x=(3, 2, 5, 1),
)
for include in (0, 1):
    case(
        f"windows that begin in the padding, counted {include}",
        f"""g (float[1,2,9,10] x) => (float[1,2,3,5] y) {{
            y = AveragePool<ceil_mode = 1, count_include_pad = {include}, kernel_shape = [3, 3],
                            pads = [0, 0, 1, 0], strides = [3, 2]>(x)
        }}""",
        x=(1, 2, 9, 10),
    )
case(
    "the largest in windows that reach over the end",
    """g (float[1,2,9,10] x) => (float[1,2,3,5] y) {
        y = MaxPool<ceil_mode = 1, kernel_shape = [3, 3], pads = [0, 0, 1, 0], strides = [3, 2]>(x)
    }""",
    x=(1, 2, 9, 10),
)


@pytest.mark.parametrize("name", CASES)
def test_every_way_computes_the_same(name, tmp_path, monkeypatch):
    text, shapes, ways = CASES[name]
    case = text_case(text, tmp_path, monkeypatch, **shapes)
    found = {way: outcome(way, case) for way in ways}
    assert {way: what for way, what in found.items() if what not in (SAME, None)} == {}
