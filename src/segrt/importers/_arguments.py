"""Values inside a Keras configuration: wrapped numbers, tensors and constants of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import Argument, TensorRef

_MAX_ARGUMENT_NESTING = 64


def plain(value: Any, depth: int = 0) -> Any:
    """Return a configuration with Keras' wrapped numbers (``__numpy__``) unwrapped."""
    if depth > _MAX_ARGUMENT_NESTING:
        raise ModelFileError("a layer's configuration is nested absurdly deep")
    if isinstance(value, dict):
        if value.get("class_name") in ("__numpy__", "__tensor__"):
            inner = value.get("config")
            return inner.get("value") if isinstance(inner, dict) else inner
        if value.get("class_name") == "__tuple__" and "items" in value:
            return plain(value["items"], depth + 1)
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    return value


def keras3_argument(value: Any, bad: Callable[..., ModelFileError], depth: int) -> Argument:
    """Read an argument as Keras 3 writes it: tensors are objects with a ``keras_history``."""
    if depth > _MAX_ARGUMENT_NESTING:
        raise bad("call arguments nested absurdly deep")
    if isinstance(value, list):
        return [keras3_argument(item, bad, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, dict):
        history = config.get("keras_history")
        if isinstance(history, list) and len(history) == 3 and isinstance(history[0], str):
            name, call, tensor = history
            if is_index(call) and is_index(tensor):
                return TensorRef(name, call, tensor)
        raise bad("a tensor reference that cannot be read", found=repr(history)[:120])
    if kind in ("__tensor__", "__numpy__") and isinstance(config, dict):
        try:
            return np.asarray(config.get("value"), dtype=str(config.get("dtype", "float32")))
        except (TypeError, ValueError) as error:
            raise bad("a constant that cannot be read", found=repr(config)[:120]) from error
    return {key: keras3_argument(item, bad, depth + 1) for key, item in value.items()}


def keras2_argument(
    value: Any, names: set[str], depth: int, bad: Callable[..., ModelFileError]
) -> Argument:
    """Read keyword arguments; a list ``[layer name, int, int]`` is a tensor."""
    if depth > _MAX_ARGUMENT_NESTING:
        raise bad("call arguments nested absurdly deep")
    if isinstance(value, list):
        if (
            len(value) >= 3
            and isinstance(value[0], str)
            and value[0] in names
            and is_index(value[1])
            and is_index(value[2])
        ):
            return TensorRef(value[0], value[1], value[2])
        return [keras2_argument(item, names, depth + 1, bad) for item in value]
    if isinstance(value, dict):
        return {key: keras2_argument(item, names, depth + 1, bad) for key, item in value.items()}
    return value


def is_index(value: Any) -> bool:
    """Say whether ``value`` can be the number of a call or an output."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 20
