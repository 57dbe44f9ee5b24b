"""The trained U-Net on a GPU: the masks of the CPU, in every precision."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segrt
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions, Precision

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SEGRT_SHARED", REPOSITORY.parent / "shared"))
MODEL = SHARED / "models" / "unet_membrane_w16.h5"
# Relative L2 of probabilities, and how many pixels may change sides of one half.
# Measured on four tiles, 262144 pixels: fp16 flips 14; tf32, not rounded with care, 28 to 31.
BOUNDS = {
    "fp32": (1e-5, 1.0),
    "tf32": (1e-3, 0.9998),
    "fp16": (1e-3, 0.9999),
    "bf16": (1e-2, 0.998),
}


def _open(target: str, model, precision: str):
    found = REGISTRY.find(target)
    assert found is not None
    return found.open_model(model, BuildOptions(precision=Precision(precision)))


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    files = sorted((SHARED / "data" / "membrane" / "test").glob("*.png"))[:4]
    if not files or not MODEL.exists():
        pytest.skip(f"no membrane images or model in {SHARED}")
    pixels = [np.asarray(Image.open(file).convert("L").resize((256, 256))) for file in files]
    return (np.stack(pixels).astype(np.float32) / 255)[..., None]


@pytest.fixture(scope="module")
def wanted(tiles: np.ndarray) -> np.ndarray:
    with _open("onnxruntime", segrt.load(MODEL), "fp32") as session:
        return next(iter(session.run({session.inputs[0].name: tiles}).values()))


@pytest.mark.gpu
@pytest.mark.parametrize("forms", [lowering.upsampling_forms for lowering in LOWERINGS])
@pytest.mark.parametrize("precision", list(BOUNDS))
def test_masks_of_the_trained_network(tiles, wanted, precision, forms):
    lowered, _ = lower(segrt.load(MODEL), PassContext(upsampling_forms=forms))
    with _open("cuda", lowered, precision) as session:
        name = session.inputs[0].name
        found = next(iter(session.run({name: tiles}).values()))
        one = next(iter(session.run({name: tiles[1:2]}).values()))
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    agreement = np.mean((found > 0.5) == (wanted > 0.5))
    print(f"{precision} {forms[0]}: error {error:.2e}, agreement {agreement:.6f}")  # noqa: T201
    assert error <= BOUNDS[precision][0]
    assert agreement >= BOUNDS[precision][1]
    # Another batch size is another plan; it must say the same.
    assert np.linalg.norm(one - found[1:2]) / np.linalg.norm(one) <= BOUNDS[precision][0]
