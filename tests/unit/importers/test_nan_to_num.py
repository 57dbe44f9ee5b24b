"""``keras.ops.nan_to_num`` on all that is no number, against NumPy, whose words Keras took."""

from __future__ import annotations

import numpy as np
import pytest

from segrt.importers._base import import_model
from unit.importers.test_operations import operation, run, write

UNSAID = {"nan": 0.0, "posinf": None, "neginf": None}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "settings", [UNSAID, {"nan": -2.5, "posinf": 7.0, "neginf": None}, {**UNSAID, "neginf": -9.0}]
)
def test_it_replaces_what_numpy_replaces(tmp_path, settings):
    path = write(
        tmp_path,
        operation("Multiply", "wide", {}, "conv", 20.0),
        operation("Subtract", "around", {}, "wide", 1.0),
        operation("Log", "log", {}, "around"),  # of negative ones: no numbers
        operation("Divide", "divide", {}, "log", 0.0),  # infinite ones of both signs
        operation("NanToNum", "numbers", settings, "divide"),
    )
    result, conv = run(import_model(path))
    given = np.log(conv * np.float32(20) - np.float32(1)) / np.float32(0)
    assert {True, False} == set(np.isnan(given).ravel())
    assert {-np.inf, np.inf} <= set(given.ravel())
    np.testing.assert_array_equal(result, np.nan_to_num(given, **settings))


def test_numbers_stay_as_they_are(tmp_path):
    result, conv = run(
        import_model(write(tmp_path, operation("NanToNum", "numbers", UNSAID, "conv")))
    )
    np.testing.assert_array_equal(result, conv)
