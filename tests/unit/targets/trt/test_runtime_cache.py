"""Kept kernels: whole, of the very same plan, library and GPU, and nobody else's."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from segrt.targets.trt.runtime_cache import RuntimeCache


@pytest.fixture(name="cache")
def a_cache(tmp_path):
    cache = RuntimeCache(
        "a" * 64, "tensorrt-rtx 1.7.1.116", "RTX 4090, driver 13.0", tmp_path / "c"
    )
    cache.save(b"kernels")
    return cache


def test_what_was_saved_is_loaded(cache):
    assert cache.load() == b"kernels"
    assert not list(cache.path.parent.glob("*.tmp"))
    cache.save(b"more kernels")
    assert cache.load() == b"more kernels"


@pytest.mark.parametrize("field", ["plan_sha256", "library", "device"])
def test_kernels_made_for_another_are_not_found(cache, field):
    other = dataclasses.replace(cache, **{field: "another"})
    assert other.path != cache.path
    assert other.load() is None


@pytest.mark.parametrize("field", ["plan", "library", "device", "format", "sha256", "bytes"])
def test_a_changed_note_makes_them_useless(cache, field, caplog):
    note = cache.path.with_suffix(".json")
    said = json.loads(note.read_text("utf-8"))
    note.write_text(json.dumps(said | {field: "other"}), "utf-8")
    assert cache.load() is None
    assert "ignored" in caplog.text


@pytest.mark.parametrize("data", [b"", b"kernelz", b"kernels and more"])
def test_changed_kernels_are_ignored(cache, data, caplog):
    cache.path.write_bytes(data)
    assert cache.load() is None
    assert "ignored" in caplog.text


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 100_000, "\udcff"])
def test_a_damaged_note_is_no_error(cache, text):
    cache.path.with_suffix(".json").write_text(text, "utf-8", errors="surrogateescape")
    assert cache.load() is None


def test_no_file_is_no_warning(cache, caplog):
    cache.path.unlink()
    assert cache.load() is None
    assert caplog.text == ""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no such permissions")
@pytest.mark.parametrize("what", ["folder", "note", "kernels"])
def test_what_others_may_write_is_ignored(cache, what, caplog):
    path = {
        "folder": cache.path.parent, "note": cache.path.with_suffix(".json"), "kernels": cache.path,
    }[what]  # fmt: skip
    path.chmod(path.stat().st_mode | 0o020)
    assert cache.load() is None
    assert "others own or may write" in caplog.text


def test_a_link_is_ignored(cache, tmp_path, caplog):
    cache.path.rename(tmp_path / "elsewhere")
    cache.path.symlink_to(tmp_path / "elsewhere")
    assert cache.load() is None
    assert "link" in caplog.text


def test_what_cannot_be_written_costs_time_only(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    RuntimeCache("a", "b", "c", tmp_path / "file" / "below").save(b"kernels")
    assert "cannot be kept" in caplog.text
