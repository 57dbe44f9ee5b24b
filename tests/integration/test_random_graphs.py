"""Random graphs by every way, against ONNX Runtime on the file: the same, or refused in words.

A few by default. For a longer run::

    SEGRT_RANDOM_GRAPHS=1000 SEGRT_RANDOM_FIRST=5000 pytest tests/integration/test_random_graphs.py

draws the graphs 5000 to 5999, and goes all ways (the default leaves out the slowest). Each graph
depends on its number alone; the failure names it. What is found becomes a small graph of
`test_every_way`.
"""

from __future__ import annotations

import os

import onnx
import pytest

from helpers import random_images, random_values
from helpers.every_way import SAME, WAYS, case_of, outcome
from helpers.random_graphs import drawn

assert random_images, random_values  # their rules are registered
COUNT = int(os.environ.get("SEGRT_RANDOM_GRAPHS", "0"))
FIRST = int(os.environ.get("SEGRT_RANDOM_FIRST", "0"))
_FEW = 12
# A process each for TensorRT's parser; the same kernels again in half precision.
_SLOW = ("parser", "cuda, half", "cuda, resize", "transposed", "deconvolution", "expand")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + (COUNT or _FEW)))
def test_a_random_graph(seed, tmp_path, monkeypatch):
    model, feeds = drawn(seed)
    case = case_of(model, feeds, tmp_path, monkeypatch)
    found = {way: outcome(way, case) for way in WAYS if COUNT or way not in _SLOW}
    wrong = {
        way: what
        for way, what in found.items()
        if what not in (SAME, None) and not what.startswith("refused")
    }
    assert not wrong, f"{wrong}\n{onnx.printer.to_text(model)}"
    # What nobody refuses is the rule; a file of these operators is read in any case.
    assert found["import"] == SAME
    assert found["onnxruntime"] == SAME


def test_each_rule_adds_nodes():
    kinds = {node.op_type for seed in range(300) for node in drawn(seed)[0].graph.node}
    assert len(kinds) > 60
