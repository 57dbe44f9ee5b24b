"""The synthetic images, and the ones in the package that were made by them."""

from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from segrt.demo import images
from segrt.demo.sheet import write_sheet
from segrt.demo.walk import score

DATA = files("segrt.demo") / "data"


def read(path):
    with path.open("rb") as stream, Image.open(stream) as image:
        return np.asarray(image)


def test_the_same_seed_gives_the_same_image():
    first, second, other = images.draw(3), images.draw(3), images.draw(4)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (48, 96), (33, 70)])
def test_images_are_worth_segmenting(height, width):
    drawn = [images.draw(seed, height, width) for seed in range(8)]
    for image in drawn:
        assert image.pixels.shape == image.mask.shape == (height, width)
        assert image.pixels.dtype == image.mask.dtype == np.uint8
        assert set(np.unique(image.mask)) == {0, 255}
    cells = np.concatenate([image.pixels[image.mask > 0] for image in drawn]).astype(float)
    ground = np.concatenate([image.pixels[image.mask == 0] for image in drawn]).astype(float)
    # Brighter, but not so that one threshold would do.
    assert cells.mean() > 1.5 * ground.mean()
    assert np.quantile(ground, 0.99) > np.quantile(cells, 0.05)


def test_touching_cells_are_kept_apart():
    labels = np.zeros((6, 6), np.int32)
    labels[:, :3], labels[:, 3:5] = 1, 2
    seam = images._seams(labels)
    assert seam[:, 2:4].all()
    assert seam.sum() == 12


@pytest.mark.parametrize("seed", range(6))
def test_bundled_labels_are_those_of_the_seed(seed):
    # The masks use no Fourier transform, so they are the same bits everywhere; the pixels' last
    # bit may depend on the processor, and one bit changes all photons drawn after it.
    np.testing.assert_array_equal(
        read(DATA / "labels" / f"cells_{seed}.png"), images.draw(seed).mask
    )


def test_bundled_images_have_labels():
    names = sorted(path.name for path in (DATA / "images").iterdir())
    assert names == [f"cells_{seed}.png" for seed in range(6)]
    assert names == sorted(path.name for path in (DATA / "labels").iterdir())


def test_score_knows_right_from_wrong():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    assert score("a", truth, truth).iou == 1.0
    assert score("a", ~truth, truth).iou == 0.0
    assert score("a", np.roll(truth, 1, axis=0), truth).iou == pytest.approx(1 / 3)
    assert score("a", ~truth, truth).accuracy == 0.0
    nothing = np.zeros((4, 4), bool)
    assert score("a", nothing, nothing).iou == 1.0


def test_sheet_shows_every_picture(tmp_path):
    grey = np.full((5, 7), 90, np.uint8)
    red = np.zeros((5, 7, 3), np.uint8)
    red[..., 0] = 200
    write_sheet(tmp_path / "sheet.png", ("one", "two"), [(grey, red), (red, grey)], ("1", "2"))
    found = read(tmp_path / "sheet.png").reshape(-1, 3)
    # Enlarged twofold: four pixels for one, two pictures of each kind.
    for colour in ((90, 90, 90), (200, 0, 0)):
        assert (found == colour).all(axis=1).sum() == 2 * 4 * 5 * 7


def test_each_row_of_the_sheet_has_its_caption(tmp_path):
    white = np.full((5, 70), 255, np.uint8)
    with_words, without = tmp_path / "with.png", tmp_path / "without.png"
    write_sheet(with_words, ("image",), [(white,), (white,)], ("first", "second"))
    write_sheet(without, ("image",), [(white,), (white,)], ("first", ""))
    rows = np.flatnonzero((read(with_words) != read(without)).any(axis=(1, 2)))
    # The second caption alone differs, and lies between the pictures.
    assert len(rows) > 0
    assert rows.min() > 20 + 6 + 20 + 10
    with pytest.raises(ValueError, match="argument"):
        write_sheet(with_words, ("image",), [(white,), (white,)], ("first",))
