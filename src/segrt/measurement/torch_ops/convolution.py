"""Convolutions and transposed ones."""

from __future__ import annotations

from typing import Any

from segrt.measurement.reading.windows import read_transposed, read_window
from segrt.measurement.torch_ops._base import REGISTRY, TorchStep


@REGISTRY.register("Conv")
def convolution(step: TorchStep) -> Any:
    """Translate Conv; what is padded unevenly is padded first."""
    window = read_window(step, step.shape(1)[2:])
    x, pads = step.input(0), window.before
    if not window.even:
        x = step.call(step.functional.pad, x, torch_pads(window.pads))
        pads = (0,) * len(pads)
    name = f"conv{len(pads)}d"
    return step.call(
        getattr(step.functional, name),
        x,
        step.input(1),
        step.optional(2),
        window.strides,
        pads,
        window.dilations,
        step.integer("group", 1),
    )


@REGISTRY.register("ConvTranspose")
def transposed(step: TorchStep) -> Any:
    """Translate ConvTranspose; what PyTorch cannot cut off evenly is cut off behind."""
    window = read_transposed(step)
    pads = tuple(max(0, min(pair)) for pair in window.pads)
    name = f"conv_transpose{len(pads)}d"
    y = step.call(
        getattr(step.functional, name),
        step.input(0),
        step.input(1),
        step.optional(2) if all(after >= 0 for after in window.after) else None,
        window.strides,
        pads,
        (0,) * len(pads),
        step.integer("group", 1),
        window.dilations,
    )
    rest = [(low - cut, high - cut) for (low, high), cut in zip(window.pads, pads, strict=True)]
    if any(pair != (0, 0) for pair in rest):
        # A negative pad cuts off.
        y = step.call(step.functional.pad, y, torch_pads([(-low, -high) for low, high in rest]))
    if step.has(2) and any(after < 0 for after in window.after):
        shape = (1, -1, *[1] * len(pads))
        y = step.call(step.torch.add, y, step.call(step.torch.reshape, step.input(2), shape))
    return y


def torch_pads(pads: Any) -> list[int]:
    """Return pads of the last axes as PyTorch lists them: the last axis first."""
    return [number for pair in reversed(list(pads)) for number in pair]
