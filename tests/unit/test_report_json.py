"""Reports as JSON, read back by the standard library."""

import json

import pytest

from segrt._report_json import plain, to_text


def test_what_json_cannot_say_is_text():
    value = {
        "a": (1, 2.5, float("inf")),
        "b": [{"c": float("nan")}, None, True],
        "d": -float("inf"),
    }
    found = json.loads(to_text(plain(value)))
    assert found == {"a": [1, 2.5, "inf"], "b": [{"c": "nan"}, None, True], "d": "-inf"}


def test_values_that_were_not_made_plain_are_no_silent_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_text({"a": float("nan")})
