"""For operations on images that one kernel alone computes: which, and with what settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segrt.cuda.image_operations import (
    Decide,
    GatherPixels,
    GlobalPool,
    Resample,
    Slices,
    Softmax,
    VolumePool,
)
from segrt.cuda.kernels.argmax import ArgmaxSpec
from segrt.cuda.kernels.direct_convolution import DirectConvolutionSpec
from segrt.cuda.kernels.gather_pixels import GatherPixelsSpec
from segrt.cuda.kernels.global_pooling import GlobalPoolingSpec
from segrt.cuda.kernels.head import HeadSpec
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.kernels.resample import ResampleSpec
from segrt.cuda.kernels.slices import SlicesSpec
from segrt.cuda.kernels.softmax import SoftmaxSpec
from segrt.cuda.kernels.volume_pooling import VolumePoolingSpec
from segrt.cuda.operations import Convolution, TransposedConvolution, Weights
from segrt.cuda.views import View

if TYPE_CHECKING:
    from segrt.cuda.jobs import Job


def head_spec(operation: Convolution, source: View, target: View) -> HeadSpec:
    """Return what the kernel of last layers is launched with."""
    classes, decision = len(operation.bias), operation.decision
    return HeadSpec(source, target, classes, operation.activation, decision, operation.limit)


def ranges_of(operation: Convolution) -> Weights:
    """Return factor and shift of every input channel."""
    channels = operation.kernel.shape[1]
    unchanged = np.stack([np.ones(channels), np.zeros(channels)]).astype(np.float32)
    return unchanged if operation.ranges is None else operation.ranges


def direct_spec(
    operation: Convolution | TransposedConvolution,
    source: View,
    target: View,
    steps: tuple[Step, ...] = (),
) -> DirectConvolutionSpec:
    """Return what the kernel for any convolution is launched with."""
    return DirectConvolutionSpec(
        source,
        target,
        (operation.kernel.shape[2], operation.kernel.shape[3]),
        operation.stride,
        operation.dilation,
        operation.before,
        operation.groups,
        operation.activation == "relu",
        isinstance(operation, TransposedConvolution),
        steps,
    )


def image_spec(job: Job) -> tuple[Any, ...] | None:  # noqa: PLR0911 - one per operation
    """Return kernel, spec and parameters; None for an operation of another kind."""
    operation, source, target = job.operation, job.views[0], job.target
    if isinstance(operation, GatherPixels):
        tables = [operation.rows, operation.columns]
        if operation.channels is not None:
            tables.append(operation.channels)
        spec = GatherPixelsSpec(source, target, operation.fill, operation.channels is not None)
        return "gather_pixels", spec, np.concatenate(tables).astype(np.int32)
    if isinstance(operation, Resample):
        taps = (operation.rows.shape[1], operation.columns.shape[1])
        places = (operation.rows, operation.columns)
        weights = (operation.row_weights, operation.column_weights)
        return (
            "resample",
            ResampleSpec(source, target, taps),
            np.concatenate([table.reshape(-1) for table in places]).astype(np.int32),
            np.concatenate([table.reshape(-1) for table in weights]).astype(np.float32),
        )
    if isinstance(operation, Softmax):
        return "softmax", SoftmaxSpec(source, target, operation.logarithm)
    if isinstance(operation, Decide):
        return "argmax", ArgmaxSpec(source, target, operation.minimum, operation.last)
    if isinstance(operation, GlobalPool):
        return "global_pooling", GlobalPoolingSpec(source, target, operation.kind)
    if isinstance(operation, Slices):
        made, taps = operation.table.shape
        slices = SlicesSpec(source, target, made, taps, operation.groups)
        return "slices", slices, np.asarray(operation.table, np.int32)
    if isinstance(operation, VolumePool):
        pooling = VolumePoolingSpec(
            source, target, operation.window, operation.stride, operation.before,
            operation.maximum, operation.count_padding, operation.after, operation.dilation,
        )  # fmt: skip
        return "volume_pooling", pooling
    return None
