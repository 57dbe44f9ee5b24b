"""A convolution that adds an image, in two launches: the convolution, and a pass in place."""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.jobs import Job
from segrt.cuda.kernels.pointwise import PointwiseSpec, Step
from segrt.cuda.operations import Chain, Convolution, TransposedConvolution


def in_two(job: Job, operation: Convolution) -> tuple[Job, Convolution, Job]:
    """Return the job of the bare convolution, that convolution, and the job of what follows.

    The second one reads what the first one wrote, and writes to the same place.

    Args:
        job: Reads the image and the residual.
        operation: The job's.
    """
    source, other = operation.inputs
    bare = replace(operation, inputs=(source,), activation="none")
    steps = tail(operation)
    added = Chain(operation.layer, (operation.output, other), operation.output, steps)
    (_, residual), (_, at) = job.views, job.pointers
    behind = Job(added, (job.target, residual), (job.output, at), job.target, job.output)
    first = replace(job, operation=bare, views=job.views[:1], pointers=job.pointers[:1])
    return first, bare, behind


def tail(operation: Convolution | TransposedConvolution) -> tuple[Step, ...]:
    """Return what follows a convolution and its bias."""
    residual = isinstance(operation, Convolution) and operation.residual
    added = (Step("add", "image"),) if residual else ()
    return (*added, Step("relu")) if operation.activation == "relu" else added


def finish_spec(job: Job, operation: Convolution | TransposedConvolution) -> PointwiseSpec:
    """Return what the pass is launched with that adds the bias too, where nothing else could."""
    steps = (Step("add", "channel"), *tail(operation))
    return PointwiseSpec((job.target, *job.views[1:]), job.target, steps)
