"""Convolutions and transposed ones, channels last."""

from __future__ import annotations

from typing import Any

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid
from segrt.measurement.reading.windows import read_transposed, read_window

_SPATIAL = "DHW"


def _layouts(count: int) -> tuple[str, str, str]:
    """Return the layouts of image, kernel and result for so many spatial axes."""
    axes = _SPATIAL[-count:]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


@REGISTRY.register("Conv")
def convolution(step: JaxStep) -> Laid:
    """Translate Conv."""
    window = read_window(step, step.shape(1)[2:])
    count = len(window.kernel)
    # O I spatial -> spatial I O
    kernel = step.array(1).transpose((*range(2, 2 + count), 1, 0))
    y = step.jax.lax.conv_general_dilated(
        step.laid(0).image,
        kernel,
        window.strides,
        window.pads,
        rhs_dilation=window.dilations,
        dimension_numbers=_layouts(count),
        feature_group_count=step.integer("group", 1),
    )
    return Laid(_with_bias(step, y), last=True)


@REGISTRY.register("ConvTranspose")
def transposed(step: JaxStep) -> Laid:
    """Translate ConvTranspose: a convolution of the spread image with the kernel turned round."""
    window = read_transposed(step)
    count, groups = len(window.kernel), step.integer("group", 1)
    kernel = step.array(1)
    i, o, *sides = kernel.shape
    # I O/groups spatial -> spatial I/groups O
    kernel = kernel.reshape((groups, i // groups, o, *sides))
    kernel = step.jnp.moveaxis(kernel, 0, 1).reshape((i // groups, groups * o, *sides))
    kernel = step.jnp.flip(kernel, axis=tuple(range(2, 2 + count)))
    kernel = kernel.transpose((*range(2, 2 + count), 0, 1))
    reach = [(k - 1) * d for k, d in zip(window.kernel, window.dilations, strict=True)]
    pads = [(r - low, r - high) for r, (low, high) in zip(reach, window.pads, strict=True)]
    y = step.jax.lax.conv_general_dilated(
        step.laid(0).image,
        kernel,
        (1,) * count,
        pads,
        lhs_dilation=window.strides,
        rhs_dilation=window.dilations,
        dimension_numbers=_layouts(count),
        feature_group_count=groups,
    )
    return Laid(_with_bias(step, y), last=True)


def _with_bias(step: JaxStep, y: Any) -> Any:
    return y + step.array(2) if step.has(2) else y
