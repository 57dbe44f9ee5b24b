"""Convolutions of volumes in two launches, where one that reads slices where they lie is possible.

They are the other way: timed beside that one where slices side by side take little memory. Where
they take much, they would cost far more than the convolution gains by them, so it is gone only
where all else fails, and part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.jobs import Choice, Job, Proposal, in_turn
from segrt.cuda.kernel_specs import kernel_spec
from segrt.cuda.kernels.volume_convolution import TILE_H, TILE_W
from segrt.cuda.operations import Convolution
from segrt.cuda.views import View

# Slices side by side that take no more than this are a choice.
_CHOICE_BYTES = 1 << 25
_MOST_PARTS = 32
# Of the pixels that the kernel computes, so many have to be of the image to do without a choice.
_FEWEST_PIXELS = 0.6

Kernel = Callable[..., Proposal]
Ways = Callable[[Job, Convolution], Iterator[Proposal]]


def is_worth(between: View) -> bool:
    """Say whether to read slices where they lie, or whether to choose.

    Args:
        between: What else would be put side by side.
    """
    rows, columns = -(-between.h // TILE_H) * TILE_H, -(-between.w // TILE_W) * TILE_W
    filled = between.h * between.w >= _FEWEST_PIXELS * rows * columns
    return filled or between.span_bytes <= _CHOICE_BYTES


def apart_view(between: View) -> View:
    """Return what is put side by side at once: all, or some of much."""
    most = max(1, _CHOICE_BYTES // between.image_bytes, -(-between.n // _MOST_PARTS))
    return replace(between, n=min(between.n, most), depth=0)


def apart(job: Job, operation: VolumeConvolution, kernel: Kernel, ways: Ways) -> Iterator[Proposal]:
    """Yield convolutions of images with slices put side by side in front of them.

    Args:
        job: Reads the volume; what is put side by side has its place behind that.
        operation: The job's.
        kernel: Proposes a kernel.
        ways: Proposes all ways to convolve images.
    """
    parts = list(_parts(job, operation))
    inner = operation.convolution
    slicing = [kernel(before, *kernel_spec(before)) for before, _ in parts]
    for way in ways(parts[0][1], inner):
        both = in_turn(slicing[0], way)
        first = replace(both, last_resort=way.last_resort, kind=way.kind, plan=way.plan)
        if len(parts) > 1:
            make = _in_parts(way.name, slicing, [behind for _, behind in parts], ways)
            first = replace(first, name=f"{len(parts)} x {first.name}", make=make, last_resort=True)
        yield first


def _in_parts(
    name: str, slicing: list[Proposal], behind: list[Job], ways: Ways
) -> Callable[[], Choice]:
    """Return what builds the way of this name for all parts, which are alike."""

    def make() -> Choice:
        choices = []
        for before, job in zip(slicing, behind, strict=True):
            assert isinstance(job.operation, Convolution)
            way = next(way for way in ways(job, job.operation) if way.name == name)
            choices.append(in_turn(before, way).make())

        def run(scratch: int) -> None:
            for choice in choices:
                choice.run(scratch)

        def free() -> None:
            for choice in choices:
                choice.free()

        def keep() -> None:
            for choice in choices:
                choice.keep()

        title = f"{len(choices)} x {choices[0].name}"
        return Choice(title, max(choice.workspace for choice in choices), run, free, keep)

    return make


def _parts(job: Job, operation: VolumeConvolution) -> Iterator[tuple[Job, Job]]:
    """Yield what puts slices side by side, and what convolves them.

    All parts are of a size: the last one computes again what the one before it has.
    """
    (volume, between), (source, middle), target = job.views, job.pointers, job.target
    # All volumes of a batch as one, so that a part may end anywhere.
    begins = np.arange(volume.n // volume.depth)[:, None, None] * volume.depth
    table = operation.slices.table
    table = np.where(table < 0, -1, table + begins).reshape(-1, table.shape[1]).astype(np.int32)
    whole = replace(volume, depth=volume.n)
    for begin in range(0, target.n, between.n):
        first = min(begin, target.n - between.n)
        slices = replace(operation.slices, table=table[first : first + between.n])
        made = replace(target, n=between.n, depth=0)
        output = job.output + first * target.image_bytes
        yield (
            Job(slices, (whole,), (source,), between, middle),
            Job(operation.convolution, (between,), (middle,), made, output),
        )
