"""`--layer`, `--lambda` and `inspect --stub` on the command line."""

import numpy as np
import pytest

from helpers import keras_files as kf
from segrt.cli import _app, _errors

CONVERTER = """
import segrt


@segrt.keras_layer("Gate")
def gate(call, x):
    factor = call.weight("factor", call.weights["factor"].reshape(-1, 1, 1))
    return call.wrap(call.op("Mul", [call.channels_first(x), factor], role="product"))
"""


@pytest.fixture
def model(tmp_path):
    gate = kf.layer("Gate", "gate", {}, ("image",))
    layers = [kf.input_layer(), gate, kf.layer("Lambda", "code", {}, ("gate",))]
    return kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, outputs=("code",)),
        weights={"gate": {"gate/factor:0": np.ones(1, np.float32)}},
    )


def run(*arguments):
    return _errors.run(_app.group, [str(argument) for argument in arguments])


def test_a_model_is_converted_with_bindings(model, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(CONVERTER)
    options = ("--layer", own, "--lambda", "cod*=relu6")
    assert run("convert", model, "-o", tmp_path / "m.onnx", *options) == 0
    assert (tmp_path / "m.onnx").is_file()


def test_a_stub_is_written_once(model, tmp_path, capsys):
    stub = tmp_path / "stub.py"
    assert run("inspect", model, "--stub", stub) == 0
    assert '@segrt.keras_layer("Gate")' in stub.read_text()
    assert run("inspect", model, "--stub", stub) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def test_a_stub_is_asked_for_where_nothing_is_missing(tmp_path, capsys):
    path = kf.write_h5(tmp_path / "m.h5")
    assert run("inspect", path, "--stub", tmp_path / "stub.py") == 2
    assert "no layer without a converter" in capsys.readouterr().err


def test_a_binding_that_cannot_be_read(model, capsys):
    assert run("inspect", model, "--layer", "Gate") == 2
    assert "NAME=SOURCE or FILE.py" in capsys.readouterr().err
