"""What the CUDA target lacks, and what to do about just that."""

import pytest

from segrt.cuda import driver
from segrt.targets.cuda import Cuda


@pytest.mark.parametrize(
    ("absent", "named"), [("cuda.core", "cuda-core"), ("cudnn", "nvidia-cudnn-frontend")]
)
def test_a_missing_package_is_named_and_installed(monkeypatch, absent, named):
    monkeypatch.setattr(driver, "is_installed", lambda module: module != absent)
    found = Cuda().availability()
    assert not found.can_build
    assert found.detail == f"{named} is not installed"
    assert found.hint == f"run: {driver.INSTALL}"


def test_a_missing_gpu_is_not_installed_by_pip(monkeypatch):
    def no_driver():
        raise RuntimeError("libcuda\n  not found")

    monkeypatch.setattr(driver, "is_installed", lambda _module: True)
    monkeypatch.setattr(driver, "core", no_driver)
    found = Cuda().availability()
    assert found.detail == "no NVIDIA GPU with its driver: libcuda not found"
    assert "pip" not in found.hint
    assert "GPU" in found.hint
