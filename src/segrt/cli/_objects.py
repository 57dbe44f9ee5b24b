"""Options of the verbs that run real Keras: the user's own classes, and leave to run Lambdas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import click


class KerasCode(TypedDict):
    """What `keras_code` adds to a command."""

    custom_objects: dict[str, Any]
    allow_code: bool


def _definitions(
    _context: click.Context, _parameter: click.Parameter, files: tuple[Path, ...]
) -> dict[str, Any]:
    from segrt._user_code import definitions

    return {name: value for file in files for name, value in definitions(file).items()}


def keras_code(command: Any) -> Any:
    """Add the options."""
    objects = click.option(
        "--objects",
        "custom_objects",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_definitions,
        metavar="FILE.py",
        help="Python file with the Keras classes and functions of your own that the model uses; "
        "it is run. May be repeated.",
    )
    allowed = click.option(
        "--allow-code",
        is_flag=True,
        help="Let Keras run the Lambda code that the model file holds. Only for files you trust.",
    )
    return objects(allowed(command))
