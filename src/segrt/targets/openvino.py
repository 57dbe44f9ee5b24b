"""OpenVINO on the CPU, in fp32 or bf16."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segrt._optional import require
from segrt.errors import EngineError, UnavailableError
from segrt.targets._base import REGISTRY, Array, Availability, Built, Lowering, Session, Target
from segrt.targets._custom import has_custom_ops, open_with_references
from segrt.targets._engine import (
    library_availability,
    library_version,
    precision_error,
    save_model,
    serialize,
)
from segrt.targets._processor import has_native_bf16, processor_name
from segrt.targets._session import CheckedSession
from segrt.targets._trial import try_nodes
from segrt.types import BuildOptions, Precision

_INSTALL = "pip install openvino"
_TELEMETRY = "openvino_telemetry"
_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}
_TAKEN = {Precision.FP32: "float32", Precision.BF16: "bfloat16"}

# As measured (docs/lab/LOG.md): one transposed convolution needs 9 of the 16 products of an
# upsampling and the 2x2 convolution behind it, and this library fuses it well.
_FORMS = ("transposed", "subpixel", "resize", "expand", "deconvolution")
_LOWERINGS = {
    Precision.FP32: Lowering(_FORMS, ("winograd", "split_concat", "fold_pixels")),
    # Without Winograd's identity: its numbers cancel, and bf16 has 8 bits of them for little gain.
    Precision.BF16: Lowering(_FORMS, ("split_concat", "fold_pixels")),
}


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What one node of a compiled graph took.

    Attributes:
        name: The library's own.
        merged: Names of the graph's nodes that became part of it; () for changes of layout.
        kind: Such as ``Convolution``.
        kernel: How it is computed.
        time_ms: In the last run.
    """

    name: str
    merged: tuple[str, ...]
    kind: str
    kernel: str
    time_ms: float


class OpenVinoSession(CheckedSession):
    """A graph compiled by OpenVINO; with ``profile`` it knows what each node took."""

    def __init__(
        self,
        model: ir.Model,
        source: bytes | Path,
        options: BuildOptions,
        *,
        profile: bool = False,
    ) -> None:
        super().__init__(model)
        core = _core()
        settings: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        }
        if profile:
            settings["PERF_COUNT"] = True
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        try:
            engine = core.compile_model(core.read_model(source), "CPU", settings)
            taken = engine.get_property("INFERENCE_PRECISION_HINT").to_string()
            self._fed = _fed(engine, [spec.name for spec in self.inputs])
            self._request = engine.create_infer_request()
            self._engine = engine
        except Exception as error:
            raise EngineError("OpenVINO refuses the graph", found=str(error)) from error
        if taken not in (_TAKEN[options.precision], _HINTS[options.precision]):
            raise UnavailableError(
                f"OpenVINO does not compute in {options.precision} on this processor",
                found=f"{taken} ({processor_name()})",
                wanted=options.precision,
            )

    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        # Inputs are read where they lie; outputs are copied, since the request reuses its own.
        fed = [arrays[index] for index in self._fed]
        results = self._request.infer(fed, share_inputs=True, share_outputs=False)
        return [results[index] for index in range(len(self.outputs))]

    def node_times(self) -> list[NodeTime]:
        """Return what the nodes took in the last run, those that ran."""
        merged = {
            node.get_friendly_name(): str(node.get_rt_info()["originalLayersNames"].value)
            for node in self._engine.get_runtime_model().get_ops()
            if "originalLayersNames" in node.get_rt_info()
        }
        return [
            NodeTime(
                entry.node_name,
                tuple(name for name in merged.get(entry.node_name, "").split(",") if name),
                entry.node_type,
                entry.exec_type,
                entry.real_time.total_seconds() * 1e3,
            )
            for entry in self._request.get_profiling_info()
            if entry.status == entry.Status.EXECUTED
        ]

    def _free(self) -> None:
        self._request = None
        self._engine = None


class OpenVino(Target):
    """OpenVINO's CPU plugin."""

    name = "openvino"

    def availability(self) -> Availability:
        """Say whether the library is installed."""
        return library_availability("openvino", _INSTALL)

    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return the one lowering that is fastest here."""
        self._check(options)
        return (_LOWERINGS[options.precision],)

    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Try the graph, and its nodes one by one if it is refused."""
        return try_nodes(model, lambda part: self.open_model(part, options))

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Write the graph, after the library has compiled it."""
        self.open_model(models[0], options).close()
        save_model(models[0], folder / "model.onnx")
        return Built({"library": self.name, "version": library_version("openvino")})

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Open a session on ``folder/model.onnx``."""
        self._check(options)
        path = folder / "model.onnx"
        model = ir.load(path)
        if has_custom_ops(model):
            return self.open_model(model, options)
        return OpenVinoSession(model, path, options)

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Open a session on a graph in memory."""
        self._check(options)
        return open_with_references(
            model, lambda part: OpenVinoSession(part, serialize(part), options)
        )

    def _check(self, options: BuildOptions) -> None:
        if options.precision not in _HINTS:
            raise precision_error(
                self.name, options.precision, "fp32 or bf16", "choose one of these"
            )
        if options.precision is Precision.BF16:
            check_bf16()


def check_bf16() -> None:
    """Refuse bf16 where the processor would only emulate it.

    Raises:
        UnavailableError: It lacks the instructions.
    """
    native = has_native_bf16()
    if native is None:
        native = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not native:
        raise UnavailableError(
            "bf16 needs a processor that multiplies it natively",
            found=processor_name(),
            wanted="AMX or AVX512-BF16 (amx_bf16 or avx512_bf16 in /proc/cpuinfo)",
            hint="use fp32",
        )


def _fed(engine: Any, names: Sequence[str]) -> list[int]:
    """Return which of the graph's inputs each input of an engine is: what is unused has none."""
    places = {name: index for index, name in enumerate(names)}
    return [next(places[name] for name in port.names if name in places) for port in engine.inputs]


@lru_cache(maxsize=1)
def _core() -> Any:
    with _without_telemetry():
        library = require("openvino", purpose="the openvino target", install=_INSTALL)
    return library.Core()


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let the library be imported as if its telemetry client were not installed.

    Importing it is enough to report that to its vendor, and to leave an identity in the home
    directory. Where the client is missing it uses a stub of its own that does nothing.
    """
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


REGISTRY.register("openvino")(OpenVino())
