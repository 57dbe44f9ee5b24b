"""Forms: what a user may say that a Lambda layer computes, as its code is never read.

A form is written ``name`` or ``name:setting=value,setting=value``: ``resize_bilinear:size=64x64``.
Lists are written with ``/``: ``transpose:perm=0/3/1/2``. The values go through the converters of
this package like those of a layer. Settings that are left out come from the arguments saved beside
the Lambda's code under the same names, which are plain data: grouped convolutions are hundreds of
Lambdas with a ``start`` and a ``stop`` of their own. Nothing else of the Lambda is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from segrt._registry import Registry
from segrt.errors import UsageError
from segrt.importers.layers._base import Call, Converter, LayerConverter, Tensor, no_weights

Parser: TypeAlias = Callable[[str], Any]
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class LambdaForm:
    """A form.

    Attributes:
        convert: Called like a layer's converter, with the settings as keyword arguments.
        settings: How each setting is read.
        usage: The form as it may be written, for people.
    """

    convert: Converter
    settings: Mapping[str, Parser]
    usage: str


REGISTRY: Registry[LambdaForm] = Registry("Lambda form", "segrt.importers.lambdas")


def lambda_form(*names: str, **settings: Parser) -> Callable[[Converter], Converter]:
    """Register a form under some names.

    Args:
        names: How it is called in ``--lambda``.
        settings: How each keyword argument of the function is read; those without a default must
            be given.
    """

    def decorate(convert: Converter) -> Converter:
        for name in names:
            usage = name + (":" if settings else "")
            usage += ",".join(_shown(convert, setting) for setting in settings)
            REGISTRY.register(name)(LambdaForm(convert, settings, usage))
        return convert

    return decorate


def read_form(text: str) -> LayerConverter:
    """Read a form.

    Raises:
        UsageError: There is no such form or setting, or a value cannot be read.
    """
    name, _, rest = text.partition(":")
    form = REGISTRY.find(name.strip())
    if form is None:
        raise UsageError(
            f"no Lambda form is called {name.strip()!r}",
            wanted="; ".join(entry.usage for _, entry in REGISTRY),
            hint="anything else: bind a converter of your own, lambda_1=my_converters.py:function",
        )
    values: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = part.partition("=")
        parse = form.settings.get(key.strip())
        if parse is None or not equals:
            raise UsageError(f"{name} has no setting {part!r}", wanted=form.usage)
        try:
            values[key.strip()] = parse(value.strip())
        except ValueError as error:
            raise UsageError(
                f"{part!r} in {text!r} cannot be read", found=str(error), wanted=form.usage
            ) from error
    return LayerConverter(partial(_apply, form, text, values), no_weights)


def _apply(
    form: LambdaForm, text: str, values: Mapping[str, Any], call: Call, *args: Any
) -> Tensor | Sequence[Tensor]:
    """Convert with the settings given and, for the others, those saved in the file.

    Raises:
        UsageError: A setting is in neither.
    """
    given = {**_saved(form, call), **values}
    missing = [one for one in _required(form.convert) if one not in given]
    if missing:
        raise UsageError(f"{text!r} lacks {', '.join(missing)}", wanted=form.usage)
    taken = [f"{key}={given[key]}" for key in given if key not in values]
    if taken:
        call.remark(f"taken from the file's arguments: {', '.join(taken)}")
    return form.convert(call, *args, **given)


def _saved(form: LambdaForm, call: Call) -> dict[str, Any]:
    arguments = call.config.get("arguments")
    if not isinstance(arguments, Mapping):
        return {}
    return {
        key: _parsed(form, call, key, arguments[key])
        for key in form.settings
        if arguments.get(key) is not None
    }


def _parsed(form: LambdaForm, call: Call, key: str, value: Any) -> Any:
    """Read a saved argument as if it had been written in the form."""
    text = "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    try:
        return form.settings[key](text)
    except ValueError as error:
        raise call.unsupported(f"saved argument {key}", value, form.usage) from error


def flag(text: str) -> bool:
    """Read ``true`` or ``false``."""
    if text.lower() not in _WORDS:
        raise ValueError(f"{text!r} is not true or false")
    return _WORDS[text.lower()]


def sizes(text: str) -> tuple[int, int]:
    """Read height and width, ``64x64``; one number is both."""
    parts = [int(part) for part in text.lower().split("x")]
    if len(parts) > 2 or min(parts) < 1:
        raise ValueError(f"{text!r} is not of the form HEIGHTxWIDTH")
    return parts[0], parts[-1]


def integers(text: str) -> tuple[int, ...]:
    """Read integers with ``/`` between them."""
    return tuple(int(part) for part in text.split("/"))


def number(text: str) -> float:
    """Read a number or a fraction such as ``1/255``."""
    above, slash, below = text.partition("/")
    if slash and float(below) == 0:
        raise ValueError(f"{text!r} divides by 0")
    return float(above) / float(below) if slash else float(above)


def _required(convert: Converter) -> list[str]:
    return [
        parameter.name
        for parameter in inspect.signature(convert).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]


def _shown(convert: Converter, setting: str) -> str:
    return f"{setting}=..." if setting in _required(convert) else f"[{setting}=...]"
