"""Normalization by a sample's own statistics: two kernels, what lies between in scratch memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from segrt.cuda.driver import Gpu
from segrt.cuda.image_operations import GroupNormalize
from segrt.cuda.jobs import Choice, Job, Proposal, find_kernel
from segrt.cuda.kernels.group_normalization import GroupNormalizationSpec
from segrt.cuda.kernels.group_statistics import GroupStatisticsSpec, statistics_view


def normalization(
    gpu: Gpu, upload: Callable[[npt.NDArray[Any]], int], job: Job, operation: GroupNormalize
) -> Proposal:
    """Return the one way to compute it.

    Args:
        gpu: Where to.
        upload: Puts parameters to device memory.
        job: The operation with its memory.
        operation: The operation itself.
    """
    # All of a volume belongs together, as all of an image does.
    source, target = job.views[0].stacked, job.target.stacked
    pieces = statistics_view(source, operation.groups)
    settings = (operation.epsilon, operation.relu, operation.steps)
    launches = (
        find_kernel("group_statistics").launch(GroupStatisticsSpec(source, pieces)),
        find_kernel("group_normalization").launch(
            GroupNormalizationSpec(source, pieces, target, *settings)
        ),
    )

    def make() -> Choice:
        (first, begin), (second, end) = (
            (gpu.kernel(launch), gpu.configuration(launch)) for launch in launches
        )
        image, vectors = job.pointers[0], upload(operation.vectors)

        def run(scratch: int) -> None:
            gpu.put(begin, first, [image, scratch])
            gpu.put(end, second, [image, scratch, vectors, job.output])

        return Choice("group_normalization", pieces.span_bytes, run)

    return Proposal("group_normalization", make)
