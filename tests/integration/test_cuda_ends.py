"""Pixels in and masks out of the CUDA engine, without a GPU, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from helpers.emulated_engine import Ran, run
from helpers.emulated_target import emulate
from helpers.tensorrt_graphs import one_node, weights
from segrt.graph.builder import GraphBuilder
from segrt.graph.deploy_ends import deploy_ends
from segrt.graph.specs import input_specs
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions, Preprocess
from segrt.verification.recording import Recording

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
GOLDENS = Path(__file__).resolve().parents[1] / "golden" / "data" / "keras-3.15"
DATA = Path(segrt.__file__).parent / "demo/data"
CELLS, RECORDED = DATA / "cells_unet.h5", DATA / "keras_recording.npz"


BOUNDS = {"fp32": 1.0, "fp16": 0.999, "bf16": 0.99}


def _model(file: Path, preprocess: Preprocess, head: str) -> ir.Model:
    options = BuildOptions(input="uint8", head=head, preprocess=preprocess)
    deployed = deploy_ends(segrt.load(file), options)
    return lower(deployed, PassContext(LOWERINGS[-1].upsampling_forms))[0]


def _agrees(monkeypatch, model: ir.Model, pixels: np.ndarray, precision: str) -> Ran:
    feeds = {input_specs(model)[0].name: pixels}
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ran = run(monkeypatch, model, feeds, precision)
    for output, wanted in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        found = ran.outputs[output.name]
        assert found.dtype == wanted.dtype == np.uint8
        assert found.shape == wanted.shape
        assert wanted.min() < wanted.max()
        assert (found == wanted).mean() >= BOUNDS[precision]
    return ran


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("head", ["mask", "mask:0.25"])
def test_first_and_last_layer_do_it_all(monkeypatch, precision: str, head: str):
    (values,) = Recording(RECORDED).inputs().values()
    pixels = np.rint(values * 255).astype(np.uint8)[:1, :64, :64]
    model = _model(CELLS, Preprocess(scale=1 / 255), head)
    launched = _agrees(monkeypatch, model, pixels, precision).launched
    assert (launched[0], launched[-1]) == ("first_convolution", "head")
    assert launched.count("first_convolution") == 1
    assert not {"layout", "argmax", "gather_pixels", "pointwise"} & set(launched)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_classes_of_colours(monkeypatch, order: str):
    prepared = Preprocess(
        scale=1 / 255, mean=(0.3, 0.5, 0.1), std=(0.2, 0.3, 0.25), channel_order=order
    )
    pixels = np.random.default_rng(3).integers(0, 256, (1, 8, 12, 3), np.uint8)
    _agrees(monkeypatch, _model(GOLDENS / "unet_transpose.keras", prepared, "mask"), pixels, "fp32")


def test_a_first_layer_prepares_colours(monkeypatch):
    """Its padding is zero behind the preparation, and channels are in the network's order."""
    prepared = Preprocess(
        scale=1 / 255, mean=(0.3, 0.5, 0.1), std=(0.2, 0.3, 0.25), channel_order="bgr"
    )

    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        first = b.op("Transpose", [x], name="first", perm=[0, 3, 1, 2])
        kernel = b.constant("kernel", weights(8, 3, 3, 3))
        wide = b.op("Conv", [first, kernel], name="wide", pads=[1, 1, 1, 1])
        narrow = b.op("Conv", [wide, b.constant("last", weights(4, 8, 1, 1))], name="narrow")
        return b.op("Transpose", [narrow], name="y", perm=[0, 2, 3, 1])

    options = BuildOptions(input="uint8", head="mask", preprocess=prepared)
    model = deploy_ends(one_node(fill, (2, 9, 11, 3)), options)
    pixels = np.random.default_rng(4).integers(0, 256, (2, 9, 11, 3), np.uint8)
    launched = _agrees(monkeypatch, model, pixels, "fp32").launched
    assert launched == ["first_convolution", "head"]


@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_the_first_two_layers_at_once_prepare_only_what_weights_can(monkeypatch, mean: float):
    """A factor is theirs too, a shift is not: the padding is zero behind it."""

    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        value = b.op("Transpose", [x], name="moved", perm=[0, 3, 1, 2])
        for index, inputs in enumerate((1, 64)):
            kernel = b.constant(f"kernel{index}", weights(64, inputs, 3, 3, seed=index))
            value = b.op("Conv", [value, kernel], name=f"conv{index}", pads=[1, 1, 1, 1])
            value = b.op("Relu", [value], name=f"relu{index}")
        last = b.op("Conv", [value, b.constant("last", weights(4, 64, 1, 1))], name="last_conv")
        return b.op("Transpose", [last], name="y", perm=[0, 2, 3, 1])

    prepared = Preprocess(scale=1 / 255, mean=(mean,))
    options = BuildOptions(input="uint8", head="mask", preprocess=prepared)
    model = deploy_ends(one_node(fill, (1, 16, 32, 1)), options)
    pixels = np.random.default_rng(4).integers(0, 256, (1, 16, 32, 1), np.uint8)
    launched = _agrees(monkeypatch, model, pixels, "fp16").launched
    assert launched[0] == ("first_convolution" if mean else "opening")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_package_with_both_ends(monkeypatch, tmp_path, precision: str):
    """Built, opened with its self-test and run as any other."""
    emulate(monkeypatch, tmp_path / "cache")
    ends = {"input": "uint8", "head": "mask", "precision": precision, "size": (32, 32), "batch": 1}
    package = segrt.build(CELLS, target="cuda", output=tmp_path / "p.segrt", threads=1, **ends)
    (values,) = Recording(RECORDED).inputs().values()
    pixels = np.rint(values * 255).astype(np.uint8)[:1, :32, :32]
    with segrt.open_session(package, selftest=True) as session:
        assert session.inputs[0].dtype == session.outputs[0].dtype == "uint8"
        (mask,) = session.run({session.inputs[0].name: pixels}).values()
    plain = segrt.build(CELLS, target="onnxruntime", output=tmp_path / "q.segrt", threads=1)
    with segrt.open_session(plain) as session:
        (values,) = session.run({session.inputs[0].name: (pixels / 255).astype("f4")}).values()
    sure = np.abs(values - 0.5) > (1e-5 if precision == "fp32" else 2e-3)
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(mask[sure], (values > 0.5)[sure])
