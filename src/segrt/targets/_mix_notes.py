"""What a package says of a mix of engines: which layers run where, why, and what it costs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from segrt.targets._strict import each, is_a


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that the target does not take.

    Attributes:
        layer: The Keras layer's value.
        node: The node's name.
        op: Its operator.
        why: In words.
    """

    layer: str
    node: str
    op: str
    why: str


@dataclass(frozen=True, slots=True)
class PieceNotes:
    """A piece of the network, in a folder of its own with its ``model.onnx``.

    Attributes:
        folder: ``engines/0``, ``engines/1`` ..., in the order they run.
        target: What it was built for.
        taken: It is the target's, not the fallback's.
        engine: Notes of that target's, as for a package of its own.
        layers: Keras values that its nodes belong to.
        inputs: Names of the values it reads.
        outputs: Names of the values it makes for others.
    """

    folder: str
    target: str
    taken: bool
    engine: dict[str, Any]
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MixNotes:
    """A network on two engines.

    Attributes:
        target: The fallback's.
        refused: What the target does not take.
        pieces: In the order they run.
        crossings: How often a value is handed from one piece to another in a run.
        crossing_bytes: Their sizes together, one image at a time; None if only a run can tell.
        bus_bytes: Bytes that go to a GPU or come from one for it, one image at a time; those of
            the network's own inputs and outputs are not counted.
        image: The sizes of the inputs it was worked out for.
        fallback_ms: Median time of the fallback's pieces, None if it could not be measured.
        total_ms: Median time of a run.
    """

    target: str
    refused: tuple[Refusal, ...]
    pieces: tuple[PieceNotes, ...]
    crossings: int
    crossing_bytes: int | None
    bus_bytes: int | None
    image: str
    fallback_ms: float | None = None
    total_ms: float | None = None


def read_mix(value: object, files: Collection[str]) -> MixNotes | None:
    """Read it from a manifest; None where a package has one engine.

    Args:
        value: JSON.
        files: What the package holds.

    Raises:
        KeyError: A field is missing.
        TypeError: A field is of another type.
        ValueError: Pieces that are not in the package.
    """
    if value is None:
        return None
    mix = is_a(dict, value)
    pieces = each(_read_piece, mix["pieces"])
    for number, piece in enumerate(pieces):
        if piece.folder != f"engines/{number}" or f"{piece.folder}/model.onnx" not in files:
            raise ValueError(f"piece {piece.folder!r} is not in the package")
    return MixNotes(
        target=is_a(str, mix["target"]),
        refused=each(_read_refusal, mix["refused"]),
        pieces=pieces,
        crossings=is_a(int, mix["crossings"]),
        crossing_bytes=_count(mix["crossing_bytes"]),
        bus_bytes=_count(mix["bus_bytes"]),
        image=is_a(str, mix["image"]),
        fallback_ms=_time(mix["fallback_ms"]),
        total_ms=_time(mix["total_ms"]),
    )


def _read_piece(value: dict[str, Any]) -> PieceNotes:
    return PieceNotes(
        folder=is_a(str, value["folder"]),
        target=is_a(str, value["target"]),
        taken=is_a(bool, value["taken"]),
        engine=is_a(dict, value["engine"]),
        layers=each(_text, value["layers"]),
        inputs=each(_text, value["inputs"]),
        outputs=each(_text, value["outputs"]),
    )


def _read_refusal(value: dict[str, Any]) -> Refusal:
    return Refusal(*(is_a(str, value[name]) for name in ("layer", "node", "op", "why")))


def _text(value: object) -> str:
    return is_a(str, value)


def _count(value: object) -> int | None:
    return None if value is None else is_a(int, value)


def _time(value: object) -> float | None:
    return None if value is None else is_a(float, value)


__all__ = ["MixNotes", "PieceNotes", "Refusal", "read_mix"]
