"""Tables for documents from what a benchmark measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return results as a Markdown table: a line a candidate, a column a batch size."""
    batches = sorted({row["batch"] for row in rows})
    heads = [f"batch {batch}, ms | images/s" for batch in batches]
    lines = [f"| | {' | '.join(heads)} | error |", "|---" * (2 * len(batches) + 2) + "|"]
    for what in dict.fromkeys(row["what"] for row in rows):
        own = {row["batch"]: row for row in rows if row["what"] == what}
        cells = []
        for batch in batches:
            ms = own[batch]["ms"] if batch in own else None
            cells.append(" | " if ms is None else f"{ms:.3f} | {1000 * batch / ms:.0f}")
        error = max(row["error"] for row in own.values())
        lines.append(f"| {what} | {' | '.join(cells)} | {error:.1e} |")
    return "\n".join(lines) + "\n"
