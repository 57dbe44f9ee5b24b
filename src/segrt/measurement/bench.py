"""The measurement itself: a package and its peers, in turns, in one process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from segrt.errors import SegrtError, ShapeError, UnavailableError, UsageError
from segrt.measurement.answer import Answer
from segrt.measurement.ceiling import Ceiling, measure_ceiling
from segrt.measurement.end_to_end import time_images
from segrt.measurement.gauges._base import LayerTime
from segrt.measurement.operation_count import count_operations
from segrt.measurement.peers._base import REGISTRY, Contender, Peer, Task
from segrt.measurement.report import BenchReport, Entry, ImageTimes, LeftOut
from segrt.measurement.subject import Subject
from segrt.measurement.timing import Effort, Sample, time_in_turns
from segrt.prediction.deduce import deduce
from segrt.prediction.find_images import find_images
from segrt.prediction.options import PredictOptions
from segrt.targets._base import Array
from segrt.targets._measure import sample_feeds
from segrt.targets._package import Package, load_package

if TYPE_CHECKING:
    import onnx_ir as ir

StrPath: TypeAlias = str | os.PathLike[str]


def bench(
    package: Package | StrPath,
    *,
    against: Iterable[str] = (),
    batches: Iterable[int] | None = None,
    size: tuple[int, ...] | None = None,
    seconds: float = 2.0,
    rounds: int | None = None,
    threads: int | None = None,
    layers: bool = False,
    images: StrPath | Iterable[StrPath] | None = None,
) -> BenchReport:
    """Time a package beside other ways to run the same network, in one run on one machine.

    Args:
        package: The package or its directory.
        against: Peers by name: ``torch``, ``torch.compile``, ``jax``, ``onnxruntime``,
            ``openvino``. They run the network as it was imported, with the package's type of
            numbers. One that is not installed, or has no word for an operator, is left out and
            named in the report; one whose output is another network's is not timed.
        batches: Batch sizes; None: 1, 8 and 32, or those of them that the package takes.
        size: Height and width, or one number for each side, where the network leaves them free;
            None: about 256.
        seconds: How long to time each contender at each batch size.
        rounds: So many runs instead.
        threads: Threads of CPU engines, peers too; None takes what the package was built with.
        layers: Time each step of the package's engine as well, at the first batch size.
        images: Image files or folders: time the way from these to mask files as well.

    Returns:
        Percentiles, images and operations a second, memory, and differences from fp32.

    Raises:
        UsageError: Unknown peers, or numbers that cannot mean anything.
        ShapeError: The package does not take a batch size or an image size.
        PackageError: The package is damaged or was changed.
        UnavailableError: The package's engine cannot run here, such as without a GPU.
        EngineError: The package's engine fails.
    """
    peers = _peers(against)
    asked = None if batches is None else tuple(dict.fromkeys(batches))
    _check_numbers(asked, size, seconds, rounds)
    found = None if images is None else find_images(_paths(images))
    checked = load_package(package.path if isinstance(package, Package) else package)
    subject = Subject(checked, threads)
    try:
        run = _Run(subject, Effort(seconds, rounds), peers)
        # Each batch size is tried before any is timed: what does not fit is told at once.
        models = {batch: subject.fixed(batch, size) for batch in subject.batches(asked)}
        ceiling = measure_ceiling(
            subject.target, subject.options, torch=any(p.startswith("torch") for p in peers)
        )
        for batch, model in models.items():
            run.measure(batch, model, ceiling)
        if layers:
            run.time_layers(next(iter(models.values())))
        through = None if found is None else _time_images(subject, found, max(models))
        return run.report(models, ceiling, through)
    finally:
        subject.close()


class _Found(NamedTuple):
    """The end of an `Entry`."""

    memory_bytes: int | None
    error: float
    holds: bool
    note: str


@dataclass(slots=True)
class _Run:
    """What is gathered."""

    subject: Subject
    effort: Effort
    peers: Mapping[str, Peer]
    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    layers: list[LayerTime] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def measure(self, batch: int, model: ir.Model, ceiling: Ceiling) -> None:
        """Time everything at one batch size."""
        subject, feeds = self.subject, sample_feeds(model)
        answer = Answer(model, feeds, subject.options.precision)
        samples = subject.samples(feeds)
        own_error = answer.error(answer.named(subject.session.run(feeds)))
        memory = subject.memory_bytes(feeds)
        contenders = self._open(batch, model, feeds, answer)
        try:
            everyone: dict[str, Sample] = {**samples}
            everyone |= {name: ready.sample for name, (ready, _) in contenders.items()}
            times = time_in_turns(everyone, self.effort)
        finally:
            for ready, _ in contenders.values():
                ready.close()
        operations = count_operations(model)
        for name, taken in times.items():
            if name in samples:
                found = _Found(memory, own_error, own_error <= answer.bound, "")
            else:
                ready, error = contenders[name]
                found = _Found(ready.memory_bytes, error, True, ready.note)
            tflops = operations / taken.p50 / 1e9
            share = tflops / ceiling.tflops if ceiling.tflops else None
            rate = batch / taken.p50 * 1e3
            self.entries.append(Entry(name, batch, taken, rate, tflops, share, *found))

    def _open(
        self, batch: int, model: ir.Model, feeds: Mapping[str, Array], answer: Answer
    ) -> dict[str, tuple[Contender, float]]:
        """Open the peers; those that cannot, and those that say something else, are left out."""
        options, opened = self.subject.options, {}
        task = Task(model, feeds, options.precision, self.subject.target.on_gpu, options.threads)
        missing = {entry.name for entry in self.left_out if entry.batch is None}
        for name, peer in self.peers.items():
            if name in missing:
                continue
            try:
                ready = peer.open(task)
            except SegrtError as error:
                self.left_out.append(_left_out(name, batch, error))
                continue
            difference = answer.error(ready.outputs())
            if difference <= answer.bound:
                opened[name] = (ready, difference)
                continue
            ready.close()
            why = f"its output differs by {difference:.1e}, more than {answer.bound:g}"
            self.left_out.append(LeftOut(name, batch, why))
        return opened

    def time_layers(self, model: ir.Model) -> None:
        """Time each step of the engine."""
        try:
            self.layers += self.subject.layers(sample_feeds(model))
        except UnavailableError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.remarks.append(f"no times of layers: {error.message}{hint}")

    def report(
        self, models: Mapping[int, ir.Model], ceiling: Ceiling, images: ImageTimes | None
    ) -> BenchReport:
        """Put it together."""
        subject = self.subject
        batch, model = next(iter(models.items()))
        feeds = sample_feeds(model)
        if ceiling.problem:
            self.remarks.append(f"no matrix product to compare with: {ceiling.problem}")
        return BenchReport(
            package=subject.package.path.name,
            target=subject.title,
            precision=subject.options.precision.value,
            device=subject.device,
            threads=subject.options.threads,
            shapes={name: tuple(array.shape[1:]) for name, array in feeds.items()},
            operations=count_operations(model) // batch,
            lowered_operations=count_operations(subject.lowered(feeds)) // batch,
            ceiling=ceiling,
            entries=tuple(self.entries),
            left_out=tuple(self.left_out),
            layers=tuple(self.layers),
            images=images,
            remarks=tuple(self.remarks),
        )


def _left_out(name: str, batch: int, error: SegrtError) -> LeftOut:
    # What is missing is missing at every batch size; what failed may be the memory's fault.
    everywhere = error.exit_code in (3, 4)
    found = f": {error.found}" if error.found else ""
    hint = (error.hint or "").removeprefix("run: ")
    return LeftOut(name, None if everywhere else batch, f"{error.message}{found}", hint)


def _time_images(subject: Subject, found: list[Path], batch: int) -> ImageTimes:
    options = deduce(subject.imported, PredictOptions(batch=batch))
    preprocess = subject.package.manifest.preprocess
    return time_images(subject.session, preprocess, found, options)


def _peers(names: Iterable[str]) -> dict[str, Peer]:
    """Return the peers of these names.

    Raises:
        UsageError: A name is unknown.
    """
    found: dict[str, Peer] = {}
    for name in names:
        peer = REGISTRY.find(name)
        if peer is None:
            raise UsageError(
                f"unknown peer {name!r}", found=name, wanted=", ".join(REGISTRY.names())
            )
        found[name] = peer
    return found


def _check_numbers(
    batches: tuple[int, ...] | None,
    size: tuple[int, ...] | None,
    seconds: float,
    rounds: int | None,
) -> None:
    if batches is not None and (not batches or min(batches) < 1):
        raise UsageError("batch sizes must be positive", found=str(batches))
    if size is not None and min(size) < 1:
        raise ShapeError("sizes must be positive", found=str(size))
    if not seconds > 0 or (rounds is not None and rounds < 1):
        raise UsageError("there must be time or runs", found=f"{seconds} s, {rounds} rounds")


def _paths(images: StrPath | Iterable[StrPath]) -> list[Path]:
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    return [Path(image) for image in images]
