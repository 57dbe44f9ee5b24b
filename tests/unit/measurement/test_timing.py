"""Turns: everyone gets as many, the first run of each does not count."""

import itertools
import time

import pytest

from segrt.errors import EngineError
from segrt.measurement import timing
from segrt.measurement.timing import Effort, Series, Turns, host_sample, time_in_turns


class Clock:
    """Moves only when told: the machine's own clock moves while others have the processor."""

    def __init__(self):
        self.seconds = 100.0

    def perf_counter(self):
        return self.seconds

    def passes(self, seconds):
        def run():
            self.seconds += seconds

        return run


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(timing, "time", made)
    return made


class Contender:
    """Slow whenever another one ran before it."""

    def __init__(self, log, name):
        self.log, self.name = log, name

    def __call__(self):
        slow = not self.log or self.log[-1] != self.name
        self.log.append(self.name)
        return 100.0 if slow else 1.0


def test_the_first_run_after_another_contender_does_not_count():
    log = []
    found = time_in_turns({n: Contender(log, n) for n in "ab"}, Effort(rounds=12))
    for times in found.values():
        assert times.runs == 12
        assert times.p99 == 1.0


def test_contenders_take_turns():
    log = []
    time_in_turns({n: Contender(log, n) for n in "ab"}, Effort(rounds=10))
    changes = sum(a != b for a, b in itertools.pairwise(log))
    # Each has its first turn behind its warm-up; then four more turns of both.
    assert changes == 9


def test_a_slow_first_run_would_count_without_a_warm_up():
    sample = Contender([], "a")
    assert sample() == 100.0
    assert sample() == 1.0


def test_seconds_bound_the_work(clock):
    found = time_in_turns({"a": host_sample(clock.passes(0.002))}, Effort(seconds=0.2))["a"]
    # The warm-up comes on top.
    assert 0.15 < clock.seconds - 100 < 0.22
    assert found.runs >= 70
    assert found.fastest == pytest.approx(2.0)


def test_slow_contenders_still_run_five_times(clock):
    found = time_in_turns({"a": host_sample(clock.passes(0.02))}, Effort(seconds=1e-4))
    assert found["a"].runs == 5


def test_of_long_runs_a_few_are_enough(clock):
    found = time_in_turns({"a": host_sample(clock.passes(4.0))}, Effort(seconds=2.0))["a"]
    assert (found.runs, found.p50) == (3, 4000)
    # Two to warm up; nothing is forgotten.
    assert clock.seconds - 100 == 5 * 4
    found = time_in_turns({"a": host_sample(clock.passes(4.0))}, Effort(rounds=7))["a"]
    assert found.runs == 7


def test_a_long_first_run_makes_no_long_contender(clock):
    slow, runs = clock.passes(4.0), itertools.count()

    def run():
        (clock.passes(0.01) if next(runs) else slow)()

    found = time_in_turns({"a": host_sample(run)}, Effort(0.5))["a"]
    assert found.runs >= 40
    assert found.p99 == pytest.approx(10)


class Counted(Series):
    """Another process's runs; fails after some."""

    def __init__(self, most):
        self.asked, self.most = [], most

    def several(self, count):
        self.asked.append(count)
        if sum(self.asked) > self.most:
            raise EngineError("it ended")
        return [float(sum(self.asked))] * count


def test_runs_of_another_process_are_asked_for_by_the_turn():
    series = Counted(1000)
    found = time_in_turns({"a": series}, Effort(rounds=20))["a"]
    assert series.asked == [1, 1, 1, 5, 5, 5, 5, 5]
    assert found.runs == 20


def test_each_has_its_first_turn_at_once():
    turns = Turns(Effort(rounds=10))
    turns.add("a", Counted(1000))
    assert turns.times()["a"].runs == 2


def test_one_that_fails_drops_out():
    turns = Turns(Effort(rounds=10))
    turns.add("a", Counted(1000))
    turns.add("b", Counted(8))
    failed = turns.finish()
    assert list(failed) == ["b"]
    assert {key: times.runs for key, times in turns.times().items()} == {"a": 10}
    with pytest.raises(EngineError):
        turns.add("c", Counted(2))
    assert list(turns.times()) == ["a"]
    with pytest.raises(EngineError):
        time_in_turns({"b": Counted(8)}, Effort(rounds=10))


def test_samples_are_milliseconds(clock):
    assert host_sample(clock.passes(0.03))() == pytest.approx(30)


def test_the_clock_is_the_machines():
    # Never less than what was slept; a little less where the clock is coarse.
    assert host_sample(lambda: time.sleep(0.03))() > 28
