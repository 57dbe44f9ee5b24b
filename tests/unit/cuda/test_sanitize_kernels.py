"""The tool that puts kernels through compute-sanitizer, without a GPU and without that program."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.gpu_cases import run_case
from helpers.kernel_memory import beside, numbers
from helpers.planted_kernels import BODIES, HEAD
from segrt.cuda.driver import compile_source
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import encode

PATH = Path(__file__).parents[3] / "tools" / "sanitize_kernels.py"
CLEAN = """========= COMPUTE-SANITIZER
case nearest 0
case nearest 1
case opening 0
all cases ended
========= ERROR SUMMARY: 0 errors
"""
# As the user manual shows findings.
SPOILT = """========= COMPUTE-SANITIZER
case nearest 0
========= Invalid __global__ write of size 16 bytes
=========     at nearest+0x2f0
=========     by thread (3,0,0) in block (0,0,0)
=========     Address 0x7f0 is out of bounds
=========
case dot 0
case dot 1
========= Error: Race reported between Write access at dot+0x90
=========     and Read access at dot+0xa0 [4 hazards]
========= Error: Race reported between Write access at dot+0x90
========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("sanitize_kernels", PATH)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sanitize_kernels"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["sanitize_kernels"]


def test_a_clean_run(tool):
    report = tool.read_report(CLEAN.splitlines())
    assert report.ended
    assert not report.findings
    assert report.cases == {"nearest": 2, "opening": 1}


def test_findings_are_the_kernel_s_that_ran(tool):
    report = tool.read_report(SPOILT.splitlines())
    assert not report.ended
    assert report.findings == {
        ("nearest", "Invalid __global__ write of size 16 bytes"): 1,
        ("dot", "Error: Race reported between Write access at dot+0x90"): 2,
    }
    lines = tool.summary({"memcheck": tool.read_report(CLEAN.splitlines()), "racecheck": report})
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["nearest"] == ["2", "clean", "1", "FOUND"]
    assert rows["opening"] == ["1", "clean", "not", "run"]
    assert rows["dot"] == ["not", "run", "2", "FOUND"]
    assert lines[-1] == "racecheck: did not run to its end"


@pytest.mark.parametrize(
    ("text", "code", "found", "ended"),
    [(CLEAN, 0, 0, True), (CLEAN, 86, 1, True), (CLEAN, 1, 0, False), (SPOILT, 86, 3, False)],
)
def test_what_the_sanitizer_ends_with(
    tool, tmp_path, text: str, code: int, found: int, ended: bool
):
    sanitizer = tmp_path / "compute-sanitizer"
    (tmp_path / "said").write_text(text)
    sanitizer.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/said\nexit {code}\n'
    )
    sanitizer.chmod(0o755)
    report = tool.sanitize(str(sanitizer), "racecheck", ["dot", "nearest"], 60)
    assert report.findings.total() == found
    assert report.ended == ended
    asked = (tmp_path / "asked").read_text()
    assert "--tool racecheck" in asked
    assert f"{PATH.name} --run --kernels dot,nearest" in asked


def test_a_tool_that_sees_nothing_proves_nothing(tool, tmp_path):
    sanitizer = tmp_path / "compute-sanitizer"
    found = SPOILT.replace("case nearest 0", "case planted-memcheck 0")
    for said, sees in ((found, True), (SPOILT, False), (CLEAN, False)):
        (tmp_path / "said").write_text(said)
        sanitizer.write_text(f"#!/bin/sh\ncat {tmp_path}/said\nexit 86\n")
        sanitizer.chmod(0o755)
        assert tool.sees_errors(str(sanitizer), "memcheck", 60) is sees


@pytest.mark.parametrize("name", BODIES)
def test_planted_kernels_compile(name):
    assert compile_source(HEAD + BODIES[name], "sm_90", "planted").startswith(b"\x7fELF")


def test_the_process_that_is_watched_runs_what_it_is_given(tool, monkeypatch, capsys):
    ran: list[str] = []
    monkeypatch.setattr("helpers.planted_kernels.run_planted", lambda gpu, name: ran.append(name))
    monkeypatch.setattr("segrt.cuda.driver.Gpu", lambda: SimpleNamespace(close=lambda: None))
    assert tool.main(["--run", "--kernels", "planted-memcheck"]) == 0
    assert ran == ["memcheck"]
    assert tool.read_report(capsys.readouterr().out.splitlines()).ended


@pytest.mark.gpu
@pytest.mark.parametrize("name", BODIES)
def test_each_tool_sees_the_error_planted_for_it(tool, name):
    sanitizer = tool.find_sanitizer()
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    assert tool.sees_errors(sanitizer, name, 120)


def test_a_run_that_hangs_is_no_clean_one(tool, tmp_path):
    sanitizer = tmp_path / "compute-sanitizer"
    sanitizer.write_text("#!/bin/sh\necho case dot 0\nexec sleep 60\n")
    sanitizer.chmod(0o755)
    report = tool.sanitize(str(sanitizer), "memcheck", ["dot"], 1.0)
    assert not report.ended


@pytest.mark.parametrize("name", ["opening", "wide_convolution", "nearest", "take", "phase_int8"])
def test_cases_run_as_they_are_meant_to(monkeypatch, name: str):
    """All but the kernel itself, for which its reference stands."""
    gpu = EmulatedGpu(monkeypatch, size=1 << 26)
    gpu.tuning = False
    kernel = REGISTRY.find(name)
    spec = kernel.cases[-1]
    ran = run_case(gpu, kernel, spec)
    sources = [numbers(i, v) for i, v in zip(ran.images, spec.sources, strict=True)]
    wanted = kernel.reference(spec, sources, ran.parameters)
    if spec.target.scale != 1:
        wanted = encode(wanted / spec.target.scale, spec.target.dtype) * spec.target.scale
    found = numbers(ran.result, spec.target)
    assert np.linalg.norm(found - wanted) <= 2e-2 * np.linalg.norm(wanted)
    assert np.all(beside(ran.result, spec.target) == 0xFF)
    assert (ran.pooled is None) == (getattr(spec, "pooled", None) is None)
    # Uploads are given back; the emulator keeps staging memory too.
    assert not [b for b in gpu.live.values() if b.handle in gpu._uploads]


def test_the_cases_of_the_kernels_asked_for_are_run(monkeypatch, tool, capsys):
    monkeypatch.setattr(EmulatedGpu, "close", lambda _: None, raising=False)
    monkeypatch.setattr("segrt.cuda.driver.Gpu", lambda: EmulatedGpu(monkeypatch, size=1 << 27))
    names = ["take", "dot", "opening"]
    tool.run_cases(names)
    report = tool.read_report(capsys.readouterr().out.splitlines())
    assert report.ended
    assert report.cases == {
        name: len(REGISTRY.find(name).cases) for name in ("take", "dot", "opening")
    }
