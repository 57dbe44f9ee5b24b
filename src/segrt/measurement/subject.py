"""The package that is measured: its session, its sizes, and what looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from segrt.errors import UnavailableError
from segrt.graph.fix_shapes import fix_batch_and_size, fix_shapes
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.measurement.gauges._base import REGISTRY as GAUGES
from segrt.measurement.gauges._base import Deployed, Gauge, LayerTime
from segrt.measurement.memory import Growth
from segrt.measurement.timing import Sample, host_sample
from segrt.targets._base import REGISTRY as TARGETS
from segrt.targets._base import Array, Session, Target
from segrt.targets._build import find_target, open_package
from segrt.targets._measure import sample_feeds
from segrt.targets._package import Package
from segrt.targets._processor import processor_name
from segrt.targets._session import check_feeds
from segrt.types import BuildOptions

_BATCHES = (1, 8, 32)


class Subject:
    """A package with an open session.

    Args:
        package: The package; its files were checked.
        threads: Threads of the engine; None takes what it was built with.

    Attributes:
        package: See above.
        options: What it was built with, and these threads.
        imported: The network before any pass.
        target: The target, or the engine that it chose.
        session: See above.

    Raises:
        UnavailableError: The target cannot run here.
        EngineError: The engine fails.
    """

    def __init__(self, package: Package, threads: int | None) -> None:
        self.package = package
        manifest = package.manifest
        self.options: BuildOptions = manifest.options
        if threads is not None:
            self.options = replace(self.options, threads=threads)
        self.imported: ir.Model = package.imported()
        # A target that chose among engines notes the chosen one.
        chosen = TARGETS.find(str(manifest.engine.get("library")))
        self.target: Target = chosen or find_target(manifest.target)
        mixed = manifest.fallback is not None
        self._gauge: Gauge | None = None if mixed else GAUGES.find(self.target.name)
        with Growth() as growth:
            self.session: Session = open_package(package, threads=threads)
        self._opened_bytes = growth.grown_bytes or 0

    @property
    def title(self) -> str:
        """What the package was built for, and the engine that was chosen."""
        manifest = self.package.manifest
        if manifest.fallback is not None:
            return f"{manifest.target} with {manifest.fallback.target}"
        if self.target.name == manifest.target:
            return manifest.target
        return f"{manifest.target} ({self.target.name})"

    @property
    def device(self) -> str:
        """The GPU's name, or the processor's."""
        if self._gauge is not None:
            return self._gauge.device_name(self.session)
        return f"{processor_name()} and a GPU" if self.target.on_gpu else processor_name()

    def batches(self, asked: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return the batch sizes to measure: those asked for, or the usual ones that fit."""
        if asked is not None:
            return asked
        spec = self.package.manifest.inputs[0]
        if spec.shape[0] is not None:
            return (spec.shape[0],)
        allowed = range_of(spec, 0)
        fitting = [size for size in _BATCHES if nearest_in_range(size, allowed) == size]
        return tuple(fitting) or (nearest_in_range(1, allowed),)

    def fixed(self, batch: int, size: tuple[int, ...] | None) -> ir.Model:
        """Return the network before any pass with all its sizes known.

        Raises:
            ShapeError: The network, or the package, does not take them.
        """
        model = fix_batch_and_size(self.imported, batch=batch, size=size)
        feeds = sample_feeds(model)
        check_feeds(self.package.manifest.inputs, feeds)
        return fix_shapes(model, {name: array.shape for name, array in feeds.items()})

    def samples(self, feeds: Mapping[str, Array]) -> dict[str, Sample]:
        """Return what to time, by name, after a run at these sizes."""
        whole = host_sample(lambda: self.session.run(feeds))
        gauge = self._gauge
        self.session.run(feeds)
        alone = gauge.device_sample(self.session) if gauge is not None else None
        if alone is None:
            return {"segrt": whole}
        return {"segrt": alone, "segrt, with copies": whole}

    def memory_bytes(self, feeds: Mapping[str, Array]) -> int | None:
        """Return what the session holds: on the GPU as it says, else as the process grows."""
        if self.target.on_gpu:
            return None if self._gauge is None else self._gauge.memory_bytes(self.session, feeds)
        with Growth() as growth:
            self.session.run(feeds)
        if growth.grown_bytes is None:
            return None
        self._opened_bytes += growth.grown_bytes
        return self._opened_bytes

    def layers(self, feeds: Mapping[str, Array]) -> list[LayerTime]:
        """Return what each step of the engine takes.

        Raises:
            UnavailableError: The target does not tell.
        """
        if self._gauge is None:
            raise UnavailableError("a mix of engines does not tell what each of its steps takes")
        path = self.package.path / "model.onnx"
        deployed = Deployed(path, self.package.model(), self.options)
        return self._gauge.layers(deployed, self.session, feeds)

    def lowered(self, feeds: Mapping[str, Array]) -> ir.Model:
        """Return the graph that the engine runs, with all its sizes known."""
        shapes = {name: np.shape(array) for name, array in feeds.items()}
        return fix_shapes(self.package.model(), shapes)

    def close(self) -> None:
        """Close the session."""
        self.session.close()
