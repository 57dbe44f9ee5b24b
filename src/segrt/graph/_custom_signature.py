"""What a reference's signature says of a custom operation, checked."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from segrt.errors import UsageError

_KINDS: dict[object, type] = {"int": int, "float": float, "str": str}
_OPERATION = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TEXT = re.compile(r"\w*", re.ASCII)
# Known in the kernel, or parameters of what nodes and plugins are made with.
_TAKEN = frozenset(
    {"i", "out", "outputs", "stream", "tactic", "name", "role", "inputs", "op", "domain"}
)
# Words of C++ that are no words of Python but might be chosen as a name.
_CPP = frozenset(
    re.findall(
        r"\w+",
        """
        auto bool case catch char class const constexpr default delete do double enum explicit
        extern float friend goto inline int long mutable namespace new operator private protected
        public register short signed sizeof static struct switch template this throw typedef
        typename union unsigned using virtual void volatile while true false u8 u16 u32 u64 sigmoid
        """,
    )
)
_LARGEST_INT = 2**31 - 1


def read(
    operation: str, reference: Callable[..., Any]
) -> tuple[tuple[str, ...], dict[str, type], dict[str, Any]]:
    """Return the inputs, the attributes' types and their defaults.

    Raises:
        UsageError: A name or a type that is not possible.
    """
    if not _OPERATION.fullmatch(operation):
        raise UsageError(
            f"{operation!r} is no name for a custom operation",
            wanted="lower-case letters, digits and underscores",
        )
    inputs: list[str] = []
    kinds: dict[str, type] = {}
    defaults: dict[str, Any] = {}
    for name, parameter in inspect.signature(reference).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise _error(operation, name, f"*{name}", "inputs and attributes by their names")
        taken = name in _CPP | _TAKEN or name.startswith("segrt")
        if taken or not _VARIABLE.fullmatch(name):
            raise _error(operation, name, name, "a name that is free in the kernel")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            inputs.append(name)
            continue
        # With `from __future__ import annotations` a type is its name.
        kind = _KINDS.get(getattr(parameter.annotation, "__name__", parameter.annotation))
        if kind is None:
            found = "no type" if parameter.annotation is parameter.empty else parameter.annotation
            raise _error(operation, name, str(found), "int, float or str")
        kinds[name] = kind
        if parameter.default is not parameter.empty:
            defaults[name] = value(operation, name, kind, parameter.default)
    if not inputs:
        raise _error(operation, "inputs", "none", "at least one positional parameter")
    return tuple(inputs), kinds, defaults


def value(operation: str, name: str, kind: type, found: object) -> Any:
    """Return an attribute as its own type.

    Raises:
        UsageError: It is none of that type, or is not finite, too large or no plain word.
    """
    if kind is float and isinstance(found, int | float) and not isinstance(found, bool):
        if math.isfinite(found):
            return float(found)
    elif kind is int and isinstance(found, int) and not isinstance(found, bool):
        if abs(found) <= _LARGEST_INT:
            return int(found)
    elif kind is str and isinstance(found, bytes | str):
        text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
        if _TEXT.fullmatch(text):
            return text
    wanted = {
        float: "a finite number",
        int: f"a whole number up to {_LARGEST_INT}",
        str: "a word of letters, digits and underscores",
    }
    raise _error(operation, name, repr(found), wanted[kind])


def _error(operation: str, name: str, found: str, wanted: str) -> UsageError:
    return UsageError(
        f"custom operation {operation!r}: {name!r} is not possible", found=found, wanted=wanted
    )
