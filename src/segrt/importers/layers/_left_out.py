"""Keras' own classes that are left out on purpose, and why: a word for the error message."""

from __future__ import annotations

from collections.abc import Iterable

_RECURRENT = (
    "recurrent layers (LSTM, GRU, ConvLSTM2D, Bidirectional ...) step through time with a state, "
    "and are not converted: the networks here see one image or volume at a time"
)
_MASKING = (
    "Masking hands a mask on behind the scenes to all layers after it, which is not followed: "
    "give attention layers their mask as a tensor"
)
_LOOKUP = (
    "layers that turn text, categories or numbers into classes (StringLookup, Hashing, "
    "Discretization, CategoryEncoding ...) prepare data: call them before the network"
)
_PIXELS = (
    "layers that change pixels by their statistics (Equalization, AutoContrast, CLAHE ...) "
    "prepare data: call them before the network"
)

_CLASSES: dict[str, str] = {
    **dict.fromkeys(
        (
            "RNN", "SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "ConvLSTM1D",
            "ConvLSTM2D", "ConvLSTM3D", "Bidirectional", "StackedRNNCells",
        ),
        _RECURRENT,
    ),
    "Masking": _MASKING,
    **dict.fromkeys(
        (
            "StringLookup", "IntegerLookup", "Hashing", "HashedCrossing", "Discretization",
            "CategoryEncoding", "TextVectorization",
        ),
        _LOOKUP,
    ),
    **dict.fromkeys(("Equalization", "AutoContrast", "CLAHE", "Solarization"), _PIXELS),
}  # fmt: skip


def reasons(class_names: Iterable[str]) -> list[str]:
    """Return why these classes are left out, each reason once."""
    found = [_CLASSES[name] for name in class_names if name in _CLASSES]
    return list(dict.fromkeys(found))
