"""Damaged and hostile model files: a clear error, quickly, in little memory."""

import base64
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers import keras_files as kf
from segrt.errors import (
    ModelFileError,
    SegrtError,
    UnsafeFileError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.importers import _hdf5_probe
from segrt.importers._base import import_model

CASES = {}


def case(error, text):
    """Register a function that writes one bad file, the error it must give and a text in it."""

    def decorate(function):
        CASES[function.__name__] = (function, error, text)
        return function

    return decorate


@case(ModelFileError, "no such model file")
def missing(folder):
    return folder / "nothing.h5"


@case(ModelFileError, "no known format")
def empty(folder):
    (folder / "m.h5").write_bytes(b"")
    return folder / "m.h5"


@case(ModelFileError, "no known format")
def random_bytes(folder):
    (folder / "m.h5").write_bytes(np.random.default_rng(0).bytes(50_000))
    return folder / "m.h5"


@case(ModelFileError, "damaged or truncated")
def hdf5_signature_then_noise(folder):
    (folder / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + np.random.default_rng(1).bytes(9000))
    return folder / "m.h5"


@case(ModelFileError, "damaged or truncated")
def truncated_h5(folder):
    path = kf.write_h5(folder / "m.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


@case(ModelFileError, "damaged or truncated")
def truncated_archive(folder):
    path = kf.write_archive(folder / "m.keras")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@case(ModelFileError, "not valid JSON")
def config_is_not_json(folder):
    return kf.write_h5(folder / "m.h5", config='{"class_name": "Functional", ')


@case(ModelFileError, "not valid JSON")
def config_nested_absurdly(folder):
    return kf.write_h5(folder / "m.h5", config='{"a":' + "[" * 20_000 + "]" * 20_000 + "}")


@case(ModelFileError, "not a JSON object")
def config_is_a_list(folder):
    return kf.write_h5(folder / "m.h5", config="[1, 2]")


@case(ModelFileError, "Functional or Sequential")
def subclassed_model(folder):
    return kf.write_h5(folder / "m.h5", config={"class_name": "MyUNet", "config": {"layers": []}})


@case(ModelFileError, "in a circle")
def cyclic(folder):
    layers = [
        kf.input_layer(),
        kf.layer("Add", "a", {}, ("image", "b")),
        kf.layer("Add", "b", {}, ("a", "image")),
    ]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers, outputs=("b",)), weights={})


@case(ModelFileError, "in a circle")
def depends_on_itself(folder):
    layers = [kf.input_layer(), kf.layer("Add", "a", {}, ("image", "a"))]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers, outputs=("a",)), weights={})


@case(ModelFileError, "does not exist")
def refers_to_missing_layer(folder):
    layers = [kf.input_layer(), kf.conv_layer(inputs=("ghost",))]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers))


@case(ModelFileError, "two layers named")
def two_layers_of_one_name(folder):
    layers = [kf.input_layer(), kf.conv_layer(), kf.conv_layer()]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers))


@case(ModelFileError, "nested more than")
def nested_absurdly(folder):
    inner = kf.model_config()
    for _ in range(40):
        wrapped = {**inner, "name": "net", "inbound_nodes": kf.node("image")}
        wrapped["config"]["name"] = "net"
        inner = kf.model_config([kf.input_layer(), wrapped], outputs=("net",))
    return kf.write_h5(folder / "m.h5", config=inner)


@case(SegrtError, "conv")
def kernel_of_wrong_shape(folder):
    weights = {"conv": {"conv/kernel:0": kf.KERNEL[:2], "conv/bias:0": kf.BIAS}}
    return kf.write_h5(folder / "m.h5", weights=weights)


@case(SegrtError, "conv")
def bias_of_wrong_shape(folder):
    weights = {"conv": {"conv/kernel:0": kf.KERNEL, "conv/bias:0": np.zeros(3, np.float32)}}
    return kf.write_h5(folder / "m.h5", weights=weights)


@case(ModelFileError, "wrong number of weights")
def bias_missing(folder):
    return kf.write_h5(folder / "m.h5", weights={"conv": {"conv/kernel:0": kf.KERNEL}})


@case(ModelFileError, "lacks the weights")
def weights_missing(folder):
    return kf.write_h5(folder / "m.h5", weights={})


@case(ModelFileError, "is missing")
def dataset_missing(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/bias:0"]
    return path


@case(ModelFileError, "NaN or infinity")
def weights_not_finite(folder):
    kernel = kf.KERNEL.copy()
    kernel[0, 0, 0, 0] = np.nan
    return kf.write_h5(folder / "m.h5", weights={"conv": {"kernel:0": kernel, "bias:0": kf.BIAS}})


@case(ModelFileError, "does not hold numbers")
def weights_are_text(folder):
    text = np.array([b"abc"] * 18)
    return kf.write_h5(folder / "m.h5", weights={"conv": {"kernel:0": text, "bias:0": kf.BIAS}})


@case(UnsafeFileError, "is a link")
def external_link(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = kf.KERNEL
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/kernel:0"]
        file["model_weights/conv/conv/kernel:0"] = h5py.ExternalLink("other.h5", "/secret")
    return path


@case(UnsafeFileError, "is a link")
def external_link_in_place_of_all_weights(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")
    return path


@case(UnsafeFileError, "in another file")
def external_storage(folder):
    path = kf.write_h5(folder / "m.h5")
    (folder / "raw.bin").write_bytes(kf.KERNEL.tobytes())
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/kernel:0"]
        file.create_dataset(
            "model_weights/conv/conv/kernel:0",
            shape=kf.KERNEL.shape,
            dtype="f4",
            external=[(str(folder / "raw.bin"), 0, h5py.h5f.UNLIMITED)],
        )
    return path


@case(UnsafeFileError, "in another file")
def virtual_dataset(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(folder / "other.h5", "w") as other:
        other["k"] = kf.KERNEL
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/kernel:0"]
        layout = h5py.VirtualLayout(shape=kf.KERNEL.shape, dtype="f4")
        layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "k", shape=kf.KERNEL.shape)
        file.create_virtual_dataset("model_weights/conv/conv/kernel:0", layout)
    return path


@case(UnsafeFileError, "declares more data")
def a_gigabyte_declared(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/kernel:0"]
        # Never written, so never allocated: the file stays a few kilobytes.
        file.create_dataset("model_weights/conv/conv/kernel:0", shape=(1 << 28,), dtype="f4")
    assert path.stat().st_size < 100_000
    return path


@case(UnsafeFileError, "declares more data")
def a_gigabyte_declared_in_chunks(folder):
    path = kf.write_h5(folder / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/conv/conv/kernel:0"]
        file.create_dataset(
            "model_weights/conv/conv/kernel:0",
            shape=(1 << 28,),
            dtype="f4",
            chunks=(1 << 16,),
            compression="gzip",
        )
    return path


@case(UnsafeFileError, "leaves the archive")
def archive_with_dots(folder):
    return kf.write_archive(folder / "m.keras", {"../../evil.json": "{}"})


@case(UnsafeFileError, "leaves the archive")
def archive_with_absolute_name(folder):
    return kf.write_archive(folder / "m.keras", {"/etc/evil": "{}"})


@case(UnsafeFileError, "declares more data")
def archive_bomb(folder):
    path = folder / "m.keras"
    kf.write_archive(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/bomb", b"\0" * (300 << 20))
    return path


@case(ModelFileError, "holds no weights")
def archive_without_weights(folder):
    return kf.write_archive(folder / "m.keras", {"model.weights.h5": None})


@case(ModelFileError, "no Keras archive")
def a_zip_of_something_else(folder):
    path = folder / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path


@case(ModelFileError, "damaged or truncated")
def archive_with_noise_as_weights(folder):
    return kf.write_archive(folder / "m.keras", {"model.weights.h5": b"\0" * 4096})


def _lambda_code(folder):
    marker = folder / "executed"
    source = f"open({str(marker)!r}, 'w').write('x')"
    return base64.b64encode(marshal.dumps(compile(source, "x", "exec"))).decode()


@case(UnsupportedLayerError, "never executed")
def lambda_bytecode(folder):
    config = {"function": [_lambda_code(folder), None, None], "function_type": "lambda"}
    layers = [kf.input_layer(), kf.layer("Lambda", "conv", config, ("image",))]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers), weights={})


@case(UnsupportedLayerError, "MyLayer")
def unknown_layers(folder):
    layers = [
        kf.input_layer(),
        kf.layer("MyLayer", "first", {}, ("image",)),
        kf.layer("OtherLayer", "conv", {}, ("first",)),
    ]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers), weights={})


@case(ModelFileError, "looks like an architecture")
def architecture_in_place_of_the_model(folder):
    path = folder / "m.json"
    path.write_text(json.dumps(kf.model_config()))
    return path


@case(UsageError, "without an architecture")
def weights_only(folder):
    path = folder / "w.h5"
    with h5py.File(path, "w") as file:
        kf.write_weights(file, {"conv": {"conv/kernel:0": kf.KERNEL, "conv/bias:0": kf.BIAS}})
    return path


@case(ModelFileError, "impossible shape")
def input_of_impossible_shape(folder):
    layers = [kf.input_layer(shape=(None, -5, 6, 1)), kf.conv_layer()]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers))


@case(SegrtError, "conv")
def absurd_kernel_size(folder):
    layers = [kf.input_layer(), kf.conv_layer(kernel_size=[10**9, 10**9])]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Everything that reading imports is imported."""
    import_model(kf.write_h5(tmp_path_factory.mktemp("sound") / "m.h5"))


def processor_seconds():
    """What this process and the children that ended have computed for."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("name", CASES)
def test_bad_file_is_refused(name, tmp_path, warm):
    write, error, text = CASES[name]
    path = write(tmp_path)
    started = processor_seconds()
    with pytest.raises(error) as caught:
        import_model(path)
    assert text in str(caught.value)
    assert processor_seconds() - started < 1.0
    assert not (tmp_path / "executed").exists()


def test_unknown_layers_are_listed_all_at_once(tmp_path):
    with pytest.raises(UnsupportedLayerError) as caught:
        import_model(unknown_layers(tmp_path))
    assert caught.value.layers == [("first", "MyLayer"), ("conv", "OtherLayer")]
    assert "@segrt.keras_layer" in str(caught.value)
    assert "MyLayer: first\n" in str(caught.value)


def test_a_thousand_unknown_layers_stay_readable(tmp_path):
    names = ["lambda", *(f"lambda_{number}" for number in range(1, 1001)), "lambda_01", "scale"]
    layers = [kf.input_layer()]
    for name in names:
        layers.append(kf.layer("Lambda", name, {}, (layers[-1]["name"],)))
    path = kf.write_h5(
        tmp_path / "m.h5", config=kf.model_config(layers, outputs=("scale",)), weights={}
    )
    with pytest.raises(UnsupportedLayerError, match="1003 layer") as caught:
        import_model(path)
    assert caught.value.layers == [(name, "Lambda") for name in names]
    assert "Lambda: lambda ... lambda_1000 (1001), lambda_01, scale\n" in str(caught.value)


def test_wrong_types_in_a_configuration_never_escape(tmp_path):
    """Replace every setting by nonsense in turn; only errors of this package may come out."""
    nonsense = [None, "x", -1, 0, 10**30, [], {}, [[1, 2], 3], 1.5, True]
    keys = ["filters", "kernel_size", "strides", "padding", "activation", "dilation_rate"]
    keys += ["groups", "data_format", "use_bias", "dtype", "name"]
    refused = 0
    for key in keys:
        for value in nonsense:
            layers = [kf.input_layer(), kf.conv_layer(**{key: value})]
            path = kf.write_h5(tmp_path / "m.h5", config=kf.model_config(layers))
            try:
                import_model(path)
            except SegrtError:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("seed", range(24))
def test_flipped_bytes_never_escape(seed, tmp_path, monkeypatch):
    """Flip a few bytes anywhere: the file loads, or is refused by an error of this package."""
    # Some of them make the HDF5 library search for ever.
    monkeypatch.setattr(_hdf5_probe, "_SECONDS_AT_LEAST", 1.0)
    generator = np.random.default_rng(seed)
    write = kf.write_h5 if seed % 2 else kf.write_archive
    path = write(tmp_path / "m")
    data = bytearray(path.read_bytes())
    for _ in range(8):
        data[generator.integers(len(data))] = generator.integers(256)
    path.write_bytes(data)
    try:
        model = import_model(path)
    except SegrtError:
        return
    assert [value.name for value in model.graph.outputs] == ["conv"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_all_bad_files_take_less_than_100_megabytes(tmp_path):
    """On top of what reading a sound file takes, which is the libraries' and differs by system."""
    paths = [str(kf.write_h5(tmp_path / "sound.h5"))]
    for name, (write, _, _) in CASES.items():
        folder = tmp_path / name
        folder.mkdir()
        paths.append(str(write(folder)))
    program = """
import json, sys
from pathlib import Path
from segrt.errors import SegrtError
from segrt.importers._base import import_model
def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
sound, *bad = json.load(sys.stdin)
import_model(Path(sound))
before = peak()
for path in bad:
    try:
        import_model(Path(path))
    except SegrtError:
        continue
    sys.exit(f"{path} was accepted")
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 * 1024  # kilobytes
