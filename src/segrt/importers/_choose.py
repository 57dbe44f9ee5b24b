"""Choose the converters of layers whose class' registered converter is not the one to take.

In this order: what the user bound for this call, Lambda forms, what the program registered with
`segrt.keras_layer`, Keras' own classes, known custom layers, entry points of installed packages.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from segrt.errors import UsageError
from segrt.importers import _own_code
from segrt.importers._layer_graph import KerasLayer, LayerGraph, walk_layers
from segrt.importers._onnx_function import onnx_converter
from segrt.importers._specs import class_key, converter_of
from segrt.importers.known._base import recognise
from segrt.importers.lambdas._base import read_form
from segrt.importers.layers._base import REGISTRY, LayerConverter
from segrt.types import LayerSource, LoadOptions

ENTRY_POINTS = "segrt.keras_layers"
Layers = list[tuple[str, KerasLayer]]


def choose_converters(graph: LayerGraph, options: LoadOptions, file: str) -> list[str]:
    """Set `KerasLayer.converter` where another one than the registered is to be taken.

    Returns:
        Remarks for the user.

    Raises:
        UsageError: A binding fits no layer, or cannot be found.
        ConverterError: The user's file or module fails.
    """
    layers = [
        (path, layer)
        for path, layer in walk_layers(graph)
        if layer.model is None and layer.class_name != "InputLayer"
    ]
    remarks = _bind_classes(layers, options, file)
    remarks += _bind_lambdas(layers, options, file)
    remarks += _give(layers, _own_code.STANDING, "registered by this program")
    for _, layer in layers:
        if converter_of(layer) is None:
            layer.converter, remark = recognise(layer)
            remarks += [remark] if remark else []
    remarks += _from_packages(layers)
    return list(dict.fromkeys(remarks))


def _bind_classes(layers: Layers, options: LoadOptions, file: str) -> list[str]:
    remarks: list[str] = []
    for class_name, source in options.layers:
        if class_name:
            chosen = {class_name: _resolve(source, class_name)}
        else:
            chosen = _own_code.from_file(Path(str(source)))[1]
        wanted = [key for key in chosen if any(_names(layer, key) for _, layer in layers)]
        if not wanted:
            present = {class_key(layer) for _, layer in layers}
            raise UsageError(
                f"{file} has no layer of class {' or '.join(chosen) or '(nothing registered)'}",
                found=_near(chosen, present),
                hint=f"leave {source if isinstance(source, str | Path) else 'the converter'} out, "
                "or correct the class name",
            )
        remarks += _give(layers, chosen, "yours")
    return remarks


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
    unknown = [layer for _, layer in layers if converter_of(layer) is None]
    if not unknown:
        return []
    offered: dict[str, EntryPoint] = {
        entry.name: entry for entry in entry_points(group=ENTRY_POINTS)
    }
    remarks: list[str] = []
    for layer in unknown:
        entry = offered.get(class_key(layer)) or offered.get(layer.class_name)
        if entry is None:
            continue
        layer.converter = _own_code.from_text(entry.value, class_key(layer))
        package = entry.dist.name if entry.dist else entry.value
        remarks.append(f"layers of class {class_key(layer)}: converted by the package {package}")
    return remarks


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
    return key in (class_key(layer), layer.class_name)


def _near(wanted: Iterable[str], present: set[str]) -> str:
    near = [
        match for one in wanted for match in difflib.get_close_matches(one, sorted(present), n=3)
    ]
    if near:
        return f"near matches: {', '.join(dict.fromkeys(near))}"
    shown = sorted(present)
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return (", ".join(shown[:12]) or "none") + more
