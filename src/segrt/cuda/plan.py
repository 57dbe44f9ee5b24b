"""Where every value lives: which buffer, which slice of it, from which step to which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from segrt.cuda.heads import is_head
from segrt.cuda.image_operations import Decide, GatherPixels, Resample, Slices, Softmax
from segrt.cuda.kernels._access import Access, stays, whole
from segrt.cuda.kernels._window import WindowSpec
from segrt.cuda.kernels.first_convolution import FirstConvolutionSpec
from segrt.cuda.kernels.first_convolution import fits as first_fits
from segrt.cuda.kernels.narrow_convolution import NarrowConvolutionSpec
from segrt.cuda.kernels.narrow_convolution import fits as narrow_fits
from segrt.cuda.kernels.phase_convolution import PhaseConvolutionSpec, used
from segrt.cuda.kernels.phase_int8 import PhaseInt8Spec
from segrt.cuda.kernels.phase_int8 import fits as phase_int8_fits
from segrt.cuda.kernels.phase_wide import either_fits
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.kernels.resident_convolution import ResidentConvolutionSpec
from segrt.cuda.kernels.resident_convolution import fits as resident_fits
from segrt.cuda.kernels.resident_int8 import ResidentInt8Spec
from segrt.cuda.kernels.resident_int8 import fits as resident_int8_fits
from segrt.cuda.operations import (
    ActivatedConvolution,
    Chain,
    Convolution,
    Export,
    Import,
    Join,
    MergedUpsampling,
    Operation,
    Program,
)
from segrt.cuda.tensor_operations import Reshape, Strided, TensorOperation
from segrt.cuda.views import View

Kind = TypeVar("Kind", bound=WindowSpec)

# Their kernels read and write every type of element.
_TYPELESS = (Chain, TensorOperation, Decide, GatherPixels, Resample, Slices, Softmax)

# Slices begin at multiples of 16 bytes: what the tensor cores' loads want.
_ALIGNMENT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A view of a named buffer; in front of a part of a batch lie the ``first`` images of it."""

    buffer: str
    view: View
    first: int = 0


@dataclass(slots=True)
class Buffer:
    """One piece of memory and the steps between which it is needed.

    Attributes:
        size: Bytes.
        first: Step that first writes it.
        last: Step that last reads it.
    """

    size: int
    first: int
    last: int


@dataclass(slots=True)
class Plan:
    """An ordered schedule.

    Attributes:
        steps: Operations with the places they read and write; imports and exports that need no
            work are left out. A pooled image that is written with another stands among what is
            read.
        buffers: In the arena.
        inputs: Place of each graph input, channels last unless imported otherwise.
        outputs: Place of each graph output.
    """

    steps: list[tuple[Operation, tuple[Place, ...], Place]] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    inputs: dict[str, Place] = field(default_factory=dict)
    outputs: dict[str, Place] = field(default_factory=dict)


def make_plan(program: Program, dtype: str) -> Plan:
    """Place every value of ``program``; inner ones are kept in element type ``dtype``."""
    return _Planner(program, dtype).plan()


class _Planner:
    def __init__(self, program: Program, dtype: str) -> None:
        self._program = program
        self._dtype = dtype
        self._places: dict[str, Place] = {}
        self._plan = Plan()
        self._readers: dict[str, list[Operation]] = {}
        for operation in program.operations:
            for name in operation.inputs:
                self._readers.setdefault(name, []).append(operation)

    def plan(self) -> Plan:
        for operation in self._program.operations:
            if isinstance(operation, Import):
                self._import(operation)
            if isinstance(operation, Export):
                self._export(operation)
        for operation in reversed(self._program.operations):
            if isinstance(operation, Join):
                self._join(operation)
        for operation in self._program.operations:
            self._add(operation)
        measure_lives(self._plan)
        return self._plan

    def _view(self, value: str, dtype: str) -> View:
        if value in self._program.dense:
            return View.dense(self._program.shapes[value], dtype)
        return View.of(self._program.shapes[value], dtype)

    def _inner_view(self, value: str) -> View:
        """Return how a value is kept where nothing else is wanted: in eight bits if scaled."""
        own = self._program.types.get(value)
        if own is not None:
            return self._view(value, own)
        view, scale = self._view(value, self._dtype), self._program.scales.get(value)
        if scale is None:
            return view
        kind = "uint8" if value in self._program.unsigned else "int8"
        return replace(view, dtype=kind, scale=scale)

    def _import(self, operation: Import) -> None:
        """Give a graph input its buffer; let its readers have it as it is, where they can."""
        place = self._outside(operation)
        self._plan.inputs[operation.inputs[0]] = place
        same_order = not operation.channels_first or place.view.in_order
        readers = self._readers.get(operation.output, [])
        direct = all(self._reads(op, place.view) for op in readers)
        if same_order and direct and not any(isinstance(op, (Join, Export)) for op in readers):
            self._places[operation.output] = place

    def _outside(self, operation: Import) -> Place:
        """Return the memory of a graph input, in the order of axes of one import of it."""
        kind = self._program.types.get(operation.output, "fp32")
        return Place(f"input {operation.inputs[0]}", self._view(operation.output, kind))

    def _reads(self, operation: Operation, source: View) -> bool:
        """Say whether an operation reads an image's type, whatever the engine computes in."""
        if source.dtype == self._dtype or source.shape is not None:
            return True
        if isinstance(operation, _TYPELESS):
            return True
        inner = operation.convolution if isinstance(operation, ActivatedConvolution) else operation
        if not isinstance(inner, Convolution):
            return False
        spec = first_spec(inner, source, self._inner_view(operation.output))
        return spec is not None

    def _export(self, operation: Export) -> None:
        """Give a graph output its buffer; let its maker write there, where it can."""
        value = operation.inputs[0]
        view = self._view(value, self._program.types.get(value, "fp32"))
        place = Place(f"output {operation.output}", view)
        self._plan.outputs[operation.output] = place
        maker = next(op for op in self._program.operations if op.output == value)
        same_order = not operation.channels_first or place.view.in_order
        free = view.dtype == self._inner_view(value).dtype or isinstance(maker, _TYPELESS)
        free = free or (isinstance(maker, Convolution) and is_head(maker))
        lone = len(self._readers[value]) == 1 and not isinstance(maker, (Import, Join, Reshape))
        if same_order and free and lone:
            self._places[value] = place

    def _join(self, operation: Join) -> None:
        """Give the parts of a concatenation their slices."""
        whole = self._place(operation.output)
        offset = 0
        for name in operation.inputs:
            channels = self._program.shapes[name][1]
            part = Place(whole.buffer, whole.view.sliced(offset, channels))
            aligned = part.view.offset * part.view.item_bytes % _ALIGNMENT_BYTES == 0
            aligned = aligned and part.view.pitch * part.view.item_bytes % _ALIGNMENT_BYTES == 0
            maker = next(op for op in self._program.operations if op.output == name)
            imported = isinstance(maker, Import) and name in self._places
            own = self._inner_view(name)
            alike = (own.dtype, own.scale) == (part.view.dtype, part.view.scale)
            if aligned and alike and name not in self._places and not imported:
                self._places[name] = part
            offset += channels

    def _place(self, value: str) -> Place:
        if value not in self._places:
            view = self._inner_view(value)
            if self._feeds_head(value):
                view = self._view(value, "fp32")
            self._places[value] = Place(value, view)
        return self._places[value]

    def _feeds_head(self, value: str) -> bool:
        """Say whether a value is the few channels before the last layer: these stay fp32.

        They are a few bytes, and their rounding would reach the decision unaveraged.
        """
        readers = self._readers.get(value, [])
        maker = next((op for op in self._program.operations if op.output == value), None)
        if len(readers) != 1 or not isinstance(maker, Convolution) or is_head(maker):
            return False
        spec = narrow_spec(maker, *map(self._inner_view, (maker.inputs[0], value)))
        return isinstance(readers[0], Convolution) and is_head(readers[0]) and spec is not None

    def _add(self, operation: Operation) -> None:
        if isinstance(operation, Join):
            self._add_copies(operation)
            return
        if isinstance(operation, Import):
            # One input may be read as an image and as it is.
            source = self._outside(operation)
            target = self._place(operation.output)
        elif isinstance(operation, Export):
            source, target = self._place(operation.inputs[0]), self._plan.outputs[operation.output]
        elif (access := _moves(operation, self._program)) is not None:
            source = self._place(operation.inputs[0])
            seen = self._seen_otherwise(operation, source, access)
            target = self._places.setdefault(operation.output, seen)
            if target == seen and seen.buffer == source.buffer:
                return
        else:
            sources = tuple(self._place(name) for name in operation.inputs)
            self._plan.steps.append((operation, sources, self._place(operation.output)))
            return
        if source != target:
            self._plan.steps.append((operation, (source,), target))

    def _seen_otherwise(self, operation: Operation, source: Place, access: Access) -> Place:
        """Return the same memory with other sizes; where elements lie otherwise, a new one."""
        own = self._inner_view(operation.output)
        view = replace(own, dtype=source.view.dtype, scale=source.view.scale)
        # Operations on images want the engine's own type.
        alike = stays(access, source.view, view) and (view.shape is not None or view == own)
        return Place(source.buffer, view) if alike else Place(operation.output, own)

    def _add_copies(self, operation: Join) -> None:
        """Copy what could not be written to its slice at once."""
        whole, offset = self._place(operation.output), 0
        for name in operation.inputs:
            channels = self._program.shapes[name][1]
            part = Place(whole.buffer, whole.view.sliced(offset, channels))
            offset += channels
            if self._place(name) != part:
                copy = Chain(operation.layer, (name,), operation.output, (Step("identity"),))
                self._plan.steps.append((copy, (self._place(name),), part))


def measure_lives(plan: Plan) -> None:
    """Note the buffers of the arena that a plan's steps read and write, and when."""
    outside = {place.buffer for place in plan.inputs.values()}
    outside |= {place.buffer for place in plan.outputs.values()}
    for index, (_, sources, target) in enumerate(plan.steps):
        for place in (*sources, target):
            if place.buffer in outside:
                continue
            buffer = plan.buffers.setdefault(place.buffer, Buffer(0, index, index))
            size = place.first * place.view.image_bytes + place.view.span_bytes
            buffer.size, buffer.last = max(buffer.size, size), index


def _moves(operation: Operation, program: Program) -> Access | None:
    """Return how an operation that only moves elements reads its source; None for any other."""
    if isinstance(operation, Reshape):
        return whole(program.shapes[operation.inputs[0]])
    plain = isinstance(operation, Strided) and not operation.program and not operation.constants
    return operation.accesses[0] if isinstance(operation, Strided) and plain else None


def narrow_spec(operation: Convolution, source: View, target: View) -> NarrowConvolutionSpec | None:
    """Return what the narrow kernel would be launched with; None if it does not fit."""
    spec = _window_spec(NarrowConvolutionSpec, operation, source, target)
    return spec if spec is not None and narrow_fits(spec) else None


def resident_spec(
    operation: Convolution, source: View, target: View
) -> ResidentConvolutionSpec | None:
    """Return what the kernel with resident weights would be launched with; None: does not fit."""
    spec = _window_spec(ResidentConvolutionSpec, operation, source, target)
    return spec if spec is not None and resident_fits(spec) else None


def resident_int8_spec(
    operation: Convolution, source: View, target: View
) -> ResidentInt8Spec | None:
    """Return the same for the kernel with resident weights on integers."""
    spec = _window_spec(ResidentInt8Spec, operation, source, target)
    quantised = operation.scales is not None
    return spec if spec is not None and quantised and resident_int8_fits(spec) else None


def phase_int8_spec(
    operation: MergedUpsampling, source: View, target: View
) -> PhaseInt8Spec | None:
    """Return the same as `phase_spec` for the kernel on integers."""
    inner = operation.convolution
    window = (inner.kernel.shape[2], inner.kernel.shape[3])
    depth = operation.depth
    uses, relu = used(inner.kernel, depth), inner.activation == "relu"
    spec = PhaseInt8Spec(source, target, window, inner.before, uses, relu, depth)
    usual = _one_bias(inner, target.c) and inner.scales is not None
    return spec if usual and phase_int8_fits(spec) else None


def _one_bias(inner: Convolution, outputs: int) -> bool:
    """Say whether a channel's bias is the same in all phases: they are of one image."""
    biases = inner.bias.reshape(-1, outputs)
    return bool((biases == biases[0]).all()) and inner.activation in ("none", "relu")


def phase_spec(
    operation: MergedUpsampling, source: View, target: View
) -> PhaseConvolutionSpec | None:
    """Return what a kernel for merged upsampling would be launched with; None: none fits."""
    inner = operation.convolution
    window = (inner.kernel.shape[2], inner.kernel.shape[3])
    depth = operation.depth
    uses, relu = used(inner.kernel, depth), inner.activation == "relu"
    spec = PhaseConvolutionSpec(source, target, window, inner.before, uses, relu, depth)
    return spec if _one_bias(inner, target.c) and either_fits(spec) else None


def first_spec(operation: Convolution, source: View, target: View) -> FirstConvolutionSpec | None:
    """Return what the first-layer kernel would be launched with; None if it does not fit."""
    spec = _window_spec(FirstConvolutionSpec, operation, source, target)
    return spec if spec is not None and not is_head(operation) and first_fits(spec) else None


def _window_spec(
    kind: type[Kind], operation: Convolution, source: View, target: View
) -> Kind | None:
    """Return a spec of one kind for a plain convolution with stride 1, None for another."""
    plain = operation.stride == operation.dilation == (1, 1) and operation.groups == 1
    plain = plain and not operation.residual
    if not plain or operation.activation not in ("none", "relu"):
        return None
    window = (operation.kernel.shape[2], operation.kernel.shape[3])
    return kind(source, target, window, operation.before, operation.activation == "relu")
