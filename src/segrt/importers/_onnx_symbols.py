"""Sizes that are not known in advance, as formulas: ``2*height``, ``floor(1/2*width)``.

Exporters compute shapes inside the graph. Whether a Reshape keeps an axis, or a Resize doubles it,
is then a question about formulas: two of them are equal if their normal forms are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

Monomial: TypeAlias = tuple[str, ...]

# Formulas longer than this are given up: a file must not make us compute for ever.
MOST_TERMS = 24


@dataclass(frozen=True, slots=True)
class Formula:
    """A sum of products of names (names of sizes, or of roundings) with rational factors.

    Attributes:
        terms: ``(sorted names, factor)``, sorted, no factor 0; () is the number 0.
    """

    terms: tuple[tuple[Monomial, Fraction], ...]

    @property
    def number(self) -> Fraction | None:
        """The number it is, None if it depends on a size."""
        if not self.terms:
            return Fraction(0)
        names, factor = self.terms[0]
        return factor if len(self.terms) == 1 and not names else None

    @property
    def whole(self) -> int | None:
        """The integer it is, None if it is none or depends on a size."""
        value = self.number
        return int(value) if value is not None and value.denominator == 1 else None

    def __add__(self, other: Formula) -> Formula:
        total = dict(self.terms)
        for names, factor in other.terms:
            total[names] = total.get(names, Fraction(0)) + factor
        return _formula(total)

    def __neg__(self) -> Formula:
        return Formula(tuple((names, -factor) for names, factor in self.terms))

    def __sub__(self, other: Formula) -> Formula:
        return self + -other

    def __mul__(self, other: Formula) -> Formula:
        total: dict[Monomial, Fraction] = {}
        for one, a in self.terms:
            for two, b in other.terms:
                names = tuple(sorted(one + two))
                total[names] = total.get(names, Fraction(0)) + a * b
        return _formula(total)

    def over(self, other: Formula) -> Formula | None:
        """Return the quotient where it is a number or the divisor is one, else None."""
        divisor = other.number
        if divisor is not None:
            return None if divisor == 0 else self * number(1 / divisor)
        if not self.terms:
            return self
        # a = k * b for a number k: compare with the first term's factor.
        factor = self.terms[0][1] / other.terms[0][1]
        return number(factor) if self == other * number(factor) else None

    def floor(self) -> Formula:
        """Return it rounded down; what is whole in any case is taken out of the rounding."""
        kept = {n: f for n, f in self.terms if f.denominator == 1}
        rest = {n: f for n, f in self.terms if f.denominator != 1}
        constant = rest.pop((), None)
        if constant is not None:
            below = math.floor(constant)
            kept[()] = Fraction(below)
            rest[()] = constant - below
        if not any(rest):  # nothing but a fraction below one is left
            return _formula(kept)
        return _formula(kept) + symbol(f"floor({_formula(rest)})")

    def at_least(self, least: int) -> bool:
        """Say whether it is surely at least ``least``, every size being positive."""
        constant = sum((f for n, f in self.terms if not n), Fraction(0))
        others = [(n, f) for n, f in self.terms if n]
        if any(f < 0 or any(name.startswith("floor(") for name in n) for n, f in others):
            return False
        return constant + sum((f for _, f in others), Fraction(0)) >= least

    def __str__(self) -> str:
        parts = []
        for names, factor in self.terms:
            text = "*".join(names)
            parts.append(
                text if factor == 1 and names else "*".join(filter(None, (f"{factor}", text)))
            )
        return " + ".join(parts) or "0"


def number(value: int | Fraction | float) -> Formula:
    """Return a number as a formula."""
    return _formula({(): Fraction(value)})


def symbol(name: str) -> Formula:
    """Return a formula that is one unknown size."""
    return Formula((((name,), Fraction(1)),))


def product(formulas: Iterable[Formula]) -> Formula:
    """Return the product of all."""
    result = number(1)
    for formula in formulas:
        result = result * formula
    return result


def _formula(terms: Mapping[Monomial, Fraction]) -> Formula:
    kept = sorted((names, factor) for names, factor in terms.items() if factor != 0)
    if len(kept) > MOST_TERMS:
        raise OverflowError("a size's formula has too many terms")
    return Formula(tuple(kept))
