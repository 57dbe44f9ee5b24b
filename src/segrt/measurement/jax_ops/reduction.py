"""Sums, means and extremes along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid

_PLAIN = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min",
    "ReduceProd": "prod",
}  # fmt: skip
_EXTREMES = {"ArgMax": "argmax", "ArgMin": "argmin"}


@REGISTRY.register(*_PLAIN)
def plain(step: JaxStep) -> Laid:
    """Translate what ``jax.numpy`` has under another name."""
    function = getattr(step.jnp, _PLAIN[step.node.op_type])
    return _reduced(step, lambda x, axes, keep: function(x, axis=axes, keepdims=keep))


@REGISTRY.register("ReduceSumSquare")
def sum_of_squares(step: JaxStep) -> Laid:
    """Translate ReduceSumSquare."""
    return _reduced(step, lambda x, axes, keep: (x * x).sum(axis=axes, keepdims=keep))


@REGISTRY.register("ReduceL2")
def norm(step: JaxStep) -> Laid:
    """Translate ReduceL2."""
    jnp = step.jnp
    return _reduced(step, lambda x, axes, keep: jnp.sqrt((x * x).sum(axis=axes, keepdims=keep)))


@REGISTRY.register(*_EXTREMES)
def place(step: JaxStep) -> Laid:
    """Translate ArgMax and ArgMin; of several equal ones the first."""
    if step.integer("select_last_index"):
        raise step.refuse(" of the last")
    function = getattr(step.jnp, _EXTREMES[step.node.op_type])
    kept = bool(step.integer("keepdims", 1))
    return Laid(function(step.array(0), axis=step.axis(0), keepdims=kept))


def _reduced(step: JaxStep, function: Callable[[Any, tuple[int, ...], bool], Any]) -> Laid:
    """Reduce as it lies where all axes stay, else in the graph's order."""
    axes, x = step.axes(), step.laid(0)
    if not axes:
        return x
    if step.integer("keepdims", 1):
        return Laid(function(x.data, tuple(x.axis(axis) for axis in axes), True), x.last)
    return Laid(function(x.plain, tuple(axes), False))
