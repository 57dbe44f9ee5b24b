"""The error for layers without a converter: all of them, what is known, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from segrt.errors import UnsupportedLayerError
from segrt.importers._layer_graph import KerasLayer, LayerGraph
from segrt.importers._probe import Shapes, probe
from segrt.importers._specs import missing_class, unknown_layers
from segrt.importers._stubs import head_of, stub
from segrt.importers.known._base import near_misses
from segrt.importers.layers._left_out import reasons
from segrt.importers.operations._dialects import CLASSES

# Shorter runs of numbered names are spelled out.
_SHORTEST_RUN = 20
_LONGEST = 160


def unknown_layers_error(
    graph: LayerGraph, file: str, bind: Callable[[], list[str]]
) -> UnsupportedLayerError:
    """Return one error that lists every layer without a converter; to be raised.

    Args:
        graph: The model; its weights are bound, as far as they can be, to show their shapes.
        file: Its name.
        bind: Gives every layer its arrays.
    """
    unknown = [(path, layer, missing_class(layer)) for path, layer in unknown_layers(graph)]
    shapes = probe(graph, bind)
    by_class: dict[str, list[tuple[str, KerasLayer]]] = {}
    for path, layer, key in unknown:
        by_class.setdefault(key, []).append((path, layer))
    lambdas = by_class.pop("Lambda", [])
    operations = [key for key in by_class if key.startswith((*CLASSES, "keras.ops>"))]
    lines = [
        f"    {key}: {', '.join(_shorten([path for path, _ in layers]))}"
        for key, layers in by_class.items()
    ]
    for key, layers in by_class.items():
        reason = near_misses(layers[0][1])
        lines += (
            [f"      {key} is not the published layer of that name: {reason}"] if reason else []
        )
    lines += (
        [f"    Lambda: {', '.join(_shorten([path for path, _ in lambdas]))}"] if lambdas else []
    )
    for path, layer in lambdas[:_SHORTEST_RUN]:
        known = _of_lambda(layer, shapes.get(path, []))
        lines += [f"      {path}: {known}"] if known else []
    own = {key: layers for key, layers in by_class.items() if key not in operations}
    stubs = [stub(key, layers, shapes) for key, layers in own.items()]
    return UnsupportedLayerError(
        f"{file}: {len(unknown)} layer(s) have no converter:\n" + "\n".join(lines),
        [(path, key) for path, _, key in unknown],
        hint="\n    ".join(
            [*_hints(file, stubs, [path for path, _ in lambdas], operations), *reasons(own)]
        ),
        stub=head_of(file) + "\n\n".join(stubs) if stubs else "",
    )


def _hints(
    file: str, stubs: Sequence[str], lambdas: Sequence[str], operations: Sequence[str]
) -> list[str]:
    hints = []
    if stubs:
        shown = "\n".join(f"      {line}".rstrip() for line in stubs[0].splitlines())
        hints.append(
            f"write a converter for each class, and add --layer my_converters.py;\n"
            f"      segrt inspect {file} --stub my_converters.py\n"
            f"    writes what is to be filled in; for the first class it is\n{shown}"
        )
    if lambdas:
        options = " ".join(f"--lambda '{name}=FORM'" for name in _templates(lambdas))
        hints.append(
            "a Lambda holds Python code, which is never executed or decoded; say what it computes:"
            f"\n      {options}\n    where FORM is such as resize_bilinear:size=64x64, "
            "slice:axis=-1,start=0,stop=4, scale:mul=1/255 (docs/reference/lambda_forms.md), or "
            "my_converters.py:function"
        )
    if operations:
        hints.append(
            "an operation is added by one function in segrt/importers/operations; Keras layers in "
            "its place may say the same"
        )
    return hints


def _templates(names: Sequence[str]) -> list[str]:
    """Return every name, or the pattern of a long list of automatic names."""
    if len(names) <= 6:
        return list(names)
    stems = dict.fromkeys(_numbered(name)[0] for name in names)
    return [f"{stem}*" for stem in stems]


def _of_lambda(layer: KerasLayer, shapes: Shapes) -> str:
    """Say what a file tells of a Lambda in plain text; its code is not looked at."""
    config = layer.config
    facts = []
    function = config.get("function")
    if isinstance(function, str):
        facts.append(f"function {function[:_LONGEST]!r}")
    elif isinstance(function, dict) and function.get("class_name") == "function":
        facts.append(f"function {str(function.get('config'))[:_LONGEST]!r}")
    module = config.get("module")
    if isinstance(module, str) and module not in ("", "__main__"):
        facts.append(f"written in {module[:_LONGEST]}")
    if isinstance(config.get("arguments"), dict) and config["arguments"]:
        facts.append(f"arguments {json.dumps(config['arguments'], default=str)[:_LONGEST]}")
    if isinstance(config.get("output_shape"), list):
        facts.append(f"output_shape {config['output_shape']}")
    facts += [f"called with {', '.join(map(str, shapes))}"] if shapes else []
    return ", ".join(facts)


def _shorten(names: Sequence[str]) -> list[str]:
    """Return names with runs of automatic ones (``lambda_1``, ``lambda_2`` ...) put together.

    Published networks have thousands of Lambdas; none is left out, and the list stays readable.
    """
    shown: list[str] = []
    runs: list[list[str]] = []
    for name in names:
        stem, number = _numbered(name)
        if runs and (stem, number - 1) == _numbered(runs[-1][-1]):
            runs[-1].append(name)
        else:
            runs.append([name])
    for run in runs:
        shown += run if len(run) < _SHORTEST_RUN else [f"{run[0]} ... {run[-1]} ({len(run)})"]
    return shown


def _numbered(name: str) -> tuple[str, int]:
    """Split ``lambda_12`` into its stem and number; without a number it is 0, as Keras counts."""
    stem, _, number = name.rpartition("_")
    plain = number.isascii() and number.isdigit() and stem and str(int(number[:9])) == number
    return (stem, int(number)) if plain else (name, 0)
