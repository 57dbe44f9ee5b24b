"""From an imported graph to a package, and from a package to a session."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segrt.errors import (
    EngineError,
    PackageError,
    UnavailableError,
    UnsupportedConfigError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.graph import custom_nodes, metadata
from segrt.graph.deploy_ends import deploy_ends
from segrt.graph.size_ranges import apply_sizes
from segrt.graph.specs import input_specs, output_specs
from segrt.targets._base import REGISTRY, Availability, Built, Session, Target
from segrt.targets._layers import layer_table
from segrt.targets._manifest import FileEntry, Manifest, segrt_version
from segrt.targets._mix_build import (
    Engines,
    Lower,
    Lowered,
    build_mix,
    explained,
    fallback_options,
    open_mix,
)
from segrt.targets._mix_words import remarks
from segrt.targets._numbers import plain_numbers
from segrt.targets._package import Package, load_package, write_package
from segrt.targets._selftest import RECORDING, recorded_beside
from segrt.types import BuildOptions, Precision, Verdict

# Relative L2 difference that the self-test accepts between the engine and the imported graph. It
# is there to catch a broken installation (wrong kernels, NaN), not to judge accuracy: `verify`
# does that.
_SELFTEST_BOUND = {
    Precision.FP32: 1e-3,
    Precision.TF32: 1e-2,
    Precision.FP16: 3e-2,
    Precision.BF16: 1e-1,
    Precision.INT8: 2e-1,
}
# The same for masks: the share of their pixels that may differ, as it does where a network that
# was given noise is undecided.
_SELFTEST_PIXELS = {
    Precision.FP32: 1e-3,
    Precision.TF32: 1e-2,
    Precision.FP16: 3e-2,
    Precision.BF16: 1e-1,
}


def find_target(name: str) -> Target:
    """Return the target called ``name``.

    Raises:
        UsageError: There is none.
    """
    target = REGISTRY.find(name)
    if target is None:
        raise UsageError(f"unknown target {name!r}", found=name, wanted=", ".join(REGISTRY.names()))
    return target


def build_package(
    imported: ir.Model,
    options: BuildOptions,
    target_name: str,
    output: str | os.PathLike[str] | None,
    lower: Lower,
) -> Package:
    """Lower a graph for a target, build its engine and write the package.

    Args:
        imported: As an importer returned it; not changed.
        options: Precision, threads, batch, size ...
        target_name: Such as ``cpu``.
        output: Directory to write; None makes one in the system's temporary directory.
        lower: Applies a lowering to a graph (a copy of it) and says what it did.

    Raises:
        UsageError: Unknown target, options that contradict it, an output not to be overwritten.
        ShapeError: The network cannot take the batch or size, or a size of their ranges.
        UnavailableError: The target's library or instructions are missing here.
        EngineError: The library refuses the graph.
    """
    target = find_target(target_name)
    known = target.availability()
    options = plain_numbers(options)
    _check_options(target, options, known, usable=known.can_build)
    fallback = _find_fallback(target, options)
    options = target.resolve(imported, options)
    model = apply_sizes(imported, batch=options.batch, size=options.size)
    model = deploy_ends(model, options)

    def fill(folder: Path) -> Callable[[dict[str, FileEntry]], Manifest]:
        engines = None if fallback is None else Engines(target, fallback, options)
        with recorded_beside(model, folder, alone=target.measures or fallback is not None):
            lowered = [lower(model, lowering) for lowering in target.lowerings(model, options)]
            mixed = None if engines is None else build_mix(engines, lowered, lower, folder)
            if mixed is None:
                try:
                    built = _build_whole(target, lowered, options, folder)
                    chosen, verdicts = lowered[built.lowering]
                except UnsupportedLayerError as late:
                    if engines is not None:
                        mixed = build_mix(engines, lowered, lower, folder, late)
                    if mixed is None:
                        raise
        if mixed is not None:
            built, chosen, verdicts = mixed.built, mixed.model, mixed.verdicts
        (folder / "layers.json").write_text(
            layer_table(model, chosen, built.layers, mixed.places if mixed else None),
            encoding="utf-8",
        )
        custom = custom_nodes.hashes(model) | custom_nodes.hashes(chosen)
        manifest = _manifest(model, target, options, built, verdicts)
        if mixed is not None:
            told = (*manifest.remarks, *remarks(mixed.notes, target.name))
            manifest = replace(manifest, fallback=mixed.notes, remarks=told)
        return lambda files: replace(manifest, files=files, custom_ops=custom)

    if output is None:
        output = Path(tempfile.mkdtemp(prefix="segrt-")) / "model.segrt"
    return write_package(Path(output), fill)


def open_package(
    package: Package | str | os.PathLike[str],
    *,
    threads: int | None = None,
    selftest: bool = False,
) -> Session:
    """Open a session on a package; its hashes are checked first.

    Args:
        package: A path, or a package that `load_package` or `build_package` returned (its files
            are checked again: they may have changed since).
        threads: Threads of the engine; None takes what the package was built with.
        selftest: Run the package's own input and compare with the recorded output.

    Raises:
        PackageError: The package is damaged or was changed, or needs a custom operation that is
            not defined here.
        UnavailableError: The engine's library or instructions are missing here.
        EngineError: The engine fails, or the self-test does.
    """
    checked = load_package(package.path if isinstance(package, Package) else package)
    manifest = checked.manifest
    target = REGISTRY.find(manifest.target)
    if target is None:
        raise PackageError(
            f"the package was built for target {manifest.target!r}, unknown to this SegRT",
            wanted=", ".join(REGISTRY.names()),
            hint="upgrade segrt",
        )
    custom_nodes.check_defined(manifest.custom_ops)
    options = manifest.options
    if threads is not None:
        options = plain_numbers(replace(options, threads=threads))
    known = target.availability()
    _check_options(target, options, known, usable=known.can_run)
    session = _open(checked, target, options)
    if selftest:
        try:
            run_selftest(checked, session)
        except BaseException:
            session.close()
            raise
    return session


def run_selftest(package: Package, session: Session) -> float:
    """Compare a session with the outputs recorded at build.

    Returns:
        The largest relative L2 difference of an output; for masks, the share of differing pixels.

    Raises:
        EngineError: It is above what rounding explains.
        PackageError: The recording does not belong to the network.
    """
    try:
        with np.load(package.path / RECORDING, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        feeds = {spec.name: arrays[f"input/{spec.name}"] for spec in session.inputs}
        expected = {spec.name: arrays[f"output/{spec.name}"] for spec in session.outputs}
    except (OSError, ValueError, KeyError) as error:
        raise PackageError("the package's self-test is damaged", found=str(error)) from error
    found = session.run(feeds)
    worst = 0.0
    for name, wanted in expected.items():
        masks = wanted.dtype == np.uint8
        measure, bounds = (
            (_differing, _SELFTEST_PIXELS) if masks else (relative_l2, _SELFTEST_BOUND)
        )
        difference, bound = measure(found[name], wanted), bounds[package.manifest.options.precision]
        # `not <=` instead of `>`: NaN must not pass.
        if not difference <= bound:
            what = "share of differing pixels" if masks else "relative L2 difference"
            raise EngineError(
                "the engine does not reproduce the package's self-test",
                found=f"{what} {difference:.3g}",
                wanted=f"at most {bound:g}",
                hint="reinstall the engine's library, or build the package again on this machine",
            )
        worst = max(worst, difference)
    return worst


def _differing(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean(found != expected)) if found.shape == expected.shape else 1.0


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    """Return ``|found - expected| / |expected|`` in double precision; NaN if any value is."""
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    scale = float(np.linalg.norm(np.asarray(expected, np.float64)))
    return float(np.linalg.norm(difference)) / (scale if scale > 0 else 1.0)


def _build_whole(
    target: Target, lowered: Sequence[Lowered], options: BuildOptions, folder: Path
) -> Built:
    try:
        return target.build(tuple(graph for graph, _ in lowered), options, folder)
    except (UnsupportedLayerError, UnsupportedConfigError, EngineError) as error:
        told = explained(target, lowered, options, error)
        if told is error:
            raise
        raise told from error


def _open(package: Package, target: Target, options: BuildOptions) -> Session:
    manifest = package.manifest
    if manifest.fallback is None:
        return target.open(package.path, manifest.engine, options)
    return open_mix(package.path, manifest.fallback, mix_engines(package, options))


def mix_engines(package: Package, options: BuildOptions) -> Engines:
    """Return the two targets of a package that has a mix of engines.

    Raises:
        UnavailableError: The fallback's library is missing here.
        UsageError: This SegRT does not know one of them.
    """
    assert package.manifest.fallback is not None
    target = find_target(package.manifest.target)
    fallback = find_target(package.manifest.fallback.target)
    known = fallback.availability()
    _check_options(fallback, fallback_options(options), known, usable=known.can_run)
    return Engines(target, fallback, options)


def _find_fallback(target: Target, options: BuildOptions) -> Target | None:
    if options.fallback is None:
        return None
    fallback = find_target(options.fallback)
    if fallback is target:
        raise UsageError(
            f"target {target.name!r} cannot be its own fallback",
            found=options.fallback,
            wanted="another target, such as " + ("onnxruntime" if target.name == "cpu" else "cpu"),
        )
    known = fallback.availability()
    _check_options(fallback, fallback_options(options), known, usable=known.can_build)
    return fallback


def _check_options(
    target: Target, options: BuildOptions, known: Availability, *, usable: bool
) -> None:
    if not usable:
        raise UnavailableError(
            f"target {target.name!r} is not available here", found=known.detail, hint=known.hint
        )
    if options.via is not None and not target.routes:
        raise UsageError(f"target {target.name!r} has no routes to choose from", found=options.via)
    if options.threads is not None and options.threads < 1:
        raise UsageError("threads must be positive", found=str(options.threads))


def _manifest(
    model: ir.Model,
    target: Target,
    options: BuildOptions,
    built: Built,
    verdicts: tuple[Verdict, ...],
) -> Manifest:
    return Manifest(
        segrt_version=segrt_version(),
        source=metadata.source(model),
        target=target.name,
        engine=built.engine,
        options=options,
        inputs=input_specs(model),
        outputs=output_specs(model),
        files={},
        verdicts=verdicts,
        remarks=tuple(metadata.remarks(model)),
    )
