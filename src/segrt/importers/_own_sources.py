"""Read how a user names converters: a mapping, or texts ``NAME=SOURCE`` as on a command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from segrt.errors import UsageError
from segrt.types import LayerSource


def own_sources(
    given: Mapping[str, LayerSource] | Iterable[str | os.PathLike[str]] | None, what: str
) -> tuple[tuple[str, LayerSource], ...]:
    """Return (name, source) pairs; the name of a file without one is "".

    Args:
        given: By name, or ``["NAME=SOURCE", "my_converters.py"]``.
        what: ``layer`` or ``lambda``, for messages.

    Raises:
        UsageError: A text is of neither form, or a name is given twice.
    """
    if given is None:
        return ()
    if isinstance(given, Mapping):
        return tuple(given.items())
    if isinstance(given, str):
        given = [given]
    pairs: list[tuple[str, LayerSource]] = []
    for item in given:
        text = os.fspath(item)
        name, equals, source = text.partition("=")
        if what == "layer" and text.endswith(".py") and (not equals or Path(text).is_file()):
            name, source = "", text
        elif not (name and source):
            raise UsageError(
                f"--{what} {text!r} cannot be read",
                wanted=f"NAME=SOURCE{' or FILE.py' if what == 'layer' else ''}",
            )
        if name and name in dict(pairs):
            raise UsageError(f"--{what} {name} is given twice")
        pairs.append((name, source))
    return tuple(pairs)
