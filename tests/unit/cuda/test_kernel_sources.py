"""The tool that compares what kernels' cases are launched with."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from segrt.cuda.kernels._base import REGISTRY

PATH = Path(__file__).parents[3] / "tools" / "kernel_sources.py"
# Kernels of few cases; all would take longer.
NAMES = ("take", "softmax")


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("kernel_sources", PATH)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kernel_sources", module)
    spec.loader.exec_module(module)
    few = [(name, REGISTRY.find(name)) for name in NAMES]
    monkeypatch.setattr("segrt.cuda.kernels._base.REGISTRY", few)
    return module


def _change(monkeypatch, change) -> None:
    kind = type(REGISTRY.find("take"))
    original = kind.launch
    monkeypatch.setattr(kind, "launch", lambda self, spec: change(original(self, spec)))


def test_nothing_changed(tool, tmp_path, capsys):
    assert tool.main([str(tmp_path / "a")]) == 0
    assert tool.main([str(tmp_path / "b"), "--against", str(tmp_path / "a")]) == 0
    count = sum(len(REGISTRY.find(name).cases) for name in NAMES)
    assert capsys.readouterr().out.endswith(f"{count} of {count} cases are the same; {count} now\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, threads=128),
        lambda made: replace(made, blocks=made.blocks + 1),
        lambda made: replace(made, source=made.source + "\n"),
    ],
)
def test_a_change_is_told(monkeypatch, tool, tmp_path, capsys, change):
    tool.main([str(tmp_path / "a")])
    _change(monkeypatch, change)
    assert tool.main([str(tmp_path / "b"), "--against", str(tmp_path / "a")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("no longer: take") for line in lines) == len(
        REGISTRY.find("take").cases
    )
    assert not [line for line in lines if line.startswith("no longer: softmax")]


def test_machine_code_tells_a_comment_from_a_change(monkeypatch, tool, tmp_path):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path / "cache"))
    tool.main([str(tmp_path / "a")])
    asked = ["--against", str(tmp_path / "a"), "--compile", "sm_90"]
    _change(monkeypatch, lambda made: replace(made, source=made.source + "// No change.\n"))
    assert tool.main([str(tmp_path / "b"), *asked]) == 0
    _change(
        monkeypatch, lambda made: replace(made, source=made.source.replace("row * ", "row * 2 * "))
    )
    assert tool.main([str(tmp_path / "b"), *asked]) == 1
