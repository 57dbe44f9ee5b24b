"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segrt._optional import require
from segrt.errors import EngineError
from segrt.targets._base import REGISTRY, Array, Availability, Built, Lowering, Session, Target
from segrt.targets._custom import has_custom_ops, open_with_references
from segrt.targets._engine import (
    library_availability,
    library_version,
    precision_error,
    save_model,
    serialize,
)
from segrt.targets._session import CheckedSession
from segrt.targets._trial import try_nodes
from segrt.types import BuildOptions, Precision

_INSTALL = "pip install onnxruntime"

# As measured (docs/lab/LOG.md): the blocked-layout kernels take Resize and the convolution behind
# it at full speed, while DepthToSpace and ConvTranspose leave that layout and pay for it.
_LOWERING = Lowering(
    upsampling_forms=("resize", "expand", "deconvolution"),
    extra_passes=("winograd", "split_concat", "fold_pixels", "exact_sigmoid"),
)


# Melts zero padding into the pool behind it, which pads with minus infinity: with negative values
# the result is wrong (1.31). Padding that folds exactly is folded by the passes.
_UNSOUND = ["Pad_Fusion"]


class OnnxRuntimeSession(CheckedSession):
    """A graph in ONNX Runtime; with ``profile`` it writes down what each node takes."""

    def __init__(
        self,
        model: ir.Model,
        source: bytes | Path,
        threads: int | None,
        profile: Path | None = None,
    ) -> None:
        super().__init__(model)
        library = require("onnxruntime", purpose="the onnxruntime target", install=_INSTALL)
        options = library.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Threads that spin between runs take the cores from whatever else the process does: an
        # OpenVINO session run in turns with a spinning one took 60 ms instead of 36.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        try:
            self._engine = library.InferenceSession(
                source if isinstance(source, bytes) else str(source),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_UNSOUND,
            )
        except Exception as error:
            raise EngineError("ONNX Runtime refuses the graph", found=str(error)) from error
        self._names = [spec.name for spec in self.outputs]

    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        feeds = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        results: list[Array] = self._engine.run(self._names, feeds)
        return results

    def end_profile(self) -> Path:
        """Stop writing down what nodes take; return the file."""
        return Path(self._engine.end_profiling())

    def _free(self) -> None:
        self._engine = None


class OnnxRuntime(Target):
    """ONNX Runtime's CPU provider; fp32 only (it has no bf16 convolution on CPUs)."""

    name = "onnxruntime"

    def availability(self) -> Availability:
        """Say whether the library is installed."""
        return library_availability("onnxruntime", _INSTALL)

    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return the one lowering that is fastest here."""
        return (_LOWERING,)

    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Try the graph, and its nodes one by one if it is refused."""
        return try_nodes(model, lambda part: self.open_model(part, options))

    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Write the graph, after the library has accepted it."""
        self.open_model(models[0], options).close()
        save_model(models[0], folder / "model.onnx")
        return Built({"library": self.name, "version": library_version("onnxruntime")})

    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Open a session on ``folder/model.onnx``."""
        path = folder / "model.onnx"
        return self.open_file(ir.load(path), path, options)

    def open_file(self, model: ir.Model, path: Path, options: BuildOptions) -> Session:
        """Open a session on a graph in memory that was written to a file as well."""
        self._check(options)
        if has_custom_ops(model):
            return self.open_model(model, options)
        return OnnxRuntimeSession(model, path, options.threads)

    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Open a session on a graph in memory."""
        self._check(options)
        return open_with_references(
            model, lambda part: OnnxRuntimeSession(part, serialize(part), options.threads)
        )

    def _check(self, options: BuildOptions) -> None:
        if options.precision is not Precision.FP32:
            raise precision_error(self.name, options.precision, "fp32", "use target openvino")


REGISTRY.register("onnxruntime")(OnnxRuntime())
