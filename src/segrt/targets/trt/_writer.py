"""What the converters of ``layers/`` write with: tensors, weights and named, checked layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import EngineError, UnsupportedConfigError
from segrt.graph import metadata
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt._narrow import LARGEST, narrow
from segrt.targets.trt.logger import Log, engine_error
from segrt.types import Precision

Array: TypeAlias = npt.NDArray[Any]
# TensorRT's objects are C++ behind pybind11 and have no types of their own.
Tensor: TypeAlias = Any
# A size known now, or a tensor of one int64 that is known when the engine runs.
Size: TypeAlias = int | Tensor

_COMPUTE = {
    Precision.FP32: np.dtype(np.float32),
    Precision.TF32: np.dtype(np.float32),
    Precision.FP16: np.dtype(np.float16),
    Precision.BF16: np.dtype(ml_dtypes.bfloat16),
}
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
_UNKNOWN = -1
_LONGEST_METADATA = 4095


@dataclass(slots=True)
class Writer:
    """Grows one INetworkDefinition.

    Attributes:
        trt: The library.
        flavour: Which one it is.
        network: Grown.
        log: Its messages.
        precision: The type to compute in.
        node: The node being written.
        tensors: What is written so far.
        keep: Weights; TensorRT holds pointers to them until the engine is built.
        names: Taken by layers and by values of the graph.
    """

    trt: Any
    flavour: Flavour
    network: Any
    log: Log
    precision: Precision
    node: ir.Node | None = None
    tensors: dict[ir.Value, Tensor] = field(default_factory=dict)
    keep: list[Array] = field(default_factory=list)
    _constants: dict[tuple[str, tuple[int, ...]], Tensor] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    @property
    def compute(self) -> np.dtype[Any]:
        """The NumPy type that the network computes in."""
        found: np.dtype[Any] = _COMPUTE[self.precision]
        return found

    # Types

    def dtype(self, numpy_dtype: npt.DTypeLike) -> Any:
        """Return TensorRT's name of a NumPy type."""
        name = np.dtype(numpy_dtype).name
        return getattr(self.trt, {"bool": "bool"}.get(name, name))

    def network_dtype(self, dtype: ir.DataType | None) -> Any:
        """Return the type in the network of a value of ``dtype`` in the graph."""
        if dtype is None or dtype in _FLOATS:
            return self.dtype(self.compute)
        return self.dtype(dtype.numpy())

    # Values of the graph

    def tensor(self, value: ir.Value | None, *, rank: int | None = None) -> Tensor:
        """Return the tensor of a value; a constant is written the first time it is asked for.

        Args:
            value: Of the graph.
            rank: Sizes of 1 are put in front up to this rank (NumPy's broadcasting).
        """
        if value is None:
            raise self.unsupported("a missing input", "all of them")
        if value in self.tensors:
            found = self.tensors[value]
            return found if rank is None else self.with_rank(found, rank)
        array = self.array(value)
        if array is None:
            raise EngineError(f"value {value.name!r} is read before it is written")
        if rank is not None and array.ndim < rank:
            array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        return self.constant(array, str(value.name))

    def array(self, value: ir.Value | None) -> Array | None:
        """Return the content of a constant, None for anything else."""
        if value is None or value.const_value is None:
            return None
        return np.asarray(value.const_value.numpy())

    def ints(self, value: ir.Value | None) -> list[int] | None:
        """Return the content of a constant of integers, None for anything else."""
        array = self.array(value)
        return None if array is None else [int(item) for item in np.ravel(array)]

    def required(self, value: ir.Value | None, what: str) -> Array:
        """Return the content of a value that has to be constant."""
        array = self.array(value)
        if array is None:
            raise self.unsupported(f"{what} computed at run time", "a constant")
        return array

    # Weights

    def weights(self, array: Array, dtype: npt.DTypeLike | None = None) -> Any:
        """Return weights that stay alive as long as the writer.

        Args:
            array: Floats are cast to ``dtype``, the type of computing by default.
            dtype: Another type, for an island.

        Raises:
            EngineError: A finite weight is too large for the type.
        """
        if np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16:
            array = self._cast(array, np.dtype(dtype if dtype is not None else self.compute))
        array = np.ascontiguousarray(array)
        self.keep.append(array)
        if array.dtype in (ml_dtypes.bfloat16, np.int64):  # the binding knows no long long
            kind = self.trt.int64 if array.dtype == np.int64 else self.trt.bfloat16
            return self.trt.Weights(kind, array.ctypes.data, array.size)
        return self.trt.Weights(array)

    def no_weights(self, dtype: npt.DTypeLike | None = None) -> Any:
        """Return empty weights; where several go together they must be of one type."""
        return self.trt.Weights(self.dtype(dtype if dtype is not None else self.compute))

    def constant(self, array: Array, name: str, dtype: npt.DTypeLike | None = None) -> Tensor:
        """Return a constant tensor; the same name and shape twice is one layer."""
        key = (f"{name}|{dtype}", array.shape)
        if key not in self._constants:
            shape = self.trt.Dims(array.shape)
            layer = self.network.add_constant(shape, self.weights(array, dtype))
            self._constants[key] = self._finish(layer, self._unique(name))
        return self._constants[key]

    def scalar(self, value: float, like: Tensor, role: str) -> Tensor:
        """Return a constant of one element that broadcasts against ``like``."""
        array = np.full((1,) * len(like.shape), value, np.float32)
        return self.constant(array, f"{self.name}:{role}", self.numpy_dtype(like))

    def numpy_dtype(self, tensor: Tensor) -> np.dtype[Any]:
        """Return the NumPy type of a tensor."""
        bf16 = tensor.dtype == self.trt.bfloat16
        found: np.dtype[Any] = np.dtype(
            ml_dtypes.bfloat16 if bf16 else self.trt.nptype(tensor.dtype)
        )
        return found

    # Layers

    @property
    def name(self) -> str:
        """The name of the node being written, its output's where it has none."""
        return "" if self.node is None else str(self.node.name or self.node.outputs[0].name)

    def layer(self, layer: Any, role: str = "") -> Tensor:
        """Name, tag and check a new layer; return its first output.

        Args:
            layer: What ``network.add_*`` returned, fully set.
            role: Told apart from the node's last layer, which carries the node's own name.

        Raises:
            EngineError: TensorRT refused it.
        """
        return self._finish(layer, self._unique(f"{self.name}:{role}") if role else self.name)

    def cast(self, tensor: Tensor, dtype: Any, role: str) -> Tensor:
        """Return ``tensor`` as ``dtype``; itself if it is that already."""
        if tensor.dtype == dtype:
            return tensor
        return self.layer(self.network.add_cast(tensor, dtype), role)

    def with_rank(self, tensor: Tensor, rank: int) -> Tensor:
        """Put axes of size 1 in front."""
        missing = rank - len(tensor.shape)
        if missing <= 0:
            return tensor
        return self.reshape(tensor, [1] * missing + self.sizes(tensor), f"rank{rank}")

    def elementwise(self, a: Tensor, b: Tensor, operation: str, role: str = "") -> Tensor:
        """Combine two tensors of one rank, element by element."""
        kind = getattr(self.trt.ElementWiseOperation, operation)
        return self.layer(self.network.add_elementwise(a, b, kind), role)

    def activation(
        self,
        x: Tensor,
        kind: str,
        *numbers: float,
        role: str = "",
    ) -> Tensor:
        """Apply an activation layer; ``numbers`` are its alpha and beta, as far as it has them."""
        layer = self.network.add_activation(x, getattr(self.trt.ActivationType, kind))
        if layer is not None:
            for name, number in zip(("alpha", "beta"), numbers, strict=False):
                setattr(layer, name, number)
        return self.layer(layer, role)

    def unary(self, x: Tensor, kind: str, role: str = "") -> Tensor:
        """Apply a unary layer."""
        return self.layer(self.network.add_unary(x, getattr(self.trt.UnaryOperation, kind)), role)

    # Sizes

    def sizes(self, tensor: Tensor) -> list[Size]:
        """Return a tensor's sizes: numbers where they are known."""
        known = list(tensor.shape)
        if _UNKNOWN not in known:
            return known
        shape = self.layer(self.network.add_shape(tensor), "shape")
        return [
            size
            if size != _UNKNOWN
            else self.layer(self.network.add_slice(shape, (axis,), (1,), (1,)), f"size{axis}")
            for axis, size in enumerate(known)
        ]

    def combine(self, a: Size, b: Size, operation: str) -> Size:
        """Combine two sizes: SUM, SUB, PROD, MAX, MIN or FLOOR_DIV."""
        if isinstance(a, int) and isinstance(b, int):
            results = {"SUM": a + b, "SUB": a - b, "PROD": a * b, "MAX": max(a, b)}
            results |= {"MIN": min(a, b), "FLOOR_DIV": a // b if b else 0}
            return results[operation]
        return self.elementwise(self._size_tensor(a), self._size_tensor(b), operation, "sizes")

    def shape_tensor(self, sizes: list[Size]) -> Tensor:
        """Return sizes as one int64 tensor."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(np.array(sizes, np.int64), f"{self.name}:sizes{sizes}")
        layer = self.network.add_concatenation([self._size_tensor(size) for size in sizes])
        layer.axis = 0
        return self.layer(layer, "sizes")

    def reshape(self, tensor: Tensor, sizes: list[Size], role: str = "") -> Tensor:
        """Reshape; at most one unknown size is left to TensorRT, more become a shape tensor."""
        shuffle = self.network.add_shuffle(tensor)
        shuffle.zero_is_placeholder = False
        unknown = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
        if len(unknown) <= 1:
            shuffle.reshape_dims = [s if isinstance(s, int) else _UNKNOWN for s in sizes]
        else:
            shuffle.set_input(1, self.shape_tensor(sizes))
        return self.layer(shuffle, role)

    def transpose(self, tensor: Tensor, axes: list[int], role: str = "") -> Tensor:
        """Permute the axes."""
        shuffle = self.network.add_shuffle(tensor)
        shuffle.first_transpose = axes
        return self.layer(shuffle, role)

    # Errors

    def unsupported(self, found: str, wanted: str, hint: str | None = None) -> Exception:
        """Return the error for a node with settings that cannot be written; to be raised."""
        return UnsupportedConfigError(
            f"{self.subject()} cannot be written for TensorRT",
            found=found,
            wanted=wanted,
            hint=hint,
        )

    def subject(self) -> str:
        """Name the node being written, for messages."""
        if self.node is None:
            return "the network"
        keras = metadata.layer_of(self.node)
        text = f"node {self.node.name!r} ({self.node.op_type})"
        return f"layer {keras!r}, {text}" if keras else text

    def _size_tensor(self, size: Size) -> Tensor:
        if not isinstance(size, int):
            return size
        return self.constant(np.array([size], np.int64), f"size {size}")

    def _cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        cast, lost = narrow(array, dtype)
        if lost is not None:
            raise EngineError(
                f"a weight of {self.subject()} is too large for {self.precision}",
                found=f"{lost:g}",
                wanted=f"at most {LARGEST[dtype.name]:g}",
                hint="use fp32 or bf16",
            )
        return cast

    def _unique(self, name: str) -> str:
        candidate, count = name, 0
        while candidate in self.names:
            count += 1
            candidate = f"{name}~{count}"
        self.names.add(candidate)
        return candidate

    def _finish(self, layer: Any, name: str) -> Tensor:
        if layer is None:
            errors = self.log.errors()
            raise engine_error(self.subject(), errors[-1:])
        layer.name = name
        if self.node is not None:
            keras, kind = metadata.layer_of(self.node), metadata.class_of(self.node)
            tags = [
                f"[segrt.node: {self.name}]",
                f"[segrt.layer: {keras}]",
                f"[segrt.class: {kind}]",
            ]
            # Names of Keras layers may be longer than TensorRT takes.
            while sum(map(len, tags)) > _LONGEST_METADATA:
                tags.pop()
            layer.metadata = "".join(tags)
        output = layer.get_output(0)
        output.name = name
        self._check_shape(output)
        return output

    def _check_shape(self, output: Tensor) -> None:
        """Shape inference runs when a shape is asked for, and only then tells what is wrong."""
        try:
            volume = math.prod(output.shape)
        except RuntimeError as error:
            errors = self.log.errors()
            raise engine_error(self.subject(), errors[-1:] or [str(error)]) from error
        self.log.check(self.subject())
        if volume == 0:
            raise EngineError(
                f"{self.subject()} has an empty output", found=str(tuple(output.shape))
            )
