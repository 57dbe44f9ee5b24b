"""Activations behind convolutions, each number by itself: which, and who computes them.

cuDNN has words for some of them and computes them before it writes, where it has such a plan. A
pass in place does what is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels.pointwise import Step, follow
from segrt.cuda.operations import (
    ActivatedConvolution,
    Chain,
    Convolution,
    TransposedConvolution,
)

if TYPE_CHECKING:
    from segrt.cuda.jobs import Job

Sliding: TypeAlias = Convolution | TransposedConvolution
# What cuDNN calls it, and a number that belongs to it.
Word: TypeAlias = tuple[str, float]
NONE: Word = ("", 0.0)

# How far these move a number is at most a few times how far the sum before them is off.
_STEPS = frozenset({
    "relu", "leaky_relu", "clip", "sigmoid", "hard_sigmoid", "tanh", "elu", "selu", "softplus",
    "softsign", "erf", "keep", "mul", "add", "div",
})  # fmt: skip
_SWISH = (Step("keep"), Step("sigmoid"), Step("mul", "kept"))


def is_activation(steps: tuple[Step, ...]) -> bool:
    """Say whether steps take one number each, and numbers that are known."""
    alone = all(step.op in _STEPS and step.other in ("", "number", "kept") for step in steps)
    return alone and any(step.other != "number" for step in steps)


def word_of(steps: tuple[Step, ...]) -> Word:
    """Return cuDNN's word for steps; `NONE` where it has none."""
    if steps == _SWISH:
        return "swish", 0.0
    op, settings = steps[0].op, steps[0].settings
    if len(steps) != 1:
        return NONE
    if op == "clip":
        return ("clip", settings[1]) if settings[0] == 0 else NONE
    if op == "elu":
        return ("elu", 0.0) if settings[0] == 1 else NONE
    if op == "leaky_relu":
        return "leaky", settings[0]
    return (op, 0.0) if op in ("relu", "sigmoid", "tanh") else NONE


def put_word(graph: Any, word: Word, result: Any) -> Any:
    """Put a word behind a tensor of cuDNN's; return what comes of it."""
    name, number = word
    if name == "swish":
        # Its own word for it cannot be said in Python: the frontend mixes up two arguments.
        return graph.mul(a=result, b=graph.sigmoid(input=result))
    if name == "clip":
        return graph.relu(input=result, upper_clip=number)
    if name == "leaky":
        return graph.relu(input=result, negative_slope=number)
    return getattr(graph, name)(input=result) if name else result


def is_plain(operation: Sliding, job: Job) -> bool:
    """Say whether a convolution is computed on what the engine computes in, read as it is."""
    ranged = isinstance(operation, Convolution) and operation.ranges is not None
    return job.views[0].dtype == job.target.dtype and not ranged


def in_two(job: Job, operation: ActivatedConvolution) -> tuple[Job, Job]:
    """Return the job of the bare convolution, and of what follows it in the same place."""
    inner = operation.convolution
    chain = Chain(operation.layer, (operation.output,), operation.output, operation.steps)
    behind = replace(
        job, operation=chain, views=(job.target,), pointers=(job.output,)
    )  # fmt: skip
    return replace(job, operation=inner), behind


def steepness(steps: tuple[Step, ...], sums: npt.NDArray[np.floating[Any]]) -> float:
    """Return how many times as far off as the sums are what steps make of them may be."""
    apart, exact = 1e-3 * float(np.sqrt(np.mean(np.square(sums)))) + 1e-6, sums.astype(np.float64)
    moved = follow(steps, [exact + apart]) - follow(steps, [exact - apart])
    return max(1.0, float(np.max(np.abs(moved))) / (2 * apart))
