"""Which node of a foreign graph stands for which node of the graph imported from Keras.

Names do not tell: exporters change them. Both graphs are walked from their outputs back to their
inputs at the same time; nodes of one family are partners, and what one side has folded away
(batch normalisation), lost or added (an activation) is passed over and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

# Operators that do the same job, so that one standing for another is a partner, changed.
_FAMILIES = {
    "activation": (
        "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh",
        "Softplus", "Softsign", "Gelu", "Mish", "HardSwish", "ThresholdedRelu", "Celu",
    ),
    "upsampling": ("Resize", "Upsample"),
    "pooling": ("MaxPool", "AveragePool"),
    "global pooling": ("GlobalAveragePool", "ReduceMean"),
    "product": ("MatMul", "Gemm"),
}  # fmt: skip
_FAMILY_OF = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds}
# With a constant: a bias, a scale.
_CONSTANT = ("Add", "Sub", "Mul", "Div")
_MOVERS = frozenset(
    ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "Dropout")
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A node of the foreign graph and what it stands for.

    Attributes:
        foreign: The node.
        keras: Its partner in Keras' graph; None for a node that Keras' graph does not have.
        meant: The value of Keras' graph that the foreign node's output ought to be.
        folded: Nodes of Keras' graph between ``keras`` and ``meant`` without a partner of their
            own: folded into the foreign node, or lost.
        end: The foreign value that ought to be ``meant``: the node's output, or what constants
            added or multiplied behind it make of it (a bias).
    """

    foreign: ir.Node
    keras: ir.Node | None
    meant: ir.Value
    folded: tuple[ir.Node, ...]
    end: ir.Value


@dataclass(slots=True)
class Pairing:
    """The partners of two graphs.

    Attributes:
        pairs: By foreign node.
        meant: Foreign value -> the value of Keras' graph that it ought to be.
        strangers: Where the walk could not go on: a foreign and a Keras node, in words.
    """

    pairs: dict[ir.Node, Pair] = field(default_factory=dict)
    meant: dict[ir.Value, ir.Value] = field(default_factory=dict)
    strangers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """Two values to be compared next; see `Pair` for what the rest is."""

    foreign: ir.Value
    keras: ir.Value
    meant: ir.Value
    folded: tuple[ir.Node, ...] = ()
    end: ir.Value | None = None


def pair_graphs(foreign: ir.Graph, keras: ir.Graph) -> Pairing:
    """Pair the nodes of two graphs with as many outputs each, in the same order."""
    walk = Pairing()
    work = [_Place(a, b, b) for a, b in zip(foreign.outputs, keras.outputs, strict=True)]
    while work:
        work += _step(walk, work.pop())
    return walk


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs of a node that depend on the network's input."""
    found = [value for value in node.inputs if value is not None and value.const_value is None]
    return found[:1] if _family(node) in ("upsampling", "activation") else found


def bare(value: ir.Value) -> ir.Value:
    """Return what a value is a mere rearrangement of."""
    while True:
        node = value.producer()
        if node is None or node.op_type not in _MOVERS or node.inputs[0] is None:
            return value
        value = node.inputs[0]


def _step(walk: Pairing, place: _Place) -> list[_Place]:
    """Pair the nodes that make two values; return the values to go on with."""
    foreign, keras = bare(place.foreign), bare(place.keras)
    meant = place.meant if place.folded or place.end else keras
    if foreign in walk.meant:
        return []
    a, b = foreign.producer(), keras.producer()
    if a is None and b is None:
        walk.meant[foreign] = keras
        return []
    if a is not None and b is not None and (_family(a) == _family(b) or _is_dense(a, b)):
        end = place.end or a.outputs[0]
        walk.pairs[a] = Pair(a, b, meant, place.folded, end)
        walk.meant[end] = meant
        return _before(walk, a, b)
    return _alone(walk, place, meant, (foreign, keras))


def _alone(
    walk: Pairing, place: _Place, meant: ir.Value, values: tuple[ir.Value, ir.Value]
) -> list[_Place]:
    """Pass over a node of one side that has no partner."""
    foreign, keras = values
    a, b = foreign.producer(), keras.producer()
    if b is not None and _is_passed_over(b, a):
        before = data_inputs(b)[0]
        return [_Place(foreign, before, meant, (b, *place.folded), place.end)]
    if a is not None and a.op_type in _CONSTANT and len(data_inputs(a)) == 1:
        end = place.end or a.outputs[0]
        return [_Place(data_inputs(a)[0], keras, meant, place.folded, end)]
    if a is not None and _is_passed_over(a, b):
        walk.pairs[a] = Pair(a, None, meant, place.folded, place.end or a.outputs[0])
        walk.meant[place.end or a.outputs[0]] = meant
        return [_Place(data_inputs(a)[0], keras, keras)]
    walk.strangers.append((_word(a), _word(b)))
    return []


def _before(walk: Pairing, a: ir.Node, b: ir.Node) -> list[_Place]:
    ours, theirs = data_inputs(a), data_inputs(b)
    if len(ours) != len(theirs):
        walk.strangers.append((f"{_word(a)} of {len(ours)}", f"{_word(b)} of {len(theirs)}"))
    return [_Place(x, y, y) for x, y in zip(ours, theirs, strict=False)]


def _family(node: ir.Node) -> str:
    return _FAMILY_OF.get(node.op_type, node.op_type)


def _is_dense(node: ir.Node, other: ir.Node) -> bool:
    """Say whether two nodes may both be a Dense layer: one a product, one a 1 x 1 convolution."""
    kinds = {node.op_type, other.op_type}
    return kinds in ({"MatMul", "Conv"}, {"Gemm", "Conv"})


def _is_passed_over(node: ir.Node, other: ir.Node | None) -> bool:
    """Say whether a node may lack a partner: it makes one image of one, of the same size or so."""
    if len(data_inputs(node)) != 1:
        return False
    if node.op_type == "BatchNormalization" or _family(node) == "activation":
        # Two different nodes that may both be passed over: the normalisation goes first.
        return (
            other is None
            or node.op_type == "BatchNormalization"
            or (other.op_type != "BatchNormalization")
        )
    return node.op_type in (*_CONSTANT, "Pad", "Slice")


def _word(node: ir.Node | None) -> str:
    return "the input" if node is None else f"{node.name!r} ({node.op_type})"
