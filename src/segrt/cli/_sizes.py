"""Sizes on the command line: one number, or a range ``smallest:usual:largest``."""

from __future__ import annotations

import click

from segrt.types import ShapeProfile, Size

_MOST_SIDES = 3


def batch(text: str) -> Size:
    """Parse a batch size: ``8``, or ``1:8:32``."""
    return _size([_number(part, text, "N or 1:8:32") for part in text.split(":")], text)


def size(text: str) -> tuple[Size, ...]:
    """Parse the sides of an image, or of a volume.

    ``256x320``; ``32x256x256``; ``256`` is every side; ``128x128:256x320:512x512`` and
    ``128:256:512`` are ranges.
    """
    form = "HEIGHTxWIDTH, such as 256x320, or a range, such as 128x128:256x320:512x512"
    sides = [part.split("x") for part in text.lower().split(":")]
    count = max(len(part) for part in sides)
    # One number among several stands for all sides there.
    if count > _MOST_SIDES or any(len(part) not in (1, count) for part in sides):
        raise click.BadParameter(f"{text!r} is not of the form {form}")
    every = [part if len(part) == count else part * count for part in sides]
    numbers = [[_number(number, text, form) for number in part] for part in every]
    return tuple(_size(list(along), text) for along in zip(*numbers, strict=True))


def _size(numbers: list[int], text: str) -> Size:
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != 3:
        raise click.BadParameter(f"{text!r}: a range has three sizes, smallest:usual:largest")
    if numbers != sorted(numbers):
        raise click.BadParameter(f"{text!r}: a range goes from the smallest to the largest size")
    return ShapeProfile(*numbers)


def _number(part: str, text: str, form: str) -> int:
    if not part.isascii() or not part.isdigit():
        raise click.BadParameter(f"{text!r} is not of the form {form}")
    if int(part) < 1:
        raise click.BadParameter(f"{text!r}: sizes must be at least 1")
    return int(part)
