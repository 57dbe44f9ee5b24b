"""How volumes lie, against NumPy's own idea of strides; and which values are volumes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from helpers.tensorrt_graphs import one_node
from segrt.cuda.kernels._access import logical, physical
from segrt.cuda.views import View
from segrt.cuda.volumes import meets_volumes, note_volumes
from segrt.graph.builder import GraphBuilder

SIZES = (2, 5, 3, 4, 6)


def _memory(view: View) -> np.ndarray:
    """Return numbers N D H W C as they lie, channels beside a slice included."""
    shape = (view.n // view.depth, view.depth, view.h, view.w, view.pitch)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("pitch", [5, 8])
def test_sizes_and_strides_are_those_of_the_memory(pitch):
    view = View(6, 4, 6, 5, "fp32", pitch, depth=3)
    volume = np.moveaxis(_memory(view)[..., : view.c], -1, 1)
    assert view.sizes == volume.shape == SIZES
    assert view.strides == tuple(stride // 4 for stride in volume.strides)


def test_a_volume_is_a_batch_of_slices_and_one_tall_image():
    view = View.of(SIZES, "fp16")
    assert (view.n, view.h, view.w, view.c, view.depth) == (6, 4, 6, 5, 3)
    memory = _memory(view)
    slices = memory.reshape(view.n, view.h, view.w, view.c)
    np.testing.assert_array_equal(logical(view, slices), np.moveaxis(memory, -1, 1))
    np.testing.assert_array_equal(physical(view, logical(view, slices)), slices)
    tall = view.stacked
    assert (tall.n, tall.h, tall.w, tall.depth) == (2, 12, 6, 0)
    assert tall.span_bytes == view.span_bytes == memory.size * 2
    assert tall.stacked == tall


def test_channels_first_is_the_same_memory_for_one_channel_only():
    assert View.of((2, 1, 3, 4, 6), "fp32").in_order
    assert not View.of((2, 2, 3, 4, 6), "fp32").in_order


def _marked(fill: object) -> dict[str, bool]:
    model = one_node(fill, SIZES)  # type: ignore[arg-type]
    note_volumes(model.graph, ("Relu", "MaxPool", "Transpose"))
    return {node.name or "": meets_volumes(node) for node in model.graph}


def _turned(b: GraphBuilder, value: ir.Value, name: str) -> ir.Value:
    return b.op("Transpose", [value], name=name, perm=[0, 4, 1, 2, 3])


def test_volumes_end_at_a_transpose():
    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        before = b.op("Relu", [x], name="dense")
        volume = b.op("Relu", [_turned(b, before, "turned")], name="volume")
        return b.op("MaxPool", [volume], name="y", kernel_shape=[2, 2, 2])

    assert _marked(fill) == {"dense": False, "turned": True, "volume": True, "y": True}


def test_five_axes_alone_make_no_volume():
    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        return b.op("Relu", [_turned(b, x, "turned")], name="y")

    assert _marked(fill) == {"turned": False, "y": False}
