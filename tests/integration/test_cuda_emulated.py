"""The CUDA engine's whole walk without a GPU, against recordings of real Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.cuda_refusals import REFUSED
from helpers.emulated_engine import run
from segrt.errors import UnsupportedLayerError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
GOLDENS = Path(__file__).resolve().parents[1] / "golden" / "data" / "keras-3.15"
FILES = sorted(GOLDENS.glob("*.keras"))
BOUNDS = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 4e-2}


CASES = [("fp32", file) for file in FILES]
CASES += [(half, file) for half in ("fp16", "bf16") for file in FILES if "unet" in file.stem]


@pytest.mark.parametrize(("precision", "file"), CASES, ids=[f"{p}-{f.stem}" for p, f in CASES])
def test_agrees_with_keras_or_refuses(monkeypatch, file: Path, precision: str):
    with np.load(file.with_suffix(".npz")) as recording:
        feeds = {k.removeprefix("input/"): v for k, v in recording.items() if k[:6] == "input/"}
        wanted = {k.removeprefix("output/"): v for k, v in recording.items() if k[:7] == "output/"}
    lowered, _ = lower(segrt.load(file), PassContext(LOWERINGS[-1].upsampling_forms))
    if file.stem in REFUSED:
        with pytest.raises(UnsupportedLayerError) as refusal:
            run(monkeypatch, lowered, feeds, precision)
        assert refusal.value.layers
        return
    found = run(monkeypatch, lowered, feeds, precision).outputs
    for name, array in wanted.items():
        error = np.linalg.norm(found[name] - array) / np.linalg.norm(array)
        assert error <= BOUNDS[precision], name
