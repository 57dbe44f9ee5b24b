"""Own kernels for Hopper's tensor cores: which of them compute an operation, with what arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.affine import apart, numbers_of
from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.jobs import Job
from segrt.cuda.kernels import (
    _first_products,
    _volume_products,
    phase_convolution,
    phase_wide,
    wide_convolution,
)
from segrt.cuda.kernels import resident_convolution as resident
from segrt.cuda.merge import opening_spec, volume_spec, wide_spec
from segrt.cuda.operations import MergedUpsampling, Opening, Operation
from segrt.cuda.parameters import Lazy, lazy_weights, weights_for
from segrt.cuda.plan import phase_spec
from segrt.cuda.views import View

# Kernel, spec and parameters: arrays, or what makes one.
Asked = tuple[Any, ...]


def wide(operation: Operation, views: tuple[View, ...], weights: Lazy) -> Iterator[Asked]:
    """Yield the kernel for whole 64s of channels.

    Args:
        operation: A convolution, perhaps with factors and shifts behind it.
        views: What it reads and writes; behind them the pooled image, if it writes one.
        weights: Makes its kernel, exact in the type that it computes in.
    """
    spec = wide_spec(operation, *views)
    if spec is not None:
        kind = spec.source.dtype
        yield (
            "wide_convolution",
            spec,
            lambda: wide_convolution.arrange(weights().transpose(2, 3, 1, 0), kind),
            numbers_of(operation),
        )


def volumes(job: Job, operation: VolumeConvolution) -> Iterator[Asked]:
    """Yield the kernel that reads slices where they lie."""
    inner, taps = operation.convolution, operation.slices.table.shape[1]
    spec = volume_spec(operation.slices, inner, job.views[0], job.target)
    if spec is not None:
        c, kind = spec.source.c, spec.source.dtype
        weights = lazy_weights(inner, kind)

        def arranged() -> npt.NDArray[Any]:
            # O (z I) H W, behind which there may be zeros -> z H W I O.
            found = weights()[:, : taps * c]
            split = found.reshape(len(found), taps, c, *found.shape[2:])
            return _volume_products.arrange(split.transpose(1, 3, 4, 2, 0), kind)

        bias = _volume_products.arrange_bias(inner.bias, taps)
        yield "volume_convolution", spec, arranged, bias


def phases(
    operation: MergedUpsampling, source: View, target: View, weights: Lazy
) -> Iterator[Asked]:
    """Yield the kernels for merged upsampling."""
    spec = phase_spec(operation, source, target)
    if spec is None:
        return
    bias = operation.convolution.bias[: target.c]
    uses = spec.uses
    if phase_convolution.fits(spec):
        yield (
            "phase_convolution",
            spec,
            lambda: _arranged(weights(), uses, spec),
            bias,
        )
    if phase_wide.fits(spec):
        yield (
            "phase_wide",
            spec,
            lambda: _arranged(weights(), phase_wide.order(uses), spec),
            bias,
        )


def _arranged(
    weights: npt.NDArray[Any],
    uses: Sequence[tuple[int, int]],
    spec: phase_convolution.PhaseConvolutionSpec,
) -> npt.NDArray[Any]:
    kernels = np.split(weights, spec.depth)
    return phase_convolution.arrange_all(kernels, uses, spec.target.dtype)


def first_two(job: Job, operation: Opening) -> Iterator[Asked]:
    """Yield the kernel for the first two layers."""
    target = job.target
    spec = opening_spec(operation, job.views[0], target, (*job.views, None)[1])
    if spec is not None:
        taps, bias = operation.first.kernel.transpose(2, 3, 1, 0), operation.first.bias
        second, _ = apart(operation.second)
        assert second is not None
        weights = weights_for(second, target.dtype).transpose(2, 3, 1, 0)
        yield (
            "opening",
            spec,
            lambda: _first_products.arrange(taps, bias),
            lambda: resident.arrange(weights, target.dtype),
            numbers_of(operation.second),
        )
