"""Dense: a product with the last axis of Keras' order, on any rank."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph import layouts
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer, kernel_and_bias
from segrt.importers.layers._inputs import single, weight, wrong_input


@keras_layer("Dense", weights=kernel_and_bias)
def dense(call: Call, x: Tensor) -> Tensor:
    """Convert Dense to Gemm (vectors), Conv of size 1 (images stored N C H W) or MatMul."""
    x = single(call, x)
    if x.rank < 2:
        raise wrong_input(call, f"an input of shape {x.shape}", "2 axes or more")
    units = _config.integer(call, "units")
    kernel = weight(call, "kernel")
    inputs = x.shape[-1] if x.shape[-1] is not None else kernel.shape[0]
    kernel = weight(call, "kernel", (inputs, units))
    bias: list[ir.Value] = []
    if _config.flag(call, "use_bias", True):
        bias = [call.weight("bias", weight(call, "bias", (units,)))]
    if x.layout is Layout.CHANNELS_FIRST and x.rank > 2:
        # Another name: a second call of the layer may meet a tensor stored otherwise.
        spatial = x.rank - 2
        pointwise = call.weight(f"kernel_{spatial}d", layouts.dense_as_convolution(kernel, spatial))
        value = call.op("Conv", [x.value, pointwise, *bias], role="dense")
    elif x.rank == 2:
        value = call.op("Gemm", [x.value, call.weight("kernel", kernel), *bias], role="dense")
    else:
        value = call.op("MatMul", [x.value, call.weight("kernel", kernel)], role="product")
        if bias:
            value = call.op("Add", [value, *bias], role="dense")
    return call.activation(Tensor(value, x.layout), call.config.get("activation"))
