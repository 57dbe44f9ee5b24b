"""The public functions on a hand-written network, against NumPy and scipy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import signal

import segrt
from helpers import keras_files as kf
from segrt.errors import PackageError, SegrtError, UsageError


def convolved(images):
    """The network of `keras_files.model_config`: 3x3 SAME convolution, bias, ReLU."""
    outputs = np.zeros((*images.shape[:3], 2))
    for n, image in enumerate(images[..., 0].astype(np.float64)):
        for k in range(2):
            outputs[n, ..., k] = signal.correlate2d(image, kf.KERNEL[:, :, 0, k], mode="same")
    return np.maximum(outputs + kf.BIAS, 0)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return kf.write_h5(tmp_path_factory.mktemp("model") / "net.h5")


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def package(request, model_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "net.segrt"
    return segrt.build(model_file, target=request.param, output=folder, threads=1)


def test_session_runs_in_the_layout_and_names_of_the_source(package):
    images = np.random.default_rng(0).random((2, 8, 6, 1), dtype=np.float32)
    with segrt.open_session(package, selftest=True) as session:
        (spec,) = session.inputs
        assert (spec.name, spec.shape, spec.dtype) == ("image", (None, 8, 6, 1), "float32")
        outputs = session.run({"image": images})
    np.testing.assert_allclose(outputs["conv"], convolved(images), rtol=1e-5, atol=1e-6)


def test_build_without_output_makes_a_package_of_its_own(model_file):
    package = segrt.build(model_file, target="onnxruntime")
    assert (package.path / "manifest.json").is_file()


def test_build_takes_a_loaded_model(model_file, tmp_path):
    model = segrt.load(model_file)
    package = segrt.build(model, target="onnxruntime", output=tmp_path / "net.segrt")
    assert package.manifest.outputs[0].name == "conv"
    assert [value.name for value in model.graph.outputs] == ["conv"]


@pytest.mark.parametrize(
    "given",
    [{"batch": "1:4:16"}, {"size": 64}, {"threads": "2"}, {"preprocess": {"scale": 1 / 255}}],
    ids=str,
)
def test_build_takes_no_texts_for_numbers(model_file, tmp_path, given):
    with pytest.raises(UsageError, match="must be"):
        segrt.build(model_file, target="onnxruntime", output=tmp_path / "net.segrt", **given)
    assert not any(tmp_path.iterdir())


def test_build_takes_numpys_numbers(model_file, tmp_path):
    size = np.array([8, 6])
    built = segrt.build(
        model_file, target="onnxruntime", output=tmp_path / "net.segrt", size=tuple(size),
        batch=size[0],
    )  # fmt: skip
    with segrt.open_session(built.path, threads=size[1]) as session:
        assert session.inputs[0].shape == (8, 8, 6, 1)


def test_verify_compares_with_the_imported_graph(package):
    report = segrt.verify(package)
    assert report.ok
    assert [row.name for row in report.rows] == ["conv"]


def test_verify_takes_images(package, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert segrt.verify(package, images=tmp_path).images == 1


def test_verify_refuses_images_and_arrays_at_once(package, tmp_path):
    with pytest.raises(UsageError, match="not both"):
        segrt.verify(package, images=tmp_path, inputs={"image": np.zeros((1, 8, 6, 1))})


def test_predict_writes_the_larger_class_of_each_pixel(package, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (8, 6), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    report = segrt.predict(package, tmp_path / "a.png", tmp_path / "masks")
    assert not report.failed
    found = np.asarray(Image.open(tmp_path / "masks" / "a.png"))
    wanted = convolved(pixels[None, ..., None] / 255)[0]
    clear = np.abs(wanted[..., 1] - wanted[..., 0]) > 1e-4  # elsewhere rounding decides
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[clear], wanted.argmax(-1)[clear])


def test_convert_writes_what_load_returns(model_file, tmp_path):
    segrt.convert(model_file, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size > 0
    with pytest.raises(UsageError, match="no such folder"):
        segrt.convert(model_file, tmp_path / "nowhere" / "net.onnx")


def test_plan_names_every_form(model_file):
    assert segrt.plan_upsampling(segrt.load(model_file)) == []


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"target": "tpu"}, UsageError, "unknown target"),
        ({"precision": "fp17"}, UsageError, "unknown precision"),
        ({"upsampling": "magic"}, UsageError, "form of upsampling"),
        ({"threads": 0}, UsageError, "threads"),
        ({"size": (0, 9)}, SegrtError, "size"),
        ({"preprocess": segrt.Preprocess(mean=(0.1, 0.2))}, UsageError, "mean"),
        ({"preprocess": segrt.Preprocess(std=(0.0,))}, UsageError, "std"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(model_file, tmp_path, options, error, text):
    output = tmp_path / "net.segrt"
    with pytest.raises(error, match=text):
        segrt.build(model_file, **{"target": "onnxruntime", "output": output, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_package_is_refused(tmp_path):
    with pytest.raises(PackageError):
        segrt.open_session(tmp_path)


def test_record_wants_images_or_inputs(model_file, tmp_path):
    with pytest.raises(UsageError, match="either images or inputs"):
        segrt.record(model_file, output=tmp_path / "r.npz")


def test_public_names_are_those_listed():
    assert all(hasattr(segrt, name) for name in segrt.__all__)
    assert not hasattr(segrt, "no_such_name")
    assert dir(segrt) == sorted(segrt.__all__)
    assert Path(segrt.__file__).with_name("py.typed").is_file()
