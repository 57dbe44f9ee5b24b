"""The measured tables of the page about upsampling are what its script measures."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "upsampling.md"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "upsampling_variants.py"
    spec = importlib.util.spec_from_file_location("upsampling_variants", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_ramp_table(script):
    rows = script.ramp_table()
    assert len(rows) == 2 + len(script.NEAREST)
    assert [row for row in rows if row not in PAGE.read_text("utf-8")] == []


def test_the_bilinear_table(script):
    rows = script.linear_table()
    assert len(rows) == 2 + len(script.LINEAR)
    assert [row for row in rows if row not in PAGE.read_text("utf-8")] == []


def test_pictures_are_there():
    text = PAGE.read_text("utf-8")
    pictures = [path.name for path in (PAGE.parent / "img").glob("*.png")]
    assert len(pictures) == 2
    assert [name for name in pictures if f"img/{name}" not in text] == []


def test_a_shift_would_be_counted(script):
    import numpy as np

    ramp = np.arange(35.0).reshape(7, 5)
    good = script.resize(ramp, 2, script.nearest("asymmetric", "floor"))
    np.testing.assert_array_equal(good, script.repeated(ramp, 2))
    bad = script.resize(ramp, 2, script.nearest("half_pixel", "floor"))
    assert (bad != script.repeated(ramp, 2)).sum() == 92
    assert script.row_shift(2, script.nearest("half_pixel", "floor")) == "-1..+0"
