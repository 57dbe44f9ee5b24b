"""Sizes and threads as users of the Python functions give them."""

import numpy as np
import pytest

from segrt.errors import UsageError
from segrt.targets._numbers import plain_numbers
from segrt.types import BuildOptions, ShapeProfile


def test_numpys_numbers_become_plain_ones():
    options = BuildOptions(
        threads=np.int64(2),
        batch=ShapeProfile(np.int32(1), np.int32(2), np.int32(4)),
        size=[np.uint16(64), 96],  # type: ignore[arg-type]
    )
    plain = plain_numbers(options)
    assert plain == BuildOptions(threads=2, batch=ShapeProfile(1, 2, 4), size=(64, 96))
    assert isinstance(plain.size, tuple)
    numbers = (plain.threads, plain.batch.minimum, *plain.size)  # type: ignore[union-attr,misc]
    assert all(type(number) is int for number in numbers)


def test_what_is_not_given_stays_so():
    assert plain_numbers(BuildOptions()) == BuildOptions()


@pytest.mark.parametrize(
    "given",
    [
        {"batch": "1:4:16"},
        {"batch": 2.0},
        {"batch": True},
        {"batch": (1, 2, 4)},
        {"batch": ShapeProfile(1, 2, "4")},  # type: ignore[arg-type]
        {"size": "256"},
        {"size": 256},
        {"size": (64, "64")},
        {"size": (64, None)},
        {"threads": "2"},
        {"threads": 1.5},
    ],
    ids=str,
)
def test_what_is_no_number_is_refused(given):
    (name,) = given
    with pytest.raises(UsageError, match=f"{name} must be") as caught:
        plain_numbers(BuildOptions(**given))
    assert caught.value.found
