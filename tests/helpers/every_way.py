"""One ONNX graph by every way the project has: what each makes of it, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from helpers.closeness import relative_l2
from segrt._optional import is_installed
from segrt.errors import SegrtError
from segrt.graph.fix_shapes import fix_shapes
from segrt.passes._base import PassContext
from segrt.passes._pipeline import OPTIONAL
from segrt.passes._pipeline import lower as run_passes
from segrt.targets._build import find_target
from segrt.types import BuildOptions, Precision

Arrays = Mapping[str, np.ndarray]
SAME = "same"
# Sums in another order; the arithmetic of half precision.
BOUND, HALF_BOUND = 2e-5, 3e-2
_OPTIONS = BuildOptions(threads=1)


def computed(model: onnx.ModelProto | ir.Model, feeds: Arrays) -> dict[str, np.ndarray]:
    """Run a graph in ONNX Runtime as it stands."""
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def difference(found: Arrays, wanted: Arrays, bound: float = BOUND) -> str:
    """Say what differs, or ``same``: names, shapes, types, and numbers beyond ``bound``.

    What nearly cancels is judged by the largest absolute difference.
    """
    if list(found) != list(wanted):
        return f"outputs {list(found)} for {list(wanted)}"
    for name, right in wanted.items():
        left = np.asarray(found[name])
        if (left.shape, left.dtype) != (right.shape, right.dtype):
            return f"{name}: {left.shape} {left.dtype} for {right.shape} {right.dtype}"
        a, b = left.astype(np.float64), right.astype(np.float64)
        # `not <=`, since NaN must not pass.
        if not relative_l2(a, b) <= bound and not np.abs(a - b).max() <= bound / 2:
            return f"{name}: relative L2 difference {relative_l2(a, b):.3g}"
    return SAME


@dataclass
class Case:
    """A graph, what it is fed and what comes out.

    Attributes:
        file: The ONNX file.
        feeds: By input name.
        wanted: By output name.
        monkeypatch: For what stands in for a GPU.
    """

    file: Path
    feeds: Arrays
    wanted: Arrays
    monkeypatch: pytest.MonkeyPatch

    @cached_property
    def loaded(self) -> ir.Model:
        """The imported graph."""
        return segrt.load(self.file)

    def lowered(self, target: str, index: int = 0) -> ir.Model:
        """The graph after the passes that a target wants."""
        wanted = find_target(target).lowerings(self.loaded, _OPTIONS)[index]
        return self._after(PassContext(wanted.upsampling_forms, None, wanted.extra_passes))

    def _after(self, context: PassContext) -> ir.Model:
        model, verdicts = run_passes(self.loaded, context)
        assert all(verdict.certificate for verdict in verdicts if verdict.applied)
        return model

    def compared(self, found: Arrays, bound: float = BOUND) -> str:
        """Compare with ONNX Runtime on the file itself."""
        return difference(found, self.wanted, bound)

    def by_import(self) -> str:
        assert [value.name for value in self.loaded.graph.inputs] == list(self.feeds)
        return self.compared(computed(self.loaded, self.feeds))

    def by_passes(self, context: PassContext) -> str:
        return self.compared(computed(self._after(context), self.feeds))

    def by_session(self, target: str) -> str:
        with find_target(target).open_model(self.lowered(target), _OPTIONS) as session:
            return self.compared(session.run(self.feeds))

    def by_cuda(self, index: int, precision: str) -> str:
        from helpers.emulated_engine import run

        graph = self.lowered("cuda", index)
        ran = run(self.monkeypatch, graph, self.feeds, precision, memory=1 << 24)
        return self.compared(ran.outputs, BOUND if precision == "fp32" else HALF_BOUND)

    def by_tensorrt(self, route: str) -> str:
        from segrt.targets.trt._flavour import RTX
        from segrt.targets.trt.decompile import decompile
        from segrt.targets.trt.network import write_network
        from segrt.targets.trt.parser import parse_network

        sizes = {name: array.shape for name, array in self.feeds.items()}
        model = fix_shapes(self.lowered("tensorrt-rtx"), sizes)
        write = {"network": write_network, "parser": parse_network}[route]
        return self.compared(computed(decompile(write(RTX, model, Precision.FP32)), self.feeds))


def _forced(form: str) -> Callable[[Case], str]:
    return lambda case: case.by_passes(PassContext((form, "resize"), form, ()))


WAYS: dict[str, Callable[[Case], str]] = {
    "import": Case.by_import,
    "passes": lambda case: case.by_passes(PassContext()),
    "all passes": lambda case: case.by_passes(PassContext(("subpixel", "resize"), None, OPTIONAL)),
    "deconvolution": _forced("deconvolution"),
    "subpixel": _forced("subpixel"),
    "expand": _forced("expand"),
    "transposed": _forced("transposed"),
    "onnxruntime": lambda case: case.by_session("onnxruntime"),
    "openvino": lambda case: case.by_session("openvino"),
    "cuda": lambda case: case.by_cuda(0, "fp32"),
    "cuda, resize": lambda case: case.by_cuda(1, "fp32"),
    "cuda, half": lambda case: case.by_cuda(0, "fp16"),
    "network": lambda case: case.by_tensorrt("network"),
    "parser": lambda case: case.by_tensorrt("parser"),
}
_NEEDS = {"cuda": "cuda.core", "network": "tensorrt_rtx", "parser": "tensorrt_rtx"}


def outcome(way: str, case: Case) -> str | None:
    """Go one way: ``same``, what differs, or ``refused: ...``; None where its library is missing.

    Whatever is raised that is no error of this project comes through.
    """
    needed = _NEEDS.get(way.split(",", maxsplit=1)[0])
    if needed is not None and not is_installed(needed):
        return None
    try:
        return WAYS[way](case)
    except SegrtError as error:
        return f"refused: {error.message} {error.found or ''}"


def case_of(
    model: onnx.ModelProto, feeds: Arrays, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Case:
    """Write a graph to a file and have ONNX Runtime compute it."""
    file = folder / "graph.onnx"
    file.write_bytes(model.SerializeToString())
    return Case(file, feeds, computed(model, feeds), monkeypatch)


def text_case(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **shapes: tuple[int, ...]
) -> Case:
    """Read a graph in ONNX' own words, opset 18; inputs are normal numbers of the shapes given."""
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 18]>\n' + text)
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {
        name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    return case_of(model, feeds, folder, monkeypatch)
