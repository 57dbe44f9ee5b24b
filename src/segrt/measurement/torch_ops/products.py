"""Matrix products."""

from __future__ import annotations

from typing import Any

from segrt.measurement.torch_ops._base import REGISTRY, TorchStep


@REGISTRY.register("MatMul")
def matrix(step: TorchStep) -> Any:
    """Translate MatMul."""
    return step.call(step.torch.matmul, step.input(0), step.input(1))


@REGISTRY.register("Gemm")
def dense(step: TorchStep) -> Any:
    """Translate Gemm."""
    left, right = step.input(0), step.input(1)
    if step.integer("transA"):
        left = step.call(step.torch.transpose, left, 0, 1)
    if step.integer("transB"):
        right = step.call(step.torch.transpose, right, 0, 1)
    alpha, beta = step.number("alpha", 1.0), step.number("beta", 1.0)
    if step.has(2):
        return step.call(step.torch.addmm, step.input(2), left, right, beta=beta, alpha=alpha)
    product = step.call(step.torch.matmul, left, right)
    return product if alpha == 1 else step.call(step.torch.mul, product, alpha)


@REGISTRY.register("Einsum")
def einsum(step: TorchStep) -> Any:
    """Translate Einsum."""
    return step.call(step.torch.einsum, step.text("equation"), *step.inputs())
