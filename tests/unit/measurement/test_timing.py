"""Turns: everyone gets as many, the first run of each does not count."""

import itertools
import time

import pytest

from segrt.measurement.timing import Effort, host_sample, time_in_turns


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


def test_seconds_bound_the_work():
    def run():
        time.sleep(0.002)

    started = time.perf_counter()
    found = time_in_turns({"a": host_sample(run)}, Effort(seconds=0.2))["a"]
    assert time.perf_counter() - started < 2
    assert found.runs >= 5
    assert found.fastest >= 2.0


def test_slow_contenders_still_run_five_times():
    found = time_in_turns({"a": host_sample(lambda: time.sleep(0.02))}, Effort(seconds=1e-4))
    assert found["a"].runs == 5


def test_the_host_clock_counts_milliseconds():
    assert host_sample(lambda: time.sleep(0.03))() == pytest.approx(30, abs=25)
    assert host_sample(lambda: time.sleep(0.03))() >= 30
