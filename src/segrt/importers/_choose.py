"""Choose the converters of layers whose class' registered converter is not the one to take.

In this order: what the user bound for this call, Lambda forms, what the program registered with
`segrt.keras_layer`, Keras' own classes, known custom layers, entry points of installed packages.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from segrt.errors import UsageError
from segrt.importers import _own_code
from segrt.importers._layer_graph import JsonObject, KerasLayer, LayerGraph, walk_layers
from segrt.importers._onnx_function import onnx_converter
from segrt.importers._specs import class_key, converter_of
from segrt.importers.known._base import recognise
from segrt.importers.lambdas._base import read_form
from segrt.importers.layers._base import REGISTRY, LayerConverter
from segrt.importers.layers._wrapped import wrapped
from segrt.types import LayerSource, LoadOptions

ENTRY_POINTS = "segrt.keras_layers"
Layers = list[tuple[str, KerasLayer]]


@dataclass(slots=True)
class Choice:
    """What was chosen, and what classes inside other layers are to get.

    Attributes:
        remarks: For the user.
        own: What the user bound for this call, by class.
        used: The names of ``own`` that a layer, or a class inside one, took.
    """

    remarks: list[str]
    own: dict[str, LayerConverter]
    used: set[str]

    def inside(self, key: str, config: JsonObject) -> LayerConverter | None:
        """Return the converter of a class inside another layer, by the order of this module."""
        names = _names_of(key)
        for table in (self.own, _own_code.STANDING):
            for name in (*names, *[own for own in table if _bare(own) == key]):
                if name in table:
                    self.used.add(name)
                    return table[name]
        converter = REGISTRY.find(key)
        if converter is None:
            package, _, class_name = key.rpartition(">")
            layer = KerasLayer(class_name, class_name, package, config, [])
            converter, remark = recognise(layer)
            if remark and remark not in self.remarks:
                self.remarks.append(remark)
        return converter or _offered(names)


def choose_converters(graph: LayerGraph, options: LoadOptions, file: str) -> Choice:
    """Set `KerasLayer.converter` where another one than the registered is to be taken.

    Raises:
        UsageError: A binding fits no layer, or cannot be found.
        ConverterError: The user's file or module fails.
    """
    layers = [
        (path, layer)
        for path, layer in walk_layers(graph)
        if layer.model is None and layer.class_name != "InputLayer"
    ]
    choice = Choice([], {}, set())
    choice.remarks += _bind_classes(layers, options, file, choice.own)
    choice.used |= {key for key in choice.own if any(_names(layer, key) for _, layer in layers)}
    choice.remarks += _bind_lambdas(layers, options, file)
    choice.remarks += _give(layers, _own_code.STANDING, "registered by this program")
    for _, layer in layers:
        if converter_of(layer) is None:
            layer.converter, remark = recognise(layer)
            choice.remarks += [remark] if remark else []
    choice.remarks += _from_packages(layers)
    choice.remarks[:] = dict.fromkeys(choice.remarks)
    return choice


def refuse_unused(choice: Choice, options: LoadOptions, file: str) -> None:
    """Refuse bindings by class that neither a layer nor a class inside one took.

    Raises:
        UsageError: There is one.
    """
    for class_name, source in options.layers:
        if class_name and class_name not in choice.used:
            raise _fits_nothing([class_name], set(), source, file)


def _bind_classes(
    layers: Layers, options: LoadOptions, file: str, own: dict[str, LayerConverter]
) -> list[str]:
    remarks: list[str] = []
    present = {class_key(layer) for _, layer in layers}
    inner = {layer.key for _, one in layers if (layer := wrapped(one.config)) is not None}
    strange: list[UsageError] = []
    for class_name, source in options.layers:
        if class_name:
            chosen = {class_name: _resolve(source, class_name)}
        else:
            chosen = _own_code.from_file(Path(str(source)))[1]
        if not any(key in _names_of(name) for key in chosen for name in present | inner):
            strange.append(_fits_nothing(chosen, present | inner, source, file))
        for key, converter in chosen.items():
            own.setdefault(key, converter)
        remarks += _give(layers, chosen, "yours")
    # Beside one that fits, another may be for a part of its layer: that shows in the end.
    if strange and len(strange) == len(options.layers):
        raise strange[0]
    return remarks


def _fits_nothing(
    chosen: Iterable[str], present: set[str], source: LayerSource, file: str
) -> UsageError:
    return UsageError(
        f"{file} has no layer of class {' or '.join(chosen) or '(nothing registered)'}",
        found=_near(chosen, present) if present else "nothing in it took this converter",
        hint=f"leave {source if isinstance(source, str | Path) else 'the converter'} out, "
        "or correct the class name",
    )


def _bind_lambdas(layers: Layers, options: LoadOptions, file: str) -> list[str]:
    lambdas = [(path, layer) for path, layer in layers if layer.class_name == "Lambda"]
    remarks: list[str] = []
    # Exact names before patterns, whatever their order.
    for pattern, source in sorted(options.lambdas, key=lambda item: "*" in item[0]):
        converter = _lambda_converter(source, pattern)
        fitting = [
            (path, layer)
            for path, layer in lambdas
            if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(layer.name, pattern)
        ]
        if not fitting:
            raise UsageError(
                f"{file} has no Lambda layer named {pattern!r}",
                found=_near([pattern], {path for path, _ in lambdas}),
            )
        taken = [(path, layer) for path, layer in fitting if layer.converter is None]
        for _, layer in taken:
            layer.converter = converter
        if taken and not converter.own:
            names = ", ".join(path for path, _ in taken[:5]) + (" ..." if len(taken) > 5 else "")
            remarks.append(
                f"{len(taken)} Lambda layer(s) ({names}) taken as {source!r}, as you said; their "
                "code was not read"
            )
    return remarks


def _give(layers: Layers, chosen: dict[str, LayerConverter], whose: str) -> list[str]:
    """Set converters by class, where none is set; remark on those that replace another one."""
    remarks: list[str] = []
    for _, layer in layers:
        key = next((key for key in (class_key(layer), layer.class_name) if key in chosen), None)
        if key is None or layer.converter is not None:
            continue
        if REGISTRY.find(class_key(layer)) is not None:
            remarks.append(f"layers of class {key}: the converter taken is not SegRT's but {whose}")
        layer.converter = chosen[key]
    return remarks


def _from_packages(layers: Layers) -> list[str]:
    """Take converters of installed packages for classes that nothing else knows."""
    remarks: list[str] = []
    for layer in [layer for _, layer in layers if converter_of(layer) is None]:
        entry = _entry_point(_names_of(class_key(layer)))
        if entry is None:
            continue
        layer.converter = _own_code.from_text(entry.value, class_key(layer))
        package = entry.dist.name if entry.dist else entry.value
        remarks.append(f"layers of class {class_key(layer)}: converted by the package {package}")
    return remarks


def _offered(names: Sequence[str]) -> LayerConverter | None:
    entry = _entry_point(names)
    return None if entry is None else _own_code.from_text(entry.value, names[0])


def _entry_point(names: Sequence[str]) -> EntryPoint | None:
    offered: dict[str, EntryPoint] = {
        entry.name: entry for entry in entry_points(group=ENTRY_POINTS)
    }
    return next((offered[name] for name in names if name in offered), None)


def _resolve(source: LayerSource, class_name: str) -> LayerConverter:
    if callable(source):
        return _own_code.from_function(source)
    if str(source).lower().endswith(".onnx"):
        return onnx_converter(Path(source))
    return _own_code.from_text(str(source), class_name)


def _lambda_converter(source: LayerSource, pattern: str) -> LayerConverter:
    if callable(source):
        return _own_code.from_function(source)
    text = str(source)
    place, colon, _ = text.rpartition(":")
    if text.lower().endswith((".py", ".onnx")) or (colon and place.lower().endswith(".py")):
        return _resolve(text, pattern)
    return read_form(text)


def _names(layer: KerasLayer, key: str) -> bool:
    return key in _names_of(class_key(layer))


def _names_of(key: str) -> tuple[str, ...]:
    """Return a class' names: with its package in front, and without."""
    return (key, _bare(key)) if ">" in key else (key,)


def _bare(key: str) -> str:
    return key.rpartition(">")[2]


def _near(wanted: Iterable[str], present: set[str]) -> str:
    near = [
        match for one in wanted for match in difflib.get_close_matches(one, sorted(present), n=3)
    ]
    if near:
        return f"near matches: {', '.join(dict.fromkeys(near))}"
    shown = sorted(present)
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return (", ".join(shown[:12]) or "none") + more
