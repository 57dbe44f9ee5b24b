"""Ways to compute a convolution with an activation behind it: at once, or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from segrt.cuda.epilogues import NONE, Sliding, in_two, is_plain, word_of
from segrt.cuda.jobs import Job, Proposal, in_turn
from segrt.cuda.kernel_specs import kernel_spec
from segrt.cuda.operations import ActivatedConvolution
from segrt.cuda.parameters import Lazy

One: TypeAlias = Callable[..., Proposal]
Several: TypeAlias = Callable[..., Iterable[Proposal]]


def activated(
    job: Job,
    operation: ActivatedConvolution,
    weights_of: Callable[[Sliding, str], Lazy],
    makers: tuple[One, One, Several, Several],
) -> Iterator[Proposal]:
    """Yield what activates at once, and everything else with a pass in place behind.

    Args:
        job: The operation with its memory.
        operation: The job's.
        weights_of: Gives the weights of a convolution for a type.
        makers: Give the way of an own kernel; of the one for any convolution, with steps behind
            it; cuDNN's for a convolution, with its word for what follows; all of a job.
    """
    kernel, direct, library, ways = makers
    inner, word = operation.convolution, word_of(operation.steps)
    if is_plain(inner, job):
        weights = weights_of(inner, job.views[0].dtype)
        if word != NONE:
            yield from library(job, inner, weights, last_resort=False, word=word)
        if inner.groups > 1:
            yield direct(job, inner, operation.steps)
    first, behind = in_two(job, operation)
    activating = kernel(behind, *kernel_spec(behind))
    for proposal in ways(first):
        yield in_turn(proposal, activating)
