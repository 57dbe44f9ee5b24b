"""Convert a layer that another layer holds, with its share of that layer's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir

from segrt.errors import SegrtError, UnsupportedConfigError
from segrt.graph.builder import OPSET, GraphBuilder, static_shape
from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers._base import Call, LayerConverter, Tensor, as_stored
from segrt.importers.layers._inner import find
from segrt.importers.layers._stored import PartRequest, StoredArrays

# What a converter raises that is given arrays of other shapes or names than it needs.
_MISFITS = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part as its layer's converter describes it."""

    converter: LayerConverter
    class_name: str
    config: JsonObject
    args: Sequence[Any]
    role: str

    @property
    def names(self) -> list[str] | None:
        """Its arrays' names, in Keras' order; None for a converter that takes what there is."""
        if self.converter.weights is as_stored:
            return None
        return [spec.name for spec in self.converter.weights(self.config)]


def apply_part(
    call: Call, class_name: str, config: JsonObject, args: Sequence[Any], role: str
) -> Tensor:
    """Convert a part and return its output; see `Call.apply_part`."""
    converter = find(class_name, config)
    if converter is None:
        raise call.unsupported(f"part {role!r}", class_name, "a layer that has a converter")
    arrays = _arrays(call, _Part(converter, class_name, config, args, role))
    result = run_part(converter, call.part(class_name, config, role=role, weights=arrays), *args)
    if not isinstance(result, Tensor):
        raise TypeError(f"the converter of {class_name} did not return one tensor")
    return result


def run_part(converter: LayerConverter, part: Call, *args: Any) -> Tensor | Sequence[Tensor]:
    """Run the converter of a part; what fails in one of the user's is told as the user's."""
    from segrt.importers._own_code import user_code

    message = f"the converter of {part.name!r} ({part.class_name}) failed"
    with user_code(message, converter.convert) if converter.own else nullcontext():
        return converter.convert(part, *args)


def named_arrays(
    converter: LayerConverter, config: JsonObject, stored: StoredArrays
) -> Mapping[str, Array] | None:
    """Return arrays under the names that a converter uses; None where their number differs."""
    if converter.weights is as_stored:
        return stored
    return stored.named([spec.name for spec in converter.weights(config)])


def _arrays(call: Call, part: _Part) -> Mapping[str, Array]:
    """Return a part's share of its layer's arrays, under its converter's names."""
    names = part.names
    if names == []:
        return {}
    if not isinstance(call.weights, StoredArrays):
        return _declared(call.weights, names, part.role)

    def fits(arrays: Mapping[str, Array]) -> bool:
        assert isinstance(arrays, StoredArrays)
        under = named_arrays(part.converter, part.config, arrays)
        return under is not None and _converts(call, part, under)

    stored = call.weights
    if part.role:
        own_name = str(part.config.get("name") or "")
        request = PartRequest(part.role, part.class_name, names, own_name, fits)
        stored, doubt = call.weights.part(request)
        if doubt:
            call.remark(doubt)
    arrays = named_arrays(part.converter, part.config, stored)
    if arrays is None:
        raise call.unsupported(
            f"part {part.role!r} ({part.class_name})", stored.listing(), ", ".join(names or ())
        )
    return arrays


def _declared(
    weights: Mapping[str, Array], names: Sequence[str] | None, role: str
) -> dict[str, Array]:
    """Return a part's share of arrays that the converter named itself."""
    front = f"{role}/" if role else ""
    arrays = {k.removeprefix(front): v for k, v in weights.items() if k.startswith(front)}
    if names is not None and arrays and all(key.isdigit() for key in arrays):
        numbered = sorted(arrays.items(), key=lambda item: int(item[0]))
        arrays = {name: array for name, (_, array) in zip(names, numbered, strict=True)}
    return arrays


def _converts(call: Call, part: _Part, arrays: Mapping[str, Array]) -> bool:
    """Try the arrays in a graph of their own: only the converter knows which shapes it needs."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="trial")
    builder = GraphBuilder(graph)
    trial = Call(
        builder,
        name="trial",
        layer_name="trial",
        class_name=part.class_name,
        config=part.config,
        keras_version=call.keras_version,
        weights=arrays,
        kwargs={},
        remark=lambda _: None,
        constants={},
    )
    try:
        part.converter.convert(trial, *[_input(builder, argument) for argument in part.args])
    except UnsupportedConfigError:
        return True  # nothing that other arrays would change; told when it is converted
    except (SegrtError, onnx.shape_inference.InferenceError, *_MISFITS):
        return False
    return True


def _input(builder: GraphBuilder, argument: Any) -> Any:
    if isinstance(argument, list | tuple):
        return [_input(builder, item) for item in argument]
    if not isinstance(argument, Tensor):
        return argument
    dtype = argument.value.dtype or ir.DataType.FLOAT
    return Tensor(builder.input("x", static_shape(argument.value), dtype), argument.layout)
