"""Activations as a layer's configuration names them: a name, null, or a serialised object.

Keras has written them in these forms, all of which may sit in ``activation``:

- ``"relu"``, or null for none;
- ``{"class_name": "function", "config": "relu", "registered_name": ...}``: a function;
- ``{"class_name": "LeakyReLU", "config": {...}}``: a layer used as a function.

A function of the user's own is known by its name alone: a few names mean one function wherever
they are defined (`_custom_functions`), any other is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from segrt.importers.layers import _custom_functions
from segrt.importers.layers._activation_functions import FUNCTIONS
from segrt.importers.layers._base import REGISTRY, Call, Tensor

# Layers without arrays of their own, which may stand in place of an activation function.
_LAYERS = ("ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU")
_KERAS_PACKAGES = ("", "keras", "keras.layers", "keras.activations")


def apply(call: Call, x: Tensor, spec: object) -> Tensor:
    """Append the activation that ``spec`` describes; none for null and ``linear``.

    Raises:
        UnsupportedConfigError: It is no activation of Keras', or cannot be read.
    """
    if spec is None or spec == "linear":
        return x
    if isinstance(spec, str):
        return _function(call, x, spec)
    if not isinstance(spec, Mapping):
        raise call.unsupported("activation", spec, "a name or a serialised object")
    package = str(spec.get("registered_name") or "").rpartition(">")[0]
    class_name, config = spec.get("class_name"), spec.get("config")
    if package.lower() in _KERAS_PACKAGES:
        if class_name == "function" and isinstance(config, str):
            return apply(call, x, config)
        if class_name in _LAYERS and isinstance(config, dict):
            return _layer(call, x, class_name, config)
    name = config if class_name == "function" and isinstance(config, str) else str(class_name)
    custom = _custom_functions.find(name.rpartition(">")[2], package or name.rpartition(">")[0])
    if custom is not None:
        return Tensor(custom(call, x), x.layout)
    raise call.unsupported("activation", spec.get("registered_name") or class_name, _wanted())


def _function(call: Call, x: Tensor, name: str) -> Tensor:
    package, _, plain = name.rpartition(">")
    # Keras 2 has no hard_swish: there it is always somebody's, and the paper's.
    own = bool(package) or (plain == "hard_swish" and call.keras_major == 2)
    function = None if own else FUNCTIONS.get(plain)
    function = function or _custom_functions.find(plain, package)
    if function is None:
        raise call.unsupported("activation", name, _wanted())
    return Tensor(function(call, x), x.layout)


def _layer(call: Call, x: Tensor, class_name: str, config: dict[str, object]) -> Tensor:
    converter = REGISTRY.find(class_name)
    if converter is None:
        raise call.unsupported("activation", class_name, _wanted())
    result = converter.convert(call.part(class_name, config), x)
    if not isinstance(result, Tensor):
        raise TypeError(f"the converter of {class_name} did not return one tensor")
    return result


def _wanted() -> str:
    return "one of " + ", ".join(sorted([*FUNCTIONS, *_LAYERS]))
