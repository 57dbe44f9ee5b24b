"""What moves numbers and computes none."""

from __future__ import annotations

import itertools

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid, aligned
from segrt.measurement.reading.slices import read_pads, read_slices


@REGISTRY.register("Transpose")
def transpose(step: JaxStep) -> Laid:
    """Translate Transpose; between the two layouts of images nothing is moved."""
    x = step.laid(0)
    rank = x.rank
    order = step.integers("perm") or list(reversed(range(rank)))
    if x.last and order == [0, *range(2, rank), 1]:
        return Laid(x.data)
    if not x.last and rank > 2 and order == [0, rank - 1, *range(1, rank - 1)]:
        return Laid(x.data, last=True)
    return Laid(x.plain.transpose(order))


@REGISTRY.register("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def reshape(step: JaxStep) -> Laid:
    """Translate whatever only gives other sizes; they are known."""
    return Laid(step.array(0).reshape(step.result()))


@REGISTRY.register("Expand")
def expand(step: JaxStep) -> Laid:
    """Translate Expand."""
    return Laid(step.jnp.broadcast_to(step.array(0), step.result()))


@REGISTRY.register("Concat")
def concatenate(step: JaxStep) -> Laid:
    """Translate Concat."""
    arrays, last = aligned(step.all_laid())
    axis = Laid(arrays[0], last).axis(step.axis(0))
    return Laid(step.jnp.concatenate(arrays, axis=axis), last)


@REGISTRY.register("Split")
def split(step: JaxStep) -> tuple[Laid, ...]:
    """Translate Split."""
    axis, x = step.axis(0), step.laid(0)
    sizes = [step.result(index)[axis] for index in range(len(step.node.outputs))]
    places = list(itertools.accumulate(sizes))[:-1]
    return tuple(Laid(part, x.last) for part in step.jnp.split(x.data, places, x.axis(axis)))


@REGISTRY.register("Slice")
def cut(step: JaxStep) -> Laid:
    """Translate Slice."""
    x = step.laid(0)
    return Laid(x.data[tuple(x.order(read_slices(step)))], x.last)


@REGISTRY.register("Pad")
def pad(step: JaxStep) -> Laid:
    """Translate Pad."""
    x, mode = step.laid(0), step.text("mode", "constant")
    pads = x.order(read_pads(step))
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise step.refuse(f" of mode {mode}")
    if mode != "constant":
        return Laid(step.jnp.pad(x.data, pads, mode=mode), x.last)
    held = step.constant(2)
    number = 0.0 if held is None else held.reshape(()).item()
    start = step.jnp.asarray(number, x.data.dtype)
    return Laid(step.jax.lax.pad(x.data, start, [(low, high, 0) for low, high in pads]), x.last)


@REGISTRY.register("Tile")
def tile(step: JaxStep) -> Laid:
    """Translate Tile."""
    return Laid(step.jnp.tile(step.array(0), tuple(step.numbers(1) or ())))


@REGISTRY.register("Gather")
def gather(step: JaxStep) -> Laid:
    """Translate Gather; numbers below 0 count from the end."""
    axis = step.axis(0)
    places = step.array(1) % step.shape()[axis]
    return Laid(step.jnp.take(step.array(0), places, axis=axis))


@REGISTRY.register("DepthToSpace")
def depth_to_space(step: JaxStep) -> Laid:
    """Translate DepthToSpace: the block's place comes first (DCR) or last (CRD)."""
    n, c, h, w = step.shape()
    b = step.integer("blocksize")
    image = step.laid(0).image
    if step.text("mode", "DCR") == "CRD":
        blocks = image.reshape((n, h, w, c // (b * b), b, b)).transpose((0, 1, 4, 2, 5, 3))
    else:
        blocks = image.reshape((n, h, w, b, b, c // (b * b))).transpose((0, 1, 3, 2, 4, 5))
    return Laid(blocks.reshape((n, h * b, w * b, c // (b * b))), last=True)


@REGISTRY.register("SpaceToDepth")
def space_to_depth(step: JaxStep) -> Laid:
    """Translate SpaceToDepth."""
    n, c, h, w = step.shape()
    b = step.integer("blocksize")
    blocks = step.laid(0).image.reshape((n, h // b, b, w // b, b, c))
    moved = blocks.transpose((0, 1, 3, 2, 4, 5))
    return Laid(moved.reshape((n, h // b, w // b, c * b * b)), last=True)
