"""The measurement itself: a package and its peers, in turns, in one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from segrt.errors import ShapeError, UsageError
from segrt.measurement.ceiling import measure_ceiling
from segrt.measurement.end_to_end import time_images
from segrt.measurement.peers._base import REGISTRY
from segrt.measurement.report import BenchReport, ImageTimes
from segrt.measurement.run import Asked, Run
from segrt.measurement.subject import Subject
from segrt.measurement.timing import Effort
from segrt.prediction.deduce import deduce
from segrt.prediction.find_images import find_images
from segrt.prediction.options import PredictOptions
from segrt.targets._package import Package, load_package

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
    patience: float = 120.0,
    stopped: Callable[[BenchReport], object] | None = None,
) -> BenchReport:
    """Time a package beside other ways to run the same network, in one run on one machine.

    Args:
        package: The package or its directory.
        against: Peers by name: ``torch``, ``torch.compile``, ``jax``, ``onnxruntime``,
            ``openvino``; ``torch.compile:max-autotune`` for another mode than its usual one. They
            run the network as it was imported, with the package's type of numbers, each in a
            process of its own. One that is not installed, or has no word for an operator, is left
            out and named in the report; one whose output is another network's is not timed.
        batches: Batch sizes; None: 1, 8 and 32, or those of them that the package takes.
        size: Height and width, or one number for each side, where the network leaves them free;
            None: about 256.
        seconds: How long to time each contender at each batch size.
        rounds: So many runs instead.
        threads: Threads of CPU engines, peers too; None takes what the package was built with.
        layers: Time each step of the package's engine as well, at the first batch size.
        images: Image files or folders: time the way from these to mask files as well.
        patience: How many seconds to wait for a peer to be ready at a batch size; one that is
            not is left out.
        stopped: Called with what there is if the measurement is stopped (`KeyboardInterrupt`,
            `SystemExit`) after something was timed; the exception goes on afterwards.

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
    _check_numbers(asked, size, seconds, rounds, patience)
    found = None if images is None else find_images(_paths(images))
    checked = load_package(package.path if isinstance(package, Package) else package)
    subject = Subject(checked, threads)
    run = Run(subject, Effort(seconds, rounds), peers, patience)
    try:
        # Each batch size is tried before any is timed: what does not fit is told at once.
        run.models = {batch: subject.fixed(batch, size) for batch in subject.batches(asked)}
        through = _measure(run, layers, found)
        return run.report(through)
    except (KeyboardInterrupt, SystemExit):
        if stopped is not None and run.entries:
            run.stopped()
            stopped(run.report())
        raise
    finally:
        run.end_peers()
        subject.close()


def _measure(run: Run, layers: bool, images: list[Path] | None) -> ImageTimes | None:
    """Measure all that was asked for."""
    subject = run.subject
    run.begins("a matrix product to compare with")
    run.ceiling = measure_ceiling(
        subject.target, subject.options, torch=any(p.startswith("torch") for p in run.peers)
    )
    for batch in run.models:
        run.measure(batch)
    run.end_peers()
    if layers:
        run.time_layers(next(iter(run.models)))
    if images is None:
        return None
    run.begins("from image files to mask files")
    return _time_images(subject, images, max(run.models))


def _time_images(subject: Subject, found: list[Path], batch: int) -> ImageTimes:
    options = deduce(subject.imported, PredictOptions(batch=batch))
    preprocess = subject.package.manifest.preprocess
    return time_images(subject.session, preprocess, found, options)


def _peers(names: Iterable[str]) -> dict[str, Asked]:
    """Return the peers of these names.

    Raises:
        UsageError: A name or a mode is unknown.
    """
    found: dict[str, Asked] = {}
    for name in names:
        known, colon, mode = name.partition(":")
        peer = REGISTRY.find(known)
        if peer is None:
            raise UsageError(
                f"unknown peer {known!r}", found=name, wanted=", ".join(REGISTRY.names())
            )
        if colon and mode not in peer.modes:
            wanted = ", ".join(peer.modes) or "no mode"
            raise UsageError(f"{known} has no mode {mode!r}", found=name, wanted=wanted)
        found[name] = Asked(peer, mode)
    return found


def _check_numbers(
    batches: tuple[int, ...] | None,
    size: tuple[int, ...] | None,
    seconds: float,
    rounds: int | None,
    patience: float,
) -> None:
    if batches is not None and (not batches or min(batches) < 1):
        raise UsageError("batch sizes must be positive", found=str(batches))
    if size is not None and min(size) < 1:
        raise ShapeError("sizes must be positive", found=str(size))
    if not seconds > 0 or (rounds is not None and rounds < 1):
        raise UsageError("there must be time or runs", found=f"{seconds} s, {rounds} rounds")
    if not patience > 0:
        raise UsageError("peers need time to get ready", found=f"{patience} s")


def _paths(images: StrPath | Iterable[StrPath]) -> list[Path]:
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    return [Path(image) for image in images]
