"""What a layer converter is given and what it returns.

A converter turns one call of one Keras layer into ONNX nodes:

    @keras_layer("UpSampling2D", weights=no_weights)
    def upsampling_2d(layer: Call, x: Tensor) -> Tensor: ...

Tensors are stored channels first: a Keras tensor of a ``channels_last`` layer is kept as
N C spatial... with the layout `Layout.CHANNELS_FIRST`. Tensors in Keras' own axis order are
`Layout.SOURCE`; that includes tensors of ``channels_first`` layers, vectors and sequences. A
converter asks for the layout it needs (`Call.channels_first`, `Call.source`); a Transpose is
inserted only where the tensor is stored otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segrt._registry import Registry
from segrt.errors import ModelFileError, UnsupportedConfigError
from segrt.graph.builder import AttributeValue, GraphBuilder
from segrt.graph.custom_ops import CustomOp
from segrt.importers._layer_graph import Array, JsonObject, KerasVersion
from segrt.importers.layers._tensor import Layout as Layout  # noqa: PLC0414 - passed on
from segrt.importers.layers._tensor import Tensor as Tensor  # noqa: PLC0414 - passed on
from segrt.importers.layers._tensor import channels_first_axes, channels_last_axes


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """One array a layer owns, in Keras' order.

    Attributes:
        name: Keras' own name, such as ``kernel`` or ``moving_mean``.
        trainable: Whether it is trainable while the layer is.
    """

    name: str
    trainable: bool = True


class Call:
    """One call of a layer, while it is converted.

    Attributes:
        name: The Keras value's name: ``outer/inner``, ``conv@1`` for a second call.
        class_name: Keras class name.
        config: The saved configuration.
        keras_version: Of the Keras that saved the file.
        weights: The layer's arrays by `WeightSpec` name, as stored by Keras.
        kwargs: Further arguments of the call; tensors among them are `Tensor`.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        *,
        name: str,
        layer_name: str,
        class_name: str,
        config: JsonObject,
        keras_version: KerasVersion,
        weights: Mapping[str, Array],
        kwargs: Mapping[str, Any],
        remark: Callable[[str], None],
        constants: dict[str, ir.Value],
    ) -> None:
        self._builder = builder
        self.name = name
        self._layer_name = layer_name
        self.class_name = class_name
        self.config = config
        self.keras_version = keras_version
        self.weights = weights
        self.kwargs = kwargs
        self._remark = remark
        self._constants = constants
        # Runs the model that a wrapper layer holds; None where it holds a plain layer.
        self.inner: Callable[[Tensor], Sequence[Tensor]] | None = None

    @property
    def keras_major(self) -> int:
        """2 or 3 (tf.keras counts as 2)."""
        return 3 if self.keras_version >= (3,) else 2

    @property
    def channels_last(self) -> bool:
        """Whether the layer's ``data_format`` is ``channels_last`` (Keras' default)."""
        value = self.config.get("data_format") or "channels_last"
        if value not in ("channels_last", "channels_first"):
            raise self.unsupported("data_format", value, "channels_last or channels_first")
        return bool(value == "channels_last")

    def op(
        self,
        op_type: str | CustomOp,
        inputs: Sequence[ir.Value | None],
        *,
        role: str = "",
        **attributes: AttributeValue,
    ) -> ir.Value:
        """Append a node; its name is the layer's, with ``:role`` behind it where one is given.

        ``op_type`` is an ONNX operator, or what `segrt.custom_op` made.

        The emitter gives the value a converter returns the layer's plain name, so roles matter
        only to tell inner nodes apart.
        """
        return self.ops(op_type, inputs, outputs=1, role=role, **attributes)[0]

    def ops(
        self,
        op_type: str | CustomOp,
        inputs: Sequence[ir.Value | None],
        *,
        outputs: int,
        role: str = "",
        **attributes: AttributeValue,
    ) -> Sequence[ir.Value]:
        """Append a node with several outputs; see `op`.

        Raises:
            ModelFileError: The inputs do not fit the operator.
        """
        kind = op_type if isinstance(op_type, str) else op_type.name
        name = f"{self.name}:{role or kind.lower()}"
        try:
            return self._builder.ops(op_type, inputs, name=name, outputs=outputs, **attributes)
        except onnx.shape_inference.InferenceError as error:
            raise ModelFileError(
                f"layer {self.name!r} ({self.class_name}): its inputs do not fit together",
                found=str(error).strip()[:300],
            ) from error

    def weight(self, role: str, array: npt.ArrayLike) -> ir.Value:
        """Append a weight of the *layer* as initializer ``<layer>/<role>`` in float32.

        A layer called more than once owns it once: the second call gets the first one's.
        """
        key = f"{self._layer_name}/{role}"
        if key not in self._constants:
            data = np.asarray(array, dtype=np.float32)
            self._constants[key] = self._builder.constant(key, data)
        return self._constants[key]

    def constant(self, role: str, array: npt.ArrayLike) -> ir.Value:
        """Append a constant that is no weight (shapes, scalars), with its own dtype."""
        return self._builder.constant(f"{self.name}:{role}", np.asarray(array))

    def scalar(self, role: str, number: float) -> ir.Value:
        """Append a float32 scalar constant."""
        return self.constant(role, np.float32(number))

    def ints(self, role: str, numbers: Sequence[int]) -> ir.Value:
        """Append an int64 vector constant (shapes, axes, pads)."""
        return self.constant(role, np.asarray(numbers, dtype=np.int64))

    def channels_first(self, x: Tensor) -> ir.Value:
        """Return ``x`` as N C spatial..., by the layer's own ``data_format``."""
        wanted = Layout.CHANNELS_FIRST if self.channels_last else Layout.SOURCE
        return self.in_layout(x, wanted)

    def wrap(self, value: ir.Value) -> Tensor:
        """Return N C spatial... output as a tensor, by the layer's own ``data_format``."""
        return Tensor(value, Layout.CHANNELS_FIRST if self.channels_last else Layout.SOURCE)

    def source(self, x: Tensor) -> ir.Value:
        """Return ``x`` in Keras' own axis order."""
        return self.in_layout(x, Layout.SOURCE)

    def in_layout(self, x: Tensor, layout: Layout) -> ir.Value:
        """Return ``x`` stored in ``layout``; appends a Transpose if it is stored otherwise."""
        if x.layout is layout or x.rank <= 2:
            return x.value
        to_first = layout is Layout.CHANNELS_FIRST
        axes = channels_first_axes(x.rank) if to_first else channels_last_axes(x.rank)
        suffix = "nchw" if to_first else "source"
        return self._builder.transpose(x.value, axes, name=f"{x.value.name}:{suffix}")

    def stored_axis(self, x: Tensor, axis: int) -> int:
        """Return where Keras' axis ``axis`` (may be negative) lies in the stored value."""
        axis = axis % x.rank if -x.rank <= axis < x.rank else self._bad_axis(x, axis)
        return axis if x.to_source is None else x.to_source[axis]

    def activation(self, x: Tensor, spec: Any) -> Tensor:
        """Apply an activation as Keras saved it: a name, None, or a serialised object.

        Returns ``x`` itself where there is none.
        """
        from segrt.importers.layers import _activations

        return _activations.apply(self, x, spec)

    def part(
        self,
        class_name: str,
        config: JsonObject,
        weights: Mapping[str, Array] | None = None,
        *,
        role: str = "",
        kwargs: Mapping[str, Any] | None = None,
    ) -> Call:
        """Return the call of a layer that is a part of this one.

        Args:
            class_name: Its Keras class.
            config: Its settings.
            weights: Its arrays.
            role: Set behind this call's name; a part with weights of its own needs one.
            kwargs: Further arguments of its call.
        """
        return Call(
            self._builder,
            name=f"{self.name}:{role}" if role else self.name,
            layer_name=f"{self._layer_name}/{role}" if role else self._layer_name,
            class_name=class_name,
            config=config,
            keras_version=self.keras_version,
            weights=weights or {},
            kwargs=kwargs or {},
            remark=self._remark,
            constants=self._constants,
        )

    def apply_part(self, class_name: str, config: JsonObject, *args: Any, role: str = "") -> Tensor:
        """Convert a layer that this layer holds and return its output.

        Its arrays are those of this layer under ``role/``: ``conv/kernel`` and ``conv/bias``, or
        ``conv/0`` and ``conv/1``, for ``role="conv"``; where the file names no such part, the
        first arrays left, in the file's order, of its names and shapes. Without a role, all.

        Args:
            class_name: Its class, which must be one that has a converter.
            config: Its settings.
            args: What it is called with.
            role: Its name inside this layer: the attribute's.

        Raises:
            UnsupportedConfigError: There is no converter for the class, or its settings.
            ModelFileError: No arrays fit.
        """
        from segrt.importers.layers import _parts

        return _parts.apply_part(self, class_name, config, args, role)

    def remark(self, text: str) -> None:
        """Tell the user something about this layer."""
        self._remark(f"layer {self.name!r} ({self.class_name}): {text}")

    def unsupported(self, setting: str, found: object, wanted: str) -> UnsupportedConfigError:
        """Return the error for a setting that cannot be converted; to be raised."""
        return UnsupportedConfigError(
            f"layer {self.name!r} ({self.class_name}): {setting} cannot be converted",
            found=repr(found),
            wanted=wanted,
            hint="change the setting, or bind a converter of your own for this class",
        )

    def _bad_axis(self, x: Tensor, axis: int) -> int:
        raise self.unsupported("axis", axis, f"an axis of the {x.rank}-dimensional input")


Converter: TypeAlias = Callable[..., "Tensor | Sequence[Tensor]"]


class WeightSpecs(Protocol):
    """Says which arrays a layer of this configuration owns, in Keras' order."""

    def __call__(self, config: JsonObject, /) -> list[WeightSpec]: ...


@dataclass(frozen=True, slots=True)
class LayerConverter:
    """A registered converter: how to convert a call, and which arrays the layer owns.

    Attributes:
        convert: Converts one call.
        weights: Which arrays the layer owns, in Keras' order; `as_stored` for those of the file.
        own: It is the user's, not this package's: its exceptions are not this program's mistakes.
        keeps_types: It takes integers as they are; layers compute in their own type.
    """

    convert: Converter
    weights: WeightSpecs
    own: bool = False
    keeps_types: bool = False


REGISTRY: Registry[LayerConverter] = Registry("Keras layer", "segrt.importers.layers")


def no_weights(_config: JsonObject, /) -> list[WeightSpec]:
    """Return the empty list: the layer owns no arrays."""
    return []


def as_stored(_config: JsonObject, /) -> list[WeightSpec]:
    """Stand for the arrays the file holds, under their own names; itself it knows of none."""
    return []


def kernel_and_bias(config: JsonObject, /) -> list[WeightSpec]:
    """Return ``kernel`` and, with ``use_bias``, ``bias``."""
    names = ["kernel"] + (["bias"] if config.get("use_bias", True) else [])
    return [WeightSpec(name) for name in names]


def keras_layer(
    *class_names: str, weights: WeightSpecs = no_weights
) -> Callable[[Converter], Converter]:
    """Register a converter for Keras classes.

    The converter is called as ``convert(call, x)`` where ``x`` is a `Tensor`, a list of them, or
    more positional arguments if the layer was called with several; it returns one `Tensor` or a
    sequence of them.

    Args:
        class_names: Keras class names, older spellings included.
        weights: Which arrays the layer owns, in Keras' order.

    Raises:
        RegistryError: A name is taken.
    """

    def decorate(convert: Converter) -> Converter:
        REGISTRY.register(*class_names)(LayerConverter(convert, weights))
        return convert

    return decorate
