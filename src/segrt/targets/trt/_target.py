"""The target that both flavours of TensorRT are."""

from __future__ import annotations

import hashlib
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
from segrt.targets.trt import device
from segrt.targets.trt._flavour import Flavour, dotted
from segrt.targets.trt.engine import Engine, build_engine, check_sizes
from segrt.targets.trt.network import Network, write_network
from segrt.targets.trt.parser import parse_network
from segrt.targets.trt.plan_header import check_plan
from segrt.targets.trt.plugin import check_plugins
from segrt.targets.trt.survey import survey_network, survey_parser
from segrt.types import BuildOptions

NETWORK, ONNX_PARSER = "network", "onnx-parser"
_ONE_AT_A_TIME = threading.Lock()
_PLAN = "engines/model.plan"
_LAYERS = "engines/model.layers.json"

# Native layers first; a deconvolution or a pixel shuffle only where it is asked for. TensorRT
# slides over images and volumes only, has no pool with gaps or places, and scatters overwrite.
LOWERING = Lowering(
    upsampling_forms=("resize", "deconvolution", "expand"),
    extra_passes=("plain_scatters", "unfold_pools", "widen_sequences"),
)


def extra_passes(flavour: Flavour) -> tuple[str, ...]:
    """Return the optional passes of every TensorRT, and those that one flavour is better for."""
    return (*LOWERING.extra_passes, *flavour.extra_passes)


class TensorRtTarget(Target):
    """Builds engines with one flavour of TensorRT.

    Args:
        flavour: TensorRT or TensorRT for RTX.
    """

    on_gpu = True
    measures = False
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
        """Return the one lowering, with the passes that this library is better for."""
        return (replace(LOWERING, extra_passes=extra_passes(self.flavour)),)

    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Write the network node by node, or ask TensorRT's parser; nothing is built."""
        survey = {NETWORK: survey_network, ONNX_PARSER: survey_parser}[_route(options)]
        with _ONE_AT_A_TIME:
            return survey(self.flavour, model, options.precision)

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Write the graph, the plan and the table of its layers."""
        model = models[0]
        check_sizes(model)
        # Messages of two builds at once could not be told apart.
        with _ONE_AT_A_TIME:
            network = make_network(self.flavour, model, options)
            engine = build_engine(network, options.precision)
        library_version = str(network.library.__version__)
        del network  # with its copies of the weights
        (folder / "engines").mkdir(exist_ok=True)
        (folder / _PLAN).write_bytes(engine.plan)
        table = [layer.to_json() for layer in engine.layers]
        (folder / _LAYERS).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        save_model(model, folder / "model.onnx")
        self._check_plan(engine.plan, library_version)
        return Built(
            {
                "library": self.name,
                "version": library_version,
                "via": options.via or NETWORK,
                "plan": _PLAN,
                "plan_sha256": hashlib.sha256(engine.plan).hexdigest(),
                "compute_capabilities": self.flavour.engine_capabilities(),
                "layers": _LAYERS,
                "kernels": len(engine.layers),
            },
            layers=_layers_by_node(engine),
        )

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Check the plan, then open a session on it.

        Raises:
            PackageError: The plan is damaged or foreign.
            UnavailableError: It cannot be run here.
            EngineError: TensorRT refuses it.
        """
        version = str(self.flavour.load().__version__)
        path = engine.get("plan")
        if path != _PLAN:
            raise PackageError("the package names no engine", found=repr(path), wanted=_PLAN)
        # Read once: what is checked is what is loaded, whatever happens to the file meanwhile.
        plan = (folder / _PLAN).read_bytes()
        check_origin(plan, engine, library=self.name, version=version)
        self._check_plan(plan, version)
        self._check_runs_here()
        check_gpu(engine)
        return self._session(ir.load(folder / "model.onnx"), plan)

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Build an engine in memory and open a session on it.

        Raises:
            UnavailableError: It cannot be run here.
            EngineError: TensorRT refuses the graph.
        """
        self._check_runs_here()
        check_sizes(model)
        with _ONE_AT_A_TIME:
            engine = build_engine(make_network(self.flavour, model, options), options.precision)
        return self._session(model, engine.plan)

    def _session(self, model: ir.Model, plan: bytes) -> Session:
        # Here, so that building needs nothing of what running does.
        from segrt.cuda.devices import keeping_current
        from segrt.targets.trt.session import TensorRtSession

        with keeping_current():
            return TensorRtSession(model, plan, self.flavour)

    def _check_plan(self, plan: bytes, version: str) -> None:
        check_plan(plan, name=_PLAN, magic=self.flavour.magic, version=version)

    def _check_runs_here(self) -> None:
        if not self.availability().can_run:
            raise self._unavailable()

    def _unavailable(self) -> UnavailableError:
        state = self.availability()
        return UnavailableError(
            f"engines of target {self.name!r} cannot be run here",
            found=state.detail,
            hint=state.hint or None,
        )


def check_origin(plan: bytes, engine: Mapping[str, Any], *, library: str, version: str) -> None:
    """Refuse a plan that is not the one whose building the manifest describes.

    Args:
        plan: Its bytes.
        engine: The manifest's notes about it.
        library: Name of the target that is to load it.
        version: Of the installed library, in full: the plan's own header cuts it short.

    Raises:
        PackageError: Another plan, another library or another version.
    """
    noted = (engine.get("library"), engine.get("version"))
    if noted != (library, version):
        raise PackageError(
            "the engine was built with another library",
            found=" ".join(map(str, noted)),
            wanted=f"{library} {version}",
            hint="build the package again with the installed version",
        )
    found = hashlib.sha256(plan).hexdigest()
    if found != engine.get("plan_sha256"):
        raise PackageError(
            f"{_PLAN} is not the engine that was built for the package",
            found=f"sha256 {found}",
            wanted=str(engine.get("plan_sha256")),
            hint="build the package again",
        )


def check_gpu(engine: Mapping[str, Any]) -> None:
    """Refuse a plan that was built for other GPUs than the one here.

    Raises:
        PackageError: Names both.
    """
    capability = device.compute_capability()
    here = "unknown" if capability is None else dotted(capability)
    noted = engine.get("compute_capabilities")
    built_for = noted if isinstance(noted, list) else []
    if here not in built_for:
        raise PackageError(
            "the engine was built for other GPUs",
            found=f"compute capability {here}",
            wanted=", ".join(map(str, built_for)) or None,
            hint="build the package again on this machine",
        )


def make_network(flavour: Flavour, model: ir.Model, options: BuildOptions) -> Network:
    """Return the network of a lowered graph, by the route that the options ask for.

    Raises:
        UsageError: An unknown route or precision.
        UnsupportedLayerError: Operators without a TensorRT layer.
        EngineError: TensorRT refuses the graph.
    """
    routes = {NETWORK: write_network, ONNX_PARSER: parse_network}
    via = _route(options)
    check_plugins(flavour, model, by_parser=via == ONNX_PARSER)
    return routes[via](flavour, model, options.precision)


def _route(options: BuildOptions) -> str:
    via = options.via or NETWORK
    if via not in TensorRtTarget.routes:
        wanted = ", ".join(TensorRtTarget.routes)
        raise UsageError(f"unknown route {via!r}", found=via, wanted=wanted)
    return via


def _layers_by_node(engine: Engine) -> dict[str, list[str]]:
    """Return node name -> the engine's layers it was fused into."""
    table: dict[str, list[str]] = {}
    for layer in engine.layers:
        for node in layer.nodes:
            table.setdefault(node, []).append(layer.name)
    return table
