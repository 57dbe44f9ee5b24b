"""Sizes that are not known yet, so that a shape rule can be read instead of run.

A rule computes with sizes: ``(n, c, h * 2, w * 2)``. Called with a `Dim` for a size it returns an
expression, which is worked out later, by whoever knows the size: TensorRT, say, which has
expressions of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar, Union

T = TypeVar("T")
Size: TypeAlias = Union[int, "Dim"]

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
}


class UnknownSizeError(TypeError):
    """A rule wants the number behind a size that is not known."""


class Dim:
    """A size that is not known yet, or an expression of such.

    Args:
        parts: What the operator combines.
        sign: One of `OPERATORS`; "" for a plain size.
        where: Of a plain size: which input, and which axis of it.
    """

    __slots__ = ("parts", "sign", "where")

    def __init__(
        self, parts: Sequence[Size] = (), sign: str = "", where: tuple[int, int] = (0, 0)
    ) -> None:
        self.parts = tuple(parts)
        self.sign = sign
        self.where = where

    def evaluate(self, leaf: Callable[[tuple[int, int]], T], number: Callable[[int], T]) -> T:
        """Work it out.

        Args:
            leaf: Returns what stands for a plain size.
            number: Returns what stands for a number.
        """
        if not self.sign:
            return leaf(self.where)
        left, right = (
            part.evaluate(leaf, number) if isinstance(part, Dim) else number(part)
            for part in self.parts
        )
        result: T = OPERATORS[self.sign](left, right)
        return result

    def __add__(self, other: Size) -> Dim:
        return Dim((self, _size(other)), "+")

    def __radd__(self, other: Size) -> Dim:
        return Dim((_size(other), self), "+")

    def __sub__(self, other: Size) -> Dim:
        return Dim((self, _size(other)), "-")

    def __rsub__(self, other: Size) -> Dim:
        return Dim((_size(other), self), "-")

    def __mul__(self, other: Size) -> Dim:
        return Dim((self, _size(other)), "*")

    def __rmul__(self, other: Size) -> Dim:
        return Dim((_size(other), self), "*")

    def __floordiv__(self, other: Size) -> Dim:
        return Dim((self, _size(other)), "//")

    def __rfloordiv__(self, other: Size) -> Dim:
        return Dim((_size(other), self), "//")

    def __mod__(self, other: Size) -> Dim:
        return self - self // other * other

    def _refuse(self, *_: object) -> NoReturn:
        raise UnknownSizeError("only + - * // and % are possible with a size that is not known")

    __bool__ = __index__ = __int__ = __lt__ = __le__ = __gt__ = __ge__ = __truediv__ = _refuse
    __eq__ = __ne__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _size(value: Size) -> Size:
    if isinstance(value, Dim) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise UnknownSizeError(f"{value!r} is no whole number")


def leaves(shapes: Sequence[Sequence[int | None]]) -> list[tuple[Size, ...]]:
    """Return shapes for a rule: what is known as it is, a `Dim` for each size that is not."""
    return [
        tuple(Dim(where=(index, axis)) if size is None else size for axis, size in enumerate(shape))
        for index, shape in enumerate(shapes)
    ]
