"""Matrix products."""

from __future__ import annotations

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid


@REGISTRY.register("MatMul")
def matrix(step: JaxStep) -> Laid:
    """Translate MatMul."""
    return Laid(step.jnp.matmul(step.array(0), step.array(1)))


@REGISTRY.register("Gemm")
def dense(step: JaxStep) -> Laid:
    """Translate Gemm."""
    left = step.array(0).T if step.integer("transA") else step.array(0)
    right = step.array(1).T if step.integer("transB") else step.array(1)
    product = step.number("alpha", 1.0) * (left @ right)
    return Laid(product + step.number("beta", 1.0) * step.array(2) if step.has(2) else product)


@REGISTRY.register("Einsum")
def einsum(step: JaxStep) -> Laid:
    """Translate Einsum."""
    arrays = [value.plain for value in step.all_laid()]
    return Laid(step.jnp.einsum(step.text("equation"), *arrays))
