"""Recording with real Keras, on the golden models: the file alone gives back what was recorded."""

from __future__ import annotations

import base64
import importlib.util
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from segrt._optional import is_installed
from segrt.errors import ModelFileError, ShapeError, UnavailableError, UnsafeFileError, UsageError
from segrt.verification import record as recording
from segrt.verification._keras_load import choose_keras, read_file

DATA = Path(__file__).parent / "data"
KERAS = is_installed("keras") or is_installed("tf_keras")
needs_keras = pytest.mark.skipif(not KERAS, reason="no Keras is installed to record with")


def fitting_versions() -> list[str]:
    """Return the golden folders that the installed Keras should read."""
    if not KERAS:
        return ["none"]
    found = []
    for folder in sorted(DATA.iterdir()):
        three = folder.name.startswith("keras-3")
        if three and not is_installed("keras"):
            continue
        found.append(folder.name)
    return found


def arrays(path: Path, kind: str) -> dict[str, np.ndarray]:
    with np.load(path) as content:
        return {k.split("/", 1)[1]: content[k] for k in content.files if k.startswith(f"{kind}/")}


def fits(path: Path) -> bool:
    """Whether the Keras that `record` would choose is as new as the file, of the same major."""

    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(number) for number in version.split("-", maxsplit=1)[0].split(".")[:2])

    wanted = read_file(path).keras_version
    try:
        chosen = numbers(choose_keras(wanted).__version__)
    except UnavailableError:
        return False
    return chosen[0] == numbers(wanted)[0] and chosen >= numbers(wanted)


@needs_keras
@pytest.mark.parametrize("version", fitting_versions())
@pytest.mark.parametrize(
    "name", ["unet_nearest", "nested", "shared", "many_inputs_outputs", "sequential_plain"]
)
@pytest.mark.filterwarnings("default")
def test_file_gives_the_golden_recording(version, name, tmp_path, disagreement):
    folder = DATA / version
    files = [folder / f"{name}{suffix}" for suffix in (".keras", ".h5")]
    file = next(file for file in files if file.is_file())
    if not fits(file):
        pytest.skip(f"the installed Keras is no match for a file of {version}")
    if (version, name) == ("keras-2.0.9", "nested"):
        pytest.skip("that file lacks the inner Sequential's name, which Keras makes up anew")
    golden = folder / f"{name}.npz"
    inputs = arrays(golden, "input")
    result = recording.record(file, inputs, tmp_path / "made.npz")
    layers, wanted = arrays(result.path, "layer"), arrays(golden, "layer")
    assert set(layers) == set(wanted) == set(result.layers)
    for key, array in wanted.items():
        assert disagreement(layers[key], array, bound=1e-5) is None, key
    assert list(arrays(result.path, "output")) == list(arrays(golden, "output"))
    assert set(arrays(result.path, "input")) == set(inputs)
    meta = json.loads(str(np.load(result.path)["meta"]))
    assert meta["format"] == 1
    assert len(meta["source_sha256"]) == 64


@needs_keras
@pytest.mark.filterwarnings("default")
def test_weights_only_with_architecture(tmp_path, disagreement):
    file = DATA / "keras-3.15" / "nested.weights.h5"
    golden = file.with_name("nested.npz")
    try:
        choose_keras("3.15")
    except UnavailableError:
        pytest.skip("the installed Keras is older than 3")
    with h5py.File(file, "r") as content:
        assert "model_config" not in content.attrs
    result = recording.record(
        file,
        arrays(golden, "input"),
        tmp_path / "made.npz",
        architecture=file.with_name("nested.json"),
    )
    layers = arrays(result.path, "layer")
    for key, array in arrays(golden, "layer").items():
        assert disagreement(layers[key], array, bound=1e-5) is None, key


@needs_keras
@pytest.mark.filterwarnings("default")
def test_wrong_inputs_are_named(tmp_path):
    file = next((f for f in sorted(DATA.glob("*/many_inputs_outputs.h5")) if fits(f)), None)
    if file is None:
        pytest.skip("no golden fits the installed Keras")
    good = arrays(file.with_suffix(".npz"), "input")
    with pytest.raises(UsageError, match="names"):
        recording.record(file, {"wrong": good["large"]}, tmp_path / "made.npz")
    with pytest.raises(UsageError, match="number"):
        recording.record(file, good["large"], tmp_path / "made.npz")
    with pytest.raises(ShapeError, match="batch"):
        recording.record(
            file, {"large": good["large"].repeat(2, 0), "small": good["small"]}, tmp_path / "x.npz"
        )
    assert list(tmp_path.iterdir()) == []


def archive(path: Path, config: object) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        content.writestr("config.json", json.dumps(config))
    return path


LAMBDA = {"class_name": "Lambda", "config": {"name": "evil", "function": ["", None, None]}}


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (LAMBDA, "'evil'"),
        (
            {"class_name": "__lambda__", "config": {"value": base64.b64encode(b"x").decode()}},
            "Lambda",
        ),
        ({"class_name": "system", "module": "os", "config": {}}, "'os'"),
        ({"class_name": "eval", "module": "builtins", "config": {}}, "'builtins'"),
    ],
)
def test_code_in_a_file_is_refused_before_keras_sees_it(layer, complaint, tmp_path):
    from segrt.verification._keras_load import load_keras

    config = {"class_name": "Functional", "config": {"name": "net", "layers": [layer]}}
    file = read_file(archive(tmp_path / "bad.keras", config))
    with pytest.raises(UnsafeFileError, match=complaint):
        load_keras(file, None)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(ModelFileError, match="not a file"):
        recording.record(tmp_path / "none.h5", np.zeros((1, 2)), tmp_path / "made.npz")
    (tmp_path / "noise.h5").write_bytes(b"no model at all" * 9)
    with pytest.raises(ModelFileError, match="no Keras model"):
        recording.record(tmp_path / "noise.h5", np.zeros((1, 2)), tmp_path / "made.npz")


@pytest.mark.skipif(
    KERAS or importlib.util.find_spec("tensorflow") is not None, reason="Keras is installed"
)
def test_without_keras_the_error_says_what_to_install(tmp_path):
    with pytest.raises(UnavailableError, match="pip install"):
        recording.record(
            DATA / "keras-3.15" / "nested.h5", np.zeros((1, 8, 12, 2)), tmp_path / "made.npz"
        )


def test_recording_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "made.npz"

    def entries():
        yield "meta", np.array("{}")
        yield "layer/a/b@1", np.ones((2, 3), np.float32)

    recording._write_npz(target, entries())
    with np.load(target) as content:
        assert content.files == ["meta", "layer/a/b@1"]
        assert content["layer/a/b@1"].dtype == np.float32
    before = target.read_bytes()

    def broken():
        yield "meta", np.array("{}")
        raise RuntimeError("the layer failed")

    with pytest.raises(RuntimeError):
        recording._write_npz(target, broken())
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["made.npz"]
