"""What planning refuses is known without a GPU, with the layer's name; and most cannot happen."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import segrt
from helpers import cudnn_emulator
from helpers.cuda_goldens import one_of_each
from helpers.emulated_engine import run
from helpers.goldens import Golden
from helpers.tensorrt_graphs import unet
from segrt.checks._base import Support
from segrt.cuda import foresee
from segrt.cuda.kernels import _limits
from segrt.errors import UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.custom_ops import CustomOp, custom_op
from segrt.graph.fix_shapes import fix_shapes
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets._measure import sample_feeds
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
GENERATIONS = [(7, 5), (8, 0), (9, 0)]
# Of the recordings, those with the most different operations; all were tried once.
SOME = (
    "attention",
    "attention_unet_layer_norm",
    "depthwise_convolutions",
    "transposed_convolutions",
    "group_norms",
)


@custom_op("test_foreseen", cuda="out[i] = 2.0f * x[i] +;")
def broken(x):
    return 2 * x


@custom_op("test_sound", cuda="out[i] = 2.0f * x[i];")
def sound(x):
    return 2 * x


def _net(op: CustomOp | str, shape: tuple[int, ...] = (1, 4, 8, 8), **attributes) -> ir.Model:
    """A network whose second layer is called ``odd``."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.op("Relu", [b.input("image", shape, ir.DataType.FLOAT)], name="first")
    odd = b.op(op, [x], name="odd:node", **attributes)
    graph.outputs.append(b.op("Sigmoid", [odd], name="mask"))
    for node in graph:
        layer = (node.name or "").removesuffix(":node")
        metadata.tag_node(node, layer, "Layer")
    return ir.Model(graph, ir_version=IR_VERSION)


def _refused(model: ir.Model, precision: str = "fp32") -> dict[str, str]:
    target = REGISTRY.find("cuda")
    assert target is not None
    table = target.takes(model, BuildOptions(precision=Precision(precision)))
    assert len(table) == len(list(model.graph))
    return {metadata.layer_of(node) or "": why for node, why in table.items() if why}


def test_source_of_the_users_that_does_not_compile_is_named():
    report = segrt.check(_net(broken), target="cuda")
    assert report.support is Support.BLOCKED
    (blocked,) = [layer for layer in report.layers if layer.support is Support.BLOCKED]
    assert blocked.layer == "odd"
    (ruling,) = blocked.rulings
    assert "does not compile" in ruling.text
    assert "out[i] = 2.0f * x[i] +;" in ruling.text
    assert segrt.check(_net(sound), target="cuda").support is Support.SUPPORTED


def _limit(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let kernels count no further than this."""
    known = _limits.require.__kwdefaults__
    monkeypatch.setattr(_limits.require, "__kwdefaults__", known | {"most": most})


def test_values_too_large_for_a_kernel_of_strides_are_named(monkeypatch):
    # Only what must be moved is read by strides: planning such sizes in earnest takes gigabytes.
    model = _net("Transpose", (2, 6, 5), perm=[2, 0, 1])
    assert _refused(model) == {}
    _limit(monkeypatch, 50)
    refused = _refused(model)
    # The transposition is no step of its own: whoever reads it sees the same memory otherwise.
    assert set(refused) == {"first", "mask"}
    assert "too large for one launch: 60 elements, wanted at most 50" in refused["mask"]


def test_more_threads_than_a_kernel_counts_are_refused(monkeypatch):
    model = unet((8, 16), side=16)
    assert _refused(model) == {}
    _limit(monkeypatch, 1)
    assert "too large for one launch" in " ".join(_refused(model).values())


def test_the_engine_names_the_layer_when_it_is_built(monkeypatch):
    model = _net("Transpose", (2, 6, 5), perm=[2, 0, 1])
    _limit(monkeypatch, 50)
    feeds = {"image": np.ones((2, 6, 5), np.float32)}
    with pytest.raises(UnsupportedLayerError, match="layer 'first'") as caught:
        run(monkeypatch, model, feeds)
    assert [layer for layer, _ in caught.value.layers] == ["first"]
    assert caught.value.hint == "use a smaller batch or image"


@pytest.mark.parametrize("capability", GENERATIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("golden", [g for g in one_of_each() if g.name in SOME], ids=str)
def test_no_network_that_the_partition_takes_is_refused_later(
    golden: Golden, precision: str, capability: tuple[int, int]
):
    for lowering in LOWERINGS:
        context = PassContext(lowering.upsampling_forms, extra_passes=lowering.extra_passes)
        model, _ = lower(golden.read(), context)
        feeds = sample_feeds(model, side=32)
        fixed = fix_shapes(model, {name: array.shape for name, array in feeds.items()})
        assert foresee.late_refusals(fixed, Precision(precision), capability) == {}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_merged_upsampling_does_without_the_library(monkeypatch, precision: str):
    model, _ = lower(unet((8, 16), side=16), PassContext(LOWERINGS[0].upsampling_forms))
    feeds = {"image": np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)}
    wanted = run(monkeypatch, model, feeds, precision, capability=(8, 6))
    assert "cudnn" in wanted.launched

    def refuse(self: object) -> None:
        raise cudnn_emulator.Unsupported

    monkeypatch.setattr(cudnn_emulator._Operations, "validate", refuse)
    found = run(monkeypatch, model, feeds, precision, capability=(8, 6))
    assert "cudnn" not in found.launched
    assert {"direct_convolution", "pixel_shuffle"} <= set(found.launched)
    for name, mask in wanted.outputs.items():
        bound = 1e-6 if precision == "fp32" else 2e-3
        assert np.linalg.norm(found.outputs[name] - mask) <= bound * np.linalg.norm(mask)
