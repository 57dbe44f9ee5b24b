"""Poolings."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from segrt.measurement.reading.windows import Window, ceiling_pads, read_window, tap_counts
from segrt.measurement.torch_ops._base import REGISTRY, TorchStep
from segrt.measurement.torch_ops.convolution import torch_pads


@REGISTRY.register("MaxPool")
def maximum(step: TorchStep) -> Any:
    """Translate MaxPool; padding never wins."""
    window = ceiling_pads(step, read_window(step, ()))
    if len(step.node.outputs) > 1:
        return _with_places(step, window)
    x, pads = step.input(0), window.before
    if not window.even or any(2 * low > k for low, k in zip(pads, window.kernel, strict=True)):
        x = step.call(step.functional.pad, x, torch_pads(window.pads), "constant", -math.inf)
        pads = (0,) * len(pads)
    pool = getattr(step.functional, f"max_pool{len(pads)}d")
    return step.call(pool, x, window.kernel, window.strides, pads, window.dilations)


def _with_places(step: TorchStep, window: Window) -> Any:
    """Return the largest and their places: PyTorch counts in each plane, ONNX in all of them."""
    if any(window.before) or any(window.after) or step.integer("storage_order"):
        raise step.refuse(" with places of the largest where it pads")
    pool = getattr(step.functional, f"max_pool{len(window.kernel)}d")
    both = step.call(
        pool, step.input(0), window.kernel, window.strides, 0, window.dilations,
        return_indices=True,
    )  # fmt: skip
    values, places = (step.call(operator.getitem, both, index) for index in range(2))
    n, c, *sizes = step.shape()
    first = np.arange(n * c).reshape(n, c, *[1] * len(sizes)) * math.prod(sizes)
    return values, step.call(step.torch.add, places, step.tensor(first))


@REGISTRY.register("AveragePool")
def average(step: TorchStep) -> Any:
    """Translate AveragePool: a mean of padded windows, set right where they reach outside."""
    asked = read_window(step, ())
    window = ceiling_pads(step, asked)
    if set(window.dilations) != {1}:
        raise step.refuse(" with dilations")
    x = step.input(0)
    if any(window.before) or any(window.after):
        x = step.call(step.functional.pad, x, torch_pads(window.pads))
    pool = getattr(step.functional, f"avg_pool{len(window.kernel)}d")
    y = step.call(pool, x, window.kernel, window.strides)
    if not any(window.before) and not any(window.after):
        return y
    factors = math.prod(window.kernel) / tap_counts(step, asked)
    return step.call(step.torch.mul, y, step.tensor(factors[None, None]))


@REGISTRY.register("GlobalAveragePool")
def global_average(step: TorchStep) -> Any:
    """Translate GlobalAveragePool."""
    return step.call(step.torch.mean, step.input(0), _spatial(step), True)


@REGISTRY.register("GlobalMaxPool")
def global_maximum(step: TorchStep) -> Any:
    """Translate GlobalMaxPool."""
    return step.call(step.torch.amax, step.input(0), _spatial(step), True)


def _spatial(step: TorchStep) -> list[int]:
    return list(range(2, len(step.shape())))
