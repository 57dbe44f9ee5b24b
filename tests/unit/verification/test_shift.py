"""The detector finds planted shifts, and stays silent on all other kinds of error."""

import numpy as np
import pytest

from segrt.verification.shift import ShiftDetector, find_shift

STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def smooth(seed=0, size=40, channels=3):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, size, size, channels))
    for axis in (1, 2):
        image = sum(np.roll(image, step, axis) for step in range(-3, 4)) / 7
    return image.astype(np.float32)


def blobs():
    y, x = np.mgrid[:48, :48]
    mask = ((y - 20) ** 2 + (x - 25) ** 2 < 150).astype(np.float32)
    return mask[None, :, :, None]


def nearest(seed=0):
    return smooth(seed, size=20).repeat(2, axis=1).repeat(2, axis=2)


def moved(image, dy, dx):
    """What lies at (y, x) in the image lies at (y + dy, x + dx) in the result; edge repeated."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = image.shape[1:3]
    return padded[:, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("make", [smooth, blobs, nearest])
def test_finds_planted_shift(make, step):
    image = make()
    found = find_shift(image, moved(image, *step))
    assert found is not None
    assert (found.dy, found.dx) == step
    assert found.residual == pytest.approx(0.0, abs=1e-12)


def test_finds_shift_under_noise():
    image = smooth()
    noise = 0.05 * image.std() * np.random.default_rng(3).normal(size=image.shape)
    found = find_shift(image, moved(image, 1, -1) + noise.astype(np.float32))
    assert found is not None
    assert (found.dy, found.dx) == (1, -1)


@pytest.mark.parametrize("step", [(0.5, 0), (0, 0.5), (-0.5, 0), (-0.5, 0.5), (0.5, 0.5)])
def test_finds_half_pixel(step):
    image = smooth()
    dy, dx = (int(np.sign(part)) for part in step)
    candidate = (image + moved(image, dy, 0)) / 2
    candidate = (candidate + moved(candidate, 0, dx)) / 2
    found = find_shift(image, candidate)
    assert found is not None
    assert (found.dy, found.dx) == step


def constant():
    return np.full((1, 32, 32, 2), 0.25, np.float32)


NOT_SHIFTED = {
    "equal": lambda image, rng: image.copy(),
    "rounding": lambda image, rng: (image * (1 + 1e-7)).astype(np.float32),
    "small noise": lambda image, rng: image + 0.01 * rng.normal(size=image.shape),
    "large noise": lambda image, rng: image + rng.normal(size=image.shape),
    "noise alone": lambda image, rng: rng.normal(size=image.shape),
    "doubled": lambda image, rng: image * 2,
    "negated": lambda image, rng: -image,
    "bias": lambda image, rng: image + 0.3,
    "zero": lambda image, rng: np.zeros_like(image),
    "constant": lambda image, rng: np.full_like(image, 0.7),
    "blurred": lambda image, rng: (moved(image, 0, 1) + 2 * image + moved(image, 0, -1)) / 4,
    "NaN": lambda image, rng: np.full_like(image, np.nan),
    "one pixel wrong": lambda image, rng: (
        image + (np.arange(image.size) == 777).reshape(image.shape)
    ),
}


@pytest.mark.parametrize("make", [smooth, blobs, nearest, constant])
@pytest.mark.parametrize("how", NOT_SHIFTED)
def test_stays_silent(make, how):
    for seed in range(5):
        image = make()
        candidate = NOT_SHIFTED[how](image, np.random.default_rng(seed)).astype(np.float32)
        assert find_shift(image, candidate) is None


def test_noise_on_a_constant_is_no_shift():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image = (constant() + 1e-3 * rng.normal(size=(1, 32, 32, 2))).astype(np.float32)
        noisy = (constant() + 1e-3 * rng.normal(size=(1, 32, 32, 2))).astype(np.float32)
        assert find_shift(image, noisy) is None


def test_a_shift_along_stripes_is_reported_as_the_smallest_one():
    stripes = np.repeat(smooth()[:, :1], 40, axis=1)
    found = find_shift(stripes, moved(stripes, 0, 1))
    assert found is not None
    assert (found.dy, found.dx) == (0, 1)


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (1, 3, 9, 1), (2, 10), (1, 8, 8, 0)])
def test_images_too_small_to_shift_are_left_alone(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert find_shift(image, image + 1) is None


def test_other_channel_axis_and_pieces():
    image, candidate = smooth(), moved(smooth(), 0, -1)
    detector = ShiftDetector(channel_axis=1)
    for row in range(2):
        piece = slice(row, row + 1)
        detector.update(image[piece].transpose(0, 3, 1, 2), candidate[piece].transpose(0, 3, 1, 2))
    found = detector.result()
    assert found is not None
    assert (found.dy, found.dx) == (0, -1)
