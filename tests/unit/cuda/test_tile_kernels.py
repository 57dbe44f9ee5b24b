"""The kernels of tiles, their CUDA source on the CPU: to the bit what the host does with tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.cpu_kernels import COMPILER, run_on_cpu
from segrt.cuda.kernels._tiles import grid_parameter
from segrt.cuda.kernels.blend_tiles import BlendTiles
from segrt.cuda.kernels.gather_tiles import GatherTiles
from segrt.prediction.blend import Blender, Mosaic, grid_of
from segrt.prediction.tiling import TilePlan, plan_tiles

SIZES = [(6, 7), (19, 7), (17, 23), (2, 16), (1, 1)]


def _plan(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> TilePlan:
    return plan_tiles(size, tile, (min(overlap, tile[0] - 1), min(overlap, tile[1] - 1)))


def _table(plan: TilePlan) -> np.ndarray:
    return grid_parameter(plan.size, plan.rows, plan.columns)


def test_images_of_all_sizes_share_a_kernel():
    for kernel in (GatherTiles(), BlendTiles()):
        spec = kernel.cases[0]
        field = "source" if kernel.name == "gather_tiles" else "target"
        larger = replace(spec, **{field: replace(getattr(spec, field), h=999, w=77)})
        assert kernel.launch(larger) == kernel.launch(spec)
        more = replace(getattr(spec, field), c=8, pitch=8)
        assert kernel.launch(replace(spec, **{field: more})) != kernel.launch(spec)


@pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
@pytest.mark.parametrize("size", SIZES)
def test_cuts_as_the_host_does(size):
    kernel = GatherTiles()
    tiles = kernel.cases[0].target
    plan = _plan(size, (tiles.h, tiles.w), 2)
    image = np.random.default_rng(1).normal(size=(*size, tiles.c)).astype(np.float32)
    for begin in range(0, plan.count, tiles.n):
        found = np.full((tiles.n, tiles.h, tiles.w, tiles.c), np.nan, np.float32)
        run_on_cpu(kernel, 0, [image, _table(plan), np.array([begin], np.int32), found])
        for step, tile in enumerate(found):
            wanted = plan.cut(image, min(begin + step, plan.count - 1))
            np.testing.assert_array_equal(tile, wanted)


@pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("overlap", [0, 2, 5])
@pytest.mark.parametrize("size", SIZES)
def test_blends_as_the_host_does(size, overlap: int, joined: bool):
    """Batch after batch into memory that was never cleared."""
    kernel = BlendTiles()
    case = next(i for i, spec in enumerate(kernel.cases) if spec.joined == joined)
    spec = kernel.cases[case]
    plan = _plan(size, (spec.tiles.h, spec.tiles.w), overlap)
    shape = (-(-plan.count // spec.tiles.n) * spec.tiles.n, *plan.tile, spec.tiles.c)
    rng = np.random.default_rng(2)
    tiles = rng.integers(0, 9, shape, np.uint8) if joined else rng.random(shape, np.float32)
    ramps = np.concatenate(grid_of(plan).weights).astype(np.float32)
    image = np.full((*size, spec.tiles.c), np.nan, np.float32)
    for begin in range(0, plan.count, spec.tiles.n):
        batch = np.ascontiguousarray(tiles[begin : begin + spec.tiles.n])
        first = np.array([begin], np.int32)
        run_on_cpu(kernel, case, [batch, image, _table(plan), first, ramps, image])
    blender, bands = (Mosaic if joined else Blender)(plan, spec.tiles.c), []
    for index in range(plan.count):
        band = blender.add(tiles[index].astype(np.float32))
        bands += [] if band is None else [band.values]
    np.testing.assert_array_equal(image, np.concatenate(bands))
