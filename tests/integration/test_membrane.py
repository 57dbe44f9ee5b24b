"""A trained network on real images gives the masks that Keras gives."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import segrt
from helpers.shared import need

IMAGES = range(24, 30)  # held out when the network was trained
# Measured with Keras 3.15.1 on TensorFlow 2.21.0 (CPU, TF_ENABLE_ONEDNN_OPTS=0), `model.predict`
# on the four 256 x 256 quarters of each image / 255, above 0.5 is a cell: a line an image, in it
# for each quarter (row by row) the pixels of cells, and the pixels that agree with the label.
KERAS = {
    24: ((51809, 61264), (53435, 61327), (53521, 61439), (51494, 59103)),
    25: ((53192, 62123), (53309, 60744), (52028, 60115), (52851, 60301)),
    26: ((53565, 61084), (52653, 62077), (51588, 59655), (49828, 59936)),
    27: ((53776, 61930), (51166, 61641), (52058, 58851), (49680, 57448)),
    28: ((54405, 61993), (51478, 61295), (51546, 60228), (49246, 59655)),
    29: ((54663, 61808), (51946, 61187), (50298, 58920), (50056, 57256)),
}
KERAS_ACCURACY = 0.9227625528971354
# In this run 5 of 1.57 million probabilities lay within 1e-5 of the threshold, where fp32 rounding
# may decide; no more pixels may differ.
UNDECIDED = 5
PIXELS = 6 * 512 * 512


@pytest.fixture(scope="module")
def masks(request, tmp_path_factory):
    """Masks of the held-out images by number, predicted from files in tiles without overlap."""
    model = need("models/unet_membrane_w16.h5")
    images = [need(f"data/membrane/train/image/{number}.png") for number in IMAGES]
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    package = segrt.build(model, target=request.param, output=folder / "unet.segrt", threads=1)
    options = segrt.PredictOptions(tile=256, overlap=0)
    report = segrt.predict(package, images, folder / "masks", threads=1, options=options)
    assert not report.failed
    return {int(r.source.stem): read(r.files["mask"]) > 0 for r in report.results}


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def quarters(array):
    return [array[i : i + 256, j : j + 256] for i in (0, 256) for j in (0, 256)]


def counts(mask, truth):
    pairs = zip(quarters(mask), quarters(truth), strict=True)
    return tuple((int(m.sum()), int((m == t).sum())) for m, t in pairs)


def test_the_expected_figures_are_consistent():
    right = sum(right for image in KERAS.values() for _, right in image)
    assert right / PIXELS == pytest.approx(KERAS_ACCURACY, abs=1e-12)
    assert pytest.approx(0.923, abs=5e-4) == KERAS_ACCURACY  # as the model's author says


@pytest.mark.parametrize("masks", ["onnxruntime", "openvino"], indirect=True)
def test_masks_are_those_of_keras(masks):
    assert sorted(masks) == list(IMAGES)
    right = different = 0
    for number, mask in masks.items():
        truth = read(need(f"data/membrane/train/label/{number}.png")) > 127
        found = counts(mask, truth)
        right += sum(correct for _, correct in found)
        different += sum(
            abs(a - b)
            for ours, keras in zip(found, KERAS[number], strict=True)
            for a, b in zip(ours, keras, strict=True)
        )
    assert abs(right / PIXELS - KERAS_ACCURACY) <= 1e-4
    # A differing pixel changes at most both counts of its quarter.
    assert different <= 2 * UNDECIDED
