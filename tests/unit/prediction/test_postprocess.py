from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from segrt.errors import EngineError, ShapeError, UsageError
from segrt.prediction.postprocess import arrange, classes, confidence, probabilities

RNG = np.random.default_rng(2)


def test_arrange_accepts_the_usual_layouts():
    maps = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(arrange(maps, -1, (4, 6)), maps)
    np.testing.assert_array_equal(arrange(np.moveaxis(maps, -1, 1), 1, (4, 6)), maps)
    np.testing.assert_array_equal(arrange(maps.reshape(2, 24, 3), -1, (4, 6)), maps)
    np.testing.assert_array_equal(arrange(maps[..., 0], None, (4, 6)), maps[..., :1])
    assert arrange(maps.astype(np.float16), -1, (4, 6)).dtype == np.float32


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 3), (2, 20, 3), (2, 2, 3, 3)])
def test_arrange_refuses_other_sizes(shape):
    with pytest.raises(ShapeError, match="map"):
        arrange(np.zeros(shape), -1, (4, 6))


def test_logits_become_probabilities():
    logits = (RNG.normal(size=(5, 7, 4)) * 300).astype(np.float32)
    np.testing.assert_allclose(
        probabilities(logits, "logits"), special.softmax(logits, axis=-1), atol=1e-6
    )
    np.testing.assert_allclose(
        probabilities(logits[..., :1], "logits"), special.expit(logits[..., :1]), atol=1e-6
    )


def test_logits_taken_for_probabilities_are_refused():
    with pytest.raises(UsageError, match="probabilities"):
        probabilities(np.array([[[3.0]]], np.float32), "probabilities")


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_nan_never_passes(kind):
    with pytest.raises(EngineError, match="NaN"):
        probabilities(np.array([[[np.nan]]], np.float32), kind)


def test_classes_and_confidence():
    maps = special.softmax(RNG.normal(size=(5, 7, 4)), axis=-1).astype(np.float32)
    np.testing.assert_array_equal(classes(maps), maps.argmax(-1))
    np.testing.assert_array_equal(confidence(maps), np.rint(maps.max(-1) * 255))
    single = np.array([[[0.2], [0.5], [0.51], [0.9]]], np.float32)
    np.testing.assert_array_equal(classes(single), [[0, 0, 1, 1]])
    np.testing.assert_array_equal(classes(single, 0.6), [[0, 0, 0, 1]])
    np.testing.assert_array_equal(confidence(single), [[51, 128, 130, 230]])


def test_many_classes_get_a_wider_mask():
    maps = np.zeros((1, 1, 300), np.float32)
    maps[..., 299] = 1
    assert classes(maps).item() == 299
    assert classes(maps).dtype == np.uint16
    assert classes(maps[..., :256]).dtype == np.uint8
