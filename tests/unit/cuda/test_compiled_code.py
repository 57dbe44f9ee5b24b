"""Machine code is kept on disk whole or not at all, and compiled again where it is not whole."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from segrt.cuda import compiled_code, driver
from segrt.cuda.kernels._base import REGISTRY, Kernel

CODE = b"\x7fELF and what follows"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cuda-code"


def test_what_is_kept_is_found(folder):
    assert compiled_code.find("key") is None
    compiled_code.remember("key", CODE)
    assert compiled_code.find("key") == CODE
    assert [path.name for path in folder.iterdir()] == ["key.bin"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:40] + b"x" + b[41:], lambda b: b""]
)
def test_damaged_files_are_as_good_as_none(folder, damage):
    compiled_code.remember("key", CODE)
    path = folder / "key.bin"
    path.write_bytes(damage(path.read_bytes()))
    assert compiled_code.find("key") is None


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path / "file"))
    compiled_code.remember("key", CODE)
    assert "cannot be written" in caplog.text
    assert compiled_code.find("key") is None


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    for name in ("SEGRT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless(_class):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    compiled_code.remember("key", CODE)
    assert compiled_code.find("key") is None


def test_keys_tell_sources_and_architectures_apart():
    keys = {compiled_code.key(source, arch) for source in "ab" for arch in ("sm_90", "sm_90a")}
    assert len(keys) == 4


def test_a_kernel_is_compiled_once(monkeypatch):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    kernel: Kernel | None = REGISTRY.find("pooling")
    assert kernel is not None
    launch = kernel.launch(kernel.cases[0])
    asked = (launch.source, "sm_90", launch.entry)
    driver.compile_source.cache_clear()
    code = driver.compile_source(*asked)
    driver.compile_source.cache_clear()
    monkeypatch.setattr(driver, "_compile", lambda *_: pytest.fail("compiled again"))
    assert driver.compile_source(*asked) == code


def test_keys_name_the_compiler_that_is_installed():
    wanted = importlib.metadata.version("nvidia-cuda-nvrtc")
    assert f"nvidia-cuda-nvrtc {wanted}" in compiled_code._compilers()
