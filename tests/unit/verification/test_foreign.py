"""Damage is planted into real exports: each is named, where it is and as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import segrt
from segrt.errors import UsageError
from segrt.verification.foreign import ForeignReport, compare_foreign

DATA = Path(__file__).parents[2] / "golden" / "data" / "foreign"
FREE, FIXED = "keras2_free", "keras3_fixed"


def report_of(tmp_path: Path, name: str, *changes: Callable[[onnx.ModelProto], None]):
    exporter = {FREE: "tf2onnx13", FIXED: "tf2onnx"}[name]
    proto = onnx.load(DATA / f"{name}__{exporter}.onnx")
    for change in changes:
        change(proto)
    path = tmp_path / "foreign.onnx"
    onnx.save(proto, path)
    return compare_foreign(segrt.load(path), segrt.load(DATA / f"{name}.h5"))


def node_of(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """Return the only node whose name ends so."""
    (found,) = [node for node in proto.graph.node if node.name.endswith(name)]
    return found


def set_attribute(node: onnx.NodeProto, **values: object) -> None:
    kept = [a for a in node.attribute if a.name not in values]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in values.items())


def change_weight(
    proto: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Give one tensor other numbers; the node gets a copy, as exporters share equal ones."""
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            array = change(numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
            return
    raise AssertionError(f"no tensor {name}")


def nearest(proto: onnx.ModelProto) -> onnx.NodeProto:
    modes = {
        node.name: str(node.attribute) for node in proto.graph.node if node.op_type == "Resize"
    }
    (name,) = [name for name, text in modes.items() if "tf_half_pixel_for_nn" in text]
    return node_of(proto, name)


def shifted(mode: str, rounding: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        node = nearest(proto)
        set_attribute(node, coordinate_transformation_mode=mode, nearest_mode=rounding)

    return change


def to_bilinear(proto: onnx.ModelProto) -> None:
    set_attribute(nearest(proto), mode="linear", coordinate_transformation_mode="half_pixel")


def wrong_side(proto: onnx.ModelProto) -> None:
    node = node_of(proto, "down_1/BiasAdd")
    set_attribute(node, pads=[1, 1, 0, 0])


def to_lower(proto: onnx.ModelProto) -> None:
    set_attribute(node_of(proto, "down/BiasAdd"), auto_pad="SAME_LOWER")


def swapped_kernel(proto: onnx.ModelProto) -> None:
    name = node_of(proto, "down/BiasAdd").input[1]
    change_weight(proto, name, lambda w: w.transpose(0, 1, 3, 2))


def flipped_kernel(proto: onnx.ModelProto) -> None:
    name = node_of(proto, "e1_conv/Conv2D").input[1]
    change_weight(proto, name, lambda w: w[:, :, ::-1, ::-1])


def noisy_kernel(proto: onnx.ModelProto) -> None:
    name = node_of(proto, "mid_conv/Conv2D").input[1]
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 6, 3, 3))
    change_weight(proto, name, lambda w: w + noise)


def other_epsilon(proto: onnx.ModelProto) -> None:
    """Fold e1's normalisation again, as an exporter with PyTorch's default epsilon would."""
    with h5py.File(DATA / f"{FREE}.h5") as file:
        variance = np.asarray(file["model_weights/e1_bn/e1_bn/moving_variance:0"])
    factor = np.sqrt((variance + 1e-3) / (variance + 1e-5)).reshape(-1, 1, 1, 1)
    name = node_of(proto, "e1_conv/Conv2D").input[1]
    change_weight(proto, name, lambda w: w * factor)


def relu6_lost(proto: onnx.ModelProto) -> None:
    node = node_of(proto, "relu6/Relu6")
    node.op_type = "Relu"
    del node.input[1:]


def relu_gone(proto: onnx.ModelProto) -> None:
    node_of(proto, "mid_relu/Relu").op_type = "Identity"


def stride_one_pool(proto: onnx.ModelProto) -> None:
    node_of(proto, "pool/MaxPool").op_type = "AveragePool"


DAMAGE = {
    "half_pixel and floor": (FREE, shifted("half_pixel", "floor"), "up2", "upsampling mode"),
    "half_pixel and ceil": (FREE, shifted("half_pixel", "ceil"), "up2", "upsampling mode"),
    "round_prefer_floor": (
        FREE, shifted("tf_half_pixel_for_nn", "round_prefer_floor"), "up2", "upsampling mode",
    ),
    "bilinear": (FREE, to_bilinear, "up2", "linear, half_pixel"),
    "pads before": (FIXED, wrong_side, "down", "comes before (left, above) instead of after"),
    "SAME_LOWER": (FREE, to_lower, "down", "comes before (left, above) instead of after"),
    "swapped kernel": (FREE, swapped_kernel, "down", "height and width are swapped"),
    "flipped kernel": (FREE, flipped_kernel, "e1_bn", "turned by 180 degrees"),
    "noise": (FREE, noisy_kernel, "mid_bn", "other weights (with batch normalisation folded in)"),
    "epsilon": (FREE, other_epsilon, "e1_bn", "epsilon of the batch normalisation: about 1e-05"),
    "relu6": (FREE, relu6_lost, "relu6", "relu instead of relu6"),
    "no relu": (FREE, relu_gone, "mid_relu", "relu behind it is lost"),
    "pooling": (FREE, stride_one_pool, "pool", "AveragePool instead of MaxPool"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(tmp_path, damage):
    name, change, layer, words = DAMAGE[damage]
    report = report_of(tmp_path, name, change)
    assert not report.ok
    assert [row.layer for row in report.damaged] == [layer]
    assert words in "; ".join(report.damaged[0].damage)
    assert words in report.verdict
    # What lies behind inherits the error and is not to blame.
    assert max(report.outputs.values()) > 1e-4


@pytest.mark.parametrize(("rounding", "step"), [("floor", 1.0), ("ceil", -1.0)])
def test_a_shift_is_measured(tmp_path, rounding, step):
    """A small pixel is two large ones; half of the large ones are read from the next small one."""
    report = report_of(tmp_path, FREE, shifted("half_pixel", rounding))
    (row,) = report.damaged
    assert row.shift is not None
    assert (row.shift.dy, row.shift.dx) == (step, step)


def test_two_damages_are_told_apart(tmp_path):
    report = report_of(tmp_path, FREE, swapped_kernel, shifted("half_pixel", "floor"), relu6_lost)
    assert [row.layer for row in report.damaged] == ["down", "relu6", "up2"]
    assert report.verdict.startswith("different, first at 'unet/down/BiasAdd'")


def test_an_undamaged_export_is_the_same(tmp_path):
    report = report_of(tmp_path, FREE)
    assert report.ok
    assert report.damaged == ()
    assert report.to_dict()["ok"] is True


def test_a_report_without_outputs_does_not_hold():
    assert not ForeignReport("a", "b", (), {}, ()).ok
    assert not ForeignReport("a", "b", (), {"mask": float("nan")}, ()).ok


def test_another_network_is_refused():
    two = segrt.load(DATA / f"{FREE}.h5")
    two.graph.outputs.append(two.graph.outputs[0].producer().inputs[0])
    with pytest.raises(UsageError, match="different numbers of outputs"):
        compare_foreign(
            segrt.load(DATA / f"{FREE}__tf2onnx13.onnx"), ir.Model(two.graph, ir_version=10)
        )
