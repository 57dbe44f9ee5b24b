"""A dense layer's product as a convolution of single pixels, which cuDNN computes fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod

import numpy as np

from segrt.cuda.jobs import Job, Proposal
from segrt.cuda.operations import Convolution
from segrt.cuda.parameters import lazy_weights
from segrt.cuda.tensor_operations import Product
from segrt.cuda.views import View

# Below, a product is a few microseconds whoever computes it.
_LEAST = 16


def dense_layer(job: Job, propose: Callable[..., Iterable[Proposal]]) -> Iterator[Proposal]:
    """Yield cuDNN's ways to compute a job that is a product with a constant matrix.

    Args:
        job: Of any operation; nothing is found for most.
        propose: Gives cuDNN's ways for a convolution and its weights.
    """
    part = _as_convolution(job, job.operation) if isinstance(job.operation, Product) else None
    if part is None or not isinstance(part.operation, Convolution):
        return
    weights = lazy_weights(part.operation, part.views[0].dtype)
    yield from propose(part, part.operation, weights, last_resort=False)


def _as_convolution(job: Job, operation: Product) -> Job | None:
    """Return the job of the convolution that computes a product; None where there is none.

    There is one for rows that lie side by side, all of one type, and a constant matrix.
    """
    left, right, result = operation.left, operation.right, operation.result
    summed, column = left[-1:], result[-1:]
    rows = bool(left) and left[:-1] == result[:-1] and set(right) == {summed, column}
    matrix = operation.constants.get(1)
    if not rows or summed == column or matrix is None or matrix.ndim != 2:
        return None
    source, target = job.views[0], job.target
    plain = source.in_order and target.in_order and source.dtype == target.dtype
    if not plain or source.dtype not in ("fp32", "fp16", "bf16"):
        return None
    inputs, outputs = source.sizes[-1], target.sizes[-1]
    count = prod(source.sizes[:-1])
    if min(count, inputs, outputs) < _LEAST:
        return None
    kernel = matrix.T if right == summed + column else matrix
    bias = np.zeros(outputs, np.float32)
    if operation.bias is not None:
        bias += np.asarray(operation.bias, np.float32)
    convolution = Convolution(
        operation.layer,
        operation.inputs,
        operation.output,
        (kernel.astype(np.float32) * np.float32(operation.factor)).reshape(outputs, inputs, 1, 1),
        bias,
        *((1, 1), (1, 1), (0, 0), (0, 0)),
        groups=1,
    )
    views = (View(1, 1, count, inputs, source.dtype),)
    pixels = View(1, 1, count, outputs, target.dtype)
    return Job(convolution, views, job.pointers, pixels, job.output)
