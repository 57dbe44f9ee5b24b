"""Check what a layer is called with: how many tensors, their rank, their type, the weights."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import Array
from segrt.importers.layers._base import Call, Layout, Tensor

# The number of spatial axes that a class name tells: Conv1D, GlobalMaxPooling2D, Cropping3D.
_DIMENSIONS = re.compile(r"([123])D")


def single(call: Call, x: object) -> Tensor:
    """Return the layer's one input; a list of one counts.

    Raises:
        ModelFileError: The layer was called with anything else.
    """
    if isinstance(x, list | tuple) and len(x) == 1:
        x = x[0]
    if not isinstance(x, Tensor):
        raise wrong_input(call, _describe(x), "one tensor")
    return x


def several(call: Call, xs: object, *, exactly: int | None = None) -> list[Tensor]:
    """Return the layer's inputs as a list.

    Raises:
        ModelFileError: Not tensors, none at all, or not ``exactly`` that many.
    """
    found = list(xs) if isinstance(xs, list | tuple) else [xs]
    tensors = [x for x in found if isinstance(x, Tensor)]
    if not tensors or len(tensors) != len(found) or exactly not in (None, len(tensors)):
        raise wrong_input(call, _describe(xs), f"{exactly or 'one or more'} tensors")
    return tensors


def dimensions(call: Call) -> int:
    """Return how many spatial axes the layer's class works on, by its name; 2 if it tells none."""
    found = _DIMENSIONS.search(call.class_name)
    return int(found[1]) if found else 2


def image(call: Call, x: object) -> Tensor:
    """Return the layer's one input: a batch of sequences, images or volumes, as its class says.

    Raises:
        ModelFileError: It has another number of axes.
    """
    tensor = single(call, x)
    rank = dimensions(call) + 2
    if tensor.rank != rank:
        raise wrong_input(call, f"an input with {tensor.rank} axes {tensor.shape}", f"{rank} axes")
    return tensor


def channels(call: Call, x: Tensor, kernel: Array | None = None, per: int = 1) -> int:
    """Return the size of the channel axis of a sequence, an image or a volume.

    Args:
        call: The layer's call.
        x: The image.
        kernel: Spatial axes, input channels, output channels. Where the graph does not know the
            size, ``per`` times the kernel's input channels is taken.
        per: See ``kernel``.

    Raises:
        ModelFileError: The size is nowhere to be found.
    """
    size = x.shape[-1 if call.channels_last else 1]
    if size is None and kernel is not None and kernel.ndim == x.rank:
        size = int(kernel.shape[-2]) * per
    if size is None:
        raise wrong_input(call, "an unknown number of channels", "a known number")
    return size


def weight(call: Call, name: str, shape: Sequence[int] | None = None) -> Array:
    """Return the array that the file holds for a weight, after checking it.

    Raises:
        ModelFileError: It is missing, not of numbers, or its shape is not ``shape``.
    """
    array = call.weights.get(name)
    title = f"layer {call.name!r} ({call.class_name}): weight {name!r}"
    if array is None:
        raise ModelFileError(
            f"{title} is missing",
            found=", ".join(call.weights) or "no weights",
            wanted=name if shape is None else f"{name} of shape {tuple(shape)}",
            hint="save the whole model again, or give the weights file that belongs to it",
        )
    # Integer kernels are quantised ones: taken as they stand they would be silently wrong.
    if not _is_floating(array):
        raise ModelFileError(
            f"{title} has a type that cannot be used",
            found=str(array.dtype),
            wanted="a floating type",
        )
    if shape is not None and array.shape != tuple(shape):
        raise ModelFileError(
            f"{title} does not fit the layer's settings and input",
            found=f"shape {array.shape}",
            wanted=f"shape {tuple(shape)}",
            hint="the weights belong to another architecture, or the file is damaged",
        )
    return array


def floating(call: Call, x: Tensor) -> Tensor:
    """Return ``x`` as float32; layers that take pixels are called with integers too."""
    if x.value.dtype in (ir.DataType.FLOAT, None):
        return x
    cast = call.op("Cast", [x.value], role="cast", to=int(ir.DataType.FLOAT))
    return Tensor(cast, x.layout)


def came_as_integers(x: Tensor) -> bool:
    """Say whether ``x`` is an integer tensor that was cast for the layer."""
    producer = x.value.producer()
    while producer is not None and producer.op_type == "Transpose" and producer.inputs[0]:
        producer = producer.inputs[0].producer()
    if producer is None or producer.op_type != "Cast" or producer.inputs[0] is None:
        return False
    dtype = producer.inputs[0].dtype
    return dtype is not None and not dtype.is_floating_point()


def identity(call: Call, x: Tensor) -> Tensor:
    """Return a copy of ``x``: a layer without effect still owns a value of its own name."""
    return Tensor(call.op("Identity", [x.value]), x.layout)


def common_layout(xs: Sequence[Tensor]) -> Layout:
    """Return the layout in which to combine tensors: channels first if any image is stored so."""
    rank = max(x.rank for x in xs)
    stored_first = any(x.layout is Layout.CHANNELS_FIRST and x.rank == rank for x in xs)
    return Layout.CHANNELS_FIRST if stored_first and rank > 2 else Layout.SOURCE


def refuse_training(call: Call, effect: str) -> None:
    """Raise if the layer was called with ``training=True``, which stays on at inference.

    Raises:
        UnsupportedConfigError: It was.
    """
    if call.kwargs.get("training") not in (None, False, 0):
        raise call.unsupported("training=True in the call", call.kwargs["training"], effect)


def wrong_input(call: Call, found: str, wanted: str) -> ModelFileError:
    """Return the error for a layer that is called with something it cannot take."""
    return ModelFileError(
        f"layer {call.name!r} ({call.class_name}) is called with the wrong input",
        found=found,
        wanted=wanted,
    )


def _describe(x: object) -> str:
    if isinstance(x, list | tuple):
        return f"{len(x)} inputs"
    return "one tensor" if isinstance(x, Tensor) else repr(x)[:80]


def _is_floating(array: Array) -> bool:
    # bfloat16 of ml_dtypes is no np.floating, yet its name says what it is.
    return bool(np.issubdtype(array.dtype, np.floating)) or "float" in array.dtype.name
