"""Tables that benchmarks write for documents."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import tables


def test_candidates_are_lines_and_batch_sizes_columns():
    rows = [
        {"batch": 8, "what": "engine", "ms": 2.0, "error": 2e-4},
        {"batch": 1, "what": "engine", "ms": 0.5, "error": 1e-4},
        {"batch": 8, "what": "peer", "ms": 4.0, "error": 1e-3},
    ]
    head, rule, *lines = tables.table(rows).splitlines()
    assert head == "| | batch 1, ms | images/s | batch 8, ms | images/s | error |"
    # What was not measured stays empty, and of errors the largest counts.
    assert lines == [
        "| engine | 0.500 | 2000 | 2.000 | 4000 | 2.0e-04 |",
        "| peer |  |  | 4.000 | 2000 | 1.0e-03 |",
    ]
    assert {line.count("|") for line in (head, rule, *lines)} == {7}
