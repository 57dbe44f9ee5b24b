"""Choose among the ways to compute each operation: from the cache, or by timing them here."""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from segrt.cuda.capture import record
from segrt.cuda.driver import Gpu
from segrt.cuda.jobs import Choice, Job, Proposal
from segrt.cuda.kept_files import cache_folder
from segrt.cuda.race import Race
from segrt.cuda.referee import Referee
from segrt.cuda.stages import Stages
from segrt.errors import DeviceMemoryError, EngineError

_LOG = logging.getLogger(__name__)
_FORMAT = 3
# A replay runs the candidate this often, so that launching it weighs nothing.
_REPEATS = 5
_REPLAYS = 5


class PlanCache:
    """Which proposals were fastest, by what that depends on; one file a GPU, driver and cuDNN.

    A file that cannot be read is as good as none, and one that cannot be written costs only the
    time of choosing again: both are logged, never errors.
    """

    def __init__(self, key: str, folder: Path | None = None) -> None:
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in key)
        self._path = (folder or cache_folder()) / f"cuda-plans-{_FORMAT}-{safe}.json"
        self._entries = self._read()
        self._added: set[str] = set()

    def _read(self) -> set[str]:
        try:
            read = json.loads(self._path.read_text(encoding="utf-8"))
            return {entry for entry in read if isinstance(entry, str)}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            _LOG.warning("the plan cache %s is ignored: %s", self._path, error)
            return set()

    def knows(self, signature: str, proposal: Proposal) -> bool:
        """Say whether this was the fastest; a kernel that is written anew is another one."""
        return _entry(signature, proposal) in self._entries

    def remember(self, signature: str, proposal: Proposal) -> None:
        """Note the fastest proposal."""
        self._entries.add(_entry(signature, proposal))
        self._added.add(_entry(signature, proposal))

    def save(self) -> None:
        """Write the file, whole or not at all; what others wrote meanwhile is kept."""
        if not self._added:
            return
        known = self._read() | self._added
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, delete=False, encoding="utf-8"
            ) as file:
                json.dump(sorted(known), file, indent=1)
            Path(file.name).replace(self._path)
            self._added = set()
        except OSError as error:
            _LOG.warning("the plan cache %s cannot be written: %s", self._path, error)


def _entry(signature: str, proposal: Proposal) -> str:
    """Return a line of the file; layers of one signature may have kernels of their own."""
    return f"{signature}: {proposal.identity}"


def is_thorough() -> bool:
    """Say whether all plans are to be timed: ``SEGRT_TUNING=thorough``."""
    return os.environ.get("SEGRT_TUNING") == "thorough"


class Tuner:
    """Times choices on one GPU.

    Args:
        gpu: Where to.
        cache: What was found out before.
        referee: Sees each choice before it is timed.
        stages: Where its time is counted.
    """

    def __init__(
        self, gpu: Gpu, cache: PlanCache, referee: Referee, stages: Stages | None = None
    ) -> None:
        self._gpu = gpu
        self._referee = referee
        self._cache = cache
        self._stages = stages or Stages()
        self._scratch: Any = None

    def wanted(self, signature: str, proposals: Iterable[Proposal]) -> Sequence[Proposal]:
        """Return those of ``proposals`` that `choose` may build; asks for no more than it needs."""
        found = []
        for proposal in proposals:
            if self._cache.knows(signature, proposal):
                return [proposal]
            found.append(proposal)
        usual = [proposal for proposal in found if not proposal.last_resort]
        return [*usual, *(proposal for proposal in found if proposal.last_resort)]

    def choose(self, signature: str, proposals: Iterable[Proposal], job: Job) -> Choice:
        """Return the fastest of ``proposals`` that compute ``job`` rightly.

        Raises:
            EngineError: None of them works.
        """
        proposals = self.wanted(signature, proposals)
        if self._cache.knows(signature, proposals[0]):
            known = self._make(proposals[0])
            known.keep()
            return known
        began, race = time.perf_counter(), Race(thorough=is_thorough())
        timed: list[tuple[float, Choice, Proposal]] = []
        problem: EngineError | None = None
        for proposal in proposals:
            if proposal.last_resort and timed:
                break
            if not race.is_open(proposal.kind):
                continue
            try:
                timed.append((*self._timed(proposal, signature, job), proposal))
                race.note(proposal.kind, timed[-1][0])
            except EngineError as error:
                _LOG.debug("refused: %s for %s: %s", proposal.name, signature, error)
                problem = error
        if not timed:
            raise problem or EngineError(f"nothing computes {signature}")
        best_us, best, fastest = min(timed, key=lambda entry: entry[0])
        for _, choice, _ in timed:
            if choice is not best:
                choice.free()
        self._cache.remember(signature, fastest)
        best.keep()
        _LOG.info(
            "%s: %s, %.1f us; %d of %d ways timed in %.2f s", job.operation.layer, best.name,
            best_us, len(timed), len(proposals), time.perf_counter() - began,
        )  # fmt: skip
        return best

    def _make(self, proposal: Proposal) -> Choice:
        with self._stages.stage("waiting for the compiler"):
            self._gpu.wait_for(proposal.launches)
        with self._stages.stage("plans of cuDNN" if proposal.kind else "kernels and their weights"):
            return proposal.make()

    def _timed(self, proposal: Proposal, signature: str, job: Job) -> tuple[float, Choice]:
        began = time.perf_counter()
        choice = self._make(proposal)
        try:
            with self._stages.stage("checking"):
                self._check(job, choice)
            built = time.perf_counter()
            with self._stages.stage("timing"):
                found = self.time_us(choice)
        except EngineError:
            choice.free()
            raise
        _LOG.debug(
            "%8.1f us, built in %.2f s, timed in %.2f s: %s for %s", found,
            built - began, time.perf_counter() - built, proposal.name, signature,
        )  # fmt: skip
        return found, choice

    def _check(self, job: Job, choice: Choice) -> None:
        """Let the referee see a choice.

        Raises:
            EngineError: It fails, or is wrong.
        """
        scratch = self._scratch_memory(choice.workspace)
        try:
            self._referee.check(job, choice, scratch)
        except DeviceMemoryError:
            raise
        except EngineError as error:
            _LOG.warning("not used: %s", "; ".join(map(str.strip, str(error).splitlines())))
            raise
        except Exception as error:
            raise EngineError(f"{choice.name!r} fails", found=str(error)) from error

    def time_us(self, choice: Choice) -> float:
        """Return the median time of one run, in microseconds.

        Raises:
            EngineError: It fails.
        """
        scratch = self._scratch_memory(choice.workspace)
        try:
            choice.run(scratch)
            graph = record(self._gpu, lambda: _repeat(choice, scratch))
            return replay_us(self._gpu, lambda: graph.launch(self._gpu.stream)) / _REPEATS
        except Exception as error:
            raise EngineError(f"{choice.name!r} fails", found=str(error)) from error

    def close(self) -> None:
        """Free the scratch memory."""
        if self._scratch is not None:
            self._scratch.close(self._gpu.stream)
            self._scratch = None

    def _scratch_memory(self, size: int) -> int:
        if self._scratch is None or self._scratch.size < size:
            self.close()
            self._scratch = self._gpu.allocate(size, "scratch memory")
        return int(self._scratch.handle)


def _repeat(choice: Choice, scratch: int) -> None:
    for _ in range(_REPEATS):
        choice.run(scratch)


def replay_us(gpu: Gpu, run: Callable[[], None], replays: int = _REPLAYS) -> float:
    """Return the median time of ``run`` on the GPU's stream, in microseconds, after a warm-up."""
    run()
    return statistics.median(event_us(gpu, run) for _ in range(replays))


def event_us(gpu: Gpu, run: Callable[[], None]) -> float:
    """Return how long the GPU is busy with what ``run`` puts on its stream, in microseconds."""
    begin = gpu.stream.record(options={"timing_enabled": True})
    run()
    end = gpu.stream.record(options={"timing_enabled": True})
    end.sync()
    return float(end - begin) * 1000
