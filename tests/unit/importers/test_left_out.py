"""Keras' own classes that are left out on purpose: the error says why, and names wrapped ones."""

import pytest

from helpers import keras_files as kf
from segrt.errors import UnsupportedLayerError
from segrt.importers._base import import_model


def refusal(folder, *layers):
    """Return the error for a model of a chain of layers (class name, settings)."""
    entries, last = [kf.input_layer()], "image"
    for number, (class_name, config) in enumerate(layers):
        name = f"layer_{number}"
        entries.append(
            {
                "class_name": class_name,
                "name": name,
                "config": {"name": name, **config},
                "inbound_nodes": [[[last, 0, 0, {}]]],
            }
        )
        last = name
    config = kf.model_config(entries, outputs=(last,))
    with pytest.raises(UnsupportedLayerError) as caught:
        import_model(kf.write_h5(folder / "m.h5", config=config))
    return caught.value


@pytest.mark.parametrize(
    ("class_name", "word"),
    [("ConvLSTM2D", "recurrent"), ("Bidirectional", "recurrent"), ("Masking", "mask"),
     ("StringLookup", "prepare data"), ("Equalization", "prepare data")],
)  # fmt: skip
def test_a_class_left_out_is_refused_with_the_reason(tmp_path, class_name, word):
    error = refusal(tmp_path, (class_name, {}))
    assert error.layers == [("layer_0", class_name)]
    assert word in (error.hint or "")


def test_each_reason_is_given_once_and_wrapped_layers_are_named(tmp_path):
    wrapped = {"layer": {"class_name": "LSTM", "config": {"units": 3}}}
    error = refusal(tmp_path, ("GRU", {}), ("TimeDistributed", wrapped), ("Mystery", {}))
    assert error.layers == [("layer_0", "GRU"), ("layer_1", "LSTM"), ("layer_2", "Mystery")]
    assert (error.hint or "").count("recurrent") == 1
