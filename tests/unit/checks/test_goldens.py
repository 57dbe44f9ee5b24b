"""Networks that real Keras saved: every layer gets an answer, on old and new releases."""

import itertools
from pathlib import Path

import pytest

from segrt import api
from segrt.checks._tensorrt import UNKNOWN

GOLDENS = Path(__file__).parents[2] / "golden" / "data" / "keras-3.15"
MODELS = (
    "activation_layers", "activation_names", "depthwise_convolutions", "many_inputs_outputs",
    "merging", "nested", "pooling", "scaling", "shaping", "shared", "transposed_convolutions",
    "unet_bilinear", "unet_nearest", "upsampling",
)  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_answered(name):
    model = api.load(GOLDENS / f"{name}.keras")
    for target in ("tensorrt:5.1", "tensorrt:8.6", "rtx:1.7"):
        report = api.check(model, target=target)
        rulings = [ruling for layer in report.layers for ruling in layer.rulings]
        assert rulings
        assert [ruling.text for ruling in rulings if ruling.rule == UNKNOWN] == []
        assert all(ruling.source and ruling.text for ruling in rulings)


def test_newer_releases_are_never_worse():
    model = api.load(GOLDENS / "upsampling.keras")
    targets = ("tensorrt:5.1", "tensorrt:6.0", "tensorrt:8.0", "tensorrt:10.3", "tensorrt:11.4")
    ranks = [
        {layer.layer: layer.support.rank for layer in api.check(model, target=target).layers}
        for target in targets
    ]
    for older, newer in itertools.pairwise(ranks):
        assert all(newer[layer] <= older[layer] for layer in older)
    assert set(ranks[-1].values()) == {0}
    assert max(ranks[0].values()) >= 1
