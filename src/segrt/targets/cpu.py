"""Whichever CPU engine is faster on this machine: measured when the package is built."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segrt.errors import EngineError, PackageError, SegrtError, UnavailableError
from segrt.targets import onnxruntime, openvino
from segrt.targets._base import REGISTRY, Availability, Built, Lowering, Session, Target
from segrt.targets._engine import library_version, save_model
from segrt.targets._measure import Timing, measure, sample_feeds
from segrt.targets._processor import processor_name
from segrt.types import BuildOptions, Precision

# Candidates this close are told apart by noise; the order of the candidates is what was found with
# more patience than a build has.
_TIE = 1.05

_LOG = logging.getLogger(__name__)


class Cpu(Target):
    """ONNX Runtime or OpenVINO."""

    name = "cpu"

    def availability(self) -> Availability:
        """Say whether at least one of the two libraries is installed."""
        known = [target.availability() for target in _engines()]
        usable = any(entry.can_run for entry in known)
        hint = "" if usable else "run: pip install onnxruntime openvino"
        return Availability(usable, usable, "; ".join(entry.detail for entry in known), hint)

    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return OpenVINO's and ONNX Runtime's favourites."""
        wanted = openvino.OpenVino().lowerings(model, options)
        if options.precision is Precision.BF16:
            return wanted
        return (*wanted, *onnxruntime.OnnxRuntime().lowerings(model, options))

    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Ask both libraries; answer as the one that takes more."""
        tables: list[dict[ir.Node, str | None]] = []
        problems: list[SegrtError] = []
        # ONNX Runtime has no bf16.
        count = 1 if options.precision is Precision.BF16 else 2
        for target in _engines()[:count]:
            try:
                tables.append(target.takes(model, options))
            except (EngineError, UnavailableError) as error:
                problems.append(error)
        if not tables:
            raise problems[0]
        return min(tables, key=lambda table: sum(why is not None for why in table.values()))

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Measure every engine with its own lowering; write the fastest one's graph."""
        sessions = _open_all(models, options)
        try:
            feeds = sample_feeds(models[0])
            timings = measure(sessions, feeds)
        finally:
            for session in sessions.values():
                session.close()
        chosen, index = choose(timings)
        save_model(models[index], folder / "model.onnx")
        return Built(
            {
                "library": chosen,
                "version": library_version(chosen),
                "processor": processor_name(),
                "measured": [_report(key, timing) for key, timing in timings.items()],
            },
            lowering=index,
        )

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Open the engine that was chosen at build; say so if that was on another processor."""
        target = _engine(engine.get("library"))
        here = processor_name()
        if engine.get("processor") != here:
            _LOG.warning(
                "%s was chosen for the processor %s; this is %s: build the package again here to "
                "have the faster engine for it",
                target.name,
                engine.get("processor"),
                here,
            )
        return target.open(folder, engine, options)

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Open a session on a graph in memory, unmeasured: OpenVINO where it is installed."""
        for target in _engines():
            if target.availability().can_run:
                return target.open_model(model, options)
        raise UnavailableError(
            "neither OpenVINO nor ONNX Runtime is installed",
            hint="run: pip install onnxruntime openvino",
        )


def choose(timings: Mapping[tuple[str, int], Timing]) -> tuple[str, int]:
    """Return the fastest candidate; of those that tie with it, the first.

    By the fastest run: what disturbs a run only ever adds to it, and on a busy machine the medians
    of a few runs say more about the neighbours than about the engines. The busier it is, the less
    the fastest run says too: whoever is within the winner's own median ties with it.
    """
    winner = min(timings.values(), key=lambda timing: timing.fastest_ms)
    bound = max(_TIE * winner.fastest_ms, winner.median_ms)
    return next(key for key, timing in timings.items() if timing.fastest_ms <= bound)


def _engines() -> tuple[Target, Target]:
    return openvino.OpenVino(), onnxruntime.OnnxRuntime()


def _engine(name: object) -> Target:
    for target in _engines():
        if target.name == name:
            return target
    raise PackageError(
        "the package was built for an engine that target 'cpu' does not know",
        found=repr(name),
        wanted="openvino or onnxruntime",
    )


def _open_all(
    models: tuple[ir.Model, ...], options: BuildOptions
) -> dict[tuple[str, int], Session]:
    """Open every engine on the graph lowered for it; one that cannot is left out, aloud."""
    sessions: dict[tuple[str, int], Session] = {}
    problems: list[SegrtError] = []
    # In bf16 there is one graph, and OpenVINO, the first engine, alone computes it.
    for index, (target, model) in enumerate(zip(_engines(), models, strict=False)):
        try:
            sessions[target.name, index] = target.open_model(model, options)
        except SegrtError as error:
            problems.append(error)
            _LOG.warning("%s is left out of the choice: %s", target.name, error)
    if not sessions:
        raise problems[0]
    return sessions


def _report(key: tuple[str, int], timing: Timing) -> dict[str, Any]:
    return {"library": key[0], "lowering": key[1], **asdict(timing)}


REGISTRY.register("cpu")(Cpu())
