"""Tests that need a GPU do not go stale where there is none: these few run on emulated ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "tests/integration/test_cuda_devices.py",
    "tests/integration/test_cuda_residual_ways.py",
    "tests/integration/test_cuda_sessions.py",
    "tests/unit/cuda/test_kernels_run.py",
    "tests/unit/cuda/test_plugin_kernels_run.py",
    "tests/unit/targets/trt/test_session_on_gpu.py",
)
# The rest computes for seconds each in NumPy; `pytest --emulate-gpu` runs all.
KERNELS = "not test_kernels_run or head or pooling or phase_convolution or narrow"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--emulate-gpu", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_they_come_as_far_as_the_driver():
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    ran = _run(*FILES, "-k", KERNELS)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
    assert "came to the driver" in ran.stdout


def test_one_that_went_stale_is_found(tmp_path):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    stale = tmp_path / "test_stale.py"
    stale.write_text(
        "import pytest\n\n@pytest.mark.gpu\ndef test_stale():\n"
        "    from segrt.cuda.driver import Gpu\n    Gpu().no_such_thing()\n"
        "\n@pytest.mark.gpu\ndef test_driver():\n"
        "    from cuda.core import ObjectCode\n    ObjectCode.from_cubin(b'')\n"
        "\ndef test_plain():\n    raise AssertionError('left out')\n"
    )
    ran = _run(str(stale), "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT),
               "-p", "tests.conftest")  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 failed, 1 skipped, 1 deselected" in ran.stdout
    assert "no_such_thing" in ran.stdout
