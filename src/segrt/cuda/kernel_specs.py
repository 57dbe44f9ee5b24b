"""For operations that one kernel alone computes: which, and with what settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segrt.cuda.image_specs import image_spec
from segrt.cuda.kernels import dot
from segrt.cuda.kernels.bilinear import BilinearSpec
from segrt.cuda.kernels.custom import CustomSpec
from segrt.cuda.kernels.layout import LayoutSpec
from segrt.cuda.kernels.nearest import NearestSpec
from segrt.cuda.kernels.pixel_shuffle import PixelShuffleSpec
from segrt.cuda.kernels.pointwise import PointwiseSpec
from segrt.cuda.kernels.pooling import PoolingSpec
from segrt.cuda.operations import Chain, Custom, Export, Import, Pool, Shuffle, Upsample
from segrt.cuda.tensor_specs import is_of_tensors, tensor_spec
from segrt.errors import EngineError

if TYPE_CHECKING:
    from segrt.cuda.jobs import Job


def kernel_specs(job: Job) -> list[tuple[Any, ...]]:
    """Return kernel, spec and parameters of every kernel that computes an operation alone.

    Raises:
        EngineError: None does.
    """
    name, spec, *parameters = kernel_spec(job)
    found: list[tuple[Any, ...]] = [(name, spec, *parameters)]
    if name == "product" and dot.fits(spec):
        found.insert(0, ("dot", spec, *parameters))
    return found


def kernel_spec(job: Job) -> tuple[Any, ...]:  # noqa: PLR0911 - one per operation
    """Return kernel, spec and parameters of an operation that has one kernel only.

    Raises:
        EngineError: It has none, or several.
    """
    if is_of_tensors(job):
        return tensor_spec(job)
    operation, source, target = job.operation, job.views[0], job.target
    if isinstance(operation, Import):
        views = (source.stacked, target.stacked)
        return "layout", LayoutSpec(*views, source_first=operation.channels_first)
    if isinstance(operation, Export):
        views = (source.stacked, target.stacked)
        return "layout", LayoutSpec(*views, target_first=operation.channels_first)
    if isinstance(operation, Upsample):
        if operation.mode == "nearest":
            return "nearest", NearestSpec(source, target, operation.factors)
        return "bilinear", BilinearSpec(source, target, operation.factors)
    if isinstance(operation, Pool):
        window, stride = operation.window, operation.stride
        spec = PoolingSpec(
            source, target, window, stride, operation.before, operation.maximum,
            operation.count_padding, operation.after, operation.dilation,
        )  # fmt: skip
        return "pooling", spec
    if isinstance(operation, Shuffle):
        shuffle = PixelShuffleSpec(source, target, operation.block, operation.phase_first)
        return "pixel_shuffle", shuffle
    if isinstance(operation, Chain):
        vectors = (np.stack(operation.vectors),) if operation.vectors else ()
        return "pointwise", PointwiseSpec(job.views, target, operation.steps), *vectors
    if isinstance(operation, Custom):
        fixed = tuple((index, array.shape) for index, array in operation.constants.items())
        custom = CustomSpec(
            operation.op, tuple(operation.attributes.items()), job.views, target, fixed
        )
        arrays = [array.astype(np.float32) for array in operation.constants.values()]
        return "custom", custom, *arrays
    found = image_spec(job)
    if found is not None:
        return found
    raise EngineError(f"no kernel computes a {type(operation).__name__}")
