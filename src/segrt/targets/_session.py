"""What all sessions share: checks of the feeds, one run at a time, closing."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import EngineError, SegrtError, ShapeError, UsageError
from segrt.graph.builder import SMALL
from segrt.graph.fix_shapes import fix_shapes
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.graph.specs import input_specs, output_specs
from segrt.targets._base import Array, Feeds
from segrt.types import ShapeProfile, TensorSpec

R = TypeVar("R")

_REMEMBERED_SHAPES = 256


class CheckedSession(ABC):
    """A session that checks what it is fed; a subclass only runs arrays that fit.

    Runs are serialised by a lock: one session may be shared by threads, several sessions run
    independently.

    Args:
        model: The graph it runs; its weights are not kept.
    """

    def __init__(self, model: ir.Model) -> None:
        self._inputs = input_specs(model)
        self._outputs = output_specs(model)
        self._skeleton = _without_weights(model)
        self._good_shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._outputs

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once; see `segrt.targets._base.Session.run`."""
        arrays = check_feeds(self._inputs, feeds)
        results = self._alone([array.shape for array in arrays], lambda: self._infer(arrays))
        return {spec.name: array for spec, array in zip(self._outputs, results, strict=True)}

    def _alone(self, shapes: Sequence[tuple[int, ...]], work: Callable[[], R]) -> R:
        """Let the engine work on inputs of these shapes while nothing else runs on it."""
        with self._lock:
            if self._closed:
                raise UsageError("the session is closed", hint="open a new one")
            self._check_sizes(shapes)
            try:
                return work()
            except SegrtError:
                raise
            except Exception as error:
                sizes = ", ".join(map(str, shapes))
                raise EngineError(f"the engine failed on {sizes}", found=str(error)) from error

    def close(self) -> None:
        """Free the engine; closing twice is allowed."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    @abstractmethod
    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Run checked arrays, in the order of `inputs`; return new arrays, as `outputs`."""

    @abstractmethod
    def _free(self) -> None:
        """Drop the engine."""

    def _check_sizes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Refuse free sizes that meet badly inside the network, before the engine does.

        A runtime's own message speaks of nodes and buffers; shape inference names the layer and
        finds the sizes that would do. It costs milliseconds, so good shapes are remembered.
        """
        key = tuple(shapes)
        if key in self._good_shapes or all(None not in spec.shape for spec in self._inputs):
            return
        fix_shapes(
            self._skeleton,
            {spec.name: shape for spec, shape in zip(self._inputs, shapes, strict=True)},
        )
        if len(self._good_shapes) < _REMEMBERED_SHAPES:
            self._good_shapes.add(key)


def _without_weights(model: ir.Model) -> ir.Model:
    """Return a copy good for shape inference only: large constants are known by shape."""
    copy = model.clone()
    for value in copy.graph.initializers.values():
        if value.const_value is not None and value.const_value.size > SMALL:
            value.const_value = None
    return copy


def check_feeds(specs: Sequence[TensorSpec], feeds: Feeds) -> list[Array]:
    """Return the feeds in the order of ``specs``: contiguous, of the right type and shape.

    Raises:
        ShapeError: A name is missing or unknown, or an array does not fit its input.
    """
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in feeds]
    unknown = [name for name in feeds if name not in names]
    if missing or unknown:
        raise ShapeError(
            "the inputs' names do not match the network's",
            found=", ".join(map(repr, feeds)) or "nothing",
            wanted=", ".join(map(repr, names)),
        )
    return [_check_feed(spec, np.asarray(feeds[spec.name])) for spec in specs]


def _check_feed(spec: TensorSpec, array: npt.NDArray[np.generic]) -> Array:
    wanted = describe_shape(spec)
    if array.ndim != len(spec.shape):
        hint = None
        if array.ndim == len(spec.shape) - 1:
            hint = "the first axis is the batch: add it with array[None]"
        raise _misfit(spec, array, wanted, hint)
    for size, expected in zip(array.shape, spec.shape, strict=True):
        if (expected is not None and size != expected) or size == 0:
            raise _misfit(spec, array, wanted, _layout_hint(spec, array.shape))
    for size, allowed in zip(array.shape, spec.ranges, strict=False):
        if allowed is not None and size != nearest_in_range(size, allowed):
            raise _misfit(spec, array, wanted, "build again with a wider range of sizes")
    return np.ascontiguousarray(_cast(spec, array))


def describe_shape(spec: TensorSpec) -> str:
    """Write a shape for people: ``(any, 256, 256, 1)``; a range is ``1 to 8``."""
    sizes = ", ".join(
        _describe_size(size, range_of(spec, axis)) for axis, size in enumerate(spec.shape)
    )
    return f"({sizes},)" if len(spec.shape) == 1 else f"({sizes})"


def _describe_size(size: int | None, allowed: ShapeProfile | None) -> str:
    if allowed is not None:
        return f"{allowed.minimum} to {allowed.maximum}"
    return "any" if size is None else str(size)


def _misfit(
    spec: TensorSpec, array: npt.NDArray[np.generic], wanted: str, hint: str | None
) -> ShapeError:
    return ShapeError(
        f"the array for input {spec.name!r} has a shape that does not fit",
        found=str(array.shape),
        wanted=wanted,
        hint=hint,
    )


def _layout_hint(spec: TensorSpec, shape: tuple[int, ...]) -> str | None:
    """Recognise the usual mix-up of channels first and last."""
    if spec.channel_axis is None or len(shape) != 4:
        return None
    swapped = (0, 3, 1, 2) if spec.channel_axis == 1 else (0, 2, 3, 1)
    moved = [shape[axis] for axis in swapped]
    if all(want is None or size == want for size, want in zip(moved, spec.shape, strict=True)):
        order = "first" if spec.channel_axis == 1 else "last"
        return f"the network wants channels {order}: transpose the array by {swapped}"
    return None


def _cast(spec: TensorSpec, array: npt.NDArray[np.generic]) -> Array:
    """Cast whole numbers, half and double to the input's type; refuse where values are lost.

    Rounding of a double is no loss in this sense (images divided by 255 are doubles in NumPy);
    overflow and integers that the type cannot hold are.
    """
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "biuf":
        raise _bad_type(spec, array, "an array of numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(wanted)
        if array.dtype.kind == "f" and wanted.kind == "f":
            lossless = not np.any(np.isinf(result) & np.isfinite(array))
        else:
            lossless = array.dtype.kind == "b" or np.array_equal(result.astype(array.dtype), array)
    if not lossless:
        raise _bad_type(spec, array, f"values that {wanted} can hold")
    return result


def _bad_type(spec: TensorSpec, array: npt.NDArray[np.generic], wanted: str) -> ShapeError:
    return ShapeError(
        f"the array for input {spec.name!r} has a type that does not fit",
        found=str(array.dtype),
        wanted=f"{spec.dtype}, or {wanted}",
    )
