"""Resize."""

from __future__ import annotations

from typing import Any

from segrt.measurement.reading.resampling import Resampling, read_resampling
from segrt.measurement.torch_ops._base import REGISTRY, TorchStep

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@REGISTRY.register("Resize")
def resize(step: TorchStep) -> Any:
    """Translate Resize: by PyTorch's own where it means the same, else tap by tap."""
    how = read_resampling(step)
    x = step.input(0)
    if any(axis.axis < 2 for axis in how.axes) or len(how.sizes) not in _LINEAR:
        return _by_taps(step, x, how)
    sizes = list(how.sizes[2:])
    if _is_repetition(step, how):
        return step.call(step.functional.interpolate, x, sizes, mode="nearest")
    if how.mode == "linear" and how.rule in ("half_pixel", "align_corners") and _to_sizes(step):
        mode, corners = _LINEAR[len(how.sizes)], how.rule == "align_corners"
        return step.call(step.functional.interpolate, x, sizes, mode=mode, align_corners=corners)
    return _by_taps(step, x, how)


def _is_repetition(step: TorchStep, how: Resampling) -> bool:
    """Say whether each pixel is repeated a whole number of times."""
    if how.mode != "nearest":
        return False
    for axis in how.axes:
        times, left = divmod(how.sizes[axis.axis], step.shape()[axis.axis])
        if left or list(axis.indices[0]) != [i // times for i in range(how.sizes[axis.axis])]:
            return False
    return True


def _to_sizes(step: TorchStep) -> bool:
    """Say whether the scales are the sizes' quotients, as PyTorch takes them."""
    scales = step.constant(2)
    if scales is None or scales.size == 0:
        return True
    pairs = zip(step.result(), step.shape(), scales.reshape(-1), strict=False)
    return len(scales.reshape(-1)) == len(step.shape()) and all(
        abs(new / old - scale) < 1e-6 for new, old, scale in pairs
    )


def _by_taps(step: TorchStep, x: Any, how: Resampling) -> Any:
    for axis in how.axes:
        shape = [1] * len(how.sizes)
        shape[axis.axis] = -1
        total = None
        for indices, weights in zip(axis.indices, axis.weights, strict=True):
            part = step.call(step.torch.index_select, x, axis.axis, step.tensor(indices))
            if how.mode != "nearest":
                factors = step.tensor(weights.astype("f4").reshape(shape))
                part = step.call(step.torch.mul, part, factors)
            total = part if total is None else step.call(step.torch.add, total, part)
        x = total
    return x
