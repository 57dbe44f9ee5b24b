"""TensorRT, both flavours: events around the engine; what its layers take it does not tell here."""

from __future__ import annotations

from segrt.errors import UnavailableError
from segrt.measurement.gauges._base import REGISTRY, Deployed, Gauge, LayerTime
from segrt.measurement.timing import Sample
from segrt.targets._base import Feeds, Session
from segrt.targets.trt.session import TensorRtSession


class TensorRt(Gauge):
    """See the module's docstring."""

    def device_name(self, session: Session) -> str:
        """Return the GPU's name."""
        assert isinstance(session, TensorRtSession)
        return session.device_name

    def device_sample(self, session: Session) -> Sample | None:
        """Time the sizes that ran last, by events."""
        if not isinstance(session, TensorRtSession):
            return None
        return lambda: session.once_us() / 1e3

    def layers(self, deployed: Deployed, session: Session, feeds: Feeds) -> list[LayerTime]:
        """Refuse: a TensorRT context would have to run outside its CUDA graph to be profiled."""
        raise UnavailableError(
            "a TensorRT engine runs as one CUDA graph, which does not tell what its layers take",
            hint="`segrt inspect PACKAGE --engine` lists its kernels",
        )


REGISTRY.register("tensorrt", "tensorrt-rtx")(TensorRt())
