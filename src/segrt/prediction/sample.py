"""A batch of network inputs cut from image files, for recording and verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segrt.errors import ShapeError, UsageError
from segrt.graph.rescales_input import rescales_input
from segrt.graph.size_multiple import size_multiple
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.graph.specs import input_specs
from segrt.importers._base import import_model
from segrt.prediction.find_images import find_images
from segrt.prediction.image_io import read_image
from segrt.prediction.picture import MAX_PIXELS, Picture, Pixels
from segrt.prediction.preprocess import Normaliser, fit_channels
from segrt.prediction.tiling import Size, plan_tiles
from segrt.types import LoadOptions, Preprocess, TensorSpec

# The largest tile for free-size networks: enough context, and every layer of it can be held.
_FREE_SIDE_PX = 256


def sample_inputs(
    graph: ir.Model, preprocess: Preprocess, images: Sequence[Path]
) -> dict[str, Pixels]:
    """Cut inputs by name from image files, for a graph with one image input; see `sample_batch`.

    Raises:
        UsageError: The graph has other inputs, or there are no images.
    """
    specs = input_specs(graph)
    if len(specs) != 1:
        raise UsageError(
            "images fit only networks with one input",
            found=", ".join(spec.name for spec in specs),
            hint="give arrays by input name",
        )
    spec = specs[0]
    if preprocess.scale is None and rescales_input(graph):
        preprocess = replace(preprocess, scale=1.0)
    multiple = (1, 1)
    if len(spec.shape) == 4 and None in spec.shape[1:]:
        # A graph of which only the front is known: as most networks with five poolings need.
        known = bool(graph.graph.outputs)
        multiple = size_multiple(graph, channel_axis=spec.channel_axis or -1) if known else (32, 32)
    return {spec.name: sample_batch(spec, preprocess, images, multiple=multiple)}


def sample_for(
    model: Path, architecture: Path | None, preprocess: Preprocess, images: Sequence[Path]
) -> dict[str, Pixels]:
    """Cut inputs for a model file, whose layers need no converters; see `sample_inputs`.

    Raises:
        ModelFileError: The file cannot be read.
    """
    graph = import_model(model, LoadOptions(architecture, partial=True))
    return sample_inputs(graph, preprocess, find_images(images))


def sample_batch(
    spec: TensorSpec,
    preprocess: Preprocess,
    images: Sequence[Path],
    *,
    multiple: Size = (1, 1),
    limit: int = 8,
) -> Pixels:
    """Cut one tile from the middle of each of the first images.

    Args:
        spec: The network's image input, four axes, batch first.
        preprocess: How pixels become network input; ``scale`` None is 1/255.
        images: Image files; the first ``limit`` of them are used.
        multiple: What free (height, width) must be multiples of.
        limit: The most images to use; a fixed batch size is filled exactly.

    Returns:
        ``spec``'s shape and dtype, one tile an image. Free sizes become those of the largest image,
        256 pixels at most; smaller images are mirrored.

    Raises:
        ImageError: An image cannot be read.
        ShapeError: The input is no image.
        UsageError: No images.
    """
    if len(spec.shape) != 4 or (channels := spec.shape[spec.channel_axis or -1]) is None:
        raise ShapeError(
            f"input {spec.name!r} takes no images",
            found=f"shape {spec.shape}",
            wanted="batch, height, width and a fixed number of channels",
        )
    if not images:
        raise UsageError("no images were given")
    axis = 1 if spec.channel_axis == 1 else -1
    first = 2 if axis == 1 else 1
    fixed = spec.shape[first : first + 2]
    count = spec.shape[0] or min(len(images), nearest_in_range(limit, range_of(spec, 0)))
    pictures = [read_image(path, 0, max_pixels=MAX_PIXELS) for path in images[:count]]
    tile = tuple(
        side or nearest_in_range(-(-min(_FREE_SIDE_PX, max(lengths)) // step) * step, allowed)
        for side, step, lengths, allowed in zip(
            fixed,
            multiple,
            ([p.height for p in pictures], [p.width for p in pictures]),
            (range_of(spec, first), range_of(spec, first + 1)),
            strict=True,
        )
    )
    normalise = Normaliser(preprocess, channels, axis, spec.dtype)
    tiles = [
        normalise(_middle(pictures[index % len(pictures)], channels, (tile[0], tile[1])))
        for index in range(count)
    ]
    return np.stack(tiles)


def _middle(picture: Picture, channels: int, tile: Size) -> Pixels:
    pixels, _ = fit_channels(picture, channels)
    plan = plan_tiles((picture.height, picture.width), tile, (0, 0))
    return plan.cut(pixels, plan.count // 2)
