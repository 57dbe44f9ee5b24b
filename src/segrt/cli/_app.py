"""The group of all verbs, found by the names of this folder's files."""

from __future__ import annotations

import importlib
import pkgutil

import click

from segrt import __version__, cli

_WALK = """\b
A first walk:
  segrt demo                                      see it all on a bundled network
  segrt inspect unet.h5 --upsampling              what is in the file, and what can be done
  segrt build unet.h5 -o unet.segrt               make a package that needs no Keras
  segrt verify unet.segrt --against keras.npz     compare every layer with Keras
  segrt predict -m unet.segrt -i images -o masks  use it

\b
Exit codes:
  0  done          1  some items failed, or a check did not hold    2  wrong usage
  3  refused: the file or package is not one to be trusted or converted exactly
  4  this machine lacks something           130  stopped from the keyboard
"""


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs: the names of this folder's plain files."""
        del ctx
        names = (module.name for module in pkgutil.iter_modules(cli.__path__))
        return sorted(name for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's file and return its command, None if there is no such verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"segrt.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"segrt.cli.{cmd_name}.command is no click command")
        return command


@click.group(
    cls=LazyGroup,
    epilog=_WALK,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", prog_name="segrt")
@click.option(
    "--traceback", is_flag=True, help="On an unexpected error, show where in the code it happened."
)
def group(traceback: bool) -> None:
    """Deploy trained Keras segmentation networks, and prove that they still say the same.

    Every verb has its own --help with examples: segrt build --help
    """
    # Read from the arguments by `_errors.run`, which must know it before click parses.
    del traceback
