"""Take 8-bit pixels: the arithmetic that prepares them becomes part of the graph.

``(pixel * scale - mean) / std`` is written as one or two subtractions and a product or quotient in
single precision. Of the ways to write it the one is taken that comes nearest to the same formula
in double precision, for all 256 values that a pixel can have; that is tried out, not estimated.
"""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.graph.builder import GraphBuilder
from segrt.graph.ends import Ends, PixelEnd, channel_order, per_channel, write_ends
from segrt.graph.specs import image_axes, input_specs
from segrt.types import Preprocess, TensorSpec

Array: TypeAlias = npt.NDArray[Any]
# ONNX operators with their constants, one number a channel.
Steps: TypeAlias = tuple[tuple[str, Array], ...]

# Differences of pixels and multiples of this are exact in single precision.
_GRID = 2.0**-16


def take_pixels(model: ir.Model, preprocess: Preprocess) -> ir.Model:
    """Return ``model`` with uint8 image inputs, of the same names and layout.

    What the inputs were is an inner value from then on; it carries the Keras name.

    Args:
        model: Not changed; all its image inputs are given the same preparation.
        preprocess: With its scale.

    Raises:
        UsageError: There is no image input of floats, or the numbers do not fit its channels.
    """
    made = model.clone()
    images = [
        (spec, value)
        for spec, value in zip(input_specs(made), made.graph.inputs, strict=True)
        if image_axes(spec) is not None and np.dtype(spec.dtype).kind == "f"
    ]
    if not images:
        raise UsageError(
            "no input takes images as floating-point numbers, so none can be given pixels instead",
            found=", ".join(f"{s.name}: {s.dtype} {s.shape}" for s in input_specs(made)),
            wanted="two-dimensional images; volumes and sequences are taken as floats only",
        )
    for spec, value in images:
        _replace(made, spec, value, preprocess)
    made.graph.sort()
    return made


def pixel_steps(preprocess: Preprocess, channels: int) -> tuple[Steps, float]:
    """Return how to prepare pixels in single precision, and how exact that is.

    Returns:
        The steps, and their largest error over all pixel values, in units in the last place of
        the double-precision result.

    Raises:
        UsageError: A scale or std of 0, or another number of means than of channels.
    """
    scale = preprocess.scale
    mean, std = (per_channel(name, getattr(preprocess, name), channels) for name in ("mean", "std"))
    if not scale or not std.all():
        raise UsageError("scale and std must not be 0", found=f"scale {scale}, std {std.tolist()}")
    levels = np.arange(256, dtype=np.float64)[:, None]
    wanted = ((levels * scale - mean) / std).astype(np.float32)
    ways = itertools.product(_shifts(mean / scale), _factors(std / scale))
    judged = [(_ulps((*first, *second), levels, wanted), first + second) for first, second in ways]
    error, steps = min(judged, key=lambda entry: (entry[0], len(entry[1])))
    return steps, error


def _shifts(mean: Array) -> list[Steps]:
    if not mean.any():
        return [()]
    coarse = np.rint(mean / _GRID) * _GRID
    fine = (mean - coarse).astype(np.float32)
    return [
        (("Sub", mean.astype(np.float32)),),
        (("Sub", coarse.astype(np.float32)), ("Sub", fine)),
    ]


def _factors(std: Array) -> list[Steps]:
    if (std == 1).all():
        return [()]
    return [(("Mul", (1 / std).astype(np.float32)),), (("Div", std.astype(np.float32)),)]


def _ulps(steps: Steps, levels: Array, wanted: Array) -> float:
    found = np.broadcast_to(levels, wanted.shape).astype(np.float32)
    operations = {"Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    for name, constant in steps:
        found = operations[name](found, constant, dtype=np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        return float((np.abs(found - wanted) / np.spacing(np.abs(wanted))).max())


def _replace(model: ir.Model, spec: TensorSpec, old: ir.Value, preprocess: Preprocess) -> None:
    axis = 1 if spec.channel_axis == 1 else -1
    channels = spec.shape[axis]
    if channels is None:
        raise UsageError(f"the channels of input {spec.name!r} are free", wanted="a fixed number")
    steps, _ = pixel_steps(preprocess, channels)
    graph, name = model.graph, spec.name
    pixels = ir.Value(name=name, shape=old.shape, type=ir.TensorType(ir.DataType.UINT8))
    pixels.metadata_props.update(
        {key: text for key, text in old.metadata_props.items() if key == metadata.RANGES}
    )
    old.name = f"{name}:values"
    builder = GraphBuilder(graph)
    value = builder.op("Cast", [pixels], name=f"{name}:cast", to=int(ir.DataType.FLOAT))
    order = channel_order(preprocess, channels)
    if order is not None:
        indices = builder.constant(f"{name}:order", np.array(order, np.int64))
        value = builder.op("Gather", [value, indices], name=f"{name}:bgr", axis=axis % 4)
    for index, (op_type, numbers) in enumerate(steps):
        constant = builder.constant(f"{name}:{op_type}{index}", _shaped(numbers, axis))
        role = f"{name}:{op_type.lower()}{index}"
        value = builder.op(op_type, [value, constant], name=role)
    if old.dtype not in (ir.DataType.FLOAT, None):
        value = builder.op("Cast", [value], name=f"{name}:type", to=int(old.dtype))
    for node in builder.appended:
        metadata.tag_node(node, name, "InputLayer")
    ir.convenience.replace_all_uses_with(old, value)
    graph.inputs[graph.inputs.index(old)] = pixels
    value.name = f"{name}:values"
    metadata.move_tags(old, value)
    write_ends(model, Ends(pixels={name: PixelEnd(preprocess, axis)}))


def _shaped(numbers: Array, axis: int) -> Array:
    """Return one number for all, or one a channel, to broadcast against a batch of images."""
    if (numbers == numbers[0]).all():
        return np.asarray(numbers[0])
    return numbers.reshape(-1, 1, 1) if axis == 1 else numbers
