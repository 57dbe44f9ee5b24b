"""One measurement while it goes on: who takes part, what was found, what is being done."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import onnx_ir as ir

from segrt.cuda.devices import chosen_device
from segrt.errors import EngineError, SegrtError, UnavailableError
from segrt.measurement.answer import Answer
from segrt.measurement.ceiling import Ceiling
from segrt.measurement.gauges._base import LayerTime
from segrt.measurement.operation_count import count_operations
from segrt.measurement.peer_process import NotReadyError, PeerProcess
from segrt.measurement.peers._base import Peer, Task
from segrt.measurement.report import BenchReport, Entry, ImageTimes, LeftOut
from segrt.measurement.report_table import milliseconds
from segrt.measurement.statistics import Times
from segrt.measurement.subject import Subject
from segrt.measurement.timing import Effort, Turns
from segrt.targets._base import Array
from segrt.targets._measure import sample_feeds

_LOG = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A peer as it was asked for.

    Attributes:
        peer: The peer.
        mode: In which of its modes; "": in the one that suits.
    """

    peer: Peer
    mode: str


class _Found(NamedTuple):
    """The end of an `Entry`."""

    memory_bytes: int | None
    error: float
    holds: bool
    note: str


@dataclass(slots=True)
class _Batch:
    """What goes on at one batch size."""

    size: int
    task: Task
    answer: Answer
    turns: Turns[str]
    found: dict[str, _Found]


@dataclass(slots=True)
class Run:
    """A measurement.

    Args:
        subject: The package.
        effort: How long to time each contender.
        peers: Who else, by the names that were asked for.
        patience_s: How long to wait for a peer to be ready.

    Attributes:
        models: The network at each batch size.
        ceiling: The matrix product to compare with.
        entries: What was timed.
    """

    subject: Subject
    effort: Effort
    peers: Mapping[str, Asked]
    patience_s: float
    models: Mapping[int, ir.Model] = field(default_factory=dict)
    ceiling: Ceiling = field(default_factory=lambda: Ceiling(0.0, ""))
    entries: list[Entry] = field(default_factory=list)
    _left_out: list[LeftOut] = field(default_factory=list)
    _given_up: set[str] = field(default_factory=set)
    _layers: list[LayerTime] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)
    _processes: dict[str, PeerProcess] = field(default_factory=dict)
    _doing: str = ""

    def begins(self, what: str) -> None:
        """Tell what is being done from here on."""
        self._doing = what
        _LOG.info("%s", what, extra={"progress": True})

    def stopped(self) -> None:
        """Remark that the rest was not measured."""
        self._remarks.append(
            f"stopped before the end ({self._doing}): what had begun was timed by fewer runs"
        )

    def measure(self, batch: int) -> None:
        """Time everything at one batch size.

        Raises:
            EngineError: The package's engine fails.
        """
        subject, model = self.subject, self.models[batch]
        self.begins(f"batch {batch}: the package")
        feeds = sample_feeds(model)
        answer = Answer(model, feeds, subject.options.precision)
        samples = subject.samples(feeds)
        error = answer.error(answer.named(subject.session.run(feeds)))
        own = _Found(subject.memory_bytes(feeds), error, error <= answer.bound, "")
        this = _Batch(
            batch, self._task(model, feeds), answer, Turns(self.effort), dict.fromkeys(samples, own)
        )
        try:
            for name, sample in samples.items():
                this.turns.add(name, sample)
            for name, asked in self.peers.items():
                if name not in self._given_up:
                    self._add(this, name, asked)
            self._finish(this, samples)
        finally:
            # If it was stopped, of those that had their first turn.
            times = this.turns.times()
            rows = [self._entry(n, batch, taken, this.found[n]) for n, taken in times.items()]
            self.entries += rows
        told = ", ".join(f"{row.name} {milliseconds(row.times.p50)} ms" for row in rows)
        _LOG.info("batch %d: %s", batch, told, extra={"lasting": True})

    def _task(self, model: ir.Model, feeds: Mapping[str, Array]) -> Task:
        options = self.subject.options
        return Task(model, feeds, options.precision, self.subject.target.on_gpu, options.threads)

    def _add(self, this: _Batch, name: str, asked: Asked) -> None:
        """Open a peer and let it have its first turn; leave it out if it cannot, or errs."""
        at = f"batch {this.size}: {name}"
        self.begins(f"{at} gets ready, in {self.patience_s:g} s at most")
        began = time.perf_counter()
        try:
            process = self._process(name, asked.peer)
            ready = process.open(replace(this.task, mode=asked.mode), self.patience_s)
            error = this.answer.error(ready.outputs)
            if not error <= this.answer.bound:
                raise EngineError(
                    f"its output differs by {error:.1e}, more than {this.answer.bound:g}"
                )
            _LOG.info("%s is ready after %.1f s", at, time.perf_counter() - began)
            self.begins(f"{at} has its first turn")
            this.found[name] = _Found(ready.memory_bytes, error, True, ready.note)
            this.turns.add(name, process)
        except SegrtError as failure:
            self._leave_out(name, this.size, failure)

    def _finish(self, this: _Batch, own: Container[str]) -> None:
        """Let them take their turns, and free the networks of the peers."""
        self.begins(f"batch {this.size}: {len(this.turns.times())} in turns")
        for name, error in this.turns.finish().items():
            if name in own:
                raise error
            self._leave_out(name, this.size, error)
        for name, process in list(self._processes.items()):
            try:
                process.close()
            except SegrtError:
                self._end(name)

    def _process(self, name: str, peer: Peer) -> PeerProcess:
        """Return the peer's process, which is started when it is first needed."""
        if name not in self._processes:
            gpu = chosen_device() if self.subject.target.on_gpu else 0
            self._processes[name] = PeerProcess(peer, gpu=gpu or None)
        return self._processes[name]

    def _leave_out(self, name: str, batch: int, error: SegrtError) -> None:
        """Note that a peer is not timed, here or, if nothing else can come of it, at all."""
        hint = (error.hint or "").removeprefix("run: ")
        found = f": {error.found}" if error.found else ""
        why = f"{error.message}{found}"
        # Of a process whose network failed nobody knows what state it is in.
        self._end(name)
        if isinstance(error, NotReadyError):
            self._given_up.add(name)
            later = list(map(str, self.models))[list(self.models).index(batch) + 1 :]
            why += f"; not tried at batch {', '.join(later)}" if later else ""
            hint = "give it more time (--patience)"
        # What is missing is missing at every batch size; what failed may be the memory's fault.
        everywhere = error.exit_code in (3, 4)
        if everywhere:
            self._given_up.add(name)
        self._left_out.append(LeftOut(name, None if everywhere else batch, why, hint))
        _LOG.info("batch %d: %s is left out: %s", batch, name, why, extra={"lasting": True})

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.end()

    def _entry(self, name: str, batch: int, taken: Times, found: _Found) -> Entry:
        tflops = count_operations(self.models[batch]) / taken.p50 / 1e9
        share = tflops / self.ceiling.tflops if self.ceiling.tflops else None
        return Entry(name, batch, taken, batch / taken.p50 * 1e3, tflops, share, *found)

    def end_peers(self) -> None:
        """End the peers' processes."""
        for name in list(self._processes):
            self._end(name)

    def time_layers(self, batch: int) -> None:
        """Time each step of the engine."""
        self.begins("layer by layer")
        try:
            self._layers += self.subject.layers(sample_feeds(self.models[batch]))
        except UnavailableError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self._remarks.append(f"no times of layers: {error.message}{hint}")

    def report(self, images: ImageTimes | None = None) -> BenchReport:
        """Put together what there is."""
        subject = self.subject
        batch, model = next(iter(self.models.items()))
        feeds = sample_feeds(model)
        remarks = list(self._remarks)
        if self.ceiling.problem:
            remarks.append(f"no matrix product to compare with: {self.ceiling.problem}")
        return BenchReport(
            package=subject.package.path.name,
            target=subject.title,
            precision=subject.options.precision.value,
            device=subject.device,
            threads=subject.options.threads,
            shapes={name: tuple(array.shape[1:]) for name, array in feeds.items()},
            operations=count_operations(model) // batch,
            lowered_operations=count_operations(subject.lowered(feeds)) // batch,
            ceiling=self.ceiling,
            entries=tuple(self.entries),
            left_out=tuple(self._left_out),
            layers=tuple(self._layers),
            images=images,
            remarks=tuple(remarks),
        )
