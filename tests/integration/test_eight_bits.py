"""Quantising a trained network for the CUDA engine: `benchmarks/eight_bits.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

import segrt
from helpers.quantised import ort_run
from helpers.shared import need
from helpers.tensorrt_graphs import unet
from segrt.cuda.driver import Gpu
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions, Precision

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import eight_bits
import quantised

FORMS = [lowering.upsampling_forms for lowering in LOWERINGS]


def _images(model: ir.Model, count: int) -> list[np.ndarray]:
    """Smooth images: as in pictures, neighbours are alike."""
    rng = np.random.default_rng(0)
    shape = tuple(model.graph.inputs[0].shape.numpy())  # type: ignore[union-attr]
    return [rng.random(shape, np.float32).cumsum(1).cumsum(2) / 100 for _ in range(count)]


@pytest.fixture(params=FORMS, ids=["subpixel", "resize"])
def model(request) -> ir.Model:
    return lower(unet((16, 32), side=24), PassContext(upsampling_forms=request.param))[0]


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_equalised_networks_compute_the_same(model):
    images = _images(model, 3)
    equalised = model.clone()
    reach = eight_bits.ranges(equalised, images)
    eight_bits.equalise(equalised, reach)
    name = model.graph.inputs[0].name or ""
    for image in images:
        (found,), (wanted,) = (ort_run(m, {name: image}) for m in (equalised, model))
        assert _error(found, wanted) <= 1e-5
    ends = eight_bits.ranges(equalised, images)
    # With the same headroom as they were divided by, all ranges are 1 now.
    for name, now in ends.items():
        assert now.max() == pytest.approx(1, rel=1e-3), name
        assert now.min() / now.max() >= 0.9 * reach[name].min() / reach[name].max()


def test_rounding_makes_up_for_its_errors():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(6, 8, 3, 3)).astype(np.float32)
    kernel[3:, :, 0] = 0
    windows = rng.normal(size=(500, 12)) @ rng.normal(size=(12, 72))
    windows += 0.01 * rng.normal(size=windows.shape)
    scale = np.abs(kernel).max(axis=(1, 2, 3)) / 127
    rounded = eight_bits.round_weights(kernel, scale, windows.T @ windows)
    integers = rounded / scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-3)
    assert np.abs(integers).max() <= 127.001
    assert not rounded[3:, :, 0].any()
    nearest = np.rint(kernel / scale.reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)
    exact = windows @ kernel.reshape(6, -1).T
    errors = [_error(windows @ k.reshape(6, -1).T, exact) for k in (rounded, nearest)]
    assert errors[0] <= 0.3 * errors[1]


def test_it_is_nearer_than_rounding_to_nearest(model):
    images = _images(model, 6)
    name = model.graph.inputs[0].name or ""
    image = _images(model, 7)[6]
    wanted = ort_run(model, {name: image})[0]
    found = ort_run(eight_bits.quantise(model, images), {name: image})[0]
    values = eight_bits.ranges(model, images)
    kernels = {
        node.name or "": np.abs(eight_bits._array(node, 1)).max(axis=(1, 2, 3)) / 127
        for node in eight_bits._convolutions(model)
    }
    largest = {value: float(reach.max()) for value, reach in values.items()}
    plain = ort_run(quantised.write(model, largest, kernels), {name: image})[0]
    assert _error(found, wanted) <= 0.8 * _error(plain, wanted)


@pytest.mark.gpu
def test_masks_of_the_trained_network_in_eight_bits():
    trained = need("models/unet_membrane_w16.h5")
    model, _ = lower(segrt.load(trained), PassContext(upsampling_forms=FORMS[0]))

    def tiles(folder: str, count: int) -> list[np.ndarray]:
        files = sorted(need(f"data/membrane/{folder}").glob("*.png"))[:count]
        small = [Image.open(file).convert("L").resize((256, 256)) for file in files]
        return [np.asarray(image, np.float32).reshape(1, 256, 256, 1) / 255 for image in small]

    int8 = eight_bits.quantise(model, tiles("train/image", 10))
    images = np.concatenate(tiles("test", 8))
    name = model.graph.inputs[0].name or ""
    wanted = np.concatenate([ort_run(model, {name: image[None]})[0] for image in images])
    target = REGISTRY.find("cuda")
    assert target is not None
    with target.open_model(int8, BuildOptions(precision=Precision.INT8)) as session:
        found = next(iter(session.run({name: images}).values()))
    agreement = np.mean((found > 0.5) == (wanted > 0.5))
    print(f"int8: error {_error(found, wanted):.2e}, agreement {agreement:.6f}")  # noqa: T201
    assert _error(found, wanted) <= 8e-3
    gpu = Gpu()
    gpu.close()
    # On other GPUs integers behind a ReLU keep their sign: half as fine.
    assert agreement >= (0.998 if gpu.capability == (9, 0) else 0.995)
