"""Resize, along one axis after the other."""

from __future__ import annotations

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid
from segrt.measurement.reading.resampling import read_resampling


@REGISTRY.register("Resize")
def resize(step: JaxStep) -> Laid:
    """Translate Resize: whole repetitions as such, anything else tap by tap."""
    how, x = read_resampling(step), step.laid(0)
    array = x.data
    for axis in how.axes:
        place, size = x.axis(axis.axis), how.sizes[axis.axis]
        times, left = divmod(size, array.shape[place])
        whole = [i // times for i in range(size)] if times else []
        if how.mode == "nearest" and not left and list(axis.indices[0]) == whole:
            array = step.jnp.repeat(array, times, axis=place)
            continue
        shape = [1] * array.ndim
        shape[place] = -1
        array = sum(
            step.jnp.take(array, step.jnp.asarray(indices.astype("i4")), axis=place)
            * step.jnp.asarray(weights.reshape(shape), step.dtype)
            for indices, weights in zip(axis.indices, axis.weights, strict=True)
        )
    return Laid(array, x.last)
