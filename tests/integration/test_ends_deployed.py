"""Packages that take pixels and put out masks, on every engine that is here."""

from pathlib import Path

import numpy as np
import pytest

import segrt
from segrt.errors import UsageError
from segrt.types import Preprocess, ShapeProfile
from segrt.verification.recording import Recording

DATA = Path(segrt.__file__).parent / "demo/data"
MODEL, RECORDED = DATA / "cells_unet.h5", DATA / "keras_recording.npz"
ENDS = {"input": "uint8", "head": "mask"}
TARGETS = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module", params=TARGETS)
def packages(request, tmp_path_factory):
    """The demo's network, as it is and with both ends."""
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp("ends")
    return tuple(
        segrt.build(
            MODEL, target=request.param, output=folder / f"{index}.segrt", threads=1, **ends
        )
        for index, ends in enumerate(({}, ENDS))
    )


def pixels():
    """The recording's images, as they were before they were prepared."""
    recording = Recording(RECORDED)
    (values,) = recording.inputs().values()
    return np.rint(values * 255).astype(np.uint8)


def test_the_masks_are_those_of_the_floats(packages):
    plain, deployed = packages
    images = pixels()
    with segrt.open_session(plain) as session:
        (spec,) = session.inputs
        (values,) = session.run({spec.name: (images / 255).astype("f4")}).values()
    with segrt.open_session(deployed, selftest=True) as session:
        assert session.inputs[0].dtype == "uint8"
        (mask,) = session.run({spec.name: images}).values()
    assert mask.dtype == np.uint8
    sure = np.abs(values - 0.5) > 1e-5
    assert sure.mean() > 0.999
    assert np.array_equal(mask[sure], (values > 0.5)[sure].astype(np.uint8))
    assert 0 < mask.mean() < 1


def test_every_layer_is_still_what_keras_said(packages):
    deployed = packages[1]
    report = segrt.verify(deployed, against=RECORDED, threads=1)
    assert report.ok, report.verdict
    (output,) = report.outputs
    assert output.name.endswith(":mask")
    assert output.masks.agreement == 1.0
    names = {row.name for row in report.rows if row.whole is not None}
    (spec,) = deployed.manifest.inputs
    # What the network takes and puts out are inner values now, and are compared.
    assert {spec.name, output.name.removesuffix(":mask")} <= names
    assert segrt.verify(deployed, threads=1).ok


def test_a_reference_fed_with_other_than_pixels_is_refused(packages, tmp_path):
    shifted = dict(np.load(RECORDED))
    name = next(key for key in shifted if key.startswith("input/"))
    shifted[name] = shifted[name] + np.float32(0.002)
    np.savez(tmp_path / "shifted.npz", **shifted)
    with pytest.raises(UsageError, match="no 8-bit pixels"):
        segrt.verify(packages[1], against=tmp_path / "shifted.npz", threads=1)


def images_in(folder: Path) -> list[Path]:
    from PIL import Image

    paths = []
    for index, image in enumerate(pixels()[:2]):
        path = folder / f"image{index}.png"
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
        paths.append(path)
    return paths


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    from PIL import Image

    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def test_predict_writes_the_same_masks(packages, tmp_path):
    images = images_in(tmp_path)
    found = []
    for index, package in enumerate(packages):
        report = segrt.predict(package, images, tmp_path / str(index), threads=1)
        assert not report.failed
        found.append(masks_of(tmp_path / str(index)))
    assert found[0].keys() == found[1].keys()
    for name, mask in found[0].items():
        assert set(np.unique(mask)) == {0, 255}
        assert np.mean(mask != found[1][name]) < 1e-4


def test_tiles_of_masks_are_joined_not_blended(packages, tmp_path):
    images = images_in(tmp_path)
    options = segrt.PredictOptions(tile=64, overlap=32)
    found = []
    for index, package in enumerate(packages):
        segrt.predict(package, images, tmp_path / str(index), threads=1, options=options)
        found.append(masks_of(tmp_path / str(index)))
    for name, mask in found[0].items():
        assert set(np.unique(found[1][name])) == {0, 255}
        assert np.mean(mask != found[1][name]) < 0.02


@pytest.mark.parametrize(
    ("options", "said"),
    [({"save": ("mask", "prob")}, "no probabilities"), ({"threshold": 0.3}, "threshold is inside")],
)
def test_what_a_mask_cannot_give_is_refused(packages, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        segrt.predict(
            packages[1], images_in(tmp_path), tmp_path / "out",
            options=segrt.PredictOptions(**options),
        )  # fmt: skip


@pytest.mark.parametrize("via", ["network", "onnx-parser"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_ends_inside_a_tensorrt_engine(via, precision, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    package = segrt.build(
        MODEL, target="tensorrt-rtx", output=tmp_path / "p.segrt", precision=precision, via=via,
        batch=ShapeProfile(1, 2, 4), size=(ShapeProfile(32, 64, 128),) * 2, **ENDS,
    )  # fmt: skip
    (taken,), (made,) = package.manifest.inputs, package.manifest.outputs
    assert (taken.dtype, made.dtype) == ("uint8", "uint8")
    assert package.manifest.engine["kernels"] > 0
    report = segrt.verify(package, network=True, against=RECORDED)
    assert report.ok, report.verdict


def test_preparing_is_recorded_and_not_done_twice(packages):
    plain, deployed = packages
    assert deployed.manifest.options.preprocess == plain.manifest.preprocess
    assert deployed.manifest.preprocess == Preprocess(scale=1.0)
