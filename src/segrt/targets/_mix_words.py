"""A mix of engines in words, for people."""

from __future__ import annotations

from segrt.targets._mix_notes import MixNotes, Refusal

_MOST_LISTED = 20


def remarks(mix: MixNotes, target: str) -> tuple[str, ...]:
    """Say which layers run elsewhere, why, and what that costs."""
    return (where(mix, target), *_why(mix.refused), hand_over(mix), duration(mix))


def where(mix: MixNotes, target: str) -> str:
    """Say how many layers run on the fallback."""
    taken = sum(piece.taken for piece in mix.pieces)
    layers = dict.fromkeys(
        layer for piece in mix.pieces if not piece.taken for layer in piece.layers
    )
    count = f"{len(layers)} layers run" if len(layers) > 1 else "1 layer runs"
    return (
        f"{count} on {mix.target} in fp32, not on {target!r}: "
        f"{', '.join(layers)} ({len(mix.pieces)} pieces, {taken} of them on {target})"
    )


def hand_over(mix: MixNotes) -> str:
    """Say what pieces hand to one another in a run."""
    if mix.crossing_bytes is None or mix.bus_bytes is None:
        return f"each image hands {mix.crossings} values from engine to engine, of unknown sizes"
    bus = f"{mix.bus_bytes:,} bytes over the bus" if mix.bus_bytes else "none of it over a bus"
    return (
        f"each image hands {mix.crossings} values, {mix.crossing_bytes:,} bytes, from engine to "
        f"engine, {bus} (for {mix.image})"
    )


def duration(mix: MixNotes) -> str:
    """Say how much of the time the fallback takes."""
    if mix.fallback_ms is None or not mix.total_ms:
        return "time was not measured: the engines cannot be run where the package was built"
    share = 100 * mix.fallback_ms / mix.total_ms
    return f"{mix.target} takes {share:.0f} % of the time: {mix.fallback_ms} of {mix.total_ms} ms"


def _why(refused: tuple[Refusal, ...]) -> tuple[str, ...]:
    """Return a line a reason, with the layers that it holds for."""
    reasons: dict[str, list[str]] = {}
    for row in refused:
        reasons.setdefault(f"{row.op}: {row.why}", []).append(row.layer)
    return tuple(
        f"refused: {', '.join(dict.fromkeys(layers[:_MOST_LISTED]))}"
        + (f" and {len(layers) - _MOST_LISTED} more" if len(layers) > _MOST_LISTED else "")
        + f" ({why})"
        for why, layers in reasons.items()
    )


__all__ = ["duration", "hand_over", "remarks", "where"]
