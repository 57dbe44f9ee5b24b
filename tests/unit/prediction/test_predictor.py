from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from segrt.errors import EngineError, ImageError, ShapeError, UsageError
from segrt.prediction.find_images import find_images
from segrt.prediction.options import PredictOptions
from segrt.prediction.predictor import predict_files
from segrt.types import Preprocess, TensorSpec

RNG = np.random.default_rng(21)
ALL = ("mask", "overlay", "prob")


def save(path, size=(40, 50), channels=1):
    shape = size if channels == 1 else (*size, channels)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def identity(batch):
    return batch


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


def predict(session, folder, preprocess=None, progress=None, **options):
    return predict_files(
        session,
        preprocess or Preprocess(),
        find_images([folder / "in"]),
        folder / "out",
        options=PredictOptions(**options),
        progress=progress,
    )


@pytest.mark.parametrize(
    "shape", [(None, None, None, 1), (None, 16, 24, 1), (3, 16, 24, 1), (1, 64, 64, 1)]
)
@pytest.mark.parametrize("batch", [1, 4])
def test_identity_network_thresholds_the_image(folder, fake_session, shape, batch):
    images = {
        f"im {i} ü.png": save(folder / "in" / f"im {i} ü.png", (40, 50 + i)) for i in range(5)
    }
    session = fake_session(identity, shape)
    report = predict(session, folder, batch=batch)
    assert not report.failed
    assert report.pixels == sum(pixels.size for pixels in images.values())
    for name, pixels in images.items():
        expected = np.where(pixels.astype(np.float32) / 255 > 0.5, 255, 0)
        np.testing.assert_array_equal(read(folder / "out" / name), expected)
    assert {size[0] for size in session.batches} <= {shape[0] or batch, 1, 2, 3, 4}
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(images)


def test_batches_fill_up_across_images(folder, fake_session):
    for i in range(6):
        save(folder / "in" / f"{i}.png", (16, 16))
    session = fake_session(identity, (None, 16, 16, 1))
    assert not predict(session, folder, batch=4).failed
    assert [size[0] for size in session.batches] == [4, 2]


def test_channels_first_network(folder, fake_session):
    pixels = save(folder / "in" / "a.png", (30, 20), 3)

    def classes(batch):
        return batch / np.maximum(batch.sum(-1, keepdims=True), 1e-6)

    session = fake_session(classes, (None, 3, 16, 16), channel_axis=1)
    assert not predict(session, folder).failed
    found = read(folder / "out" / "a.png")
    np.testing.assert_array_equal(found, pixels.argmax(-1))


def test_filter_network_is_seamless(folder, fake_session):
    pixels = save(folder / "in" / "a.png", (100, 90))

    def box(batch):
        return ndimage.uniform_filter(batch, (1, 5, 5, 1), mode="mirror").astype(np.float32)

    predict(fake_session(box, (None, 32, 32, 1)), folder, save=("prob",), overlap=12)
    tiled = read(folder / "out" / "a_prob.png").astype(int)
    (folder / "out" / "a_prob.png").unlink()
    predict(fake_session(box, (None, None, None, 1)), folder, save=("prob",))
    whole = read(folder / "out" / "a_prob.png").astype(int)
    # Half of the pixels are seen whole by all their tiles; the others lie on damped edges.
    assert np.median(abs(tiled - whole)) == 0
    assert abs(tiled - whole).mean() < 1.0
    assert pixels.shape == tiled.shape[:2]


def test_sizes_are_padded_to_the_multiple_and_cropped(folder, fake_session):
    pixels = save(folder / "in" / "a.png", (33, 47))

    def strict(batch):
        assert batch.shape[1] % 16 == 0
        assert batch.shape[2] % 8 == 0
        return batch

    session = fake_session(strict, (None, None, None, 1))
    assert not predict(session, folder, multiple=(16, 8)).failed
    assert session.batches == [(1, 48, 48, 1)]
    np.testing.assert_array_equal(read(folder / "out" / "a.png") > 0, pixels > 127)


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (33, 1)])
def test_thin_images(folder, fake_session, size):
    pixels = save(folder / "in" / "a.png", size)
    assert not predict(fake_session(identity, (None, 16, 16, 1)), folder, save=ALL).failed
    np.testing.assert_array_equal(read(folder / "out" / "a.png") > 0, pixels > 127)


def test_a_failed_image_in_the_middle_is_reported_and_the_others_are_finished(folder, fake_session):
    for name in "abde":
        save(folder / "in" / f"{name}.png", (20, 20))
    (folder / "in" / "c.png").write_bytes((folder / "in" / "a.png").read_bytes()[:200])
    seen = []
    session = fake_session(identity, (None, 16, 16, 1))
    report = predict(session, folder, batch=3, progress=lambda *step: seen.append(step))
    (failed,) = report.failed
    assert failed.source.name == "c.png"
    assert isinstance(failed.error, ImageError)
    assert "c.png" in str(failed.error)
    assert [result.source.name for result in report.results] == [f"{n}.png" for n in "abcde"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == [f"{n}.png" for n in "abde"]
    assert [step[:2] for step in seen] == [(i, 5) for i in range(1, 6)]
    assert json.loads(json.dumps(report.as_json()))["failed"] == 1


def test_stop_on_error(folder, fake_session):
    (folder / "in" / "a.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.png"):
        predict(fake_session(identity, (None, 16, 16, 1)), folder, stop_on_error=True)


@pytest.mark.parametrize("answer", ["none", "nan"])
def test_one_images_engine_failure_spares_its_batch(folder, fake_session, answer):
    for i in range(4):
        Image.fromarray(np.full((16, 16), 50 * i, np.uint8)).save(folder / "in" / f"{i}.png")

    def picky(batch):
        if (batch == np.float32(100 / 255)).any():
            return None if answer == "none" else batch * np.nan
        return batch

    report = predict(fake_session(picky, (None, 16, 16, 1)), folder, batch=4)
    (failed,) = report.failed
    assert failed.source.name == "2.png"
    assert isinstance(failed.error, EngineError)
    assert len(list((folder / "out").iterdir())) == 3


def test_a_result_that_cannot_be_written_is_reported(folder, fake_session):
    for name in "ab":
        save(folder / "in" / f"{name}.png")
    (folder / "out" / "a.png").mkdir(parents=True)
    report = predict(fake_session(identity, (None, None, None, 1)), folder)
    assert [result.error is None for result in report.results] == [False, True]
    assert [path.name for path in (folder / "out").iterdir() if path.is_file()] == ["b.png"]


def test_names_that_meet_are_kept_apart(folder, fake_session):
    for name in ("a.png", "a.bmp", "a_overlay.png", "A.png", "a_png.png"):
        save(folder / "in" / name, (8, 8))
    report = predict(fake_session(identity, (None, None, None, 1)), folder, save=ALL)
    paths = [path for result in report.results for path in result.files.values()]
    assert not report.failed
    assert len({str(path).casefold() for path in paths}) == 15
    assert len(list((folder / "out").iterdir())) == 15
    for result in report.results:
        source = read(result.source) > 127
        np.testing.assert_array_equal(read(result.files["mask"]) > 0, source)


def test_pages_of_a_stack_are_numbered(folder, fake_session):
    stack = RNG.integers(0, 256, (12, 9, 8), dtype=np.uint8)
    tifffile.imwrite(folder / "in" / "s.tif", stack, photometric="minisblack")
    report = predict(fake_session(identity, (None, None, None, 1)), folder, mask_format="tif")
    assert [r.files["mask"].name for r in report.results] == [
        f"s_page{i:02d}.tif" for i in range(1, 13)
    ]
    for page, result in zip(stack, report.results, strict=True):
        np.testing.assert_array_equal(tifffile.imread(result.files["mask"]) > 0, page > 127)


def test_images_are_never_overwritten(folder, fake_session):
    save(folder / "in" / "a.png")
    before = (folder / "in" / "a.png").read_bytes()
    with pytest.raises(UsageError, match="replace"):
        predict_files(
            fake_session(identity, (None, None, None, 1)),
            Preprocess(),
            find_images([folder / "in"]),
            folder / "in",
        )
    assert (folder / "in" / "a.png").read_bytes() == before


def test_sixteen_bits_and_alpha(folder, fake_session):
    deep = RNG.integers(0, 65536, (20, 20), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "in" / "deep.png")
    save(folder / "in" / "alpha.png", (20, 20), 4)
    report = predict(fake_session(identity, (None, None, None, 1)), folder)
    assert not report.failed
    np.testing.assert_array_equal(read(folder / "out" / "deep.png") > 0, deep > 32767)
    ignored, grey = report.results[0].remarks
    assert (ignored, "made grey" in grey) == ("transparency was ignored", True)
    assert report.results[1].remarks == ()


def test_floating_point_pixels_up_to_one_are_remarked(folder, fake_session):
    tifffile.imwrite(folder / "in" / "f.tif", RNG.random((9, 9), dtype=np.float32))
    session = fake_session(identity, (None, None, None, 1))
    assert "scale" in predict(session, folder).results[0].remarks[0]
    assert predict(session, folder, Preprocess(scale=1.0)).results[0].remarks == ()


@pytest.fixture
def tiling_session(fake_session):
    """A network that passes its tiles on, in a session that can tile by itself."""

    def make(whole):
        class Tiling(fake_session):
            outputs = (TensorSpec("out0", (None, 16, 16, 1), "float32", -1),)

            def run_tiles(self, image, grid, batch, output):
                self.asked.append((image.shape, grid.tile, batch, output))
                return whole(image)

        session = Tiling(identity, (None, 16, 16, 1))
        session.asked = []
        return session

    return make


def test_a_session_that_tiles_by_itself(folder, tiling_session):
    """It is given whole images, if they have several tiles."""
    pixels = save(folder / "in" / "large.png", (40, 50))
    save(folder / "in" / "small.png", (16, 16))
    session = tiling_session(lambda image: 1 - image)
    assert not predict(session, folder, batch=3).failed
    assert session.asked == [((40, 50, 1), (16, 16), 3, "out0")]
    assert session.batches == [(1, 16, 16, 1)]
    found = read(folder / "out" / "large.png") > 0
    np.testing.assert_array_equal(found, 1 - pixels.astype(np.float32) / 255 > 0.5)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_what_it_cannot_do_is_tiled_here(folder, tiling_session, kind):
    """Logits become probabilities before they are blended."""
    pixels = save(folder / "in" / "a.png", (40, 50))
    session = tiling_session(lambda image: None)
    assert not predict(session, folder, kind=kind, threshold=0.6).failed
    assert len(session.asked) == (kind == "probabilities")
    assert len(session.batches) == 3 * 4
    limit = 0.6 if kind == "probabilities" else np.log(0.6 / 0.4)
    found = read(folder / "out" / "a.png") > 0
    np.testing.assert_array_equal(found, pixels.astype(np.float32) / 255 > limit)


def test_what_it_returns_is_checked(folder, tiling_session):
    save(folder / "in" / "a.png", (40, 50))
    report = predict(tiling_session(lambda image: image * np.nan), folder)
    assert "NaN" in str(report.results[0].error)
    with pytest.raises(UsageError, match="does not hold probabilities"):
        predict(tiling_session(lambda image: image + 2), folder)


def test_class_pixels_are_counted(folder, fake_session):
    pixels = save(folder / "in" / "a.png", (40, 50))
    report = predict(fake_session(identity, (None, 16, 16, 1)), folder)
    high = int((pixels > 127).sum())
    assert report.results[0].class_pixels == {0: pixels.size - high, 1: high}
    assert report.results[0].tiles == 3 * 4  # every 14 pixels at most


def test_logits(folder, fake_session):
    pixels = save(folder / "in" / "a.png")
    session = fake_session(lambda batch: batch * 100 - 50, (None, None, None, 1))
    with pytest.raises(UsageError, match="probabilities"):
        predict(session, folder)
    assert not predict(session, folder, kind="logits").failed
    np.testing.assert_array_equal(read(folder / "out" / "a.png") > 0, pixels > 127)


def test_wrong_channels_fail_the_image_only(folder, fake_session):
    tifffile.imwrite(
        folder / "in" / "a.tif",
        np.zeros((9, 9, 5), np.uint8),
        photometric="minisblack",
        planarconfig="contig",
    )
    save(folder / "in" / "b.png")
    report = predict(fake_session(identity, (None, None, None, 1)), folder)
    assert [type(result.error) for result in report.results] == [ShapeError, type(None)]


def test_what_is_wrong_for_all_is_raised(folder, fake_session):
    save(folder / "in" / "a.png")
    with pytest.raises(UsageError, match="tile"):
        predict(fake_session(identity, (None, 16, 16, 1)), folder, tile=32)
    with pytest.raises(ShapeError, match="map"):
        predict(fake_session(lambda b: b[:, ::2, ::2], (None, 16, 16, 1)), folder)
    with pytest.raises(ShapeError, match="image"):
        predict(fake_session(identity, (None, 16)), folder)
    with pytest.raises(UsageError, match="output"):
        predict(fake_session(identity, (None, 16, 16, 1)), folder, output_name="none")
    assert list((folder / "out").iterdir()) == []


def test_several_outputs_are_announced(folder, fake_session):
    save(folder / "in" / "a.png")
    session = fake_session(identity, (None, None, None, 1), outputs=2)
    assert "out1" in predict(session, folder).remarks[0]
    assert predict(session, folder, output_name="out1").remarks == ()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 0},
        {"overlap": -1},
        {"tile": 8, "overlap": 8},
        {"multiple": (0, 1)},
        {"threshold": 1.0},
        {"save": ()},
        {"save": ("maks",)},
        {"mask_format": "jpg"},
        {"batch": 0},
        {"kind": "odds"},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(UsageError):
        PredictOptions(**options)


def test_memory_and_reading_ahead_are_bounded(folder, fake_session, monkeypatch):
    """While the first image is in the network, only a few further ones may be decoded."""
    from segrt.prediction import image_work, predictor

    for i in range(12):
        save(folder / "in" / f"{i}.png", (16, 16))
    decoded, lock = [0], threading.Lock()
    original = image_work.read_image

    def counting(*arguments, **options):
        with lock:
            decoded[0] += 1
        return original(*arguments, **options)

    monkeypatch.setattr(image_work, "read_image", counting)
    excess = []

    def network(batch):
        threading.Event().wait(0.02)  # time for readers to run too far ahead
        excess.append(decoded[0] - len(excess) - 1)
        return batch

    assert not predict(fake_session(network, (None, 16, 16, 1)), folder).failed
    assert max(excess) <= predictor._AHEAD
    assert max(excess) >= 1  # it does read ahead
