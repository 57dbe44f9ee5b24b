"""What is verified: the parts of a package that matter to the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.stitch import stitch
from segrt.targets._base import REGISTRY, Session
from segrt.targets._build import find_target, mix_engines, open_package
from segrt.targets._mix_build import open_mixed_model
from segrt.targets._package import Package, load_package
from segrt.types import BuildOptions, Precision
from segrt.verification._inner import Opener


@dataclass(frozen=True, slots=True)
class Subject:
    """The parts of a package that matter here.

    Attributes:
        name: For people.
        imported: The graph before any pass.
        lowered: The graph the engine runs.
        precision: The type the engine computes in.
        open: Opens the deployed session.
        open_model: Opens a graph in memory on the package's own engine, with its own options.
    """

    name: str
    imported: ir.Model
    lowered: ir.Model
    precision: Precision
    open: Callable[[], Session]
    open_model: Opener


def network_subject(package: Package | Path | str) -> Subject:
    """Return a package's TensorRT network as a subject: proof without a GPU.

    The network is written anew from the package's graph, by the route and in the precision it was
    built with, read back from TensorRT's own objects, and run on ONNX Runtime. Half precision is
    widened there: rounding of weights is seen, rounding of arithmetic is not.

    Args:
        package: A package or its directory; its files are checked against the manifest.

    Raises:
        PackageError: The package is damaged or was changed.
        UsageError: It was not built for TensorRT.
        UnavailableError: The TensorRT library is missing.
        EngineError: TensorRT refuses the graph, or its network cannot be read back.
    """
    from segrt.targets.trt._target import TensorRtTarget, make_network
    from segrt.targets.trt.decompile import decompile

    checked = load_package(package.path if isinstance(package, Package) else package)
    manifest = checked.manifest
    target = find_target(manifest.target)
    if not isinstance(target, TensorRtTarget):
        raise UsageError(
            f"target {manifest.target!r} has no TensorRT network to read back",
            wanted="a package for tensorrt-rtx or tensorrt",
        )
    read_back = _read_back(
        checked,
        lambda model: decompile(make_network(target.flavour, model, manifest.options), model),
    )
    opener = find_target("onnxruntime").open_model
    options = BuildOptions(threads=manifest.options.threads)
    return Subject(
        name=f"{checked.path.name}, network of target {manifest.target} read back",
        imported=checked.imported(),
        lowered=read_back,
        precision=manifest.options.precision,
        open=lambda: opener(read_back, options),
        open_model=lambda graph: opener(graph, options),
    )


def package_subject(package: Package | Path | str, *, threads: int | None = None) -> Subject:
    """Return the subject that a package is.

    Args:
        package: A package or its directory; its files are checked against the manifest.
        threads: Threads of the engine; None takes what the package was built with.

    Raises:
        PackageError: The package is damaged or was changed.
        UsageError: This SegRT does not know its target.
    """
    checked = load_package(package.path if isinstance(package, Package) else package)
    manifest = checked.manifest
    options = manifest.options
    if threads is not None:
        options = replace(options, threads=threads)
    # A target that chose among engines (`cpu`) notes the chosen one as ``library``: inner values
    # must come from that very engine, not from whichever the target would take unmeasured.
    chosen = REGISTRY.find(str(manifest.engine.get("library")))
    target = chosen or find_target(manifest.target)
    engine = f"{manifest.target} ({target.name})" if chosen else manifest.target
    open_model: Opener = lambda model: target.open_model(model, options)  # noqa: E731
    if manifest.fallback is not None:
        engine = f"{manifest.target} with {manifest.fallback.target}"
        open_model = _mixed_opener(checked, options)
    return Subject(
        name=f"{checked.path.name}, target {engine}",
        imported=checked.imported(),
        lowered=checked.model(),
        precision=options.precision,
        open=lambda: open_package(checked, threads=threads),
        open_model=open_model,
    )


def _mixed_opener(package: Package, options: BuildOptions) -> Opener:
    return lambda model: open_mixed_model(model, mix_engines(package, options))


def _read_back(package: Package, read: Callable[[ir.Model], ir.Model]) -> ir.Model:
    """Return a package's network read back; in a mix of engines the other pieces stay."""
    mix, whole = package.manifest.fallback, package.model()
    if mix is None:
        return read(whole)
    parts = [(piece.taken, package.piece(piece.folder)) for piece in mix.pieces]
    return stitch([read(part) if taken else part for taken, part in parts], whole)
