"""How a way is chosen: what is asked, compiled, timed and given up, and where the time goes."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.tensorrt_graphs import unet
from segrt.cli._progress import told
from segrt.cuda import library_choices, parameters
from segrt.cuda.compiling import Compilations
from segrt.cuda.engine import Engine
from segrt.cuda.jobs import Choice, Job, Proposal
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain, Convolution
from segrt.cuda.race import Race
from segrt.cuda.referee import Referee
from segrt.cuda.stages import Stages
from segrt.cuda.tune import PlanCache, Tuner
from segrt.cuda.views import View
from segrt.errors import EngineError
from segrt.types import Precision


def test_stages_add_up_and_inner_ones_are_counted_once():
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 11.0])
    stages = Stages(lambda: next(now))
    with stages.stage("outer"):
        with stages.stage("inner"):
            pass
        with pytest.raises(ValueError, match="within"), stages.stage("inner"):
            raise ValueError("within")
    # Outer: 0 to 1, 3 to 6 and 10 to 11.
    assert stages.seconds == {"outer": 5.0, "inner": 6.0}
    assert str(stages) == "11.00 s: 6.00 s inner, 5.00 s outer"


class _Compiler:
    """Compiles when it is let; counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()

    def __call__(self, source: str, architecture: str, entry: str) -> bytes:
        self.asked.append(source)
        assert self.let.wait(30)
        if source == "broken":
            raise EngineError("it does not compile")
        return f"{source} for {architecture}".encode()


def test_what_was_begun_is_compiled_once_beside_what_else_is_done():
    compiler = _Compiler()
    compilations = Compilations(compiler)
    for _ in range(3):
        compilations.begin(("a", "sm_90", "k"))
    compiler.let.set()
    assert compilations.code(("a", "sm_90", "k")) == b"a for sm_90"
    assert compilations.code(("b", "sm_90", "k")) == b"b for sm_90"
    compilations.close()
    assert sorted(compiler.asked) == ["a", "b"]


def test_errors_come_with_the_code_and_not_before():
    compiler = _Compiler()
    compiler.let.set()
    compilations = Compilations(compiler)
    compilations.begin(("broken", "sm_90", "k"))
    compilations.wait(("broken", "sm_90", "k"))
    with pytest.raises(EngineError, match="does not compile"):
        compilations.code(("broken", "sm_90", "k"))
    compilations.close()


def test_closing_drops_what_has_not_begun(monkeypatch):
    monkeypatch.setattr("segrt.cuda.compiling.processors", lambda: 1)
    compiler = _Compiler()
    compilations = Compilations(compiler)
    for source in "abc":
        compilations.begin((source, "sm_90", "k"))
    compilations.close()
    compiler.let.set()
    assert compilations.code(("d", "sm_90", "k")) == b"d for sm_90"
    assert set(compiler.asked) <= {"a", "d"}


def _run(race: Race, kind: str, times: list[float]) -> int:
    """Return how many plans of a kind are tried."""
    for index, time_us in enumerate(times):
        if not race.is_open(kind):
            return index
        race.note(kind, time_us)
    return len(times)


@pytest.mark.parametrize(
    ("own", "times", "tried"),
    [
        pytest.param([], [9, 8, 7, 6, 5, 4, 3, 2], 8, id="each better than before"),
        pytest.param([], [5, 6, 7, 8, 4], 4, id="three no better than the first"),
        pytest.param([], [5, 6, 4, 8, 9, 9, 1], 6, id="patience begins anew"),
        pytest.param([10], [16, 17, 1], 2, id="far behind another way"),
        pytest.param([10], [14, 13, 12, 11], 4, id="not so far behind"),
    ],
)
def test_plans_are_given_up(own: list[float], times: list[float], tried: int):
    for thorough in (False, True):
        race = Race(thorough=thorough)
        assert _run(race, "", own) == len(own)
        assert _run(race, "cudnn fp32", times) == (len(times) if thorough else tried)


def test_own_kernels_are_never_given_up():
    race = Race()
    assert _run(race, "", [1, 9, 9, 9, 9, 9]) == 6


@pytest.fixture
def gpu(monkeypatch, tmp_path) -> EmulatedGpu:
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    return EmulatedGpu(monkeypatch, {"slow": 50.0, "fast": 5.0, "faster": 1.0, "own": 2.0})


VIEW = View(1, 2, 2, 4, "fp32")
JOB = Job(Chain("layer", ("x",), "y", (Step("relu"),)), (VIEW,), (0,), VIEW, 0)


def _tuner(gpu: EmulatedGpu, cache: PlanCache) -> Tuner:
    return Tuner(gpu, cache, Referee(gpu, Precision.FP32))  # type: ignore[arg-type]


def _way(gpu: EmulatedGpu, name: str, made: list[str], **settings: object) -> Proposal:
    def make() -> Choice:
        made.append(name)
        work: Callable[[int], None] = lambda _: gpu.enqueue(name, lambda: None)  # noqa: E731
        return Choice(name, 0, work)

    return Proposal(name, make, **settings)  # type: ignore[arg-type]


def test_the_fastest_way_is_remembered_and_nothing_else_is_asked_then(gpu, tmp_path):
    made: list[str] = []
    asked: list[str] = []

    def ways() -> Iterator[Proposal]:
        for name in ("slow", "fast", "faster"):
            asked.append(name)
            yield _way(gpu, name, made, last_resort=name == "faster")

    cache = PlanCache("test", tmp_path)
    assert _tuner(gpu, cache).choose("job", ways(), JOB).name == "fast"
    # What is of last resort is not even built.
    assert made == ["slow", "fast"]
    made.clear()
    asked.clear()
    assert _tuner(gpu, cache).choose("job", ways(), JOB).name == "fast"
    assert (made, asked) == (["fast"], ["slow", "fast"])


def test_a_kernel_that_was_changed_is_checked_and_timed_again(gpu, tmp_path):
    kernel = REGISTRY.find("nearest")
    assert kernel is not None
    # Of two sizes, which stand for two versions of one kernel.
    old, new = (kernel.launch(spec) for spec in kernel.cases[:2])
    assert old.source != new.source
    made: list[str] = []
    cache = PlanCache("test", tmp_path)
    for launch, built in ((old, ["own", "slow"]), (old, ["own"]), (new, ["own", "slow"])):
        made.clear()
        ways = [_way(gpu, "own", made, launches=(launch,)), _way(gpu, "slow", made)]
        assert _tuner(gpu, cache).choose("job", ways, JOB).name == "own"
        assert made == built


def test_layers_of_one_signature_and_kernels_of_their_own_are_all_remembered(gpu, tmp_path):
    kernel = REGISTRY.find("nearest")
    assert kernel is not None
    made: list[str] = []
    cache = PlanCache("test", tmp_path)
    for built in (["own", "slow"] * 2, ["own"] * 2):
        made.clear()
        for spec in kernel.cases[:2]:
            own = _way(gpu, "own", made, launches=(kernel.launch(spec),))
            _tuner(gpu, cache).choose("job", [own, _way(gpu, "slow", made)], JOB)
        assert made == built


def test_plans_kept_by_two_at_once_are_all_kept(gpu, tmp_path):
    one, two = (_way(gpu, name, []) for name in ("one", "two"))
    first, second = PlanCache("same", tmp_path), PlanCache("same", tmp_path)
    first.remember("a", one)
    second.remember("b", two)
    first.save()
    second.save()
    kept = PlanCache("same", tmp_path)
    assert kept.knows("a", one)
    assert kept.knows("b", two)
    assert not kept.knows("a", two)


@pytest.mark.parametrize("content", ["", "no JSON", "3", "[1, null]"])
def test_a_file_that_is_no_cache_is_none(gpu, tmp_path, content):
    way = _way(gpu, "one", [])
    cache = PlanCache("same", tmp_path)
    cache.remember("a", way)
    cache.save()
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    broken = PlanCache("same", tmp_path)
    assert not broken.knows("a", way)
    broken.remember("a", way)
    broken.save()
    assert PlanCache("same", tmp_path).knows("a", way)


def test_what_fails_while_it_is_timed_is_given_back(gpu, tmp_path):
    freed: list[str] = []

    def fail(_: int) -> None:
        raise RuntimeError("no such plan")

    broken = Proposal("broken", lambda: Choice("broken", 0, fail, lambda: freed.append("broken")))
    tuner = _tuner(gpu, PlanCache("test", tmp_path))
    assert tuner.choose("job", [broken, _way(gpu, "fast", [])], JOB).name == "fast"
    assert freed == ["broken"]


def test_what_is_wrong_or_does_not_fit_is_given_back(gpu, tmp_path, monkeypatch, caplog):
    freed: list[str] = []

    def check(_referee: Referee, _job: Job, choice: Choice, _scratch: int) -> None:
        if choice.name == "wrong":
            raise EngineError("'wrong' computes layer 'layer' wrongly", found="2", wanted="1")

    monkeypatch.setattr(Referee, "check", check)
    ways = [
        Proposal(name, lambda name=name, size=size: Choice(  # type: ignore[misc]
            name, size, lambda _: None, lambda: freed.append(name)))
        for name, size in (("wrong", 0), ("large", 1 << 40))
    ]  # fmt: skip
    tuner = _tuner(gpu, PlanCache("test", tmp_path))
    with caplog.at_level(logging.WARNING, "segrt"):
        chosen = tuner.choose("job", [*ways, _way(gpu, "fast", [])], JOB)
    assert chosen.name == "fast"
    assert freed == ["wrong", "large"]
    # Too little memory is nothing wrong.
    told = [record.getMessage() for record in caplog.records]
    assert told == ["not used: 'wrong' computes layer 'layer' wrongly; found: 2; wanted: 1"]


def _engine(gpu: EmulatedGpu) -> Engine:
    return Engine(unet((8, 16), side=16), Precision.FP16, gpu, EmulatedLibrary(gpu))  # type: ignore[arg-type]


def test_own_kernels_of_last_resort_are_not_compiled(gpu, monkeypatch):
    begun: list[str] = []
    known = gpu.compile
    monkeypatch.setattr(
        gpu, "compile", lambda launches: known([begun.append(x.entry) or x for x in launches])
    )
    _engine(gpu).close()
    assert "pooling" in begun
    assert "direct_convolution" not in begun
    assert not gpu.begun


def test_known_choices_ask_the_library_only_where_it_won(gpu, monkeypatch):
    graphs: list[object] = []
    made = library_choices.convolution_graph
    monkeypatch.setattr(
        library_choices, "convolution_graph", lambda *a, **k: graphs.append(a) or made(*a, **k)
    )
    first = _engine(gpu)
    cold = len(graphs)
    graphs.clear()
    second = _engine(gpu)
    names = [choice.name for choice in second._choices]
    assert names == [choice.name for choice in first._choices]
    # One graph each: that of the first kind of bias, whose plans are as fast as the others here.
    plans = [name for name in names if name.startswith("cudnn fp32")]
    assert len(graphs) == len(plans) == sum("cudnn" in name for name in names)
    assert 0 < 2 * len(graphs) < cold + 1 < 2 * len(names)


def test_what_is_chosen_and_where_time_goes_is_told(gpu, caplog):
    with caplog.at_level(logging.INFO, "segrt"):
        engine = _engine(gpu)
    lines = [record.getMessage() for record in caplog.records]
    steps = [record.progress for record in caplog.records if hasattr(record, "progress")]
    assert steps == [(index + 1, len(steps)) for index in range(len(steps))]
    assert any("ways timed in" in line for line in lines)
    assert "steps ready in" in lines[-1]
    for stage in ("reading the graph", "planning", "asking for ways", "plans of cuDNN", "timing"):
        assert stage in engine.stages.seconds
        assert stage in lines[-1]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("verbose", "terminal", "wanted"),
    [
        (0, False, []),
        (0, True, ["layer 1 of 2"]),
        (1, False, ["layer 1 of 2", "chosen"]),
        (2, True, ["layer 1 of 2", "chosen", "tried"]),
    ],
)
def test_what_is_told_to_whom(verbose: int, terminal: bool, wanted: list[str]):
    stream = _Terminal() if terminal else io.StringIO()
    log = logging.getLogger("segrt.cuda.somewhere")
    with told(verbose, stream=stream):
        log.info("layer 1 of 2", extra={"progress": (1, 2)})
        log.info("chosen")
        log.debug("tried")
    log.warning("afterwards")
    text = stream.getvalue()
    assert [word for word in ("layer 1 of 2", "chosen", "tried") if word in text] == wanted
    assert "afterwards" not in text
    assert text == "" or text.endswith("\x1b[K" if verbose == 0 else "\n")


def test_rounding_side_by_side_changes_nothing(monkeypatch):
    from segrt.cuda import rounding

    kernel = np.random.default_rng(0).normal(0, 0.05, (256, 96, 3, 3)).astype(np.float32)
    found = []
    for count in (1, 4):
        monkeypatch.setattr(rounding, "processors", lambda count=count: count)
        found.append(rounding.round_taps(kernel, "fp16"))
    np.testing.assert_array_equal(*found)


def test_weights_are_made_once_and_ahead(monkeypatch):
    made: list[str] = []

    def weights_for(operation: object, dtype: str) -> np.ndarray:
        made.append(threading.current_thread().name)
        return np.zeros(1)

    monkeypatch.setattr(parameters, "weights_for", weights_for)
    with ThreadPoolExecutor(1, "weights") as ahead:
        lazy = parameters.lazy_weights(None, "fp16")  # type: ignore[arg-type]
        ahead.submit(lazy)
    assert lazy() is lazy()
    assert len(made) == 1
    assert made[0].startswith("weights")


def test_an_engine_makes_weights_while_it_asks(monkeypatch, gpu):
    threads: set[str] = set()
    made = parameters.weights_for

    def watched(operation: Convolution, dtype: str) -> np.ndarray:
        threads.add(threading.current_thread().name.split("_")[0])
        return made(operation, dtype)

    monkeypatch.setattr(parameters, "weights_for", watched)
    _engine(gpu).close()
    assert "weights" in threads
    assert not [t for t in threading.enumerate() if t.name.startswith("weights")]
