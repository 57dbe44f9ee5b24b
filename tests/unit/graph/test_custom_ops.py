"""Operations of the user's own: what may be defined, and what becomes of it in a graph."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from segrt.errors import EngineError, UnsupportedLayerError, UsageError
from segrt.graph import custom_nodes
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import REGISTRY, custom_op
from segrt.graph.dims import Dim, UnknownSizeError, leaves
from segrt.graph.infer_shapes import infer_shapes
from segrt.passes._resize_rule import ResizeRule


@pytest.fixture(autouse=True)
def _registry_restored(monkeypatch):
    REGISTRY.load()
    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY._entries))


def define(name="test_op", reference=lambda x: x, **options):
    return custom_op(name, cuda="out[i] = x[i];", **options)(reference)


def builder():
    return GraphBuilder(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net"))


def bad_annotation(x, *, size: list):
    return x


def no_annotation(x, *, size):
    return x


def any_number(*x):
    return x


def a_word_of_cuda(x, *, float: float):  # noqa: A002 - that is the mistake
    return x


def the_index(i):
    return i


def no_input(*, size: int):
    return size


def infinite(x, *, limit: float = float("inf")):
    return x


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (bad_annotation, "list"), (no_annotation, "no type"), (any_number, r"\*x"),
        (a_word_of_cuda, "float"), (the_index, "i"), (no_input, "none"), (infinite, "inf"),
    ],
)  # fmt: skip
def test_impossible_signatures_are_refused(reference, found):
    with pytest.raises(UsageError) as caught:
        define(reference=reference)
    assert found.strip("\\") in str(caught.value.found)


@pytest.mark.parametrize("name", ["LeakyRelu", "my op", "", "9lives", "a-b"])
def test_impossible_names_are_refused(name):
    with pytest.raises(UsageError, match="no name for a custom operation"):
        define(name)


def scaled(x, *, times: int, gain: float = 0.5, mode: str = "fast"):
    return x * times * gain


def test_attributes_are_checked():
    op = define(reference=scaled)
    assert op.bind({"times": 2}) == {"times": 2, "gain": 0.5, "mode": "fast"}
    assert op.bind({"times": 2, "gain": 3})["gain"] == 3.0
    for wrong in (
        {}, {"times": 2.5}, {"times": True}, {"times": 2**40}, {"times": 1, "gain": "x"},
        {"times": 1, "mode": "a b"}, {"times": 1, "speed": 1},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            op.bind(wrong)


def test_calling_an_operation_runs_its_reference():
    op = define(reference=scaled)
    np.testing.assert_array_equal(op(np.ones((2, 3), np.float32), times=4), np.full((2, 3), 2.0))
    assert op(np.ones(2, np.float64), times=1).dtype == np.float64


def test_a_reference_that_breaks_its_own_rule_is_found():
    op = define(shape=lambda x: (x[0], 2 * x[1]))
    with pytest.raises(EngineError, match="disagree") as caught:
        op(np.ones((2, 3)))
    assert caught.value.wanted == "(2, 6)"


def test_a_reference_that_fails_is_an_engine_error():
    op = define(reference=lambda x: x.nothing)
    with pytest.raises(EngineError, match="'test_op' fails"):
        op(np.ones(3))


@pytest.mark.parametrize("rule", [lambda x: 3, lambda x: (0,), lambda x: (1.5,), lambda x: ("n",)])
def test_rules_return_sizes(rule):
    with pytest.raises(UsageError, match="returns no shape"):
        define(shape=rule)(np.ones(3))


def test_nodes_get_shapes_by_the_rule_also_where_sizes_are_unknown():
    graph = builder()
    x = graph.input("x", [None, 3, None, 8], ir.DataType.FLOAT)
    value = graph.op(upsample_nearest, [x], name="up", rows=2, columns=3)
    assert value.dtype == ir.DataType.FLOAT
    assert [s if isinstance(s, int) else s.value for s in value.shape] == ["batch", 3, None, 24]
    node = value.producer()
    assert (node.domain, node.op_type) == ("segrt.custom", "upsample_nearest")
    assert custom_nodes.attributes_of(node) == {"rows": 2, "columns": 3}
    assert graph.graph.opset_imports["segrt.custom"] == 1


def test_a_rule_that_asks_for_unknown_sizes_says_what_to_do():
    op = define(shape=lambda x: (x[0], 2 if x[1] > 4 else 1))
    graph = builder()
    known = graph.input("known", [None, 6], ir.DataType.FLOAT)
    assert graph.op(op, [known], name="a").shape[1] == 2
    free = graph.input("free", [None, None], ir.DataType.FLOAT)
    with pytest.raises(onnx.shape_inference.InferenceError, match="fix the sizes when building"):
        graph.op(op, [free], name="b")


def test_sizes_are_inferred_anew_through_custom_nodes():
    graph = builder()
    x = graph.input("x", [1, 3, 4, 8], ir.DataType.FLOAT)
    up = graph.op(upsample_nearest, [x], name="up", rows=2, columns=2)
    last = graph.op("Relu", [up], name="last")
    x.shape = ir.Shape([2, 3, 5, 7])
    assert infer_shapes(graph.graph) is None
    assert last.shape == (2, 3, 10, 14)


def test_an_unknown_operation_names_layer_and_remedy():
    op = define()
    graph = builder()
    x = graph.input("x", [1, 3], ir.DataType.FLOAT)
    graph.graph.outputs.append(graph.op(op, [x], name="mine"))
    assert custom_nodes.hashes(ir.Model(graph.graph, ir_version=IR_VERSION)) == {
        "test_op": op.sha256
    }
    del REGISTRY._entries["test_op"]
    with pytest.raises(UnsupportedLayerError, match="'mine' needs custom operation") as caught:
        infer_shapes(graph.graph)
    assert "--ops" in caught.value.hint


def test_the_hash_covers_reference_rule_and_source():
    first = define().sha256
    assert define().sha256 == first
    assert custom_op("test_op", cuda="out[i] = x[i];;")(lambda x: x).sha256 != first
    assert define(shape=lambda x: x).sha256 != first
    assert define(reference=lambda x: +x).sha256 != first


def test_built_in_operations_cannot_be_replaced():
    with pytest.raises(UsageError, match="two custom operations called 'upsample_nearest'"):
        define("upsample_nearest")


def test_dims_know_arithmetic_and_refuse_the_rest():
    (shape,) = leaves([[None, 5]])
    n, five = shape
    assert isinstance(n, Dim)
    assert five == 5
    size = (2 + n * 3 - 1) // 2 + 7 % five + n % 4
    for value in (1, 6, 11):
        found = size.evaluate(lambda where, v=value: v, int)
        assert found == (2 + value * 3 - 1) // 2 + 2 + value % 4
    assert (10 - n).evaluate(lambda _: 4, int) == 6
    assert (9 // n).evaluate(lambda _: 4, int) == 2
    for wrong in (
        lambda: n > 1, lambda: bool(n), lambda: n == 2, lambda: int(n), lambda: n / 2,
        lambda: n * 1.5, lambda: range(n),
    ):  # fmt: skip
        with pytest.raises(UnknownSizeError):
            wrong()


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 4)])
def test_upsampling_agrees_with_the_onnx_rules(factors):
    """The ONNX operator's formulas, written apart from the references."""
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    rows, columns = factors
    nearest = ResizeRule(False, "asymmetric", "floor", factors)
    wanted = np.take(x, nearest.nearest_indices(4, rows), 2)
    wanted = np.take(wanted, nearest.nearest_indices(5, columns), 3)
    np.testing.assert_array_equal(upsample_nearest(x, rows=rows, columns=columns), wanted)
    linear = ResizeRule(True, "half_pixel", "", factors)
    low, high, part = linear.linear_taps(4, rows)
    wanted = x[:, :, low] * (1 - part[:, None]) + x[:, :, high] * part[:, None]
    low, high, part = linear.linear_taps(5, columns)
    wanted = wanted[..., low] * (1 - part) + wanted[..., high] * part
    found = upsample_bilinear(x, rows=rows, columns=columns)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
