"""An image larger than the network's input: cut, run and put together without leaving the GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.driver import Gpu
from segrt.cuda.engine import End, Engine
from segrt.cuda.jobs import find_kernel
from segrt.cuda.kernels._base import Spec
from segrt.cuda.kernels._tiles import grid_parameter
from segrt.cuda.kernels.blend_tiles import BlendTilesSpec
from segrt.cuda.kernels.gather_tiles import GatherTilesSpec
from segrt.cuda.views import HOST_TYPES, View
from segrt.types import TileGrid

_INT_BYTES = 4


def run_tiles(
    gpu: Gpu,
    engine: Engine,
    image: npt.NDArray[Any],
    grid: TileGrid,
    *,
    output: int,
    channels_first: tuple[bool, bool],
) -> npt.NDArray[np.float32] | None:
    """Upload an image, run all its tiles, and download what they come to.

    Args:
        gpu: The engine's.
        engine: Planned for a batch of tiles.
        image: In the order of the engine's input, without a batch axis.
        grid: The tiles.
        output: Which output is put together.
        channels_first: Whether channels come first in the input, and in the output.

    Returns:
        ``(height, width, channels)``; None where the output is no map of the input's size.

    Raises:
        DeviceMemoryError: It does not suffice for the image beside the network.
    """
    source, result = engine.source(0), engine.result(output)
    first, last = channels_first
    if len(result.shape) != 4 or (result.shape[2:] if last else result.shape[1:3]) != grid.tile:
        return None
    tiles = (_view(source, first), _view(result, last))
    batch = source.shape[0]
    pixels = View(tiles[0].n // batch, *grid.size, tiles[0].c, source.dtype)
    mean = View(tiles[1].n // batch, *grid.size, tiles[1].c, "fp32")
    held: list[Any] = []

    def upload(array: npt.NDArray[Any]) -> int:
        held.append(gpu.upload(array, "image and its tiles"))
        return int(held[-1].handle)

    gpu.use()
    try:
        whole = upload(np.asarray(image, HOST_TYPES[source.dtype]))
        count = len(grid.rows) * len(grid.columns)
        firsts = np.arange(0, count, batch, dtype=np.int32)
        table, numbers = upload(grid_parameter(grid.size, grid.rows, grid.columns)), upload(firsts)
        ramps = upload(np.concatenate(grid.weights).astype(np.float32))
        held.append(gpu.allocate(mean.span_bytes, "blended image"))
        blended = int(held[-1].handle)
        gather = _ready(gpu, "gather_tiles", GatherTilesSpec(pixels, tiles[0]))
        blend = _ready(gpu, "blend_tiles", BlendTilesSpec(tiles[1], mean, mean, grid.joined))
        for step in range(len(firsts)):
            number = numbers + _INT_BYTES * step
            gather([whole, table, number, source.address])
            engine.launch()
            blend([result.address, blended, table, number, ramps, blended])
        found = _download(gpu, held[-1], mean)
    finally:
        gpu.stream.sync()
        for buffer in held:
            buffer.close(gpu.stream)
    return np.moveaxis(found[..., 0], 0, -1) if last else found[0]


def _view(end: End, channels_first: bool) -> View:
    """Return a batch of tiles; those with channels first are planes of one channel."""
    n, second, third, fourth = end.shape
    if channels_first:
        return View(n * second, third, fourth, 1, end.dtype)
    return View(n, second, third, fourth, end.dtype)


def _ready(gpu: Gpu, name: str, spec: Spec) -> Callable[[Sequence[int]], None]:
    """Return a function that puts a kernel on the stream."""
    launch = find_kernel(name).launch(spec)
    kernel, configuration = gpu.kernel(launch), gpu.configuration(launch)
    return lambda pointers: gpu.put(configuration, kernel, pointers)


def _download(gpu: Gpu, buffer: Any, view: View) -> npt.NDArray[np.float32]:
    staging, memory = gpu.pinned(view.span_bytes)
    try:
        buffer.copy_to(staging, stream=gpu.stream)
        gpu.stream.sync()
        numbers = memory[: view.span_bytes].view(np.float32).copy()
    finally:
        staging.close()
    return numbers.reshape(view.n, view.h, view.w, view.c)
