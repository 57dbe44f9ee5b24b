"""Matrix products."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("MatMul")
def matmul(writer: Writer, node: ir.Node) -> Tensor:
    """Write a product; ranks are made equal, as TensorRT wants them."""
    ranks = []
    for value in node.inputs:
        array = writer.array(value)
        ranks.append(array.ndim if array is not None else len(writer.tensor(value).shape))
    if min(ranks) < 2:
        raise writer.unsupported("a vector", "two axes or more")
    a, b = (writer.tensor(value, rank=max(ranks)) for value in node.inputs)
    none = writer.trt.MatrixOperation.NONE
    return writer.layer(writer.network.add_matrix_multiply(a, none, b, none))


@converts("Gemm")
def gemm(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``alpha * a @ b + beta * c`` with a constant c."""
    get, operations = node.attributes, writer.trt.MatrixOperation
    a, b = (writer.tensor(value) for value in node.inputs[:2])
    kinds = [
        operations.TRANSPOSE if get.get_int(name, 0) else operations.NONE
        for name in ("transA", "transB")
    ]
    alpha, beta = get.get_float("alpha", 1.0), get.get_float("beta", 1.0)
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None and beta != 0:
        bias = _bias(writer, node.inputs[2], beta)
    product = writer.network.add_matrix_multiply(a, kinds[0], b, kinds[1])
    y = writer.layer(product, "product" if bias is not None or alpha != 1 else "")
    if alpha != 1:
        factor = writer.scalar(alpha, y, "alpha")
        y = writer.elementwise(y, factor, "PROD", "scaled" if bias is not None else "")
    if bias is None:
        return y
    return writer.elementwise(y, bias, "SUM")


def _bias(writer: Writer, value: ir.Value, beta: float) -> Tensor:
    array = writer.array(value)
    if array is not None:
        scaled = array * np.float32(beta)
        shape = (1,) * (2 - scaled.ndim) + scaled.shape
        return writer.constant(scaled.reshape(shape), f"{writer.name}:bias")
    tensor = writer.tensor(value, rank=2)
    if beta == 1:
        return tensor
    return writer.elementwise(tensor, writer.scalar(beta, tensor, "beta"), "PROD", "bias")
