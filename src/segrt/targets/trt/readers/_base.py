"""The contract of a reader: a layer of TensorRT in, the value of its first output out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt._registry import Registry
from segrt.errors import UnsupportedConfigError
from segrt.graph.builder import AttributeValue, GraphBuilder

Array: TypeAlias = npt.NDArray[Any]
# Either known, or the name of a tensor that TensorRT computes it into.
Numbers: TypeAlias = list[int] | ir.Value


@dataclass(slots=True)
class Reader:
    """What the readers of a network work with.

    Attributes:
        trt: The library.
        builder: Grows the ONNX graph.
        values: TensorRT tensor name -> ONNX value, for what is read so far.
        layer: The layer being read, as its own class.
    """

    trt: Any
    builder: GraphBuilder
    values: dict[str, ir.Value]
    layer: Any = None

    def input(self, index: int) -> ir.Value:
        """Return an input of the layer."""
        tensor = self.layer.get_input(index)
        if tensor is None:
            raise self.refuse(f"no input {index}", "one")
        return self.values[tensor.name]

    def optional(self, index: int) -> ir.Value | None:
        """Return an input of the layer, None where it has none of that number."""
        if index >= self.layer.num_inputs or self.layer.get_input(index) is None:
            return None
        return self.input(index)

    def op(
        self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: AttributeValue
    ) -> ir.Value:
        """Append a node; the last one of a layer is renamed after it."""
        name = f"{self.layer.name}~{op_type.lower()}"
        return self.builder.op(op_type, inputs, name=name, **attributes)

    def ints(self, numbers: Sequence[int]) -> ir.Value:
        """Append a constant of int64."""
        return self.builder.constant(f"{self.layer.name}~ints", np.array(numbers, np.int64))

    def whole(self, number: int) -> ir.Value:
        """Append a constant of one int64 without axes."""
        return self.builder.constant(f"{self.layer.name}~int", np.array(number, np.int64))

    def scalar(self, number: float) -> ir.Value:
        """Append a constant of one float."""
        return self.builder.constant(f"{self.layer.name}~scalar", np.float32(number))

    def floats(self, name: str, array: Array) -> ir.Value:
        """Append a constant of weights."""
        return self.builder.constant(f"{self.layer.name}~{name}", array)

    def weights(self, held: Any, shape: Sequence[int]) -> Array:
        """Return weights as TensorRT holds them, half precision widened.

        Raises:
            UnsupportedConfigError: The Python API shows no bfloat16 weights.
        """
        if not isinstance(held, np.ndarray):
            raise self.refuse(f"weights of {held.dtype}", "types that Python can read back")
        return widened(held).reshape(shape)

    def numbers(self, value: Numbers) -> ir.Value:
        """Return numbers as a value."""
        return value if isinstance(value, ir.Value) else self.ints(value)

    def int64(self, value: ir.Value) -> ir.Value:
        """Return sizes or places in the type that ONNX has them in."""
        if value.dtype == ir.DataType.INT64:
            return value
        return self.op("Cast", [value], to=int(ir.DataType.INT64))

    def enum(self, value: Any) -> str:
        """Return the name of an enumeration's entry."""
        return str(value.name)

    def axes(self, mask: int) -> list[int]:
        """Return the axes of a bit mask."""
        return [axis for axis in range(mask.bit_length()) if mask >> axis & 1]

    def refuse(self, found: str, wanted: str) -> UnsupportedConfigError:
        """Return the error for what cannot be said in ONNX; to be raised."""
        return UnsupportedConfigError(
            f"TensorRT layer {self.layer.name!r} cannot be read back",
            found=found,
            wanted=wanted,
        )


def widened(array: Array) -> Array:
    """Return floats as float32, anything else as it is; always a copy, never TensorRT's memory."""
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return np.array(array)


LayerReader: TypeAlias = Callable[[Reader, Any], ir.Value]

REGISTRY: Registry[LayerReader] = Registry("TensorRT layer reader", "segrt.targets.trt.readers")

reads = REGISTRY.register
"""File a reader under names of ``LayerType``."""
