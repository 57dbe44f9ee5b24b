"""For operations on values of any rank: which kernel computes them, and with what settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from segrt.cuda.kernels._access import whole
from segrt.cuda.kernels._operands import Fixed
from segrt.cuda.kernels.normalise import NormaliseSpec
from segrt.cuda.kernels.pool_places import PoolPlacesSpec
from segrt.cuda.kernels.product import ProductSpec
from segrt.cuda.kernels.reduce import ReduceSpec
from segrt.cuda.kernels.scatter import ScatterSpec
from segrt.cuda.kernels.strided import StridedSpec, tables
from segrt.cuda.kernels.take import TakeSpec
from segrt.cuda.operations import Export, Import, Operation, Weights
from segrt.cuda.tensor_operations import (
    Normalise,
    PoolPlaces,
    Product,
    Reduce,
    Reshape,
    Scatter,
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
    for kind, specify in _SPECS.items():
        if isinstance(job.operation, kind):
            return specify(job, job.operation)
    raise EngineError(f"no kernel computes a {type(job.operation).__name__}")


def _copy(job: Job, _: Any) -> tuple[Any, ...]:
    # The walk is the source's: the elements' order is what stays.
    spec = StridedSpec(job.views, job.target, (whole(job.views[0].sizes),))
    return "strided", spec, *tables(spec)


def _strided(job: Job, operation: Strided) -> tuple[Any, ...]:
    fixed = tuple(array.shape for array in operation.constants)
    spec = StridedSpec(job.views, job.target, operation.accesses, operation.program, fixed)
    return "strided", spec, *map(_floats, operation.constants), *tables(spec)


def _reduce(job: Job, operation: Reduce) -> tuple[Any, ...]:
    return "reduce", ReduceSpec(job.views[0], job.target, operation.kind, operation.axes)


def _normalise(job: Job, operation: Normalise) -> tuple[Any, ...]:
    vectors = (operation.scale, operation.shift)
    spec = NormaliseSpec(
        job.views[0], job.target, operation.kind, operation.axes, operation.epsilon,
        *(None if vector is None else vector.shape for vector in vectors),
    )  # fmt: skip
    return "normalise", spec, *(_floats(vector) for vector in vectors if vector is not None)


def _product(job: Job, operation: Product) -> tuple[Any, ...]:
    letters = (operation.left, operation.right, operation.result)
    bias = () if operation.bias is None else (_floats(operation.bias),)
    spec = ProductSpec(
        job.views, job.target, *letters, _fixed(operation.constants),
        sum(len(vector) for vector in bias), operation.factor,
    )  # fmt: skip
    return "product", spec, *map(_floats, operation.constants.values()), *bias


def _take(job: Job, operation: Take) -> tuple[Any, ...]:
    spec = TakeSpec(job.views, job.target, operation.axis, _fixed(operation.constants))
    return "take", spec, *map(_floats, operation.constants.values())


def _scatter(job: Job, operation: Scatter) -> tuple[Any, ...]:
    settings = (operation.axis, operation.reduction, _fixed(operation.constants))
    spec = ScatterSpec(job.views, job.target, *settings)
    return "scatter", spec, *map(_floats, operation.constants.values())


def _pool_places(job: Job, operation: PoolPlaces) -> tuple[Any, ...]:
    slides = (operation.window, operation.stride, operation.before, operation.dilation)
    return "pool_places", PoolPlacesSpec(job.views[0], job.target, *slides)


def _floats(array: Weights) -> Weights:
    return np.asarray(array, np.float32)


def _fixed(constants: Mapping[int, Weights]) -> Fixed:
    return tuple((index, array.shape) for index, array in constants.items())


_SPECS: dict[type[Operation], Callable[[Job, Any], tuple[Any, ...]]] = {
    Import: _copy,
    Export: _copy,
    Reshape: _copy,
    Strided: _strided,
    Reduce: _reduce,
    Normalise: _normalise,
    Product: _product,
    Take: _take,
    Scatter: _scatter,
    PoolPlaces: _pool_places,
}
