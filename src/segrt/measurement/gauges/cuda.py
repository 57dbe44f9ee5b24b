"""The own CUDA engine: events around its graph, and every step timed alone."""

from __future__ import annotations

import numpy as np

from segrt.measurement.gauges._base import REGISTRY, Deployed, Gauge, LayerTime
from segrt.measurement.timing import Sample
from segrt.targets._base import Feeds, Session
from segrt.targets.cuda import CudaSession


class Cuda(Gauge):
    """See the module's docstring."""

    def device_name(self, session: Session) -> str:
        """Return the GPU's name."""
        assert isinstance(session, CudaSession)
        return session.device_name

    def device_sample(self, session: Session) -> Sample | None:
        """Time the engine that ran last, by events."""
        if not isinstance(session, CudaSession):
            return None
        engine = session.latest
        return lambda: engine.once_us() / 1e3

    def memory_bytes(self, session: Session, feeds: Feeds) -> int | None:
        """Return arena, scratch, inputs, outputs and weights."""
        if not isinstance(session, CudaSession):
            return None
        return session.engine([np.shape(feeds[spec.name]) for spec in session.inputs]).device_bytes

    def layers(self, deployed: Deployed, session: Session, feeds: Feeds) -> list[LayerTime]:
        """Time every step alone."""
        assert isinstance(session, CudaSession)
        rows = session.profile([np.shape(feeds[spec.name]) for spec in session.inputs])
        return [
            LayerTime(
                (row.layer,) if row.layer else (), row.operation, row.choice, row.time_us / 1e3
            )
            for row in rows
        ]


REGISTRY.register("cuda")(Cuda())
