"""What small arrays of sizes hold: the arithmetic that exporters do on shapes, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import onnx_ir as ir

from segrt.importers._onnx_symbols import Formula, number, product

Sizes: TypeAlias = list[Formula]
Found: TypeAlias = Sequence[Sizes | None] | None


class Known(Protocol):
    """What `segrt.importers._onnx_shapes.Shapes` offers here."""

    def shape(self, value: ir.Value | None) -> Sizes | None: ...

    def content(self, value: ir.Value | None) -> Sizes | None: ...


Rule: TypeAlias = Callable[[Known, ir.Node], Found]


def _shape(known: Known, node: ir.Node) -> Found:
    sizes = known.shape(node.inputs[0])
    if sizes is None:
        return None
    first = node.attributes["start"].as_int() if "start" in node.attributes else 0
    last = node.attributes["end"].as_int() if "end" in node.attributes else len(sizes)
    return [sizes[first:last]]


def _size(known: Known, node: ir.Node) -> Found:
    sizes = known.shape(node.inputs[0])
    return None if sizes is None else [[product(sizes)]]


def _same(known: Known, node: ir.Node) -> Found:
    return [known.content(node.inputs[0])]


def _reshape(known: Known, node: ir.Node) -> Found:
    rank = known.shape(node.outputs[0])
    return None if rank is None or len(rank) > 1 else _same(known, node)


def _gather(known: Known, node: ir.Node) -> Found:
    data, picked = known.content(node.inputs[0]), known.content(node.inputs[1])
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    whole = [index.whole for index in picked] if picked is not None else []
    if data is None or picked is None or axis not in (0, -1) or None in whole:
        return None
    if any(index is None or not -len(data) <= index < len(data) for index in whole):
        return None
    return [[data[index] for index in whole if index is not None]]


def _slice(known: Known, node: ir.Node) -> Found:
    data = known.content(node.inputs[0])
    parts = [known.content(value) for value in node.inputs[1:]]
    numbers = [part[0].whole if part and len(part) == 1 else None for part in parts]
    if data is None or None in numbers or len(numbers) < 2:
        return None
    start, end, *rest = numbers
    step = rest[1] if len(rest) > 1 else 1
    return [data[start:end:step]] if step else None


def _concat(known: Known, node: ir.Node) -> Found:
    parts = [known.content(value) for value in node.inputs]
    if any(part is None for part in parts):
        return None
    return [[item for part in parts if part is not None for item in part]]


def _split(known: Known, node: ir.Node) -> Found:
    data = known.content(node.inputs[0])
    given = known.content(node.inputs[1]) if len(node.inputs) > 1 else None
    count = len(node.outputs)
    if data is None:
        return None
    if given is None:
        if len(data) % count:
            return None
        lengths = [len(data) // count] * count
    else:
        lengths = [size.whole or 0 for size in given]
    found, start = [], 0
    for length in lengths:
        found.append(data[start : start + length])
        start += length
    return found


def _pairs(known: Known, node: ir.Node) -> list[tuple[Formula, Formula]] | None:
    if len(node.inputs) != 2:  # Max and Min take any number
        return None
    a, b = known.content(node.inputs[0]), known.content(node.inputs[1])
    if a is None or b is None or (len(a) != len(b) and 1 not in (len(a), len(b))):
        return None
    count = max(len(a), len(b))
    return list(zip(a * (count // len(a)), b * (count // len(b)), strict=True)) if a and b else None


def _binary(rule: Callable[[Formula, Formula, bool], Formula | None]) -> Rule:
    def compute(known: Known, node: ir.Node) -> Found:
        pairs = _pairs(known, node)
        dtype = node.outputs[0].dtype
        whole = dtype is not None and dtype.is_integer()
        if pairs is None:
            return None
        results = [rule(a, b, whole) for a, b in pairs]
        return None if None in results else [[item for item in results if item is not None]]

    return compute


def _unary(rule: Callable[[Formula], Formula | None]) -> Rule:
    def compute(known: Known, node: ir.Node) -> Found:
        content = known.content(node.inputs[0])
        results = None if content is None else [rule(item) for item in content]
        if results is None or None in results:
            return None
        return [[item for item in results if item is not None]]

    return compute


def _divide(a: Formula, b: Formula, whole: bool) -> Formula | None:
    quotient = a.over(b)
    if quotient is None or not whole:
        return quotient
    # ONNX divides integers towards zero, which is down only for what is not negative.
    exact = quotient.whole is not None or a.at_least(0) or a == b
    return quotient.floor() if exact else None


def _larger(a: Formula, b: Formula, _whole: bool) -> Formula | None:
    if (a - b).at_least(0):
        return a
    return b if (b - a).at_least(0) else None


def _smaller(a: Formula, b: Formula, whole: bool) -> Formula | None:
    larger = _larger(a, b, whole)
    return None if larger is None else (b if larger is a else a)


def _reduce_product(known: Known, node: ir.Node) -> Found:
    content = known.content(node.inputs[0])
    return None if content is None else [[product(content)]]


def _cast(known: Known, node: ir.Node) -> Found:
    content, dtype = known.content(node.inputs[0]), node.outputs[0].dtype
    if content is None or dtype is None:
        return None
    if dtype.is_integer():
        whole = all(f.denominator == 1 for item in content for _, f in item.terms)
        return [content] if whole else None
    return [content] if dtype.is_floating_point() else None


def _filled(known: Known, node: ir.Node) -> Found:
    shape = known.content(node.inputs[0])
    value = node.attributes.get("value")
    item = 0 if value is None else value.as_tensor().numpy().reshape(-1)[0].item()
    if shape is None or len(shape) > 1 or any((size.whole or 99) > 64 for size in shape):
        return None
    return [[number(item)] * (1 if not shape else shape[0].whole or 0)]


CONTENTS: dict[str, Rule] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Unsqueeze": _reshape,
    "Squeeze": _reshape,
    "Reshape": _reshape,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Split": _split,
    "Add": _binary(lambda a, b, _: a + b),
    "Sub": _binary(lambda a, b, _: a - b),
    "Mul": _binary(lambda a, b, _: a * b),
    "Div": _binary(_divide),
    "Max": _binary(_larger),
    "Min": _binary(_smaller),
    "Neg": _unary(lambda a: -a),
    "Floor": _unary(Formula.floor),
    "Ceil": _unary(lambda a: -((-a).floor())),
    "ReduceProd": _reduce_product,
    "ConstantOfShape": _filled,
}
