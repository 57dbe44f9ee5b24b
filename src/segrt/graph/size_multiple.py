"""What the height and width of an image must be multiples of for a network with free sizes.

A U-Net halves its image several times and joins what it doubles again with what it had: sizes
that do not divide evenly do not meet. The answer is found by asking ONNX's shape inference: the
smallest step for which images of odd multiples of it go through and come out at their own size.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph.infer_shapes import infer_shapes
from segrt.graph.specs import input_specs, spatial_axes

# Products of the strides that occur: powers of two, with one stride of three or two.
_STEPS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 36, 48, 64, 72, 96, 128, 144, 192, 256, 512)
# Coprime to all steps' factors, so that a step passes only if it is really enough; and large
# enough that unpadded convolutions leave something.
_FACTORS = (65, 67)
_LARGE = 512 * 9 * 2  # A multiple of every step, for the axis that is not asked about.


def size_multiple(
    model: ir.Model, *, channel_axis: int, output: str | None = None
) -> tuple[int, int]:
    """Find what the input's height and width must be multiples of.

    Args:
        model: With one image input of four axes; not changed.
        channel_axis: Where the input's channels are, 1 or -1.
        output: The output that must have the input's size; None is the first. An output without
            two image axes is only asked to be computable.

    Returns:
        (height, width). A fixed size is its own multiple.

    Raises:
        ShapeError: No step up to 512 makes the sizes meet.
    """
    first = 2 if channel_axis == 1 else 1
    shape = model.graph.inputs[0].shape
    if shape is None or len(shape) != 4:
        raise ShapeError(f"the network's input is no image: shape {shape}")
    fixed = [size if isinstance(size, int) else None for size in shape[first : first + 2]]
    if None not in fixed:
        return int(fixed[0] or 1), int(fixed[1] or 1)
    probe = _Probe(model, first, output)
    # One axis after the other: the other one gets a size that fits whatever its step is.
    found = [
        size if size is not None else _along(probe, axis, fixed) for axis, size in enumerate(fixed)
    ]
    return found[0], found[1]


def needed_multiple(model: ir.Model) -> int | None:
    """Find the smallest step such that images whose sides are multiples of it go through.

    Sequences and volumes count as images here.

    Unlike `size_multiple` this asks for no particular size of the outputs, takes any number of
    inputs, and asks about fixed sizes too.

    Returns:
        1 where any size does; None where no step up to 512 does.
    """
    specs = input_specs(model)

    def fits(pixels: int) -> bool:
        trial = model.clone()
        for spec, value in zip(specs, trial.graph.inputs, strict=True):
            axes = spatial_axes(spec)
            if axes is not None:
                shape = [pixels if axis in axes else size for axis, size in enumerate(spec.shape)]
                value.shape = ir.Shape([1, *shape[1:]])
        return infer_shapes(trial.graph) is None

    return _smallest(fits)


def _smallest(fits: Callable[[int], bool]) -> int | None:
    return next((step for step in _STEPS if all(fits(step * f) for f in _FACTORS)), None)


def _along(probe: _Probe, axis: int, fixed: list[int | None]) -> int:
    """Find the step of one axis.

    Raises:
        ShapeError: There is none.
    """
    sizes = [_LARGE if size is None else size for size in fixed]
    step = _smallest(lambda pixels: probe.fits([*sizes[:axis], pixels, *sizes[axis + 1 :]], axis))
    if step is not None:
        return step
    raise ShapeError(
        f"no {'width' if axis else 'height'} was found for which the network's output has its "
        "input's size",
        hint="fix the size when building",
    )


class _Probe:
    """A private copy of the graph, whose shapes are inferred anew for each trial."""

    def __init__(self, model: ir.Model, first: int, output: str | None) -> None:
        self._graph = model.clone().graph
        self._input = self._graph.inputs[0]
        self._first = first
        named = [value for value in self._graph.outputs if value.name == output]
        self._output = named[0] if named else self._graph.outputs[0]

    def fits(self, sizes: list[int], axis: int) -> bool:
        assert self._input.shape is not None
        rest = list(self._input.shape)
        # Any batch does; a known one lets shape arithmetic inside the graph be worked out.
        rest[0] = rest[0] if isinstance(rest[0], int) else 1
        rest[self._first : self._first + 2] = sizes
        self._input.shape = ir.Shape(rest)
        if infer_shapes(self._graph) is not None:
            return False
        shape = self._output.shape
        if shape is None or len(shape) != 4:
            return shape is not None
        return shape[self._first + axis] == sizes[axis]
