"""A graph divided between two engines: convex pieces, as few as can be, each worth its way."""

import itertools

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.errors import UsageError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.stitch import stitch
from segrt.targets._levels import best_levels, transfers
from segrt.targets._mix import divide
from segrt.targets._pieces import PiecedSession, split_by

HEAVY, GLUE, REFUSED = "MatMul", "Sum", "Neg"


def build(net):
    """Node k reads the values ``sources`` (0: the input): a product, a sum, or one refused."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    values = [builder.input("x", [None, 3], ir.DataType.FLOAT)]
    rng = np.random.default_rng(1)
    for number, (kind, sources) in enumerate(net):
        read = list(dict.fromkeys(values[source % len(values)] for source in sources))
        total = read[0]
        if len(read) > 1 or kind == GLUE:
            role = "sum" if kind == GLUE else ("left" if kind == REFUSED else "right")
            total = builder.op("Sum", read, name=f"{role}{number}")
        if kind == HEAVY:
            weight = builder.constant(f"w{number}", rng.normal(size=(3, 3)).astype("f4"))
            total = builder.op("MatMul", [total, weight], name=f"product{number}")
        elif kind == REFUSED:
            total = builder.op("Neg", [total], name=f"refused{number}")
        values.append(total)
    graph.outputs.extend(value for value in values[1:] if not value.uses())
    return ir.Model(graph, ir_version=IR_VERSION)


def table(model):
    return {
        node: "not taken" if node.op_type == REFUSED else None for node in model.graph
    }  # fmt: skip


def run(model, feeds):
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.outputs]
    return dict(zip(names, session.run(names, feeds), strict=True))


def numpy_run(model, x):
    """The graph by NumPy's definitions."""
    values = {"x": x}
    for name, weight in model.graph.initializers.items():
        values[name] = weight.const_value.numpy()
    rules = {"Sum": lambda *a: sum(a[1:], a[0]), "MatMul": np.matmul, "Neg": np.negative}
    for node in model.graph:
        values[node.outputs[0].name] = rules[node.op_type](*(values[v.name] for v in node.inputs))
    return {value.name: values[value.name] for value in model.graph.outputs}


class Run:
    def __init__(self, piece):
        self._model = piece.model

    def run(self, feeds):
        return run(self._model, dict(feeds))

    def close(self):
        pass


def nets(most):
    node = st.tuples(
        st.sampled_from([HEAVY, GLUE, REFUSED]),
        st.lists(st.integers(0, 20), min_size=1, max_size=3),
    )
    return st.lists(node, min_size=1, max_size=most)


def edges(model):
    for node in model.graph:
        for value in node.inputs:
            if value.producer() is not None:
                yield value.producer(), node


def fewest(model, kinds):
    """The fewest pieces of one kind each in an order that computes: all ways are tried."""
    nodes, joined = list(model.graph), list(edges(model))
    for count in range(1, len(nodes) + 1):
        for places in itertools.product(range(count), repeat=len(nodes)):
            at = dict(zip(nodes, places, strict=True))
            one_kind = all(
                len({kinds[n] for n in nodes if at[n] == place}) <= 1 for place in range(count)
            )
            if one_kind and all(at[a] <= at[b] for a, b in joined):
                return count
    raise AssertionError


@settings(max_examples=60, deadline=None, derandomize=True)
@given(nets(4))
def test_no_other_cut_has_fewer_pieces(net):
    model = build(net)
    if len(model.graph) > 6:
        return
    kinds = {node: node.op_type != REFUSED for node in model.graph}
    assert len(split_by(model, kinds)) == fewest(model, kinds)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(nets(9))
def test_any_division_is_convex_whole_and_computes_the_same(net):
    model = build(net)
    support = table(model)
    try:
        pieces = divide(model, support, "t")
    except UsageError:
        return
    names = [node.name for piece in pieces for node in piece.model.graph]
    assert sorted(names) == sorted(node.name for node in model.graph)
    place = {node.name: i for i, piece in enumerate(pieces) for node in piece.model.graph}
    # Convex and in order at once: no edge leads to an earlier piece.
    assert all(place[a.name] <= place[b.name] for a, b in edges(model))
    for piece in pieces:
        refused = [node for node in piece.model.graph if node.op_type == REFUSED]
        assert not (piece.taken and refused)
    plain = split_by(model, {node: why is None for node, why in support.items()})
    assert len(pieces) <= len(plain)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    expected = numpy_run(model, x)
    with PiecedSession(model, [(piece, Run(piece)) for piece in pieces]) as session:
        found = session.run({"x": x})
    together = run(stitch([piece.model for piece in pieces], model), {"x": x})
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(together[name], found[name])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(nets(9))
def test_every_part_of_the_target_that_is_handed_anything_holds_a_product(net):
    model = build(net)
    try:
        pieces = divide(model, table(model), "t")
    except UsageError:
        # Only where no part with a product is left.
        assert not any(node.op_type == HEAVY for node in model.graph)
        return
    taken = {node.name for piece in pieces if piece.taken for node in piece.model.graph}
    place = {node.name: i for i, piece in enumerate(pieces) for node in piece.model.graph}
    for start in model.graph:
        if start.name not in taken:
            continue
        part, grown = {start}, True
        while grown:
            more = {
                other
                for pair in edges(model)
                for node, other in (pair, pair[::-1])
                if node in part and place[node.name] == place[other.name]
            }
            grown = not more <= part
            part |= more
        handed = any(
            (a in part) != (b in part) and (a.name in taken) != (b.name in taken)
            for a, b in edges(model)
        )
        assert not handed or any(node.op_type == HEAVY for node in part)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(nets(9))
def test_levels_never_fall_along_an_edge_and_are_of_one_kind(net):
    model = build(net)
    kinds = {node: node.op_type != REFUSED for node in model.graph}
    levels = best_levels(model.graph, kinds)
    assert all(levels[a] <= levels[b] for a, b in edges(model))
    assert all(
        len({kinds[node] for node in model.graph if levels[node] == level}) == 1
        for level in set(levels.values())
    )


def names(pieces):
    return [(piece.taken, sorted(node.name for node in piece.model.graph)) for piece in pieces]


def test_glue_alone_between_refused_nodes_stays_with_them():
    model = build([(HEAVY, [0]), (REFUSED, [1]), (GLUE, [2]), (REFUSED, [3]), (HEAVY, [4])])
    assert names(divide(model, table(model), "t")) == [
        (True, ["product0"]), (False, ["refused1", "refused3", "sum2"]), (True, ["product4"]),
    ]  # fmt: skip


def test_glue_beside_work_goes_with_the_work():
    model = build([(GLUE, [0]), (HEAVY, [1]), (GLUE, [2]), (REFUSED, [3]), (GLUE, [4])])
    assert names(divide(model, table(model), "t")) == [
        (True, ["product1", "sum0", "sum2"]), (False, ["refused3", "sum4"]),
    ]  # fmt: skip


def test_a_node_waits_where_that_hands_over_less():
    # wide0 makes nine elements of what three can be kept of: run late, only x is wanted again.
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("x", [1, 3], ir.DataType.FLOAT)
    wide = b.op("MatMul", [x, b.constant("w", np.ones((3, 9), "f4"))], name="wide0")
    first = b.op("MatMul", [x, b.constant("v", np.ones((3, 3), "f4"))], name="first")
    gone = b.op("Neg", [first], name="refused")
    last = b.op("MatMul", [gone, b.constant("u", np.ones((3, 9), "f4"))], name="last")
    graph.outputs.append(b.op("Sum", [wide, last], name="y"))
    model = ir.Model(graph, ir_version=IR_VERSION)
    levels = best_levels(graph, {node: node.op_type != REFUSED for node in graph})
    assert {value.name for value, _ in transfers(levels)} == {"first", "refused"}
    assert len(set(levels.values())) == 3
    assert names(divide(model, table(model), "t"))[2] == (True, ["last", "wide0", "y"])


def test_a_network_without_anything_worth_it_is_refused():
    model = build([(GLUE, [0]), (REFUSED, [1]), (GLUE, [2])])
    with pytest.raises(UsageError, match="no part of the network"):
        divide(model, table(model), "tensorrt-rtx")
