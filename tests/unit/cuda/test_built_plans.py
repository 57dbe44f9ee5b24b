"""cuDNN's plans kept on disk and built by other processes, and an import without PyTorch."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import SLOW, EmulatedLibrary
from helpers.tensorrt_graphs import unet
from segrt._messages import Message, read, write
from segrt.cuda import kept_files, plan_builders, plan_protocol, plan_worker
from segrt.cuda.built_plans import BuiltPlans, Plan
from segrt.cuda.cudnn_graph import ConvolutionGraph, convolution_graph
from segrt.cuda.engine import Engine
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.views import View
from segrt.types import Precision

_VIEWS = (View.of((1, 4, 6, 6), "fp16"), View.of((1, 8, 6, 6), "fp16"))
SPEC = GraphSpec(
    (8, 4, 3, 3), False, (1, 1), (1, 1), (1, 1), (1, 1), True, _VIEWS, Precision.FP16, "fp32", False
)


def _id(name: str, index: int = 0, *, slow: bool = True) -> PlanId:
    return PlanId(SPEC, index, name, slow)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cuda-cudnn"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, cache: Path) -> EmulatedLibrary:
    return EmulatedLibrary(EmulatedGpu(monkeypatch))


def _graph(library: EmulatedLibrary) -> ConvolutionGraph:
    graph = convolution_graph(library, SPEC)
    assert graph is not None
    return graph


def test_only_what_takes_long_is_kept(library, cache):
    graph = _graph(library)
    for plan in graph.plans(8):
        library.plans.keep(plan, graph.build(plan))
        assert (library.plans.find(plan) is not None) == plan.slow == (plan.index == SLOW)
    assert len(list(cache.iterdir())) == 1


def test_a_kept_plan_is_not_built_again(library, monkeypatch):
    plan = list(_graph(library).plans(8))[SLOW]
    library.plans.keep(plan, _graph(library).build(plan))
    again = _graph(library)
    monkeypatch.setattr(again.graph, "build_plan_at_index", None)
    restored = again.build(plan)
    assert restored.workspace == again.graph.workspace
    assert restored.written == library.plans.find(plan)


def test_a_kept_plan_that_cudnn_does_not_take_is_built(library, cache):
    graph = _graph(library)
    plan = list(graph.plans(8))[SLOW]
    library.plans.keep(plan, replace(graph.build(plan), written=b"of another time"))
    assert graph.build(plan).written.startswith(b"plan ")
    # Damaged on the disk: as good as none.
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert library.plans.find(plan) is None


def test_plans_of_other_versions_and_graphs_are_others(cache):
    plan, built = _id("a"), Plan(0, (), lambda pack, scratch: None, b"written")
    BuiltPlans("one").keep(plan, built)
    assert BuiltPlans("one").find(plan) == b"written"
    assert BuiltPlans("two").find(plan) is None
    for other in (
        replace(plan, index=1),
        replace(plan, name="b"),
        replace(plan, spec=replace(SPEC, relu=False)),
        replace(plan, spec=replace(SPEC, views=_VIEWS[::-1])),
    ):
        assert BuiltPlans("one").find(other) is None


class _Builders:
    """Builds all but what is refused."""

    def __init__(self) -> None:
        self.asked: list[PlanId] = []
        self.closed = False

    def ask(self, plan: PlanId) -> None:
        self.asked.append(plan)

    def finish(self) -> Iterator[tuple[PlanId, bytes]]:
        return ((plan, plan.name.encode()) for plan in self.asked if plan.name != "refused")

    def close(self) -> None:
        self.closed = True


def test_built_beside_is_what_takes_long_and_is_not_there(cache):
    builders = _Builders()
    plans = BuiltPlans("one", lambda: builders)
    kept = _id("kept")
    plans.keep(kept, Plan(0, (), lambda pack, scratch: None, b"kept"))
    plans.begin([kept, _id("fast", slow=False), *map(_id, ["a", "b", "refused", "a"])])
    # For a few no process is begun.
    assert builders.asked == []
    plans.begin(map(_id, "bcd"))
    assert [plan.name for plan in builders.asked] == ["a", "b", "refused", "c", "d"]
    plans.wait()
    assert (plans.find(_id("b")), plans.find(_id("refused"))) == (b"b", None)
    plans.forget()
    assert plans.find(_id("b")) is None
    assert plans.find(kept) == b"kept"


def test_what_is_begun_ends_with_an_engine_that_fails(cache):
    builders = _Builders()
    plans = BuiltPlans("one", lambda: builders)
    plans.begin(map(_id, "abcd"))
    plans.forget()
    assert builders.closed
    # Nothing is built beside where nothing can be: no builders, or none at the moment.
    for nobody in (BuiltPlans("one"), BuiltPlans("one", lambda: None)):
        nobody.begin(map(_id, "abcdef"))
        nobody.wait()
        assert nobody.find(_id("a")) is None


def test_an_engine_opens_with_what_it_kept_and_computes_the_same(monkeypatch, cache):
    image = np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)
    model = unet((8, 16), side=16)

    def run(known: bool) -> np.ndarray:
        gpu = EmulatedGpu(monkeypatch, {"cudnn": 1.0}, (8, 0))
        library = EmulatedLibrary(gpu)
        # Of two plans that are equally fast the first is taken: leave only the slow one.
        monkeypatch.setattr(ConvolutionGraph, "plans", _slow_ones)
        if known:
            monkeypatch.setattr(type(_graph(library).graph), "build_plan_at_index", None)
        engine = Engine(model, Precision.FP16, gpu, library)  # type: ignore[arg-type]
        gpu.tuning = False
        (mask,) = engine.run([image])
        engine.close()
        return mask

    first = run(known=False)
    assert list(cache.iterdir())
    np.testing.assert_array_equal(run(known=True), first)


_all_plans = ConvolutionGraph.plans


def _slow_ones(graph: ConvolutionGraph, most: int) -> Iterator[PlanId]:
    return (plan for plan in _all_plans(graph, most) if plan.slow)


def test_an_engine_has_built_beside_it_what_it_will_time(monkeypatch, cache):
    gpu = EmulatedGpu(monkeypatch, {"cudnn": 1.0}, (8, 0))
    library, builders = EmulatedLibrary(gpu), _Builders()
    library.plans = BuiltPlans("emulated", lambda: builders)
    Engine(unet((8, 16), side=16), Precision.FP16, gpu, library).close()  # type: ignore[arg-type]
    assert len(builders.asked) == len(set(builders.asked)) > 4
    assert all(plan.slow for plan in builders.asked)


def test_a_process_answers_what_it_is_asked(library):
    graph = _graph(library)
    slow = list(graph.plans(8))[SLOW]
    unlike = replace(slow, name="another cuDNN's")
    requests, answers = io.BytesIO(), io.BytesIO()
    for plan in (slow, unlike, slow):
        write(requests, plan_protocol.request(plan))
    requests.seek(0)
    plan_worker.serve(library, requests, answers)
    answers.seek(0)
    got = [plan_protocol.answered(_message(answers)) for _ in range(3)]
    assert [bool(written) for written, _ in got] == [True, False, True]
    assert got[1] == (b"", "its graph has other plans here")


_ANSWERING = """
import os, sys, time
from segrt._messages import read, write
from segrt.cuda.plan_protocol import answer, requested
while message := read(sys.stdin.buffer):
    plan = requested(message)
    if plan.name == "deadly":
        os._exit(3)
    if plan.name == "silent":
        time.sleep(600)
    refused = plan.name == "refused"
    write(sys.stdout.buffer, answer(b"" if refused else b"%d" % os.getpid(), "no" * refused))
"""


def _message(stream: IO[bytes]) -> Message:
    found = read(stream)
    assert found is not None
    return found


def _begin(code: str = _ANSWERING) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_what_is_asked_and_answered_arrives():
    views = (*_VIEWS, View.dense((2, 3), "fp32"), View(4, 2, 2, 8, "int8", 16))
    whole = replace(SPEC, views=views, word=("clip", 6.0), affine="mul add")
    stream = io.BytesIO()
    for spec in (SPEC, whole):
        write(stream, plan_protocol.request(PlanId(spec, 3, "eng4", slow=True)))
    stream.seek(0)
    for spec in (SPEC, whole):
        found = plan_protocol.requested(_message(stream))
        assert found == PlanId(spec, 3, "eng4", slow=True)
    assert read(stream) is None
    answers = io.BytesIO()
    write(answers, plan_protocol.answer(b"\nline\n", ""))
    answers.seek(0)
    assert plan_protocol.answered(_message(answers)) == (b"\nline\n", "")
    # Cut off: the other side is gone.
    answers.truncate(answers.tell() - 1)
    answers.seek(0)
    assert read(answers) is None


def _built(
    plans: list[PlanId], count: int, begin: Callable[[], subprocess.Popen[bytes]] = _begin
) -> dict[PlanId, bytes]:
    builders = plan_builders.Builders(count, begin)
    for plan in plans:
        builders.ask(plan)
    return dict(builders.finish())


def test_plans_of_one_name_are_built_by_one_process():
    plans = [_id(name, index) for name in ("a", "b", "refused", "c") for index in range(3)]
    got = _built(plans, 3)
    assert set(got) == {plan for plan in plans if plan.name != "refused"}
    for name in "abc":
        assert len({got[plan] for plan in got if plan.name == name}) == 1


def test_what_a_process_that_ends_left_is_missing_and_nothing_else():
    plans = [_id("deadly", 0), _id("deadly", 1), _id("deadly", 2), _id("a"), _id("b")]
    got = _built(plans, 2)
    assert {plan.name for plan in got} == {"a", "b"}


def test_processes_that_never_answer_are_given_up_and_ended(monkeypatch):
    monkeypatch.setattr(plan_builders, "_PATIENCE_S", 0.3)
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        begun.append(_begin())
        return begun[-1]

    assert _built([_id("silent"), _id("silent", 1)], 2, begin) == {}
    assert all(process.poll() is not None for process in begun)


def test_processes_that_cannot_begin_are_no_error():
    def begin() -> subprocess.Popen[bytes]:
        raise PermissionError("no processes here")

    assert _built([_id("a"), _id("b")], 2, begin) == {}


def test_a_few_processes_share_what_more_names_want():
    got = _built([_id(name, index) for name in "abcdefg" for index in range(2)], 3)
    assert len(got) == 14
    assert len(set(got.values())) == 3


def test_processes_end_when_nobody_waits_for_them():
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        begun.append(_begin())
        return begun[-1]

    builders = plan_builders.Builders(2, begin)
    for name in ("silent", "a", "silent"):
        builders.ask(_id(name))
    builders.close()
    assert [process.poll() is not None for process in begun] == [True, True]


def test_as_many_processes_as_processors_and_memory_are_worth(monkeypatch):
    monkeypatch.setattr(plan_builders, "processors", lambda: 16)
    assert [plan_builders.count_for(gib << 30) for gib in (80, 6, 2)] == [8, 2, 0]
    monkeypatch.setattr(plan_builders, "processors", lambda: 4)
    assert plan_builders.count_for(80 << 30) == 3
    monkeypatch.setattr(plan_builders, "processors", lambda: 2)
    assert plan_builders.count_for(80 << 30) == 0
    monkeypatch.setattr(plan_builders, "processors", lambda: 16)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert plan_builders.count_for(80 << 30) == 0


_FAKE_CORE = """
class _Stream:
    handle = 1
    def close(self): pass
    def sync(self): pass
class Device:
    name = "fake"
    def __init__(self, index): self.device_id = index
    def set_current(self): pass
    def create_stream(self): return _Stream()
    class compute_capability: major, minor = 8, 0
    class properties: multiprocessor_count = 1
"""
_FAKE_CUDNN = """
from types import SimpleNamespace
print("a library that talks")
__version__ = "1"
def create_handle(): return 7
def set_stream(handle, stream): assert handle == 7
def destroy_handle(handle): pass
def backend_version(): return 90000
class cudnnGraphNotSupportedError(Exception): pass
class behavior_note: RUNTIME_COMPILATION = 3
class data_type: FLOAT, HALF, BFLOAT16, INT8, INT32 = range(5)
class heur_mode: A, FALLBACK = range(2)
class _Tensor:
    def __getattr__(self, name): return lambda *a, **k: self
class pygraph:
    def __init__(self, **settings): self.built = None
    def __getattr__(self, name): return lambda *a, **k: _Tensor()
    def get_execution_plan_count(self): return 3
    def get_plan_name_at_index(self, index): return f"eng{index}"
    def get_behavior_notes_for_plan_at_index(self, index): return [3]
    def build_plan_at_index(self, index):
        if index == 2: raise RuntimeError("not this one")
        self.built = index
    def get_workspace_size_plan_at_index(self, index): return 0
    def serialize(self): return [self.built, 200, 255]
"""


def test_real_processes_build_for_a_library_and_what_it_prints_does_no_harm(
    monkeypatch, tmp_path, cache
):
    for path, code in (
        ("cuda/core/__init__.py", _FAKE_CORE),
        ("cuda/core/system.py", "def get_user_mode_driver_version(): return 13, 0"),
        ("cudnn.py", _FAKE_CUDNN),
    ):
        (tmp_path / "fake" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fake" / path).write_text(textwrap.dedent(code))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "fake"), *sys.path])
    plans = [_id(f"eng{index}", index) for index in range(3)]
    got = _built(plans, 2, partial(plan_builders.begin, 0))
    assert got == {plans[0]: bytes([0, 200, 255]), plans[1]: bytes([1, 200, 255])}


def test_without_a_gpu_the_processes_build_nothing_and_end(monkeypatch, tmp_path):
    (tmp_path / "cudnn.py").write_text("raise ImportError('broken')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert _built([_id("a")], 1, partial(plan_builders.begin, 0)) == {}


def test_pytorch_is_not_imported_until_somebody_uses_it(tmp_path):
    (tmp_path / "cudnn.py").write_text("try:\n    import torch\nexcept ImportError:\n    torch = 0")
    (tmp_path / "torch.py").write_text("print('imported')\nhalf = 'real'")
    code = (
        "import sys; from segrt.cuda.cudnn_graph import cudnn; found = cudnn();"
        "print('torch' in sys.modules); print(found.torch.half);"
        "import torch; print(torch.__file__ == sys.modules['torch'].__file__)"
    )

    def said(path: list[str]) -> list[str]:
        program = f"import sys; sys.path[:] = {path!r}; {code}"
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert said([str(tmp_path), *sys.path]) == ["False", "imported", "real", "True"]


def test_without_pytorch_the_frontend_sees_none(tmp_path):
    (tmp_path / "cudnn.py").write_text("try:\n    import torch\nexcept ImportError:\n    torch = 0")
    absent = "sys.modules['torch'] = None"
    code = "from segrt.cuda.cudnn_graph import cudnn; print(cudnn().torch)"
    program = f"import sys; sys.path[:] = {[str(tmp_path), *sys.path]!r}; {absent}; {code}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_files_of_the_cache_have_folders_of_their_own(cache):
    kept_files.remember("cuda-cudnn", "k", b"one")
    kept_files.remember("cuda-code", "k", b"two")
    assert kept_files.find("cuda-cudnn", "k") == b"one"
    assert kept_files.find("cuda-code", "k") == b"two"
