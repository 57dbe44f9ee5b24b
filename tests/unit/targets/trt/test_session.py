"""The session's calls in order, and what is left when one of them fails; on fakes.

No TensorRT engine runs without a GPU that it supports. See `helpers.tensorrt_fakes`.
"""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np
import pytest

from helpers.tensorrt_fakes import FakeTensorRt
from helpers.tensorrt_graphs import one_node
from segrt.errors import EngineError, PackageError, ShapeError, UsageError
from segrt.targets.trt._flavour import FULL, RTX
from segrt.targets.trt.session import TensorRtSession

FREE = {"shape": (-1, 4, 4, 1), "profile": ((1, 4, 4, 1), (2, 4, 4, 1), (4, 4, 4, 1))}
FLAVOURS = pytest.mark.parametrize("rtx", [True, False], ids=["rtx", "full"])


@pytest.fixture(name="make")
def make_a_session(monkeypatch, tmp_path):
    """Return a function that makes a fake library, and one that opens a session on it."""
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))

    def make(rtx=True, plan=b"plan", **options):
        library = FakeTensorRt(rtx=rtx, **options)
        monkeypatch.setitem(sys.modules, "fake_tensorrt", library)
        flavour = dataclasses.replace(RTX if rtx else FULL, module="fake_tensorrt")
        shape = tuple(None if size == -1 else size for size in library.shape)
        model = one_node(lambda b, x: b.op("Relu", [x], name="y"), shape)
        return library, lambda: TensorRtSession(model, plan, flavour, library.gpu)

    return make


def image(batch=1, seed=0):
    return np.random.default_rng(seed).random((batch, 4, 4, 1), dtype=np.float32)


def check(session, x):
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x + 1)


OPENED = ["open_gpu", "runtime", "engine_host_code_allowed", "tempfile_control_flags"]
CONFIGURED = ["config", "create_cache", "set_cache"]
MEMORY = ["allocate", "pinned", "set_tensor_address"] * 2
CLOSED = ["sync", "del_context", "del_engine", "del_runtime"] + ["free_device", "free_pinned"] * 2


def test_calls_of_rtx_in_order(make):
    library, open_session = make()
    with open_session() as session:
        check(session, image())
        first = [name for name in library.world.names() if name != "use"]
        library.world.calls.clear()
        check(session, image(seed=1))
        second = library.world.names()
        library.world.calls.clear()
    assert first == [
        *OPENED, "validity", "deserialize", *CONFIGURED, "context",
        "set_input_shape", "get_tensor_shape", *MEMORY, "copy", "execute", "copy", "sync",
        "cache_serialize",
    ]  # fmt: skip
    # The same sizes again: nothing but copies and the network.
    assert second == ["use", "copy", "execute", "copy", "sync"]
    assert library.world.names() == ["use", *CLOSED, "close_gpu"]
    assert library.world.memory == {}


def test_calls_of_full_tensorrt_in_order(make):
    library, open_session = make(rtx=False)
    with open_session() as session:
        check(session, image())
        first = [name for name in library.world.names() if name != "use"]
        library.world.calls.clear()
        check(session, image(seed=1))
        second = library.world.names()
        library.world.calls.clear()
        check(session, image(seed=2))
        third = library.world.names()
        library.world.calls.clear()
    assert first == [
        *OPENED, "deserialize", "context",
        "set_input_shape", "get_tensor_shape", *MEMORY, "copy", "execute", "copy", "sync",
    ]  # fmt: skip
    # Recorded once, after a run that was not; then launched.
    recorded = ["begin_building", "execute", "end_building", "complete"]
    assert second == ["use", "copy", *recorded, "graph_launch", "copy", "sync"]
    assert third == ["use", "copy", "graph_launch", "copy", "sync"]
    assert library.world.names() == ["use", "sync", "graph_close", *CLOSED[1:], "close_gpu"]
    assert library.world.memory == {}


def test_guards_are_up_before_the_plan_is_loaded(make):
    library, open_session = make()
    open_session().close()
    calls = library.world.calls
    loaded = calls.index("deserialize")
    assert calls.index("engine_host_code_allowed False") < loaded
    assert calls.index("tempfile_control_flags 0") < loaded


@FLAVOURS
def test_other_sizes_reuse_memory_and_grow_it(make, rtx):
    library, open_session = make(rtx, **FREE)
    with open_session() as session:
        for batch, allocations in ((2, 2), (2, 2), (1, 2), (1, 2), (4, 4), (4, 4), (3, 4)):
            check(session, image(batch, seed=batch))
            assert library.world.names().count("allocate") == allocations
            # One pair of buffers for the input, one for the output.
            assert len(library.world.memory) == 4
    names = library.world.names()
    assert names.count("set_input_shape") == 4
    # Recorded for each size that came twice, and dropped when it changed.
    assert names.count("complete") == names.count("graph_close") == (0 if rtx else 3)
    assert library.world.memory == {}


def test_only_the_bytes_of_these_sizes_are_copied(make):
    library, open_session = make(**FREE)
    with open_session() as session:
        check(session, image(4))
        check(session, image(1))
    assert [call for call in library.world.calls if call.startswith("copy")] == [
        "copy 256", "copy 256", "copy 64", "copy 64",
    ]  # fmt: skip


def test_sizes_outside_the_profile_are_refused_with_its_bounds(make):
    library, open_session = make(**FREE)
    with open_session() as session:
        library.world.calls.clear()
        with pytest.raises(ShapeError) as caught:
            session.run({"x": image(5)})
        assert library.world.calls == []
        assert caught.value.found == "(5, 4, 4, 1)"
        assert caught.value.wanted == "(1 to 4, 4, 4, 1)"
        check(session, image(4))


def test_results_are_the_callers_own(make):
    _, open_session = make()
    with open_session() as session:
        first = session.run({"x": image()})["y"]
        session.run({"x": image(seed=1)})
        np.testing.assert_array_equal(first, 2 * image() + 1)


def test_an_engine_of_another_type_is_refused(make):
    library, open_session = make(dtype=np.float16)
    with pytest.raises(PackageError, match="not that of the package's graph") as caught:
        open_session()
    assert (
        caught.value.found == "input 'x' of float16 with 4 axes, output 'y' of float16 with 4 axes"
    )
    assert library.world.names().count("close_gpu") == 1


OPENING = [
    ("runtime", None), ("engine_host_code_allowed", None), ("tempfile_control_flags", None),
    ("deserialize", None), ("config", None), ("create_cache", None), ("set_cache", False),
    ("context", None),
]  # fmt: skip


@pytest.mark.parametrize(("step", "result"), OPENING)
def test_a_failure_while_opening_frees_everything(make, step, result):
    library, open_session = make()
    library.world.fail[step] = result
    with pytest.raises(EngineError) as caught:
        open_session()
    # What TensorRT logged is what the user reads.
    assert f"{step} was told to fail" in str(caught.value)
    caught = None
    made = set(library.world.names())
    # An object that a failing call did not hand out is gone as well.
    assert library.world.names().count("close_gpu") == 1
    assert library.world.memory == {}
    assert ("del_runtime" in made) == ("runtime" in made)
    if step in {"runtime", "engine_host_code_allowed", "tempfile_control_flags"}:
        assert "deserialize" not in made


def test_a_context_that_does_not_fit_says_how_much_it_wants(make):
    library, open_session = make()
    library.world.fail["context"] = None
    with pytest.raises(EngineError, match="3 MiB of the GPU's memory"):
        open_session()


def test_an_engine_that_does_not_fit_the_machine_is_not_loaded(make):
    library, open_session = make()
    library.world.fail["validity"] = (2, 3)
    with pytest.raises(EngineError) as caught:
        open_session()
    assert caught.value.found == "version mismatch, unsupported cc"
    assert "deserialize" not in library.world.names()


RUNNING = [
    ("set_input_shape", False), ("get_tensor_shape", (-1, 4, 4, 1)), ("set_tensor_address", False),
    ("execute", False), ("allocate", EngineError("the GPU's memory does not hold it")),
    ("pinned", MemoryError("no pinned memory")), ("copy", RuntimeError("a copy failed")),
]  # fmt: skip


@FLAVOURS
@pytest.mark.parametrize("runs_before", [0, 2])
@pytest.mark.parametrize(("step", "result"), RUNNING)
def test_a_failed_run_leaves_the_session_usable(make, rtx, runs_before, step, result):
    library, open_session = make(rtx, **FREE)
    with open_session() as session:
        for _ in range(runs_before):
            check(session, image(1))
        library.world.fail[step] = result
        with pytest.raises(EngineError) as caught:
            session.run({"x": image(3)})
        if not isinstance(result, BaseException):
            assert f"{step} was told to fail" in str(caught.value)
        library.world.fail.clear()
        assert len(library.world.memory) <= 4
        check(session, image(3, seed=5))
        check(session, image(1, seed=6))
    assert library.world.memory == {}


@FLAVOURS
@pytest.mark.parametrize("runs_before", [0, 2])
def test_a_lost_gpu_closes_the_session(make, rtx, runs_before):
    library, open_session = make(rtx)
    session = open_session()
    for _ in range(runs_before):
        check(session, image())
    library.world.fail["sync"] = RuntimeError("an illegal address")
    with pytest.raises(EngineError, match="session is closed") as caught:
        session.run({"x": image()})
    assert "an illegal address" in str(caught.value)
    assert library.world.memory == {}
    assert library.world.names()[-1] == "close_gpu"
    assert "del_runtime" in library.world.names()
    with pytest.raises(UsageError, match="closed"):
        session.run({"x": image()})
    session.close()
    assert library.world.names().count("close_gpu") == 1


def test_a_network_that_cannot_be_recorded_runs_without(make, caplog):
    library, open_session = make(rtx=False)
    with open_session() as session:
        check(session, image())
        library.world.fail["complete"] = RuntimeError("operation not permitted while capturing")
        check(session, image(seed=1))
        assert "cannot be recorded" in caplog.text
        library.world.calls.clear()
        check(session, image(seed=2))
        assert library.world.names() == ["use", "copy", "execute", "copy", "sync"]


def test_closing_twice_and_running_afterwards(make):
    library, open_session = make()
    session = open_session()
    session.close()
    session.close()
    assert library.world.names().count("close_gpu") == 1
    with pytest.raises(UsageError, match="closed"):
        session.run({"x": image()})


def test_two_sessions_of_one_process_are_apart(make):
    library, open_session = make()
    first, second = open_session(), open_session()
    check(first, image())
    first.close()
    check(second, image(seed=1))
    second.close()
    assert library.world.memory == {}


def kernels(folder):
    return sorted((folder / "tensorrt").glob("*.kernels"))


def test_kernels_are_kept_for_the_next_session(make, tmp_path):
    library, open_session = make()
    with open_session() as session:
        assert kernels(tmp_path) == []
        check(session, image())
        assert len(kernels(tmp_path)) == 1
    assert "cache_deserialize" not in library.world.names()
    library, open_session = make()
    open_session().close()
    assert "cache_deserialize kernels" in library.world.calls
    library, open_session = make(plan=b"another plan")
    open_session().close()
    assert "cache_deserialize" not in library.world.names()


def test_kernels_of_other_sizes_are_kept_at_the_end(make, tmp_path):
    library, open_session = make(**FREE)
    with open_session() as session:
        for batch in (1, 2, 1):
            check(session, image(batch))
        assert library.world.names().count("cache_serialize") == 1
    assert library.world.names().count("cache_serialize") == 2


def test_kernels_that_the_library_refuses_are_made_anew(make, tmp_path):
    _, open_session = make()
    with open_session() as session:
        check(session, image())
    (file,) = kernels(tmp_path)
    library, open_session = make()
    library.world.fail["cache_deserialize"] = False
    # Far in the past: file systems tell times apart by milliseconds, some by two seconds.
    os.utime(file, (1e9, 1e9))
    with open_session() as session:
        check(session, image())
    assert file.stat().st_mtime > 1.1e9


@FLAVOURS
def test_a_run_is_timed_by_events(make, rtx):
    library, open_session = make(rtx)
    with open_session() as session:
        with pytest.raises(EngineError, match="nothing was run"):
            session.once_us()
        check(session, image())
        check(session, image(seed=1))
        library.world.calls.clear()
        assert session.once_us() == 7000
        put = "execute" if rtx else "graph_launch"
        assert [n for n in library.world.names() if n != "use"] == ["event", put, "event"]
        assert session.device_name == "Fake RTX"
        # The session is as it was.
        check(session, image(seed=2))
