"""Recordings of real Keras against the CUDA engine in fp32: right, or refused by layer name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.cuda_refusals import REFUSED
from segrt.errors import UnsupportedLayerError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions

GOLDENS = Path(__file__).resolve().parents[1] / "golden" / "data" / "keras-3.15"
FILES = sorted([*GOLDENS.glob("unet_*.keras"), *GOLDENS.glob("[!u]*.keras")])
BOUND = 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_agrees_with_keras_or_refuses(file: Path):
    target = REGISTRY.find("cuda")
    assert target is not None
    with np.load(file.with_suffix(".npz")) as recording:
        feeds = {k.removeprefix("input/"): v for k, v in recording.items() if k[:6] == "input/"}
        wanted = {k.removeprefix("output/"): v for k, v in recording.items() if k[:7] == "output/"}
    lowered, _ = lower(segrt.load(file), PassContext(LOWERINGS[-1].upsampling_forms))
    if file.stem in REFUSED:
        with (
            pytest.raises(UnsupportedLayerError) as refusal,
            target.open_model(lowered, BuildOptions()) as session,
        ):
            session.run(feeds)
        assert refusal.value.layers
        return
    with target.open_model(lowered, BuildOptions()) as session:
        found = session.run(feeds)
    for name, array in wanted.items():
        assert np.linalg.norm(found[name] - array) <= BOUND * np.linalg.norm(array), name
