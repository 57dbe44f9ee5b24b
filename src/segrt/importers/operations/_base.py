"""What an operation is: one function, registered under every spelling that Keras has saved.

    @operation(
        "tf:math.add|__operators__.add(x, y)",
        "node:Add|AddV2(x, y)",
        "keras:Add(x1>x, x2>y)",
    )
    def add(call: Call, x: Operand, y: Operand) -> Tensor: ...

A spelling is ``dialect:names(parameters)``; the dialects are

``tf``
    TensorFlow's public name, as TFOpLambda layers have it (also without ``compat.v1.``);
``node``
    the kernel's name in a TensorFlowOpLayer's NodeDef: its inputs, then its attributes;
``keras``
    the class of a Keras 3 operation: what it is called with, then what it is configured with.

A parameter is ``saved>own=default``: its name there, its name in the function if it is another
one, and what it is where nothing was saved. ``a|b`` are two saved names, ``*xs`` takes all
positional arguments that no other parameter takes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from segrt._registry import Registry
from segrt.importers.layers._base import Call, Tensor

# A tensor, a number, an array, or lists of them.
Operand: TypeAlias = Any
Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., "Tensor | Sequence[Tensor]"]
AnyFunction = TypeVar("AnyFunction", bound=Function)

_SPELLING = re.compile(r"(tf|node|keras):([\w.|]+)\((.*)\)", re.DOTALL)
_V1 = "compat.v1."


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a spelling.

    Attributes:
        names: As saved.
        own: The function's name for it.
        star: Takes all positional arguments that are left.
        default: Where nothing was saved; ``...`` where the function's own default holds.
    """

    names: tuple[str, ...]
    own: str
    star: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """A function and the parameters of one spelling of it."""

    name: str
    function: Function
    parameters: tuple[Parameter, ...]

    def run(
        self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor | Sequence[Tensor]:
        """Run the function on saved arguments.

        Raises:
            UnsupportedConfigError: An argument is missing, or one too many.
        """
        return self.function(call, **self._bind(call, list(args), dict(kwargs)))

    def _bind(self, call: Call, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        star = next((i for i, item in enumerate(self.parameters) if item.star), None)
        if star is not None:
            behind = [
                item for item in self.parameters[star + 1 :] if not set(item.names) & {*kwargs}
            ]
            # NodeDefs have their variable inputs in front of the fixed ones.
            fixed = len([item for item in behind if item.default is ...]) if args else 0
            end = len(args) - fixed
            args = [*args[:star], args[star:end], *args[end:]]
        for parameter in self.parameters:
            saved = next((name for name in parameter.names if name in kwargs), None)
            if saved is not None:
                bound[parameter.own] = kwargs.pop(saved)
            elif args:
                bound[parameter.own] = args.pop(0)
            elif parameter.default is not ...:
                bound[parameter.own] = parameter.default
        left = {key: value for key, value in kwargs.items() if not _says_nothing(value)}
        if left or any(item is not None for item in args):
            found = ", ".join(map(str, left)) or f"{len(args)} argument(s) more"
            wanted = ", ".join(item.names[0] for item in self.parameters)
            raise call.unsupported("an argument", found, wanted)
        return bound


REGISTRY: Registry[Operation] = Registry("Keras operation", "segrt.importers.operations")


def operation(*spellings: str) -> Callable[[AnyFunction], AnyFunction]:
    """Register a function under spellings; see the module's docstring."""

    def decorate(function: AnyFunction) -> AnyFunction:
        for spelling in spellings:
            parsed = _SPELLING.fullmatch(spelling)
            if parsed is None:
                raise ValueError(f"not a spelling: {spelling}")
            dialect, names, signature = parsed.groups()
            parameters = tuple(_parameter(text) for text in _split(signature))
            for name in names.split("|"):
                REGISTRY.register(f"{dialect}:{name}")(Operation(name, function, parameters))
        return function

    return decorate


def find(dialect: str, name: str) -> Operation | None:
    """Return the operation that a dialect calls ``name``; None where there is none."""
    found = REGISTRY.find(f"{dialect}:{name}")
    if found is None and dialect == "tf" and name.startswith(_V1):
        found = REGISTRY.find(f"tf:{name.removeprefix(_V1)}")
    return found


def _split(signature: str) -> list[str]:
    return [part.strip() for part in re.split(r",\s*(?![^\[(]*[\])])", signature) if part.strip()]


def _parameter(text: str) -> Parameter:
    head, _, default = text.partition("=")
    star = head.startswith("*")
    saved, _, own = head.removeprefix("*").partition(">")
    names = tuple(saved.split("|"))
    return Parameter(names, own or names[0], star, ast.literal_eval(default) if default else ...)


def _says_nothing(value: Any) -> bool:
    """Say whether an argument nobody knows is left at a default: none, or false."""
    return value is None or value is False or (isinstance(value, np.bool_) and not value)
