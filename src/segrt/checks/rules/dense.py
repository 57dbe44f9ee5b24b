"""Matrix products."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import supported


@rule("Gemm", "MatMul")
def product(_place: Place, release: Release) -> Ruling:
    """Answer for Dense: the matrix product lasts, IFullyConnectedLayer ended with 9.3."""
    text = "IMatrixMultiplyLayer with the kernel as Keras stores it, then IElementWiseLayer SUM"
    return supported("TRT-DENSE", text, release, "matrix-multiply")
