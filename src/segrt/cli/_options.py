"""Options and values that several verbs share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

MODEL = click.Path(exists=True, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OUTPUT_FILE = click.Path(dir_okay=False, path_type=Path)
ANY = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


def number(text: str) -> float:
    """Parse a number or a fraction such as ``1/255``."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise click.BadParameter(f"{text!r} is no number and no fraction such as 1/255")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """Parse one number, or one a channel: ``0.485,0.456,0.406``."""
    return tuple(number(part) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Parse names with commas between them; "" is none."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def some_of(*words: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of some of ``words``, with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        given = [word.strip() for word in text.split(",") if word.strip()]
        for word in given:
            if word not in words:
                raise click.BadParameter(f"{word!r} is none of {', '.join(words)}")
        return tuple(dict.fromkeys(given))

    return parse


architecture = click.option(
    "--architecture",
    type=FILE,
    help="What model.to_json() or to_yaml() returned, for files that hold weights only.",
)


own_layers = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="[CLASS=]SOURCE",
    help="A converter of your own: CLASS=FILE.py, CLASS=MODULE:FUNCTION, CLASS=BLOCK.onnx, or "
    "FILE.py for all that it registers. May be repeated.",
)
lambdas = click.option(
    "--lambda",
    "lambdas",
    multiple=True,
    metavar="NAME=FORM",
    help="What Lambda layers compute, by name or pattern: lambda_3=resize_bilinear:size=64x64, "
    "'lambda_*=slice:stop=4', lambda_1=FILE.py:FUNCTION. May be repeated.",
)
outputs = click.option(
    "--outputs",
    type=names,
    metavar="NAME:0[,...]",
    default="",
    help="Tensors that a frozen graph (.pb) returns.",
)
inputs = click.option(
    "--inputs",
    type=names,
    metavar="NAME:0[,...]",
    default="",
    help="Tensors that a frozen graph (.pb) takes.  [default: its placeholders]",
)


class Loading(TypedDict):
    """What `loading` gives a command: the keyword arguments of `segrt.load`."""

    architecture: Path | None
    layers: tuple[str, ...]
    lambdas: tuple[str, ...]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


def loading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a model file is read; the command gets ``loading``."""
    names = tuple(Loading.__annotations__)

    @functools.wraps(command)
    def gather(**given: Any) -> Any:
        return command(loading={name: given.pop(name) for name in names}, **given)

    return architecture(own_layers(lambdas(outputs(inputs(gather)))))


threads = click.option(
    "--threads",
    type=COUNT,
    metavar="N",
    help="Threads of the engine.  [default: as the library chooses]",
)


def device(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--device``: sessions that the command opens are on that GPU."""

    @functools.wraps(command)
    def choosing(*, device: int | None, **given: Any) -> Any:
        if device is None:
            return command(**given)
        from segrt.cli import _console
        from segrt.cuda.devices import on_device

        with on_device(device) as chosen:
            result = command(**given)
        if not chosen.used:
            remark = f"remark: nothing was opened on a GPU, so --device {device} changed nothing"
            _console.notes().print(remark, style="yellow", markup=False)
        return result

    option = click.option(
        "--device",
        type=click.IntRange(min=0),
        metavar="N",
        help="GPU to use, as CUDA counts them.  [default: 0]",
    )
    return option(choosing)


class Pixels(TypedDict):
    """What `preprocess` adds to a command: the fields of `segrt.Preprocess`."""

    scale: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"]


def preprocess(command: Command) -> Command:
    """Add the options that say how pixels become network input."""
    added = (
        click.option(
            "--scale",
            type=number,
            metavar="N",
            help="Factor on pixel values 0..255.  "
            "[default: 1/255; 1 where the network rescales itself]",
        ),
        click.option(
            "--mean",
            type=numbers,
            metavar="N[,N...]",
            default="0",
            show_default=True,
            help="Subtracted after scaling.",
        ),
        click.option(
            "--std",
            type=numbers,
            metavar="N[,N...]",
            default="1",
            show_default=True,
            help="Divided by, after the mean.",
        ),
        click.option(
            "--channel-order",
            type=click.Choice(["rgb", "bgr"]),
            default="rgb",
            show_default=True,
            help="What the network was trained on; ignored for grey images.",
        ),
    )
    for option in reversed(added):
        command = option(command)
    return command
