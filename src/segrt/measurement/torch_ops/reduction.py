"""Sums, means and extremes along axes."""

from __future__ import annotations

from typing import Any

from segrt.measurement.torch_ops._base import REGISTRY, TorchStep

_PLAIN = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin"}
_EXTREMES = {"ArgMax": "argmax", "ArgMin": "argmin"}


@REGISTRY.register(*_PLAIN)
def plain(step: TorchStep) -> Any:
    """Translate what PyTorch has under another name."""
    function = getattr(step.torch, _PLAIN[step.node.op_type])
    return _reduced(step, function, step.input(0))


@REGISTRY.register("ReduceSumSquare")
def sum_of_squares(step: TorchStep) -> Any:
    """Translate ReduceSumSquare."""
    return _reduced(step, step.torch.sum, step.call(step.torch.square, step.input(0)))


@REGISTRY.register("ReduceL2")
def norm(step: TorchStep) -> Any:
    """Translate ReduceL2."""
    squares = _reduced(step, step.torch.sum, step.call(step.torch.square, step.input(0)))
    return step.call(step.torch.sqrt, squares)


@REGISTRY.register(*_EXTREMES)
def place(step: TorchStep) -> Any:
    """Translate ArgMax and ArgMin; of several equal ones the first."""
    if step.integer("select_last_index"):
        raise step.refuse(" of the last")
    function = getattr(step.torch, _EXTREMES[step.node.op_type])
    kept = bool(step.integer("keepdims", 1))
    return step.call(function, step.input(0), step.axis(0), kept)


def _reduced(step: TorchStep, function: Any, x: Any) -> Any:
    axes = step.axes()
    if not axes:
        return x
    return step.call(function, x, axes, bool(step.integer("keepdims", 1)))
