"""The CUDA engine's whole walk without a GPU, against recordings of real Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.emulated_engine import run
from segrt.errors import UnsupportedLayerError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
GOLDENS = Path(__file__).resolve().parents[1] / "golden" / "data" / "keras-3.15"
FILES = sorted(GOLDENS.glob("*.keras"))
BOUNDS = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 4e-2}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_agrees_with_keras_or_refuses(monkeypatch, file: Path, precision: str):
    with np.load(file.with_suffix(".npz")) as recording:
        feeds = {k.removeprefix("input/"): v for k, v in recording.items() if k[:6] == "input/"}
        wanted = {k.removeprefix("output/"): v for k, v in recording.items() if k[:7] == "output/"}
    lowered, _ = lower(segrt.load(file), PassContext(LOWERINGS[0].upsampling_forms))
    try:
        found = run(monkeypatch, lowered, feeds, precision).outputs
    except UnsupportedLayerError as e:
        pytest.skip(str(e))
    for name, array in wanted.items():
        error = np.linalg.norm(found[name] - array) / np.linalg.norm(array)
        assert error <= BOUNDS[precision], name
