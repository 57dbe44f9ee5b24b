"""The option ``--ops``: Python files of the user's that define custom operations and layers."""

from __future__ import annotations

from pathlib import Path

import click


def _import(_context: click.Context, _parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    from segrt._user_code import import_file

    for file in files:
        import_file(file)


ops = click.option(
    "--ops",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    expose_value=False,
    callback=_import,
    help="Python file that defines custom operations or layer converters; it is run. "
    "May be repeated.",
)
