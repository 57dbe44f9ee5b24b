"""The session's memory, copies and CUDA graphs on a real GPU; only TensorRT is a fake.

Its engine copies input to output on the stream, which is enough to see whether addresses, sizes,
order and recording are right.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from helpers import tensorrt_fakes
from helpers.tensorrt_graphs import one_node
from segrt.errors import EngineError
from segrt.graph import metadata
from segrt.targets.trt._flavour import FULL, RTX
from segrt.targets.trt.session import TensorRtSession
from segrt.types import ShapeProfile

pytestmark = pytest.mark.gpu
LARGEST = 1 << 22
FLAVOURS = pytest.mark.parametrize("rtx", [True, False], ids=["rtx", "full"])


class Context(tensorrt_fakes.Context):
    """Puts a real copy on the real stream."""

    def execute_async_v3(self, stream_handle):
        from cuda.bindings import driver

        size = int(np.prod(self._shapes["x"])) * 4
        ends = self._addresses["y"], self._addresses["x"]
        (code,) = driver.cuMemcpyDtoDAsync(*ends, size, stream_handle)
        return self._world.answer("execute", code == driver.CUresult.CUDA_SUCCESS)


@pytest.fixture(name="make")
def make_a_session(monkeypatch, tmp_path):
    from segrt.cuda.driver import Gpu

    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    monkeypatch.setattr(tensorrt_fakes, "Context", Context)

    def make(rtx):
        profile = ((1, 4, 4, 1), (2, 4, 4, 1), (LARGEST, 4, 4, 1))
        library = tensorrt_fakes.FakeTensorRt(rtx=rtx, shape=(-1, 4, 4, 1), profile=profile)
        monkeypatch.setitem(sys.modules, "fake_tensorrt", library)
        flavour = dataclasses.replace(RTX if rtx else FULL, module="fake_tensorrt")
        model = one_node(lambda b, x: b.op("Relu", [x], name="y"), (None, 4, 4, 1))
        metadata.set_ranges(model.graph.inputs[0], [ShapeProfile(1, 2, LARGEST), None, None, None])
        return library, TensorRtSession(model, b"plan", flavour, Gpu)

    return make


def check(session, batch, seed):
    x = np.random.default_rng(seed).random((batch, 4, 4, 1), dtype=np.float32)
    np.testing.assert_array_equal(session.run({"x": x})["y"], x)


def free_bytes():
    from cuda.bindings import driver

    code, free, _ = driver.cuMemGetInfo()
    assert code == driver.CUresult.CUDA_SUCCESS
    return free


@FLAVOURS
def test_results_are_right_for_all_sizes_and_recordings(make, rtx):
    library, session = make(rtx)
    with session:
        for seed, batch in enumerate((2, 2, 2, 1, 1, 1, 64, 64, 64, 3, 3, 2048, 2048, 2)):
            check(session, batch, seed)
    names = library.world.names()
    # Recorded calls of the second run; those after it only launch the graph.
    assert names.count("execute") == (14 if rtx else 11)


def test_a_failed_recording_leaves_the_stream_usable(make, caplog):
    library, session = make(False)
    with session:
        check(session, 4, 0)
        library.world.fail["execute"] = False
        with pytest.raises(EngineError):
            session.run({"x": np.zeros((4, 4, 4, 1), np.float32)})
        assert "cannot be recorded" in caplog.text
        library.world.fail.clear()
        for seed in range(3):
            check(session, 4, seed)


@FLAVOURS
def test_memory_that_does_not_suffice_is_an_error_and_no_end(make, rtx, monkeypatch):
    _, session = make(rtx)
    with session:
        check(session, 8, 0)
        allocate = session._gpu.allocate
        # As for a batch that is 2**16 times larger: beyond any GPU.
        monkeypatch.setattr(session._gpu, "allocate", lambda size, what: allocate(size << 36, what))
        with pytest.raises(EngineError, match="memory does not hold the tensor 'x'") as caught:
            session.run({"x": np.zeros((16, 4, 4, 1), np.float32)})
        assert caught.value.wanted == f"{16 * 64 << 36 >> 20} MiB"
        monkeypatch.undo()
        check(session, 16, 1)


@FLAVOURS
def test_sessions_leave_no_memory_behind(make, rtx):
    def once():
        _, session = make(rtx)
        with session:
            for batch in (1 << 14, 1 << 17, 1 << 14, 1 << 14):
                check(session, batch, batch)

    once()
    before = free_bytes()
    for _ in range(20):
        once()
    # One session holds 2 x 8 MiB; the pool of the driver keeps a little.
    assert before - free_bytes() < 16 << 20
