"""Poolings, channels last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid
from segrt.measurement.reading.windows import Window, ceiling_pads, read_window, tap_counts


@REGISTRY.register("MaxPool")
def maximum(step: JaxStep) -> Laid:
    """Translate MaxPool; padding never wins."""
    if len(step.node.outputs) > 1:
        raise step.refuse(" with places of the largest")
    window = ceiling_pads(step, read_window(step, ()))
    return _reduced(step, window, -math.inf, step.jax.lax.max)


@REGISTRY.register("AveragePool")
def average(step: JaxStep) -> Laid:
    """Translate AveragePool: a sum, divided by how many pixels of the image it took."""
    asked = read_window(step, ())
    total = _reduced(step, ceiling_pads(step, asked), 0.0, step.jax.lax.add)
    counts = np.broadcast_to(tap_counts(step, asked), step.result()[2:])
    return Laid(total.data / step.jnp.asarray(counts[None, ..., None], step.dtype), last=True)


@REGISTRY.register("GlobalAveragePool")
def global_average(step: JaxStep) -> Laid:
    """Translate GlobalAveragePool."""
    return Laid(step.laid(0).image.mean(axis=_spatial(step), keepdims=True), last=True)


@REGISTRY.register("GlobalMaxPool")
def global_maximum(step: JaxStep) -> Laid:
    """Translate GlobalMaxPool."""
    return Laid(step.laid(0).image.max(axis=_spatial(step), keepdims=True), last=True)


def _reduced(step: JaxStep, window: Window, start: float, function: Any) -> Laid:
    x = step.laid(0).image
    found = step.jax.lax.reduce_window(
        x,
        np.asarray(start, x.dtype),
        function,
        (1, *window.kernel, 1),
        (1, *window.strides, 1),
        ((0, 0), *window.pads, (0, 0)),
        window_dilation=(1, *window.dilations, 1),
    )
    return Laid(found, last=True)


def _spatial(step: JaxStep) -> tuple[int, ...]:
    return tuple(range(1, len(step.shape()) - 1))
