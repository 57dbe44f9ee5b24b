"""OpenVINO: its own counters of a few runs."""

from __future__ import annotations

from segrt.errors import UnavailableError
from segrt.measurement.gauges._base import REGISTRY, Deployed, Gauge, LayerTime, Names, medians
from segrt.targets._base import Feeds, Session
from segrt.targets._custom import has_custom_ops
from segrt.targets.openvino import NodeTime, OpenVinoSession

_WARM_UP, _RUNS = 2, 7
# Names that it makes of a node's when it takes the bias out.
_WITHOUT_BIAS = "/WithoutBiases"


class OpenVino(Gauge):
    """See the module's docstring."""

    def layers(self, deployed: Deployed, session: Session, feeds: Feeds) -> list[LayerTime]:
        """Run another session that counts."""
        if has_custom_ops(deployed.model):
            raise UnavailableError("a graph with custom operations runs in several sessions")
        names = Names(deployed.model)
        runs = []
        with OpenVinoSession(
            deployed.model, deployed.path, deployed.options, profile=True
        ) as counted:
            for _ in range(_WARM_UP + _RUNS):
                counted.run(feeds)
                runs.append([(node.name, _row(node, names)) for node in counted.node_times()])
        return medians(runs[_WARM_UP:])


def _row(node: NodeTime, names: Names) -> LayerTime:
    layers = names.find(name.removesuffix(_WITHOUT_BIAS) for name in node.merged)
    return LayerTime(layers, node.kind, node.kernel, node.time_ms)


REGISTRY.register("openvino")(OpenVino())
