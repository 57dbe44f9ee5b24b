"""For operations on values of any rank: which kernel computes them, and with what settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segrt.cuda.kernels._access import whole
from segrt.cuda.kernels.normalise import NormaliseSpec
from segrt.cuda.kernels.product import ProductSpec
from segrt.cuda.kernels.reduce import ReduceSpec
from segrt.cuda.kernels.strided import StridedSpec, tables
from segrt.cuda.kernels.take import TakeSpec
from segrt.cuda.operations import Export, Import
from segrt.cuda.tensor_operations import (
    Normalise,
    Product,
    Reduce,
    Reshape,
    Strided,
    Take,
    TensorOperation,
)
from segrt.errors import EngineError

if TYPE_CHECKING:
    from segrt.cuda.jobs import Job


def is_of_tensors(job: Job) -> bool:
    """Say whether a job is for the kernels that know strides."""
    if isinstance(job.operation, (Import, Export)):
        return any(view.shape is not None for view in (*job.views, job.target))
    return isinstance(job.operation, TensorOperation)


def tensor_spec(job: Job) -> tuple[Any, ...]:
    """Return kernel, spec and parameters of an operation on values of any rank.

    Raises:
        EngineError: No kernel computes it.
    """
    operation, target = job.operation, job.target
    if isinstance(operation, (Import, Export, Reshape)):
        # The walk is the source's: the elements' order is what stays.
        spec = StridedSpec(job.views, target, (whole(job.views[0].sizes),))
        return "strided", spec, *tables(spec)
    if isinstance(operation, Strided):
        fixed = tuple(array.shape for array in operation.constants)
        spec = StridedSpec(job.views, target, operation.accesses, operation.program, fixed)
        arrays = [np.asarray(array, np.float32) for array in operation.constants]
        return "strided", spec, *arrays, *tables(spec)
    if isinstance(operation, Reduce):
        return "reduce", ReduceSpec(job.views[0], target, operation.kind, operation.axes)
    if isinstance(operation, Normalise):
        arrays = [array for array in (operation.scale, operation.shift) if array is not None]
        shapes = [None if a is None else a.shape for a in (operation.scale, operation.shift)]
        kind, axes = operation.kind, operation.axes
        norm = NormaliseSpec(job.views[0], target, kind, axes, operation.epsilon, *shapes)
        return "normalise", norm, *(np.asarray(array, np.float32) for array in arrays)
    if isinstance(operation, Product):
        return "product", *product_spec(job, operation)
    if isinstance(operation, Take):
        given = tuple((index, array.shape) for index, array in operation.constants.items())
        take = TakeSpec(job.views, target, operation.axis, given)
        return "take", take, *(np.asarray(a, np.float32) for a in operation.constants.values())
    raise EngineError(f"no kernel computes a {type(operation).__name__}")


def product_spec(job: Job, operation: Product) -> tuple[Any, ...]:
    """Return spec and parameters of a product."""
    arrays = [np.asarray(array, np.float32) for array in operation.constants.values()]
    fixed = [(index, array.shape) for index, array in operation.constants.items()]
    letters = (operation.left, operation.right, operation.result)
    bias = operation.bias
    spec = ProductSpec(
        job.views, job.target, *letters, tuple(fixed), 0 if bias is None else len(bias),
        operation.factor,
    )  # fmt: skip
    return spec, *arrays, *([] if bias is None else [np.asarray(bias, np.float32)])
