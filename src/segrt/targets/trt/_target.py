"""The target that both flavours of TensorRT are."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segrt.errors import PackageError, UnavailableError, UsageError
from segrt.targets._base import Availability, Built, Lowering, Session, Target
from segrt.targets._engine import save_model
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.engine import Engine, build_engine, check_sizes
from segrt.targets.trt.network import Network, write_network
from segrt.targets.trt.parser import parse_network
from segrt.targets.trt.plan_header import check_plan
from segrt.targets.trt.plugin import check_plugins
from segrt.types import BuildOptions

NETWORK, ONNX_PARSER = "network", "onnx-parser"
_ONE_AT_A_TIME = threading.Lock()
_PLAN = "engines/model.plan"
_LAYERS = "engines/model.layers.json"

# Native layers first; a deconvolution or a pixel shuffle only where it is asked for.
LOWERING = Lowering(upsampling_forms=("resize", "deconvolution", "expand"))


class TensorRtTarget(Target):
    """Builds engines with one flavour of TensorRT.

    Args:
        flavour: TensorRT or TensorRT for RTX.
    """

    routes = (NETWORK, ONNX_PARSER)

    def __init__(self, flavour: Flavour) -> None:
        self.name = flavour.name
        self.flavour = flavour

    def availability(self) -> Availability:
        """Say whether the library is installed and whether there is a GPU."""
        return self.flavour.availability()

    def resolve(self, model: ir.Model, options: BuildOptions) -> BuildOptions:
        """Fix a free batch at 1: plans of fixed shapes are smaller and reproducible."""
        shapes = [value.shape for value in model.graph.inputs if value.shape]
        free = any(not isinstance(shape[0], int) for shape in shapes)
        return replace(options, batch=1) if free and options.batch is None else options

    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return the one lowering."""
        return (LOWERING,)

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Write the graph, the plan and the table of its layers."""
        model = models[0]
        check_sizes(model)
        # Messages of two builds at once could not be told apart.
        with _ONE_AT_A_TIME:
            network = make_network(self.flavour, model, options)
            engine = build_engine(network, options.precision)
        (folder / "engines").mkdir(exist_ok=True)
        (folder / _PLAN).write_bytes(engine.plan)
        table = [layer.to_json() for layer in engine.layers]
        (folder / _LAYERS).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        save_model(model, folder / "model.onnx")
        library_version = str(network.library.__version__)
        check_plan(folder / _PLAN, magic=self.flavour.magic, version=library_version)
        return Built(
            {
                "library": self.name,
                "version": library_version,
                "via": options.via or NETWORK,
                "plan": _PLAN,
                "layers": _LAYERS,
                "kernels": len(engine.layers),
            },
            layers=_layers_by_node(engine),
        )

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Check the plan, then say that it cannot be run.

        Raises:
            PackageError: The plan is damaged or foreign.
            UnavailableError: Always, otherwise.
        """
        plan = engine.get("plan")
        if plan != _PLAN:
            raise PackageError("the package names no engine", found=repr(plan), wanted=_PLAN)
        library = self.flavour.load()
        check_plan(folder / _PLAN, magic=self.flavour.magic, version=str(library.__version__))
        raise self._unavailable()

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Say that a graph cannot be run.

        Raises:
            UnavailableError: Always.
        """
        raise self._unavailable()

    def _unavailable(self) -> UnavailableError:
        state = self.availability()
        return UnavailableError(
            f"engines of target {self.name!r} cannot be run here",
            found=state.detail,
            hint=state.hint or None,
        )


def make_network(flavour: Flavour, model: ir.Model, options: BuildOptions) -> Network:
    """Return the network of a lowered graph, by the route that the options ask for.

    Raises:
        UsageError: An unknown route or precision.
        UnsupportedLayerError: Operators without a TensorRT layer.
        EngineError: TensorRT refuses the graph.
    """
    routes = {NETWORK: write_network, ONNX_PARSER: parse_network}
    via = options.via or NETWORK
    if via not in routes:
        raise UsageError(f"unknown route {via!r}", found=via, wanted=", ".join(routes))
    check_plugins(flavour, model, by_parser=via == ONNX_PARSER)
    return routes[via](flavour, model, options.precision)


def _layers_by_node(engine: Engine) -> dict[str, list[str]]:
    """Return node name -> the engine's layers it was fused into."""
    table: dict[str, list[str]] = {}
    for layer in engine.layers:
        for node in layer.nodes:
            table.setdefault(node, []).append(layer.name)
    return table
