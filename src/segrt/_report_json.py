"""Reports as JSON: plain values, and what JSON has no number for as text."""

from __future__ import annotations

import json
import math
from typing import Any


def plain(value: Any) -> Any:
    """Return ``value`` of dictionaries, sequences and scalars as JSON values.

    Tuples become lists, infinities and NaN the strings ``inf``, ``-inf`` and ``nan``.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def to_text(report: dict[str, Any]) -> str:
    """Return what `plain` made as indented JSON."""
    return json.dumps(report, indent=2, allow_nan=False)
