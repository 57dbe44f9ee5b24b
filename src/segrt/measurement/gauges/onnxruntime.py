"""ONNX Runtime: its own profile of a few runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from segrt.errors import UnavailableError
from segrt.measurement.gauges._base import REGISTRY, Deployed, Gauge, LayerTime, Names, medians
from segrt.targets._base import Feeds, Session
from segrt.targets._custom import has_custom_ops
from segrt.targets.onnxruntime import OnnxRuntimeSession

_WARM_UP, _RUNS = 2, 7
_EVENT = "_kernel_time"
# What its blocked layout adds to the names of nodes.
_BLOCKED = "_nchwc"


class OnnxRuntime(Gauge):
    """See the module's docstring."""

    def layers(self, deployed: Deployed, session: Session, feeds: Feeds) -> list[LayerTime]:
        """Run another session that profiles."""
        if has_custom_ops(deployed.model):
            raise UnavailableError("a graph with custom operations runs in several sessions")
        with tempfile.TemporaryDirectory(prefix="segrt-profile-") as folder:
            profiled = OnnxRuntimeSession(
                deployed.model, deployed.path, deployed.options.threads, Path(folder) / "run"
            )
            with profiled:
                for _ in range(_WARM_UP + _RUNS):
                    profiled.run(feeds)
                events = json.loads(profiled.end_profile().read_text(encoding="utf-8"))
        return medians(_runs(events, Names(deployed.model))[_WARM_UP:])


def _runs(events: list[dict[str, Any]], names: Names) -> list[list[tuple[str, LayerTime]]]:
    """Return the rows of every run; its last event is that of the whole run."""
    runs: list[list[tuple[str, LayerTime]]] = [[]]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_EVENT):
            name = event["name"].removesuffix(_EVENT).removesuffix(_BLOCKED)
            kind = event["args"].get("op_name", "")
            blocked = event["name"].removesuffix(_EVENT).endswith(_BLOCKED)
            how = "blocked layout" if blocked else ""
            row = LayerTime(names.find([name]), kind, how, event["dur"] / 1e3)
            runs[-1].append((event["name"], row))
        elif event.get("name") == "model_run":
            runs.append([])
    return [run for run in runs if run]


REGISTRY.register("onnxruntime")(OnnxRuntime())
