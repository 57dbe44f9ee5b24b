"""Blocks with shortcuts through the CUDA engine: convolutions that add, against ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.emulated_engine import Ran, run
from segrt.cuda.choices import Chooser
from segrt.cuda.driver import Gpu
from segrt.cuda.fuse import fuse
from segrt.cuda.jobs import Job
from segrt.cuda.operations import Convolution, Program
from segrt.cuda.partition import partition
from segrt.cuda.recognise import recognise
from segrt.cuda.views import HOST_TYPES, View, decode, encode, storage
from segrt.errors import EngineError
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.5e-2}
SHAPE = (2, 16, 9, 11)


class Net:
    """A graph in the making: convolutions with weights of their own, and other nodes."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, kind: int = TensorProto.FLOAT) -> None:
        self.shape, self._kind = shape, kind
        self._nodes: list[NodeProto] = []
        self._arrays: list[TensorProto] = []
        self._random = np.random.default_rng(11)

    def convolve(
        self, value: str, sizes: tuple[int, int], window: int = 3, **attributes: Any
    ) -> str:
        """Add a convolution from the first of ``sizes`` to the second, at the same place."""
        inputs, outputs = sizes
        shape = (outputs, inputs // attributes.get("group", 1), window, window)
        reach = np.sqrt(2 / np.prod(shape[1:]))
        kernel = self.constant(self._random.normal(0, reach, shape))
        bias = self.constant(self._random.normal(0, 0.5, outputs))
        pads = [window // 2] * 4
        return self.apply("Conv", value, kernel, bias, pads=pads, **attributes)

    def apply(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [output], **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant; return its name."""
        name = f"c{len(self._arrays)}"
        self._arrays.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def model(self, *outputs: str) -> ModelProto:
        """Return the model."""
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", self._kind, self.shape)],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self._arrays,
        )
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return shape_inference.infer_shapes(model, strict_mode=True)


def _body(net: Net) -> tuple[str, str]:
    """Return a stem's output, and what two convolutions make of it, the second one bare."""
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    inner = net.apply("Relu", net.convolve(stem, (24, 24)))
    return stem, net.convolve(inner, (24, 24))


def _identity(net: Net) -> list[str]:
    stem, body = _body(net)
    return [net.apply("Relu", net.apply("Add", body, stem))]


def _second_operand(net: Net) -> list[str]:
    stem, body = _body(net)
    return [net.apply("Relu", net.apply("Add", stem, body))]


def _projection(net: Net) -> list[str]:
    """A block with strides, its shortcut a 1x1 convolution that is made later."""
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    inner = net.apply("Relu", net.convolve(stem, (24, 32), strides=[2, 2]))
    body = net.convolve(inner, (32, 32))
    shortcut = net.convolve(stem, (24, 32), 1, strides=[2, 2])
    return [net.apply("Relu", net.apply("Add", body, shortcut))]


def _later_shortcut(net: Net) -> list[str]:
    """The convolution comes first, and what is added only exists behind it."""
    body = net.convolve("x", (16, 24))
    pooled = net.apply("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    shortcut = net.apply("Tanh", net.apply("Concat", pooled, net.convolve("x", (16, 8)), axis=1))
    return [net.apply("Relu", net.apply("Add", body, shortcut))]


def _linear(net: Net) -> list[str]:
    """Without an activation, and read twice: by the next block and by its shortcut."""
    stem, body = _body(net)
    total = net.apply("Add", stem, body)
    inner = net.apply("Relu", net.convolve(total, (24, 24)))
    return [net.apply("Add", net.convolve(inner, (24, 24)), total)]


def _other_activation(net: Net) -> list[str]:
    stem, body = _body(net)
    return [net.apply("LeakyRelu", net.apply("Add", body, stem), alpha=0.2)]


def _read_by_others(net: Net) -> list[str]:
    stem, body = _body(net)
    total = net.apply("Relu", net.apply("Add", body, stem))
    return [total, net.apply("Sigmoid", stem)]


def _network_input(net: Net) -> list[str]:
    inner = net.apply("Relu", net.convolve("x", (16, 16)))
    return [net.apply("Relu", net.apply("Add", "x", net.convolve(inner, (16, 16))))]


def _own_input(net: Net) -> list[str]:
    return [net.apply("Add", net.convolve("x", (16, 16)), "x")]


def _attention(net: Net) -> list[str]:
    """Two convolutions added together, and neither of them read by anything else."""
    gate = net.apply("Relu", net.convolve("x", (16, 24)))
    both = net.apply("Add", net.convolve(gate, (24, 12), 1), net.convolve("x", (16, 12), 1))
    return [net.convolve(net.apply("Relu", both), (12, 24))]


def _slices(net: Net) -> list[str]:
    """The sum lies in a concatenation, and so does what is added: both in slices of one."""
    stem, body = _body(net)
    total = net.apply("Relu", net.apply("Add", body, stem))
    return [net.convolve(net.apply("Concat", stem, total, axis=1), (48, 16))]


def _odd_slices(net: Net) -> list[str]:
    """Slices that begin where no vector may: the parts are copied."""
    stem, body = _body(net)
    total = net.apply("Relu", net.apply("Add", body, stem))
    thin = net.convolve("x", (16, 3))
    return [net.convolve(net.apply("Concat", thin, total, stem, axis=1), (51, 16))]


def _three(net: Net) -> list[str]:
    """A sum of three: two additions."""
    stem, body = _body(net)
    total = net.apply("Add", net.apply("Add", body, stem), net.convolve("x", (16, 24), 1))
    return [net.apply("Relu", total)]


def _grouped(net: Net) -> list[str]:
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    return [net.apply("Add", net.convolve(stem, (24, 24), group=24), stem)]


def _shuffled(net: Net) -> list[str]:
    """Phases to which something is added, and their shuffle."""
    stem = net.apply("Relu", net.convolve("x", (16, 32)))
    total = net.apply("Add", net.convolve(stem, (32, 32)), stem)
    return [net.apply("DepthToSpace", total, blocksize=2, mode="CRD")]


def _head(net: Net) -> list[str]:
    """A last layer to few channels with something added, and the decision behind it."""
    stem = net.apply("Relu", net.convolve("x", (16, 3)))
    score = net.apply("Add", net.convolve("x", (16, 3), 1), stem)
    return [net.apply("Sigmoid", score)]


def _pooled(net: Net) -> list[str]:
    stem, body = _body(net)
    total = net.apply("Relu", net.apply("Add", body, stem))
    return [net.apply("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])]


# With how many convolutions that add.
NETS: dict[Callable[[Net], list[str]], int] = {
    _identity: 1, _second_operand: 1, _projection: 1, _later_shortcut: 1, _linear: 2,
    _other_activation: 0, _read_by_others: 1, _network_input: 1, _own_input: 1, _attention: 1,
    _slices: 1, _odd_slices: 1, _three: 1, _grouped: 1, _shuffled: 1, _head: 0, _pooled: 1,
}  # fmt: skip
# Times of launches that make the tuner choose one way or another.
FUSED = {"cudnn": 1.0, "pointwise": 50.0}
_FIRST_PLANS = 4
OWN = {"cudnn": 500.0, "wide_convolution": 1.0, "resident_convolution": 1.0}


def _feeds(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(5).normal(size=shape).astype(np.float32)}


def _wanted(model: ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def _check(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], bound: float) -> None:
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert np.isfinite(found[name]).all()
        error = np.linalg.norm(found[name] - array) / np.linalg.norm(array)
        assert error <= bound, (name, error)


def _compare(
    monkeypatch: pytest.MonkeyPatch, net: Net, outputs: list[str], precision: str, **options: Any
) -> Ran:
    model, feeds = net.model(*outputs), _feeds(net.shape)
    ran = run(
        monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25, **options
    )
    _check(ran.outputs, _wanted(model, feeds), BOUNDS[precision])
    return ran


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("build", NETS)
def test_agrees_whoever_adds(monkeypatch, build, precision):
    net = Net()
    outputs = build(net)
    fused = _compare(monkeypatch, net, outputs, precision, costs=FUSED)
    with monkeypatch.context() as patch:
        patch.setattr(EmulatedLibrary, "adds_images", False)
        apart = _compare(patch, net, outputs, precision, costs=FUSED)
    # What the library does not add, a pass does: one each, and no other.
    assert apart.launched.count("pointwise") - fused.launched.count("pointwise") == NETS[build]
    older = _compare(monkeypatch, net, outputs, precision, capability=(8, 6))
    assert older.launched


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_own_kernels_have_the_addition_behind_them(monkeypatch, precision):
    net = Net((1, 64, 24, 24))
    inner = net.apply("Relu", net.convolve("x", (64, 64)))
    total = net.apply("Relu", net.apply("Add", net.convolve(inner, (64, 64)), inner))
    outputs = [net.apply("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])]
    ran = _compare(monkeypatch, net, outputs, precision, costs=OWN)
    assert "cudnn" not in ran.launched
    index = ran.launched.index("pointwise")
    assert ran.launched[index - 1] in OWN
    assert ran.launched[index + 1] == "pooling"


def test_what_is_added_may_be_bytes(monkeypatch):
    net = Net(kind=TensorProto.UINT8)
    image = net.apply("Cast", "x", to=TensorProto.FLOAT)
    inner = net.apply("Relu", net.convolve(image, (16, 16)))
    first = net.apply("Add", net.convolve(image, (16, 16)), inner)
    model = net.model(net.apply("Add", image, net.convolve(first, (16, 16))))
    feeds = {"x": np.random.default_rng(5).integers(0, 256, SHAPE, np.uint8)}
    for precision in ("fp32", "fp16"):
        ran = run(monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25)
        _check(ran.outputs, _wanted(model, feeds), BOUNDS[precision])


def test_graphs_in_integers_stay_as_they_are():
    net = Net()
    model = ir.serde.deserialize_model(net.model(*_identity(net)))
    program = partition(recognise(model))
    assert [op.residual for op in _convolutions(fuse(program))] == [False, False, True]
    scaled = replace(program, scales={_convolutions(program)[0].output: 0.1})
    assert not any(op.residual for op in _convolutions(fuse(scaled)))


def _convolutions(program: Program) -> list[Convolution]:
    return [op for op in program.operations if isinstance(op, Convolution)]


def _job(gpu: Any, dtype: str, relu: bool) -> tuple[Job, list[Any], np.ndarray]:
    """Return a job on slices, the memory it writes, and what is to be there."""
    random = np.random.default_rng(3)
    views = (View(2, 14, 10, 32, dtype, 48, 16), View(2, 14, 10, 64, dtype, 96, 32))
    target = View(2, 14, 10, 64, dtype, 80, 8)
    images = [encode(random.normal(size=(*v.sizes[::2], v.w, v.pitch)), dtype) for v in views]
    kernel = random.normal(0, 0.1, (64, 32, 3, 3)).astype(np.float32)
    bias = random.normal(size=64).astype(np.float32)
    pair = ((1, 1), (1, 1), (1, 1), (1, 1))
    operation = Convolution(
        "sum", ("a", "b"), "y", kernel, bias, *pair, groups=1,
        activation="relu" if relu else "none",
    )  # fmt: skip
    memory = [gpu.upload(image, "image") for image in images]
    memory.append(gpu.allocate(target.span_bytes, "result"))
    width = target.item_bytes
    at = [int(m.handle) + v.offset * width for m, v in zip(memory, (*views, target), strict=True)]
    job = Job(operation, views, (at[0], at[1]), target, at[2])
    net = Net((2, 32, 14, 10))
    result = net.apply("Conv", "x", *map(net.constant, (kernel, bias)), pads=[1] * 4)
    slices = [
        decode(image[..., v.offset : v.offset + v.c], dtype).transpose(0, 3, 1, 2)
        for image, v in zip(images, views, strict=True)
    ]
    plain = _wanted(net.model(result), {"x": np.ascontiguousarray(slices[0])})[result]
    wanted = plain + slices[1]
    return job, memory, np.maximum(wanted, 0) if relu else wanted


def _every_way(gpu: Any, library: Any, precision: str, relu: bool) -> Iterator[tuple[str, float]]:
    """Compute a job in many of the ways that are proposed; yield their names and errors.

    Of cuDNN's plans of one kind the first few are taken: some of the others take long to build.
    """
    kind = storage(Precision(precision))
    job, memory, wanted = _job(gpu, kind, relu)
    chooser, target = Chooser(gpu, library, Precision(precision)), job.target
    refusals = (EngineError, RuntimeError, library.module.cudnnGraphNotSupportedError)
    kinds: Counter[tuple[Any, ...]] = Counter()
    for proposal in chooser.proposals(job):
        # cuDNN's, with which bias, and whether a pass follows; or an own kernel.
        kinds[sort := (*proposal.name.split()[:2], "+" in proposal.name)] += 1
        if kinds[sort] > _FIRST_PLANS:
            continue
        try:
            choice = proposal.make()
        except EngineError:
            continue
        blank = gpu.upload(np.full(target.span_bytes, 0xFF, np.uint8), "blank")
        gpu.copy(int(memory[-1].handle), blank)
        scratch = gpu.allocate(max(choice.workspace, 1), "scratch memory")
        try:
            choice.run(int(scratch.handle))
        except refusals:
            continue
        staging, array = gpu.pinned(target.span_bytes)
        memory[-1].copy_to(staging, stream=gpu.stream)
        gpu.stream.sync()
        found = array.copy().view(HOST_TYPES[kind]).reshape(2, 14, 10, target.pitch)
        part = found[..., target.offset : target.offset + target.c]
        numbers = decode(part, kind).transpose(0, 3, 1, 2)
        # Nothing beside the slice is touched.
        rest = np.delete(found, np.s_[target.offset : target.offset + target.c], axis=3)
        assert (rest.view(np.uint8) == 0xFF).all(), proposal.name
        yield proposal.name, float(np.linalg.norm(numbers - wanted) / np.linalg.norm(wanted))
        staging.close()
        for held in (blank, scratch):
            held.close(gpu.stream)
        choice.free()
    for held in memory:
        held.close(gpu.stream)
    chooser.close()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_way_on_slices(monkeypatch, precision, relu):
    gpu = EmulatedGpu(monkeypatch, size=1 << 25)
    gpu.tuning = False
    errors = dict(_every_way(gpu, EmulatedLibrary(gpu), precision, relu))
    assert max(errors.values()) <= BOUNDS[precision], errors
    assert {"cudnn fp32 0 plan0", "cudnn fp32 0 plan0 + pointwise"} <= errors.keys()
    assert "direct_convolution + pointwise" in errors


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[Any, Any]]:
    from segrt.cuda.cudnn_graph import Library

    gpu = Gpu()
    library = Library(gpu)
    yield gpu, library
    library.close()
    gpu.close()


@pytest.mark.gpu
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_way_on_a_gpu(real, precision, relu):
    errors = dict(_every_way(*real, precision, relu))
    fused = [name for name in errors if "+" not in name and "bare" not in name]
    print(f"{precision}: {len(errors)} ways, {len(fused)} fused, {errors}")  # noqa: T201
    assert max(errors.values()) <= {"fp32": 1e-5, "fp16": 2e-3}[precision], errors
    assert "direct_convolution + pointwise" in errors


@pytest.mark.gpu
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_block_on_a_gpu(monkeypatch, tmp_path, precision, refused):
    from segrt.cuda import choices

    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    if refused:
        made = choices.convolution_graph
        monkeypatch.setattr(
            choices,
            "convolution_graph",
            lambda library, operation, views, *rest, **options: (
                None if len(views) > 2 else made(library, operation, views, *rest, **options)
            ),
        )
    target = REGISTRY.find("cuda")
    assert target is not None
    net = Net((2, 16, 40, 56))
    model, feeds = net.model(*_projection(net)), _feeds(net.shape)
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        found = session.run(feeds)
    _check(found, _wanted(model, feeds), {"fp32": 1e-5, "fp16": 2e-3}[precision])
