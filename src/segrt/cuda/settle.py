"""Decide what is kept in eight bits, and put conversions where an operation cannot.

Integers are kept between operations that take and give them. Parts of a concatenation take its
scale, so that each can be written where it belongs: rounded once, where the graph may round twice.
Only a part that others read too, and that its own scale says more finely, is kept as it is and
copied: through a skip of small numbers beside large ones the rest of the network sees it.
What leaves the network, the few channels before the last layer, and images of few channels are
not rounded at all.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.heads import is_head
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import (
    Chain,
    Convolution,
    Custom,
    Export,
    Import,
    Join,
    MergedUpsampling,
    Operation,
    Program,
    TransposedConvolution,
)
from segrt.cuda.plan import first_spec
from segrt.cuda.views import View

# Channels that cuDNN's and the own kernels' integer products come in.
_CHANNELS = 16
_FEW, _FEW_INPUTS = 8, 32
# Scales this near to each other cost a third of a bit.
_ALIKE = 1.25


def settle(program: Program) -> Program:
    """Return a program each of whose operations can compute on the types it is given."""
    if not program.scales:
        return program
    return _Settler(program).settled()


def takes_integers(operation: Convolution) -> bool:
    """Say whether a convolution can be computed on integers of eight bits."""
    outputs, inputs, *window = operation.kernel.shape
    plain = operation.groups == 1 and not operation.residual
    if operation.scales is None or not plain or is_head(operation):
        return False
    plain = operation.stride == operation.dilation == (1, 1) and max(window) <= 5
    few = bool(outputs <= _FEW and inputs % _FEW_INPUTS == 0)
    whole = bool(outputs % _CHANNELS == 0 and inputs % _CHANNELS == 0)
    return (plain and few) or whole


class _Settler:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._scales = dict(program.scales)
        self._shapes = dict(program.shapes)
        self._dense = program.dense
        self._makers = {operation.output: operation for operation in program.operations}

    def settled(self) -> Program:
        for operation in reversed(self._program.operations):
            if isinstance(operation, Join):
                self._equalise(operation)
        for name in list(self._scales):
            if self._stays_wide(name):
                del self._scales[name]
        operations: list[Operation] = []
        for operation in self._program.operations:
            operations += self._around(operation)
        operations = _without_unread(operations)
        made = {operation.output for operation in operations}
        scales = {name: scale for name, scale in self._scales.items() if name in made}
        return replace(
            self._program,
            operations=tuple(operations),
            shapes=self._shapes,
            scales=scales,
            dense=self._dense,
        )

    def _equalise(self, join: Join) -> None:
        parts = [self._scales.get(name) for name in join.inputs]
        known = [scale for scale in parts if scale is not None]
        if join.output not in self._scales and len(known) == len(parts):
            self._scales[join.output] = max(known)
        whole = self._scales.get(join.output)
        for name in join.inputs if whole is not None else ():
            own = self._scales.get(name)
            if own is None or whole is None:
                continue
            if self._program.uses(name) == 1 or 1 / _ALIKE <= whole / own <= _ALIKE:
                self._scales[name] = whole

    def _stays_wide(self, name: str) -> bool:
        maker = self._makers.get(name)
        readers = [op for op in self._program.operations if name in op.inputs]
        if all(isinstance(reader, Export) for reader in readers):
            return True
        if isinstance(maker, Import) and (*self._shapes[name], 1, 1)[1] < _CHANNELS:
            return True
        few = isinstance(maker, Convolution) and len(maker.bias) <= _FEW
        return few and all(isinstance(op, Convolution) and is_head(op) for op in readers)

    def _around(self, operation: Operation) -> list[Operation]:
        """Return an operation with the conversions it needs before and behind it."""
        if isinstance(operation, Custom):
            return self._wrapped(operation)
        inner = operation.convolution if isinstance(operation, MergedUpsampling) else operation
        if not isinstance(inner, (Convolution, TransposedConvolution)):
            return [operation]
        source, target = operation.inputs[0], operation.output
        if isinstance(inner, Convolution):
            if self._takes_any(inner, source, target):
                return [operation]
            if source in self._scales and takes_integers(inner):
                return [operation]
        return self._wrapped(operation)

    def _wrapped(self, operation: Operation) -> list[Operation]:
        """Return an operation that knows no integers, with conversions on all sides."""
        target = operation.output
        before: list[Operation] = []
        after: list[Operation] = []
        for source in dict.fromkeys(operation.inputs):
            if source in self._scales:
                wide, made = self._widened(operation.layer, source)
                before += made
                names = tuple(wide if name == source else name for name in operation.inputs)
                operation = replace(operation, inputs=names)
        if target in self._scales:
            name = self._wide(target)
            operation = replace(operation, output=name)
            after = [Chain(operation.layer, (name,), target, (Step("identity"),))]
        return [*before, operation, *after]

    def _widened(self, layer: str, source: str) -> tuple[str, list[Operation]]:
        """Return a value's name before it was rounded, else what makes a wide copy."""
        maker = self._makers.get(source)
        if isinstance(maker, Chain) and [step.op for step in maker.steps] == ["identity"]:
            return maker.inputs[0], []
        name = self._wide(source)
        return name, [Chain(layer, (source,), name, (Step("identity"),))]

    def _wide(self, name: str) -> str:
        wide = f"{name}:wide"
        while wide in self._shapes:
            wide += "+"
        self._shapes[wide] = self._shapes[name]
        if name in self._dense:
            self._dense |= {wide}
        return wide

    def _takes_any(self, operation: Convolution, source: str, target: str) -> bool:
        """Say whether the kernel of last or first layers computes this: they read and write all."""
        if is_head(operation):
            return True
        views = (self._view(source, "fp32"), self._view(target, "int8"))
        return first_spec(operation, *views) is not None

    def _view(self, name: str, dtype: str) -> View:
        return View.of(self._shapes[name], dtype)


def _without_unread(operations: list[Operation]) -> list[Operation]:
    """Drop what nothing reads any more."""
    kept: list[Operation] = []
    read: set[str] = set()
    for operation in reversed(operations):
        if isinstance(operation, Export) or operation.output in read:
            read |= set(operation.inputs)
            kept.append(operation)
    return kept[::-1]
