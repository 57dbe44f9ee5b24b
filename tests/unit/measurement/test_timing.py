"""Turns: everyone gets as many, the first run of each does not count."""

import itertools
import time

import pytest

from segrt.measurement import timing
from segrt.measurement.timing import Effort, host_sample, time_in_turns


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
    # One change between the warm-ups, then ten turns.
    assert changes >= 10


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


def test_samples_are_milliseconds(clock):
    assert host_sample(clock.passes(0.03))() == pytest.approx(30)


def test_the_clock_is_the_machines():
    # Never less than what was slept; a little less where the clock is coarse.
    assert host_sample(lambda: time.sleep(0.03))() > 28
