"""Batches for recording and verification, cut from the middle of images."""

import numpy as np
import pytest
from PIL import Image

from segrt.errors import ShapeError, UsageError
from segrt.prediction.sample import sample_batch
from segrt.types import Preprocess, TensorSpec


@pytest.fixture
def images(tmp_path):
    paths = []
    for index, size in enumerate([(40, 30), (24, 50), (10, 12)]):
        pixels = np.random.default_rng(index).integers(0, 256, size, dtype=np.uint8)
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def spec(*shape, channel_axis=-1):
    return TensorSpec("x", shape, "float32", channel_axis)


def test_free_sizes_become_those_of_the_largest_image_rounded_up(images):
    batch = sample_batch(spec(None, None, None, 1), Preprocess(), images, multiple=(16, 16))
    assert batch.shape == (3, 48, 64, 1)
    assert batch.dtype == np.float32


def test_pixels_are_those_of_the_image_divided_by_255(images):
    batch = sample_batch(spec(None, 40, 30, 1), Preprocess(), images[:1])
    pixels = np.asarray(Image.open(images[0]), dtype=np.float32)
    np.testing.assert_array_equal(batch[0, ..., 0], pixels / np.float32(255))


def test_channels_first_networks_get_channels_first(images):
    batch = sample_batch(spec(None, 3, 16, 16, channel_axis=1), Preprocess(), images)
    assert batch.shape == (3, 3, 16, 16)


def test_a_fixed_batch_is_filled_and_the_limit_kept(images):
    assert len(sample_batch(spec(5, 8, 8, 1), Preprocess(), images)) == 5
    assert len(sample_batch(spec(None, 8, 8, 1), Preprocess(), images, limit=2)) == 2


def test_what_is_no_image_network_is_refused(images):
    with pytest.raises(ShapeError, match="takes no images"):
        sample_batch(spec(None, 7), Preprocess(), images)
    with pytest.raises(UsageError, match="no images"):
        sample_batch(spec(None, 8, 8, 1), Preprocess(), [])
