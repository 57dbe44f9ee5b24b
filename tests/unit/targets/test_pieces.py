"""Graphs cut into pieces: convex, as few as can be, and together what the whole was."""

import itertools

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.errors import EngineError, ShapeError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.targets._pieces import open_pieces, split


class Ort:
    """Runs a piece, and remembers whether it was closed."""

    opened: list = []  # noqa: RUF012 - shared on purpose

    def __init__(self, piece):
        data = ir.to_proto(piece.model).SerializeToString()
        self._session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self._names = piece.outputs
        self.closed = False
        Ort.opened.append(self)

    def run(self, feeds):
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def _forget():
    Ort.opened.clear()


def build(edges, kinds):
    """A graph of sums: node k adds a constant to the values of ``edges[k]`` (0: the input)."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    values = [builder.input("x", [None, 3], ir.DataType.FLOAT)]
    shared = builder.constant("shared", np.array([1.0, 2.0, 3.0], np.float32))
    for number, (sources, taken) in enumerate(zip(edges, kinds, strict=True)):
        total = builder.op(
            "Sum",
            [shared, *(values[source % len(values)] for source in sources)],
            name=f"{'take' if taken else 'leave'}{number}",
        )
        values.append(total)
    unread = [value for value in values[1:] if not value.uses()]
    graph.outputs.extend(unread)
    return ir.Model(graph, ir_version=IR_VERSION)


def takes(node):
    return node.name.startswith("take")


def reference(model, x):
    data = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(data).run(None, {"x": x})


nets = st.integers(1, 9).flatmap(
    lambda count: st.tuples(
        st.lists(
            st.lists(st.integers(0, 20), min_size=1, max_size=3), min_size=count, max_size=count
        ),
        st.lists(st.booleans(), min_size=count, max_size=count),
    )
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(nets)
def test_any_graph_in_pieces_computes_the_same(net):
    model = build(*net)
    pieces = split(model, takes)
    names = [node.name for piece in pieces for node in piece.model.graph]
    assert sorted(names) == sorted(node.name for node in model.graph)
    assert all(takes(node) == piece.taken for piece in pieces for node in piece.model.graph)
    # In an order that computes: what a piece reads was made before.
    known = {"x"}
    for piece in pieces:
        assert set(piece.inputs) <= known
        known |= set(piece.outputs)
    # As few as there can be: one more than the changes of kind on the worst way.
    kinds = [piece.taken for piece in pieces]
    assert all(a != b for a, b in itertools.pairwise(kinds))
    assert len(pieces) == longest_alternation(model)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    with open_pieces(model, takes, Ort) as session:
        found = session.run({"x": x})
    for name, wanted in zip(found, reference(model, x), strict=True):
        np.testing.assert_array_equal(found[name], wanted)


def longest_alternation(model):
    """The most changes of kind on any way through the graph, plus one, along every way there is.

    Pieces take turns, so with either kind as the first one, a way that begins with the other one
    waits for the second piece.
    """

    def best(node, first):
        before = [value.producer() for value in node.inputs if value.producer() is not None]
        start = 1 if takes(node) == first else 2
        ways = (best(other, first) + (takes(other) != takes(node)) for other in before)
        return max([start, *ways])

    kinds = set(map(takes, model.graph))
    return min(max(best(node, first) for node in model.graph) for first in kinds)


def test_a_node_that_could_wait_does():
    model = build([[0], [1], [0]], [False, True, True])
    pieces = split(model, takes)
    assert [sorted(node.name for node in piece.model.graph) for piece in pieces] == [
        ["leave0"], ["take1", "take2"],
    ]  # fmt: skip


def test_a_value_that_goes_out_and_comes_back_splits_a_piece():
    # take0 -> leave1 -> take2, and take0 -> take2: one piece of both would not be convex.
    model = build([[0], [1], [2, 1]], [True, False, True])
    pieces = split(model, takes)
    assert [[node.name for node in piece.model.graph] for piece in pieces] == [
        ["take0"], ["leave1"], ["take2"],
    ]  # fmt: skip
    assert pieces[2].inputs == ("leave1", "take0")


def test_weights_go_with_the_pieces_that_read_them():
    model = build([[0], [1]], [True, False])
    assert all("shared" in piece.model.graph.initializers for piece in split(model, takes))
    assert [piece.inputs for piece in split(model, takes)] == [("x",), ("take0",)]


def test_closing_closes_every_runner_once():
    session = open_pieces(build([[0], [1]], [True, False]), takes, Ort)
    session.close()
    session.close()
    assert [runner.closed for runner in Ort.opened] == [True, True]


def test_a_runner_that_cannot_be_opened_leaves_none_open():
    def opener(piece):
        if not piece.taken:
            raise EngineError("refused")
        return Ort(piece)

    with pytest.raises(EngineError, match="refused"):
        open_pieces(build([[0], [1]], [True, False]), takes, opener)
    assert [runner.closed for runner in Ort.opened] == [True]


def test_feeds_are_checked_like_those_of_any_session():
    with (
        open_pieces(build([[0]], [True]), takes, Ort) as session,
        pytest.raises(ShapeError, match="names do not match"),
    ):
        session.run({"y": np.ones((1, 3), np.float32)})
