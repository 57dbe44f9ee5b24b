"""Operations: counted one by one where that is cheap, and as PyTorch counts them."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from helpers.goldens import GOLDENS
from helpers.tensorrt_graphs import one_node, unet, weights
from segrt.errors import ShapeError
from segrt.graph.fix_shapes import fix_shapes
from segrt.measurement.operation_count import count_operations, operations_by_layer


def _conv_by_hand(n, c, side, o, k, stride, groups):
    """Walk over every product of a convolution without padding."""
    out = (side - k) // stride + 1
    count = 0
    for _ in itertools.product(range(n), range(o), range(out), range(out)):
        count += sum(1 for _ in itertools.product(range(c // groups), range(k), range(k)))
    return 2 * count


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_convolutions(stride, groups):
    def fill(b, x):
        kernel = b.constant("k", weights(8, 4 // groups, 3, 3))
        return b.op("Conv", [x, kernel], name="c", strides=[stride] * 2, group=groups)

    model = one_node(fill, (2, 4, 9, 9))
    assert count_operations(model) == _conv_by_hand(2, 4, 9, 8, 3, stride, groups)


def test_a_transposed_convolution_is_counted_from_its_input():
    def fill(b, x):
        return b.op("ConvTranspose", [x, b.constant("k", weights(4, 6, 2, 2))], name="t",
                    strides=[2, 2])  # fmt: skip

    # Every pixel of the input is multiplied with the taps of every output channel.
    assert count_operations(one_node(fill, (2, 4, 5, 5))) == 2 * 2 * 4 * 5 * 5 * 6 * 2 * 2


def test_products_of_matrices():
    def matmul(b, x):
        return b.op("MatMul", [x, b.constant("w", weights(7, 5))], name="m")

    def gemm(b, x):
        return b.op("Gemm", [x, b.constant("w", weights(5, 7))], name="g", transB=1)

    def einsum(b, x):
        w = b.constant("w", weights(7, 5))
        return b.op("Einsum", [x, w], name="e", equation="nc,cd->nd")

    for fill in (matmul, gemm, einsum):
        assert count_operations(one_node(fill, (3, 7))) == 2 * 3 * 7 * 5


def test_unknown_sizes_are_refused():
    with pytest.raises(ShapeError, match="unknown"):
        count_operations(unet((4, 8), side=None, batch=None))


def test_layers_add_up():
    model = unet((4, 8), side=16)
    by_layer = operations_by_layer(model)
    assert sum(by_layer.values()) == count_operations(model)
    # 3x3, one channel to four, on 16 x 16 pixels.
    assert next(iter(by_layer.values())) == 2 * 16 * 16 * 4 * 9


NETS = {g.name: g for g in GOLDENS if g.folder.name == "keras-3.15" and "unet" in g.name}


@pytest.mark.parametrize("golden", NETS.values(), ids=str)
def test_pytorch_counts_the_same(golden):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    from segrt.measurement.torch_ops._base import torch_module

    arrays = golden.arrays("input")
    model = fix_shapes(golden.read(), {name: array.shape for name, array in arrays.items()})
    net = torch_module(model, torch.float32, torch.device("cpu"))
    inputs = [torch.from_numpy(np.array(arrays[str(v.name)])) for v in model.graph.inputs]
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    assert count_operations(model) == counter.get_total_flops()
    assert isinstance(model, ir.Model)
