"""Load converters of the user's own from where the user says; nothing else is ever imported.

Only files and modules that the user names are run, never anything that a model file names. What a
file registers belongs to the call that named the file: two models may bind unlike converters to
one class name.
"""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from segrt._user_code import run_file
from segrt.errors import ConverterError, SegrtError, UsageError
from segrt.importers.layers._base import Converter, LayerConverter, WeightSpecs, as_stored

# What programs register with `segrt.keras_layer`, outside any file that is being collected.
STANDING: dict[str, LayerConverter] = {}
_collecting: ContextVar[dict[str, LayerConverter] | None] = ContextVar("collecting", default=None)
_declared: WeakKeyDictionary[Converter, LayerConverter] = WeakKeyDictionary()
_FUNCTION = re.compile(r"(?P<place>.+):(?P<function>[A-Za-z_]\w*)")


def keras_layer(
    *class_names: str, weights: WeightSpecs = as_stored
) -> Callable[[Converter], Converter]:
    """Register a converter of your own for Keras classes; it wins over one of the same name.

    The converter is called as ``convert(call, x)``, where ``x`` is a `segrt.Tensor`, or a list of
    them, or more arguments if the layer was called with several; it returns one or several.

    In a file given to ``--layer`` or ``segrt.load(layers=...)`` it counts for that call; elsewhere
    for every later `segrt.load` of the program. A later registration replaces an earlier one.

    Args:
        class_names: Keras class names as saved: ``MyLayer``, or ``Package>MyLayer``.
        weights: Which arrays the layer owns, in Keras' order; by default those that the file
            holds, under the names in the file.

    Raises:
        TypeError: What is decorated cannot be called.
    """

    def decorate(convert: Converter) -> Converter:
        if not callable(convert):
            raise TypeError(f"a converter is a function, not {type(convert).__name__}")
        entry = LayerConverter(convert, weights, own=True)
        _declared[convert] = entry
        target = _collecting.get()
        for name in class_names:
            (STANDING if target is None else target)[name] = entry
        return convert

    return decorate


def from_function(convert: Converter) -> LayerConverter:
    """Return a function as a converter, with the weights its decorator declared."""
    return _declared.get(convert) or LayerConverter(convert, as_stored, own=True)


def from_file(path: Path) -> tuple[ModuleType, dict[str, LayerConverter]]:
    """Run a Python file of the user's; return its module and what it registered.

    Raises:
        UsageError: There is no such file.
        ConverterError: It cannot be run.
    """
    found: dict[str, LayerConverter] = {}
    token = _collecting.set(found)
    try:
        module = run_file(path)
    except UsageError:
        raise
    except Exception as error:
        raise own_error(f"{path.name} cannot be loaded", error, path) from error
    finally:
        _collecting.reset(token)
    return module, found


def from_text(text: str, wanted: str) -> LayerConverter:
    """Find the converter that ``file.py``, ``file.py:function`` or ``module:function`` means.

    Args:
        text: What the user wrote.
        wanted: The class or layer it is for, under which a file may have registered it.

    Raises:
        UsageError: There is no such file, module or function, or the file has none for ``wanted``.
        ConverterError: The user's code fails.
    """
    match = _FUNCTION.fullmatch(text)
    if match is None:
        _, found = from_file(Path(text))
        return _one_of(found, wanted, text)
    place, function = match["place"], match["function"]
    if place.endswith(".py"):
        module, _ = from_file(Path(place))
    else:
        module = _module(place)
    convert = getattr(module, function, None)
    if not callable(convert):
        raise UsageError(
            f"{place} has no function {function!r}",
            found=", ".join(name for name in vars(module) if not name.startswith("_"))[:200],
        )
    return from_function(convert)


def own_error(message: str, error: BaseException, file: Path | None = None) -> ConverterError:
    """Return the error for user code that failed: with the user's last line that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    where = (inside or frames)[-1:] if frames else []
    place = "".join(f" in {Path(f.filename).name}, line {f.lineno}: {f.line}" for f in where)
    if isinstance(error, SyntaxError) and error.filename:
        place = f" in {Path(error.filename).name}, line {error.lineno}"
    return ConverterError(
        message,
        found=f"{type(error).__name__}: {error}{place}"[:400],
        hint="correct the converter; docs/guides/own_layers.md shows one",
    )


@contextmanager
def user_code(message: str, convert: Converter) -> Iterator[None]:
    """Turn what the user's converter raises into a `ConverterError` that names its line."""
    code = getattr(convert, "__code__", None)
    try:
        yield
    except SegrtError:
        raise
    except Exception as error:
        raise own_error(message, error, Path(code.co_filename) if code else None) from error


def _one_of(found: dict[str, LayerConverter], wanted: str, text: str) -> LayerConverter:
    for key in (wanted, wanted.rpartition(">")[2]):
        if key in found:
            return found[key]
    entries = list({id(entry): entry for entry in found.values()}.values())
    if len(entries) == 1:
        return entries[0]
    raise UsageError(
        f"{text} has no converter for {wanted}",
        found=", ".join(sorted(found)) or "no function decorated with @segrt.keras_layer",
        wanted=f'@segrt.keras_layer("{wanted}"), or {text}:function',
    )


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"no such module: {name}",
            found=str(error),
            hint="install it, or give a file: my_converters.py:function",
        ) from error
    except Exception as error:
        raise own_error(f"module {name} cannot be imported", error) from error
