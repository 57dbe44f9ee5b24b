"""Check a way to compute a convolution, on the GPU at hand, before it is chosen.

Libraries have been silently wrong here: plans that take an image's strides for another's, or that
round where they were told not to. So each way runs once on noise, and pixels of what it wrote, in
corners, on edges and within, of the first and the last image, are compared with the definition
computed on the host. What lies beside a slice must not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.definition import Fetch, Floats, Places, before_relu, is_defined, last_of, pixels
from segrt.cuda.driver import Gpu
from segrt.cuda.epilogues import follow_all
from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.jobs import Choice, Job
from segrt.cuda.operations import (
    ActivatedConvolution,
    Convolution,
    MergedUpsampling,
    Opening,
    PooledConvolution,
)
from segrt.cuda.views import HOST_TYPES, INTEGERS, View, decode, encode
from segrt.errors import EngineError
from segrt.types import Precision

# A prime: no row of an image is as long, so that no two rows are alike.
_NOISE = 1_000_003
_WITHIN = 12
# Largest difference over the root mean square of the sums. The types round at most 4e-3
# (fp16) and 3e-2 (bf16) of that; fp32's bound is below what rounding to TF32 does.
_BOUNDS = {"fp32": 5e-4, "tf32": 1e-2, "fp16": 2e-2, "bf16": 6e-2, "int8": 4e-2, "uint8": 4e-2}
# Of an integer's step: for sums that lie between two of them.
_STEP = 1.01


@dataclass(frozen=True, slots=True)
class _Written:
    """Pixels that are looked at: of which image of the batch, where, and what is to be there.

    Rounding goes by the size of the sums before a ReLU, which may leave little of them.
    """

    view: View
    address: int
    entry: int
    rows: Places
    columns: Places
    numbers: Floats
    size: float | Floats


class Referee:
    """Checks choices on one GPU.

    Args:
        gpu: Where to.
        precision: What was asked for.
    """

    def __init__(self, gpu: Gpu, precision: Precision) -> None:
        self._gpu = gpu
        self._precision = precision
        # Noise of each element type, here and on the device.
        self._noise: dict[str, tuple[npt.NDArray[Any], Any]] = {}
        self._last: tuple[Job | None, list[_Written]] = (None, [])

    def check(self, job: Job, choice: Choice, scratch: int) -> None:
        """Run a choice once and compare; operations that are no convolutions are only run.

        Raises:
            EngineError: It is wrong.
        """
        if not is_defined(job.operation):
            choice.run(scratch)
            return
        seen = _as_images(job)
        if self._last[0] is not job:
            self._last = job, list(self._wanted(seen))
        written = self._last[1]
        self._fill(seen)
        before = [self._read(part) for part in written]
        choice.run(scratch)
        for part, old in zip(written, before, strict=True):
            self._compare(job, choice, part, old)

    def close(self) -> None:
        """Free the noise."""
        for _, buffer in self._noise.values():
            buffer.close(self._gpu.stream)
        self._noise.clear()
        self._last = None, []

    def _wanted(self, job: Job) -> Iterator[_Written]:
        pooled = len(job.views) > 1 and isinstance(job.operation, (PooledConvolution, Opening))
        operation, relu = before_relu(job.operation)
        images = self._ranged(job, tuple(partial(self._fetch, view) for view in job.views))
        for entry in sorted({0, job.target.n - 1}):
            rows, columns = _places(job.target)
            sums = pixels(operation, images, rows, columns)
            off = float(np.sqrt(np.mean(np.square(sums))))
            size: float | Floats = off
            numbers = np.maximum(sums, 0) if relu else sums
            last = last_of(job.operation)
            if isinstance(last, ActivatedConvolution):
                numbers, size = follow_all(last, numbers, off)
            yield _Written(job.target, job.output, entry, rows, columns, numbers, size)
            if pooled:
                rows, columns = _places(job.views[1])
                around = [
                    pixels(job.operation, images, rows * 2 + y, columns * 2 + x)
                    for y, x in np.ndindex(2, 2)
                ]
                largest = np.max(around, axis=0)
                at = job.views[1], job.pointers[1]
                yield _Written(*at, entry, rows, columns, largest, size)

    def _ranged(self, job: Job, images: tuple[Fetch, ...]) -> tuple[Fetch, ...]:
        """Return images with the ranges of their channels applied, where the pixels are."""
        operation, source = before_relu(job.operation)[0], job.views[0]
        ranges = operation.ranges if isinstance(operation, Convolution) else None
        if ranges is None:
            return images
        factors, shifts = ranges

        def image(rows: Places, columns: Places) -> Floats:
            inside = _inside(source, rows, columns)[:, None]
            scaled: Floats = (images[0](rows, columns) * factors + shifts) * inside
            return scaled

        return (image, *images[1:])

    def _fetch(self, view: View, rows: Places, columns: Places) -> Floats:
        """Return what `_fill` puts where pixels lie; zeros outside."""
        noise, _ = self._tile(view.dtype)
        first = (rows * view.w + columns) * view.pitch + view.offset
        found = noise[(first[:, None] + np.arange(view.c)) % _NOISE]
        inside = _inside(view, rows, columns)[:, None]
        numbers: Floats = decode(found, view.dtype) * np.float32(view.scale) * inside
        return numbers

    def _tile(self, dtype: str) -> tuple[npt.NDArray[Any], Any]:
        if dtype not in self._noise:
            random = np.random.default_rng(0).normal(size=_NOISE)
            if dtype in INTEGERS:
                random = random * 24 if dtype == "int8" else abs(random) * 24
            host = encode(random, dtype)
            self._noise[dtype] = host, self._gpu.upload(host, "noise")
        return self._noise[dtype]

    def _fill(self, job: Job) -> None:
        """Put noise to the first and the last image of all that is read and written."""
        views = zip((*job.views, job.target), (*job.pointers, job.output), strict=True)
        for view, address in views:
            _, tile = self._tile(view.dtype)
            size = view.span_bytes // view.n
            for entry in sorted({0, view.n - 1}):
                start = _image(view, address, entry)
                for at in range(0, size, tile.size):
                    part = min(tile.size, size - at)
                    self._gpu.copy_bytes(start + at, int(tile.handle), part)

    def _read(self, part: _Written) -> npt.NDArray[Any]:
        """Return whole pixels as they lie in memory, (P, pitch): slices beside them included."""
        view = part.view
        size = view.pitch * view.item_bytes
        staging, memory = self._gpu.pinned(len(part.rows) * size)
        start = _image(view, part.address, part.entry)
        for index, pixel in enumerate(part.rows * view.w + part.columns):
            source = start + int(pixel) * size
            self._gpu.copy_bytes(int(staging.handle) + index * size, source, size)
        self._gpu.stream.sync()
        found = memory.copy().view(HOST_TYPES[view.dtype]).reshape(len(part.rows), view.pitch)
        staging.close()
        return found

    def _compare(self, job: Job, choice: Choice, part: _Written, old: npt.NDArray[Any]) -> None:
        view, found = part.view, self._read(part)
        own = np.s_[view.offset : view.offset + view.c]
        changed = np.delete(found, own, axis=1) != np.delete(old, own, axis=1)
        if changed.any():
            raise EngineError(
                f"{choice.name!r} writes beside its slice for layer {job.operation.layer!r}"
            )
        wanted, bound = part.numbers, self._bound(job.views[0], view)
        if view.dtype in INTEGERS:
            kept = encode(wanted / view.scale, view.dtype)
            wanted = decode(kept, view.dtype) * view.scale
        allowed = np.broadcast_to(bound * part.size + 1e-6, wanted.shape[1:]).copy()
        if view.dtype in INTEGERS:
            allowed += _STEP * view.scale
        numbers = decode(found[:, own], view.dtype) * np.float32(view.scale)
        wrong = ~(np.abs(numbers - wanted) <= allowed)
        if not wrong.any():
            return
        pixel, channel = (int(index) for index in np.argwhere(wrong)[0])
        place = (part.entry, int(part.rows[pixel]), int(part.columns[pixel]), channel)
        raise EngineError(
            f"{choice.name!r} computes layer {job.operation.layer!r} wrongly",
            found=f"{numbers[pixel, channel]:.6g} at {place}; {wrong.mean():.1%} are off",
            wanted=f"{wanted[pixel, channel]:.6g} within {allowed[channel]:.2g}",
            hint="use another precision or target",
        )

    def _bound(self, source: View, target: View) -> float:
        """Return the coarser type's: weights are rounded to the source's, sums to the target's."""
        exact = self._precision is Precision.FP32
        kinds = {"tf32" if v.dtype == "fp32" and not exact else v.dtype for v in (source, target)}
        return max(_BOUNDS[kind] for kind in kinds)


def _as_images(job: Job) -> Job:
    """Return a job that sees a volume as one image, its slices below one another.

    So it sees the slices that an upsampling makes of one, too.
    """
    if isinstance(job.operation, MergedUpsampling) and job.operation.depth > 1:
        n, depth = job.views[0].n, job.operation.depth
        return replace(job, target=replace(job.target, n=n, h=depth * job.target.h, depth=0))
    if not isinstance(job.operation, VolumeConvolution):
        return job
    views = (job.views[0].stacked, *job.views[1:])
    return replace(job, views=views, target=job.target.stacked)


def _image(view: View, address: int, entry: int) -> int:
    """Return where an image of the batch begins, the channels before the slice included."""
    return address + (entry * view.h * view.w * view.pitch - view.offset) * view.item_bytes


def _inside(view: View, rows: Places, columns: Places) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (rows >= 0) & (rows < view.h)
    return inside & (columns >= 0) & (columns < view.w)


def _places(view: View) -> tuple[Places, Places]:
    """Return rows and columns of corners, of the middles of edges, and of some pixels within."""
    random = np.random.default_rng(0)
    edges = [(y, x) for y in (0, view.h // 2, view.h - 1) for x in (0, view.w // 2, view.w - 1)]
    within = random.integers((view.h, view.w), size=(_WITHIN, 2))
    rows, columns = np.unique([*edges, *within.tolist()], axis=0).T
    return rows, columns
