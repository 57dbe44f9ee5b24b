"""Own kernels for Hopper's tensor cores: which of them compute an operation, with what arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.jobs import Job
from segrt.cuda.kernels import (
    _first_products,
    phase_convolution,
    phase_wide,
    wide_convolution,
)
from segrt.cuda.kernels import resident_convolution as resident
from segrt.cuda.merge import opening_spec, wide_spec
from segrt.cuda.operations import Convolution, MergedUpsampling, Opening
from segrt.cuda.parameters import weights_for
from segrt.cuda.plan import phase_spec
from segrt.cuda.views import View

# Kernel, spec and parameters.
Asked = tuple[Any, ...]


def wide(
    operation: Convolution, views: tuple[View, ...], weights: npt.NDArray[np.float32]
) -> Iterator[Asked]:
    """Yield the kernel for whole 64s of channels.

    Args:
        operation: A convolution.
        views: What it reads and writes; behind them the pooled image, if it writes one.
        weights: Its kernel, exact in the type that it computes in.
    """
    spec = wide_spec(operation, *views)
    if spec is not None:
        taps = weights.transpose(2, 3, 1, 0)
        arranged = wide_convolution.arrange(taps, spec.source.dtype)
        yield "wide_convolution", spec, arranged, operation.bias


def phases(
    operation: MergedUpsampling, source: View, target: View, weights: npt.NDArray[np.float32]
) -> Iterator[Asked]:
    """Yield the kernels for merged upsampling."""
    spec = phase_spec(operation, source, target)
    if spec is None:
        return
    bias = operation.convolution.bias[: target.c]
    arranged = phase_convolution.arrange(weights, spec.uses, target.dtype)
    yield "phase_convolution", spec, arranged, bias
    if phase_wide.fits(spec):
        arranged = phase_convolution.arrange(weights, phase_wide.order(spec.uses), target.dtype)
        yield "phase_wide", spec, arranged, bias


def first_two(job: Job, operation: Opening) -> Iterator[Asked]:
    """Yield the kernel for the first two layers."""
    target = job.target
    spec = opening_spec(operation, job.views[0], target, (*job.views, None)[1])
    if spec is not None:
        taps = operation.first.kernel.transpose(2, 3, 1, 0)
        arranged = _first_products.arrange(taps, operation.first.bias)
        weights = weights_for(operation.second, target.dtype).transpose(2, 3, 1, 0)
        second = resident.arrange(weights, target.dtype)
        yield "opening", spec, arranged, second, operation.second.bias
