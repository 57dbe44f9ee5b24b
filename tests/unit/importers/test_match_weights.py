"""Stored arrays and a layer's weights find each other by name, by part, or by position."""

import pytest

from segrt.importers._layer_graph import WeightEntry
from segrt.importers._match_weights import in_order


def entries(*names):
    return [WeightEntry(f"{i}:{n}", n, (), "float32", lambda: None) for i, n in enumerate(names)]


@pytest.mark.parametrize(
    ("wanted", "stored", "order"),
    [
        (["kernel", "bias"], ["bias", "kernel"], [1, 0]),
        (["kernel", "bias"], ["0", "1"], [0, 1]),
        # Older files keep the last part of the name, and Keras' order where that is ambiguous.
        (["layer/kernel", "vector_u"], ["vector_u", "kernel"], [1, 0]),
        (["q_dense/kernel", "o_dense/kernel"], ["kernel", "kernel"], [0, 1]),
        # Newer files number the arrays of each part; private attributes lose their underscore.
        (["q_dense/kernel", "o_dense/kernel"], ["o_dense/0", "q_dense/0"], [1, 0]),
        (["q_dense/kernel", "q_dense/bias"], ["_q_dense/0", "_q_dense/1"], [0, 1]),
        # A wrapper that tracks its part's kernel stores it twice.
        (["layer/kernel", "vector_u"], ["0", "1", "layer/0"], [2, 1]),
    ],
)
def test_arrays_are_found(wanted, stored, order):
    given = entries(*stored)
    assert in_order(wanted, given) == [given[index] for index in order]


@pytest.mark.parametrize(
    ("wanted", "stored"),
    [
        (["kernel", "bias"], ["0"]),
        (["kernel"], ["0", "1"]),
        (["q_dense/kernel"], ["q_dense/0", "q_dense/1"]),
        (["layer/kernel", "layer/bias", "vector_u"], ["0", "layer/0"]),
    ],
)
def test_another_number_of_arrays_is_told(wanted, stored):
    assert in_order(wanted, entries(*stored)) is None
