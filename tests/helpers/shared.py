"""Data that stays outside the repository: ``../shared`` beside it, or where SEGRT_SHARED says."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SEGRT_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def need(path: str) -> Path:
    """Return a path under the shared folder; skip the test where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"no shared data: {found} does not exist (set SEGRT_SHARED)")
    return found
