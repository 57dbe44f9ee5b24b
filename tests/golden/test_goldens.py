"""Every layer of every golden model says on ONNX Runtime what real Keras said.

The models and recordings are made by ``make_goldens.py``. A layer is judged twice: inside the
whole graph (with what it inherits), and alone, fed with what Keras fed it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from helpers.goldens import GOLDENS, Golden
from segrt.graph import metadata

# These move or pick numbers and never compute new ones.
MOVERS = {
    *(
        f"{name}{rank}D"
        for name in ("ZeroPadding", "Cropping", "MaxPooling", "GlobalMaxPooling", "SpatialDropout")
        for rank in (1, 2, 3)
    ),
    "Reshape", "Permute", "Flatten", "Concatenate", "Maximum", "Minimum", "Dropout",
    "UpSampling1D", "UpSampling3D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    "ActivityRegularization",
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A golden and its graph, imported once for all tests."""

    golden: Golden
    proto: onnx.ModelProto

    @property
    def tolerance(self) -> float:
        return self.golden.tolerance

    def load(self) -> ir.Model:
        """Return the graph; the caller may change it."""
        return ir.from_proto(self.proto)

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        return self.golden.arrays(kind)


@functools.cache
def imported(golden: Golden) -> onnx.ModelProto:
    """Import a golden's file once for all tests, in whatever order they run."""
    return ir.to_proto(golden.read())


# Of the module, so that pytest puts the tests of one file together, on one worker.
@pytest.fixture(scope="module", params=GOLDENS, ids=str)
def golden(request) -> Imported:
    return Imported(request.param, imported(request.param))


def test_all_versions_are_there():
    versions = {golden.folder.name for golden in GOLDENS}
    assert {"keras-2.0.9", "keras-2.2.4", "tf.keras-1.15", "keras-3.15"} <= versions


def run(model: ir.Model, feeds: dict[str, np.ndarray], level: str) -> dict[str, np.ndarray]:
    """Run a graph on ONNX Runtime and return its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    proto = ir.to_proto(model)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    results = zip(names, session.run(names, feeds), strict=True)
    # Recordings hold all as float32: sizes and truth values of operations, too.
    return {name: x.astype(np.float32) if x.dtype.kind in "biu" else x for name, x in results}


def keras_outputs(model: ir.Model) -> dict[str, tuple[str, tuple[int, ...] | None]]:
    """Make every Keras value a graph output: Keras name -> (ONNX name, axes to the source)."""
    found = {}
    for name, value in metadata.keras_values(model.graph):
        if value.is_graph_input():
            continue
        if not value.is_graph_output():
            model.graph.outputs.append(value)
        found[name] = (value.name, metadata.to_source(value))
    return found


def in_source_layout(array: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
    return array if axes is None else array.transpose(axes)


def report(complaints: dict[str, str | None]) -> None:
    """Fail with all that is wrong."""
    wrong = {name: text for name, text in complaints.items() if text}
    assert not wrong, "\n".join(f"{name}: {text}" for name, text in wrong.items())


def test_graph_is_valid_and_keeps_names(golden):
    model = golden.load()
    onnx.checker.check_model(golden.proto, full_check=True)
    assert [value.name for value in model.graph.inputs] == list(golden.arrays("input"))
    assert {value.name for value in model.graph.outputs} == set(golden.arrays("output"))


def test_outputs_equal_keras(golden, disagreement):
    outputs = run(golden.load(), golden.arrays("input"), "ORT_ENABLE_ALL")
    recorded = golden.arrays("output")
    report(
        {
            name: disagreement(outputs[name], array, bound=golden.tolerance)
            for name, array in recorded.items()
        }
    )


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_every_layer_equals_keras(golden, level, disagreement):
    model = golden.load()
    exposed = keras_outputs(model)
    recorded = golden.arrays("layer")
    missing = set(recorded) - set(exposed)
    assert not missing, f"recorded layers without a value: {sorted(missing)}"
    results = run(model, golden.arrays("input"), level)
    complaints = {}
    for name, array in recorded.items():
        onnx_name, axes = exposed[name]
        result = in_source_layout(results[onnx_name], axes)
        complaints[name] = disagreement(result, array, bound=golden.tolerance)
    report(complaints)


def cut(model: ir.Model, recorded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Feed every layer with what Keras fed it: each recorded value becomes a graph input.

    Returns:
        Feeds for the new inputs, as stored in the graph.
    """
    feeds = {}
    for name, value in list(metadata.keras_values(model.graph)):
        if name not in recorded or value.is_graph_input():
            continue
        axes = metadata.to_source(value)
        aliases = [(value, axes)]
        producer = value.producer()
        # A model output is turned into the source's layout behind the value others read.
        if producer is not None and producer.op_type == "Transpose":
            inner = producer.inputs[0]
            if inner is not None and inner.name == f"{name}:nchw":
                aliases.append((inner, tuple(producer.attributes["perm"].as_ints())))
        for number, (alias, to_source) in enumerate(aliases):
            fed = ir.Value(name=f"reference{number}/{name}", shape=alias.shape, type=alias.type)
            readers = [use for use in alias.uses() if number == 0 or use.node is not producer]
            for use in readers:
                use.node.replace_input_with(use.idx, fed)
            if readers:
                model.graph.inputs.append(fed)
                array = recorded[name]
                stored = array if to_source is None else array.transpose(np.argsort(to_source))
                feeds[fed.name] = np.asarray(stored, dtype=alias.dtype.numpy(), order="C")
    return feeds


def is_nearest(name: str, model: ir.Model, recorded: dict[str, np.ndarray], inputs: dict) -> bool:
    """Whether an UpSampling2D layer's recorded output merely repeats its recorded input."""
    out = recorded[name]
    for candidate in [*inputs.values(), *recorded.values()]:
        if candidate.ndim != 4 or candidate.shape[0] != out.shape[0]:
            continue
        if all(big % small == 0 for big, small in zip(out.shape, candidate.shape, strict=True)):
            repeated = candidate
            for axis in range(1, 4):
                repeated = repeated.repeat(out.shape[axis] // candidate.shape[axis], axis=axis)
            if candidate.size < out.size and np.array_equal(repeated, out):
                return True
    return False


def test_every_layer_alone_equals_keras(golden, disagreement):
    model = golden.load()
    exposed = keras_outputs(model)
    inputs, recorded = golden.arrays("input"), golden.arrays("layer")
    classes = {
        metadata.layer_of(node): metadata.class_of(node)
        for node in model.graph
        if metadata.class_of(node)
    }
    feeds = {**inputs, **cut(model, recorded)}
    results = run(model, feeds, "ORT_DISABLE_ALL")
    complaints = {}
    for name, array in recorded.items():
        kind = classes[name.split("#", maxsplit=1)[0]]
        exact = kind in MOVERS or (
            kind == "UpSampling2D" and is_nearest(name, model, recorded, inputs)
        )
        onnx_name, axes = exposed[name]
        result = in_source_layout(results[onnx_name], axes)
        bound = 0.0 if exact else golden.tolerance
        complaints[f"{name} ({kind})"] = disagreement(result, array, bound=bound)
    report(complaints)
