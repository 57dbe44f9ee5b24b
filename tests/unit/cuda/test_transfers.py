"""Arrays that go to the GPU and come back, whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from segrt.cuda import transfers
from segrt.cuda.transfers import Copiers, Staged
from segrt.cuda.views import View


@pytest.fixture
def copiers() -> Iterator[Copiers]:
    made = Copiers()
    yield made
    made.close()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    return EmulatedGpu(monkeypatch, size=1 << 22)


def _round_trip(gpu: EmulatedGpu, copiers: Copiers, array: np.ndarray, kind: str, out: str):
    view = View.dense(array.shape, kind)
    staged = Staged(gpu, gpu.allocate(view.span_bytes, "test"), view, copiers)  # type: ignore[arg-type]
    staged.send(array)
    # What lies in the staging memory is not what comes back.
    staged._elements.fill(0)
    staged.begin_fetch()
    found = staged.finish_fetch(array.shape, out)
    staged.close()
    assert found.base is None or found.base.base is None
    return staged.in_pieces, found


@pytest.mark.parametrize("pieces", [1, 3, 16])
@pytest.mark.parametrize(("kind", "out"), [("fp32", "f4"), ("uint8", "i8"), ("fp16", "f4")])
def test_arrays_come_back_as_they_went(monkeypatch, gpu, copiers, kind: str, out: str, pieces: int):
    array = np.random.default_rng(0).integers(0, 255, (3, 7, 11, 5)).astype(out)
    size = 3 * 7 * 11 * 5 * {"fp32": 4, "uint8": 1, "fp16": 2}[kind]
    monkeypatch.setattr(transfers, "_PIECE_BYTES", size // pieces)
    in_pieces, found = _round_trip(gpu, copiers, array, kind, out)
    assert in_pieces == (pieces > 1)
    assert found.dtype == np.dtype(out)
    np.testing.assert_array_equal(found, array)


def test_arrays_of_any_order(monkeypatch, gpu, copiers):
    monkeypatch.setattr(transfers, "_PIECE_BYTES", 64)
    turned = np.arange(4 * 9 * 5, dtype="f8").reshape(4, 9, 5).transpose(2, 0, 1)
    np.testing.assert_array_equal(_round_trip(gpu, copiers, turned, "fp32", "f4")[1], turned)


def test_results_are_no_views_of_what_the_next_run_writes(monkeypatch, gpu, copiers):
    for piece_bytes in (1 << 20, 16):
        monkeypatch.setattr(transfers, "_PIECE_BYTES", piece_bytes)
        view = View.dense((16,), "fp32")
        staged = Staged(gpu, gpu.allocate(64, "test"), view, copiers)  # type: ignore[arg-type]
        results = []
        for number in (1.0, 2.0):
            staged.send(np.full(16, number, "f4"))
            staged.begin_fetch()
            results.append(staged.finish_fetch((16,), "f4"))
        assert [result[0] for result in results] == [1.0, 2.0]
