"""Formulas of sizes say what numbers say when numbers are put in."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segrt.importers._onnx_symbols import MOST_TERMS, Formula, number, product, symbol

SIZES = {"h": 13, "w": 8}


def value(formula: Formula) -> Fraction:
    """Evaluate a formula; roundings are read back from their text."""
    total = Fraction(0)
    for names, factor in formula.terms:
        term = factor
        for name in names:
            term *= SIZES[name] if name in SIZES else rounded(name)
        total += term
    return total


def rounded(text: str) -> int:
    inner = text.removeprefix("floor(").removesuffix(")")
    found = Fraction(0)
    for part in inner.split(" + "):
        term = Fraction(1)
        for word in part.split("*"):
            term *= SIZES[word] if word in SIZES else Fraction(word)
        found += term
    return math.floor(found)


small = st.integers(-4, 4)
formulas = st.builds(
    lambda a, b, c: number(a) * symbol("h") + number(b) * symbol("w") + number(c),
    small, small, small,
)  # fmt: skip


@given(formulas, formulas)
def test_arithmetic(a, b):
    assert value(a + b) == value(a) + value(b)
    assert value(a - b) == value(a) - value(b)
    assert value(a * b) == value(a) * value(b)
    assert a + b == b + a
    assert a * b == b * a
    assert (a - a).whole == 0


@given(formulas, st.integers(1, 6))
def test_rounding_down(a, divisor):
    part = a * number(Fraction(1, divisor))
    assert value(part.floor()) == math.floor(value(part))


@given(formulas, st.integers(1, 5))
def test_quotients(a, factor):
    if a.terms:
        assert (a * number(factor)).over(a) == number(factor)
    assert (a * number(factor)).over(number(factor)) == a


def test_what_cannot_be_divided_is_not():
    assert symbol("h").over(symbol("w")) is None
    assert (symbol("h") + number(1)).over(symbol("h")) is None
    assert symbol("h").over(number(0)) is None


def test_bounds_hold_for_every_positive_size():
    assert (symbol("h") * number(2) - number(1)).at_least(1)
    assert not (symbol("h") - number(1)).at_least(1)
    assert not (symbol("h") - symbol("w")).at_least(0)
    assert not symbol("floor(1/2*h)").at_least(1)


def test_numbers():
    assert product([number(2), number(3)]).whole == 6
    assert number(0.5).number == Fraction(1, 2)
    assert number(0.5).whole is None
    assert symbol("h").number is None
    assert str(number(2) * symbol("h") + number(1)) == "1 + 2*h"


def sum_of_sizes(count: int) -> Formula:
    return sum((symbol(f"n{index}") for index in range(count)), number(0))


def test_endless_formulas_are_given_up():
    assert len(sum_of_sizes(MOST_TERMS).terms) == MOST_TERMS
    with pytest.raises(OverflowError):
        sum_of_sizes(MOST_TERMS + 1)
