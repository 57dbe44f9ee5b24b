"""Turn pixels repeated by Tile, Expand or Gather and reshapes back into one Resize.

Keras 3 exports nearest upsampling so: an axis is inserted behind height, tiled, and merged into it,
then the same for width, with a change of layout somewhere between. Whatever the steps are, the
chain is run on integer ramps of two sizes: if it repeats pixels, it is a Resize (nearest,
asymmetric, floor), perhaps with one Transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._evaluate import evaluate
from segrt.passes._proof import prove, ramp
from segrt.passes._rewrite import Rewriter, nodes_of, refusal, replace, subject_of
from segrt.types import Certificate, Verdict

# They move or repeat numbers; their first input is the data, the others are shapes.
_MOVERS = frozenset(
    (
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    )
)
_REPEATING = ("Tile", "Expand", "Gather")
_LONGEST = 24
# Free sizes become these: two sets, unlike each other, so that no fixed number passes for a size.
_SIZES = ((2, 5, 4, 3), (1, 3, 7, 6))
_MOST_ELEMENTS = 1 << 24  # a float32 ramp is exact below
_LAYOUTS = ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2))
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class _Repetition:
    """``end = start``, repeated ``factors`` times along its axes, then transposed by ``perm``."""

    start: ir.Value
    end: ir.Value
    factors: tuple[int, ...]
    perm: tuple[int, ...]


class RestoreRepeats:
    """See the module's docstring."""

    name = "restore_repeats"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Restore every repetition of pixels that is one."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, *_REPEATING):
            chain = _chain(node)
            if len(chain) < 3 or not metadata.layer_of(node):
                continue
            subject = subject_of(chain[-1])
            found = _find(chain)
            if found is None:
                continue
            inner = chain[chain.index(found.start) + 1 : chain.index(found.end)]
            try:
                with rewriter.attempt():
                    new, certificate = _build(rewriter, found)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            for value in inner:
                metadata.dissolve(model, value, "a step of an upsampling that is one Resize now")
            replace(found.end, new)
            factors = "x".join(str(f) for f in found.factors if f > 1)
            reason = f"{len(inner) + 1} nodes repeat pixels by {factors}: one nearest Resize"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _chain(node: ir.Node) -> list[ir.Value]:
    """Return the values along the movers around ``node``, from the first one's input on."""
    first = node
    for _ in range(_LONGEST):
        source = first.inputs[0]
        before = None if source is None else source.producer()
        if source is None or before is None or not _moves(before) or _reader(source) is not first:
            break
        first = before
    values = [] if first.inputs[0] is None else [first.inputs[0]]
    current: ir.Node | None = first
    while current is not None and len(values) <= _LONGEST:
        values.append(current.outputs[0])
        current = _reader(current.outputs[0])
    return values


def _moves(node: ir.Node) -> bool:
    return node.op_type in _MOVERS and node.domain == "" and len(node.outputs) == 1


def _reader(value: ir.Value) -> ir.Node | None:
    """Return the one mover that goes on from ``value``; readers of its shape do not count."""
    users = {use.node for use in value.uses() if use.node.op_type not in ("Shape", "Size")}
    if len(users) != 1 or value.is_graph_output():
        return None
    user = users.pop()
    return user if _moves(user) and user.inputs[0] is value else None


def _find(chain: list[ir.Value]) -> _Repetition | None:
    """Return the longest part of a chain that repeats pixels."""
    images = [value for value in chain if value.shape is not None and len(value.shape) == 4]
    for start in images:
        probes = list(_probes(start))
        for end in reversed(images[images.index(start) + 1 :]):
            try:
                found = {_compare(start, end, probe) for probe in probes}
            except PassError:
                continue  # it reads the shape of something before this start
            if len(found) == 1 and (one := found.pop()) is not None:
                return one
    return None


def _probes(value: ir.Value) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    for sizes in _SIZES:
        free: dict[str | None, int] = {}
        shape = []
        for axis, size in enumerate(value.shape or ()):
            known = size if isinstance(size, int) else free.setdefault(size.value, sizes[axis])
            shape.append(known)
        if int(np.prod(shape, dtype=object)) <= _MOST_ELEMENTS:
            yield ramp(tuple(shape))


def _compare(
    start: ir.Value, end: ir.Value, probe: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> _Repetition | None:
    result = evaluate(end, {start: probe}, wide=False)
    for perm in _LAYOUTS:
        moved = probe.transpose(perm)
        if result.ndim != 4 or any(a % b for a, b in zip(result.shape, moved.shape, strict=True)):
            continue
        times = [a // b for a, b in zip(result.shape, moved.shape, strict=True)]
        if max(times) == 1:
            continue
        for axis, count in enumerate(times):
            moved = moved.repeat(count, axis=axis)
        if np.array_equal(moved, result):
            factors = [1, 1, 1, 1]
            for axis, count in enumerate(times):
                factors[perm[axis]] = count
            return _Repetition(start, end, tuple(factors), perm)
    return None


def _build(rewriter: Rewriter, found: _Repetition) -> tuple[ir.Value, Certificate]:
    """Insert the Resize and prove it on ramps of two sizes."""
    node = found.end.producer()
    if node is None:
        raise PassError("the repeated image is an input")
    rewriter.at(node)
    layer = metadata.layer_of(node)
    source, factors, perm = found.start, found.factors, found.perm
    if factors[0] > 1:
        raise PassError("it repeats images of the batch")
    last = factors[1] > 1
    if last:
        if factors[3] > 1:
            raise PassError("it repeats along three axes")
        source = rewriter.transpose(source, _TO_FIRST, name=f"{layer}:nchw")
        factors = tuple(factors[axis] for axis in _TO_FIRST)
        perm = tuple(_TO_LAST[axis] for axis in perm)
    scales = rewriter.constant(f"{layer}:scales", np.asarray(factors, dtype=np.float32))
    new = rewriter.op(
        "Resize",
        [source, None, scales],
        name=f"{layer}:resize",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    rewriter.tag(layer, "UpSampling2D")
    if perm != (0, 1, 2, 3):
        new = rewriter.transpose(new, perm, name=f"{layer}:layout")
    rewriter.tag(layer, "Transpose")
    proofs = [
        prove(found.end, new, {found.start: p}, claim="bit-equal", what="integer ramp")
        for p in _probes(found.start)
    ]
    return new, proofs[-1]


REGISTRY.register(RestoreRepeats.name)(RestoreRepeats())
