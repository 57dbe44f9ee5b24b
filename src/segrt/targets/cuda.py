"""The own CUDA engine; see `segrt.cuda`."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from segrt.cuda import driver, partition
from segrt.cuda.devices import keeping_current
from segrt.cuda.quantisation import check_quantisation, read_quantisation
from segrt.cuda.stages import Stages
from segrt.errors import DeviceMemoryError, UnavailableError, UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.alike import are_alike
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import REGISTRY, Array, Availability, Built, Lowering, Session, Target
from segrt.targets._engine import library_version, precision_error, save_model
from segrt.targets._measure import measure, sample_feeds
from segrt.targets._session import CheckedSession
from segrt.types import BuildOptions, Precision, TileGrid

if TYPE_CHECKING:
    from segrt.cuda.engine import Engine, StepTime

_LOG = logging.getLogger(__name__)
_PRECISIONS = (
    Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16, Precision.INT8,
)  # fmt: skip
# Each set of sizes has its own memory plan and graph; the ones used last are kept.
_KEPT_SIZES = 4

# Convolutions, pools and resizing slide over images only.
_PASSES = ("widen_sequences",)
LOWERINGS = (
    Lowering(upsampling_forms=("subpixel", "resize"), extra_passes=_PASSES),
    Lowering(upsampling_forms=("resize",), extra_passes=_PASSES),
)


class CudaSession(CheckedSession):
    """A graph in the own engine, on one GPU with a stream of its own.

    Whichever thread runs or closes it, it works on its own GPU and leaves the thread's as it was.

    Args:
        model: The graph.
        precision: What to compute in.
        device: Which GPU; None: the one chosen with `segrt.on_device`, else the first.
    """

    def __init__(self, model: ir.Model, precision: Precision, device: int | None = None) -> None:
        super().__init__(model)
        self._model = model
        self._precision = precision
        self._engines: OrderedDict[tuple[tuple[int, ...], ...], Engine] = OrderedDict()
        with keeping_current():
            self._open(device)
            # Sizes that are all known are planned now, so that refusals come at opening.
            if all(None not in spec.shape for spec in self.inputs):
                try:
                    self.engine([tuple(size or 0 for size in spec.shape) for spec in self.inputs])
                except BaseException:
                    self.close()  # a mix goes on without this piece: nothing may stay on the GPU
                    raise

    def _open(self, device: int | None) -> None:
        stages = Stages()
        with stages.stage("opening the GPU"):
            self._gpu = driver.Gpu(device)
        try:
            with stages.stage("loading cuDNN"):
                from segrt.cuda.cudnn_graph import Library

                self._library = Library(self._gpu)
        except BaseException:
            self._gpu.close()
            raise
        _LOG.info("%s ready in %s", self._gpu.name, stages)

    def engine(self, shapes: Sequence[tuple[int, ...]]) -> Engine:
        """Return the engine for these input shapes; planned and tuned at first use."""
        from segrt.cuda.engine import Engine

        key = tuple(shapes)
        if key in self._engines:
            self._engines.move_to_end(key)
            return self._engines[key]
        while len(self._engines) >= _KEPT_SIZES:
            self._engines.popitem(last=False)[1].close()
        named = {spec.name: shape for spec, shape in zip(self.inputs, key, strict=True)}
        fixed = fix_shapes(self._model, named)
        self._gpu.use()
        self._engines[key] = Engine(fixed, self._precision, self._gpu, self._library)
        return self._engines[key]

    def prepare(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Plan and tune for these input shapes now."""
        with self._lock, keeping_current():
            self.engine(shapes)

    @property
    def device_name(self) -> str:
        """The GPU's name."""
        return self._gpu.name

    @property
    def latest(self) -> Engine:
        """The engine that was used last."""
        return next(reversed(self._engines.values()))

    def profile(self, shapes: Sequence[tuple[int, ...]]) -> list[StepTime]:
        """Time every step at these input shapes."""
        with keeping_current():
            return self.engine(shapes).profile()

    def run_tiles(self, image: Array, grid: TileGrid, batch: int, output: str) -> Array | None:
        """Tile on the GPU; see `segrt.targets._base.TileRunner`."""
        from segrt.cuda import tiles

        (source,), names = self.inputs, [spec.name for spec in self.outputs]
        first = source.channel_axis == 1
        target = self.outputs[names.index(output)]
        shape = (
            (batch, image.shape[0], *grid.tile) if first else (batch, *grid.tile, image.shape[2])
        )

        def work() -> Array | None:
            axes = (first, target.channel_axis == 1)
            with keeping_current():
                try:
                    return tiles.run_tiles(
                        self._gpu, self.engine([shape]), image, grid,
                        output=names.index(output), channels_first=axes,
                    )  # fmt: skip
                except DeviceMemoryError:
                    return None

        return self._alone([shape], work)

    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        with keeping_current():
            return self.engine([array.shape for array in arrays]).run(arrays)

    def _free(self) -> None:
        with keeping_current():
            # The library's handle belongs to the device too.
            self._gpu.use()
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()
            self._library.close()
            self._gpu.close()


class Cuda(Target):
    """cuDNN's convolutions and own kernels, the whole network one CUDA graph."""

    name = "cuda"
    on_gpu = True

    def availability(self) -> Availability:
        """Say whether the libraries, a driver and a GPU are there."""
        problem = driver.missing()
        if problem is None:
            text = f"cuda-core {library_version('cuda-core')}, cuDNN frontend "
            return Availability(True, True, text + library_version("nvidia-cudnn-frontend"))
        installed = problem.startswith(driver.NO_GPU)
        hint = "use a machine with an NVIDIA GPU and its driver"
        return Availability(False, False, problem, hint if installed else f"run: {driver.INSTALL}")

    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return the merged form first, then plain upsampling."""
        return LOWERINGS

    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Ask the engine about every node, at trial sizes where they are free.

        Its partition first; where that takes all, it is planned for GPUs of either generation.
        """
        feeds = sample_feeds(model)
        names = [str(value.name) for value in model.graph.inputs]
        fixed = fix_shapes(model, {name: feeds[name].shape for name in names})
        reasons: dict[str, str] = {}
        if options.precision is not Precision.INT8:
            refused = partition.refusals(fixed.graph)
            table = {
                node: refused.get(copy) for node, copy in zip(model.graph, fixed.graph, strict=True)
            }
        else:
            # The quantisation itself is no work of its own; what is left keeps its name.
            plain = read_quantisation(fixed)
            reasons = {str(node.name): why for node, why in partition.refusals(plain.graph).items()}
            table = {node: reasons.get(str(node.name)) for node in model.graph}
        if any(table.values()):
            return table
        return _with_late(table, fixed, options.precision)

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Time the lowerings that differ; write the fastest one's graph."""
        self._check(options, models[0])
        stages = Stages()
        index = self._fastest(models, options, stages)
        with stages.stage("saving the graph"):
            save_model(models[index], folder / "model.onnx")
        _LOG.info("built in %s", stages)
        return Built({"library": self.name, "version": library_version("cuda-core")}, index)

    def _fastest(self, models: tuple[ir.Model, ...], options: BuildOptions, stages: Stages) -> int:
        feeds = sample_feeds(models[0])
        sessions: dict[int, CudaSession] = {}
        try:
            for index, model in enumerate(models):
                if any(session.latest.upsamples_at_once for session in sessions.values()):
                    _LOG.info("form %d is not tried: upsampling is one kernel already", index + 1)
                    continue
                if any(are_alike(model, models[other]) for other in sessions):
                    continue
                try:
                    with stages.stage(f"form {index + 1} of the graph"):
                        sessions[index] = self._open(model, options, feeds)
                except UnsupportedLayerError:
                    # Another lowering may do without what this one asks for.
                    if index == len(models) - 1 and not sessions:
                        raise
            if len(sessions) == 1:
                return next(iter(sessions))
            with stages.stage("comparing the forms"):
                timings = measure(sessions, feeds)
        finally:
            for session in sessions.values():
                session.close()
        return min(timings, key=lambda key: timings[key].fastest_ms)

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Open a session on ``folder/model.onnx``."""
        return self.open_model(ir.load(folder / "model.onnx"), options)

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Open a session on a graph in memory."""
        self._check(options, model)
        return CudaSession(model, options.precision)

    def _open(
        self, model: ir.Model, options: BuildOptions, feeds: Mapping[str, Array]
    ) -> CudaSession:
        """Open a session and plan it for these feeds, so that a refusal comes now."""
        session = CudaSession(model, options.precision)
        try:
            session.prepare([feeds[spec.name].shape for spec in session.inputs])
        except BaseException:
            session.close()
            raise
        return session

    def _check(self, options: BuildOptions, model: ir.Model) -> None:
        if options.precision not in _PRECISIONS:
            raise precision_error(
                self.name,
                options.precision,
                "fp32, tf32, fp16, bf16 or int8",
                "choose one of these",
            )
        check_quantisation(model, integers=options.precision is Precision.INT8)
        problem = driver.missing()
        if problem is not None:
            raise UnavailableError(
                "target 'cuda' is not available here",
                found=problem,
                hint=f"install an NVIDIA driver and run: {driver.INSTALL}",
            )


def _with_late(
    table: dict[ir.Node, str | None], fixed: ir.Model, precision: Precision
) -> dict[ir.Node, str | None]:
    """Return a table with what planning refuses of a network that the partition takes whole."""
    from segrt.cuda import foresee

    late: dict[str, str] = {}
    for capability in foresee.CAPABILITIES:
        try:
            late |= foresee.late_refusals(fixed, precision, capability)
        except UnsupportedLayerError as error:
            late |= dict.fromkeys([layer for layer, _ in error.layers], error.message)
    # Steps that were merged carry the names of all their layers.
    reasons = {layer: why for names, why in late.items() for layer in names.split(" + ")}
    found = {
        node: reasons.get(metadata.layer_of(node) or node.name or node.op_type) for node in table
    }
    if late and not any(found.values()):
        raise UnsupportedLayerError("; ".join(late.values()), [(name, "") for name in late])
    return found


REGISTRY.register("cuda")(Cuda())
