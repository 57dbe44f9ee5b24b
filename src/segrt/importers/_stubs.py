"""Python source with a converter to fill in, for a class that none is known for."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Sequence

from segrt.importers._layer_graph import KerasLayer, WeightEntry
from segrt.importers._probe import Shapes
from segrt.importers._weight_names import stored_names
from segrt.importers.layers._wrapped import wrapped

_WIDTH = 96
_QUIET = ("name", "trainable", "dtype", "batch_input_shape", "batch_shape")


def head_of(file: str) -> str:
    """Return the beginning of a file of stubs."""
    return (
        f'"""Converters for the layers of {_plain(file)} that SegRT does not know."""\n\n'
        "import segrt\n\n\n"
    )


def stub(key: str, layers: Sequence[tuple[str, KerasLayer]], shapes: dict[str, Shapes]) -> str:
    """Return a function that names what the file says of a class, and refuses until filled in.

    Args:
        key: The class as it is bound.
        layers: Path and layer of all layers of the class.
        shapes: What layers are called with, where known.
    """
    path, layer = layers[0]
    inputs, settings, weights = shapes.get(path, []), layer.config, _named(layer.weights)
    inner = wrapped(layer.config)
    if inner is not None and inner.key == key:
        settings, weights = inner.config, _named(inner.stored_entries(layer).entries)
        if layer.class_name == "TimeDistributed":
            inputs = [(*shape[:1], *shape[2:]) for shape in inputs]
    config = {name: value for name, value in settings.items() if name not in _QUIET}
    class_name = key.rpartition(">")[2]
    names = [f"x{index}" for index in range(len(inputs))] if len(inputs) > 1 else ["x"]
    grouped = any(isinstance(a, list | tuple) for c in layer.calls[:1] for a in c.args)
    parameter = "xs" if grouped else ", ".join(names)
    first = "xs[0]" if grouped else names[0]
    lines = [
        f"# {_plain(path)}" + (f" and {len(layers) - 1} more" if len(layers) > 1 else ""),
        *_comment("config", _json(config)),
        *_comment("input", ", ".join(map(str, inputs)) or "unknown (it depends on other layers)"),
        *[f"# weight: {_plain(name)} {entry.shape} {entry.dtype}" for name, entry in weights],
        f"@segrt.keras_layer({json.dumps(key)})",
        f"def {_function(class_name)}(call, {parameter}):",
    ]
    for name, _ in weights:
        variable = _function(name.replace("/", "_"))
        lines.append(
            f"    {variable} = call.weight({json.dumps(name)}, call.weights[{json.dumps(name)}])"
        )
    lines += [
        f'    # value = call.op("Mul", [{first}.value, ...]); the operators are ONNX\'s',
        f"    # return segrt.Tensor(value, {first}.layout)",
        f'    raise call.unsupported({json.dumps(class_name)}, "a stub", '
        '"its arithmetic, filled in")',
    ]
    return "\n".join(lines) + "\n"


def _named(entries: Sequence[WeightEntry]) -> list[tuple[str, WeightEntry]]:
    """Return arrays with the names that a converter finds them by."""
    return list(zip(stored_names(entries), entries, strict=True))


def _comment(title: str, text: str) -> list[str]:
    """Return text as comment lines, none too long."""
    room = _WIDTH - len(title) - 4
    pieces = [text[start : start + room] for start in range(0, len(text), room)][:12]
    return [f"# {title}: {pieces[0] if pieces else ''}", *[f"#   {piece}" for piece in pieces[1:]]]


def _json(config: dict[str, object]) -> str:
    return json.dumps(config, default=str, ensure_ascii=True)


def _plain(text: str) -> str:
    """Return text from a file without what could end a comment or a docstring."""
    return re.sub(r'[^ -~]|["\\]', "?", text)[:_WIDTH]


def _function(text: str) -> str:
    name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", text)
    name = re.sub(r"\W", "_", name, flags=re.ASCII).lower().strip("_") or "layer"
    if name[0].isdigit() or keyword.iskeyword(name) or name in ("call", "x", "xs", "segrt"):
        name = f"_{name}" if name[0].isdigit() else f"{name}_"
    return name
