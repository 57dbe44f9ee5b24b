"""Ways to compute a convolution that are wrong are not chosen, on the emulated GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers import cudnn_emulator
from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.emulated_engine import Ran, run
from helpers.residual_nets import Net, check, feeds_for, ort_outputs
from helpers.tensorrt_graphs import unet
from segrt.cuda import cudnn_graph, definition
from segrt.cuda.kernels._base import REGISTRY
from segrt.errors import EngineError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 2e-6, "tf32": 2e-3, "fp16": 2e-3}
_Operations = cudnn_emulator._Operations
Spoil = Callable[[Any, dict[int, int], int], None]


def _spoiled(spoil: Spoil, *plans: int) -> type[EmulatedLibrary]:
    """Return a library some of whose plans do something else, and are much faster."""

    class Operations(_Operations):
        def _execute_plan_at_index(self, pack, workspace, index, handle):  # type: ignore[no-untyped-def]
            if index not in plans:
                super()._execute_plan_at_index(pack, workspace, index, handle)
                return
            pointers = dict(pack)
            self._gpu.enqueue("spoiled", lambda: spoil(self, pointers, workspace))

    class Spoiled(EmulatedLibrary):
        def __init__(self, gpu: EmulatedGpu) -> None:
            super().__init__(gpu)
            self.module.pygraph = lambda **settings: Operations(gpu, True, **settings)

    return Spoiled


def _settings(graph: Any, uid: int) -> dict[str, Any]:
    return next(t.settings for t in graph._tensors if t.settings.get("uid") == uid)


def _with(graph: Any, settings: dict[str, Any], **other: Any) -> Callable[..., None]:
    """Return the computation with other settings of one tensor for once."""

    def compute(pack: dict[int, int], workspace: int) -> None:
        kept = dict(settings)
        settings.update(other)
        graph._compute(pack, workspace)
        settings.clear()
        settings.update(kept)

    return compute


def _pads_on_the_other_side(graph: Any, pack: dict[int, int], workspace: int) -> None:
    own = next(t.settings for t in graph._tensors if t.op == "fprop")
    before, after = own["pre_padding"], own["post_padding"]
    _with(graph, own, pre_padding=after, post_padding=before)(pack, workspace)


def _forgets_the_bias(graph: Any, pack: dict[int, int], workspace: int) -> None:
    if 3 in pack:
        pack = pack | {3: graph._gpu.upload(np.zeros(4096, np.float32), "zeros").handle}
    graph._compute(pack, workspace)


def _reads_pixels_as_if_dense(graph: Any, pack: dict[int, int], workspace: int) -> None:
    own = _settings(graph, 1)
    _, c, _, w = own["dim"]
    stride = [own["stride"][0], 1, w * c, c]
    _with(graph, own, stride=stride)(pack, workspace)


def _rounds_as_tf32(graph: Any, pack: dict[int, int], workspace: int) -> None:
    kept, image = graph._value, _settings(graph, 1)

    def value(tensor: Any, pack: dict[int, int]) -> np.ndarray:
        found = kept(tensor, pack)
        if tensor.settings is image:
            bits = found.astype(np.float32).view(np.uint32)
            return ((bits + 0x1000) & 0xFFFFE000).view(np.float32)
        return found

    graph._value = value
    graph._compute(pack, workspace)
    graph._value = kept


def _leaves_out_the_last_image(graph: Any, pack: dict[int, int], workspace: int) -> None:
    own, image = graph._tensors[-1].settings, _settings(graph, 1)
    first = [1, *own["dim"][1:]]
    kept = list(image["dim"])
    image["dim"] = [1, *kept[1:]]
    _with(graph, own, dim=first)(pack, workspace)
    image["dim"] = kept


def _writes_nothing(graph: Any, pack: dict[int, int], workspace: int) -> None:
    """Do nothing."""


def _writes_over_its_neighbour(graph: Any, pack: dict[int, int], workspace: int) -> None:
    graph._compute(pack, workspace)
    own = graph._tensors[-1].settings
    n, c, h, w = own["dim"]
    pitch = own["strides"][3]
    if pitch > c:
        window = ((n, h, w, pitch), (h * w * pitch, w * pitch, pitch, 1))
        whole = graph._gpu.elements(pack[4] & ~1023, own["data_type"], *window)
        whole[..., 0] = whole[..., -1] = 0


def _net() -> tuple[Net, list[str]]:
    """Return a net of uneven padding and of images in slices of a wider one."""
    net = Net((2, 16, 10, 12))
    first = net.apply("Relu", net.convolve("x", (16, 16)))
    random = np.random.default_rng(1)
    kernel = net.constant(random.normal(0, 0.2, (16, 16, 2, 2)))
    bias = net.constant(random.normal(0, 0.5, 16))
    second = net.apply("Conv", first, kernel, bias, pads=[0, 0, 1, 1])
    both = net.apply("Concat", first, second, axis=1)
    return net, [net.convolve(both, (32, 16)), net.convolve(second, (16, 16))]


def _run(monkeypatch, spoil: Spoil, precision: str, *plans: int, referee: bool = True) -> Ran:
    net, outputs = _net()
    feeds = feeds_for(net.shape)
    model = net.model(*outputs)
    ran = run(
        monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25,
        costs={"spoiled": 1.0, "cudnn": 5.0, "direct_convolution": 90.0}, capability=(8, 6),
        library=_spoiled(spoil, *plans), referee=referee,
    )  # fmt: skip
    check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])
    return ran


WRONG = [
    _pads_on_the_other_side,
    _forgets_the_bias,
    _reads_pixels_as_if_dense,
    _leaves_out_the_last_image,
    _writes_nothing,
    _writes_over_its_neighbour,
]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__[1:])
def test_a_wrong_plan_is_not_used(monkeypatch, caplog, spoil, precision):
    with pytest.raises(AssertionError), monkeypatch.context() as patch:
        _run(patch, spoil, precision, 0, referee=False)
    with caplog.at_level(logging.WARNING, "segrt"):
        ran = _run(monkeypatch, spoil, precision, 0)
    assert "cudnn" in ran.launched
    assert any("not used" in record.getMessage() for record in caplog.records)


def test_rounding_that_was_not_asked_for_is_seen(monkeypatch):
    assert "spoiled" not in _run(monkeypatch, _rounds_as_tf32, "fp32", 0).launched


def test_rounding_that_was_asked_for_is_none_of_its_business(monkeypatch):
    assert "spoiled" in _run(monkeypatch, _rounds_as_tf32, "tf32", 0).launched


def test_a_library_that_is_wrong_altogether_is_left_alone(monkeypatch):
    ran = _run(monkeypatch, _forgets_the_bias, "fp16", 0, 1)
    assert set(ran.launched) <= {"direct_convolution", "cudnn", "pointwise", "layout"}
    assert "direct_convolution" in ran.launched


def test_what_is_added_is_read_by_its_own_strides(monkeypatch):
    # Seen on a GPU: an engine takes the strides of what it writes for those of what it adds.
    monkeypatch.setattr(cudnn_graph, "_strides", _once_alike(cudnn_graph._strides))
    net = Net((2, 16, 9, 11))
    inner, other = net.convolve("x", (16, 16)), net.convolve("x", (16, 16), 1)
    joined = net.apply("Concat", net.apply("Relu", net.convolve(inner, (16, 16))), other, axis=1)
    total = net.apply("Add", net.convolve(inner, (16, 16)), other)
    outputs, feeds = [total, net.convolve(joined, (32, 16))], feeds_for(net.shape)
    model = net.model(*outputs)

    def confused(graph: Any, pack: dict[int, int], workspace: int) -> None:
        added = [t.settings for t in graph._tensors if t.settings.get("uid") == 6]
        strides = graph._tensors[-1].settings["strides"]
        if added:
            _with(graph, added[0], stride=strides)(pack, workspace)
        else:
            graph._compute(pack, workspace)

    def ran(patch: pytest.MonkeyPatch, *, referee: bool) -> Ran:
        found = run(
            patch, ir.serde.deserialize_model(model), feeds, "fp32", memory=1 << 25,
            library=_spoiled(confused, 0, 1), costs={"spoiled": 1.0}, capability=(8, 6),
            referee=referee,
        )  # fmt: skip
        check(found.outputs, ort_outputs(model, feeds), 2e-6)
        return found

    with pytest.raises(AssertionError), monkeypatch.context() as patch:
        ran(patch, referee=False)
    assert "pointwise" in ran(monkeypatch, referee=True).launched


def _once_alike(strides: Callable[..., list[int]]) -> Callable[..., list[int]]:
    """Return strides that compare equal: the rule against what was seen is not to help here."""

    class Alike(list):  # type: ignore[type-arg]
        __hash__ = None  # type: ignore[assignment]

        def __ne__(self, other: object) -> bool:
            return False

    return lambda view: Alike(strides(view))


@pytest.mark.parametrize(
    "kernel", ["phase_convolution", "phase_wide", "opening", "wide_convolution"]
)
def test_own_kernels_are_checked_too(monkeypatch, kernel):
    model, _ = lower(unet((64, 128, 128), side=24), PassContext(LOWERINGS[0].upsampling_forms))
    found = REGISTRY.find(kernel)
    assert found is not None
    right = type(found).reference

    def wrong(self, spec, images, parameters):  # type: ignore[no-untyped-def]
        return np.roll(right(self, spec, images, parameters), 1, axis=2)

    feeds = {"image": np.random.default_rng(3).random((1, 24, 24, 1), dtype=np.float32)}
    costs = {kernel: 0.5, "phase_convolution": 3.0, "phase_wide": 2.0, "wide_convolution": 1.0}
    costs |= {kernel: 0.5}
    sound = run(monkeypatch, model, feeds, "fp16", costs=costs, referee=True)
    assert kernel in sound.launched
    monkeypatch.setattr(type(found), "reference", wrong)
    if kernel == "opening":
        # Nothing else computes two layers at once.
        with pytest.raises(EngineError, match="wrongly"):
            run(monkeypatch, model, feeds, "fp16", costs=costs, referee=True)
        return
    ran = run(monkeypatch, model, feeds, "fp16", costs=costs, referee=True)
    assert kernel not in ran.launched
    for one, other in zip(sound.outputs.values(), ran.outputs.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


CASES = [
    ("Conv", (6, 4, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 3]}),
    ("Conv", (6, 2, 3, 3), {"pads": [2, 1, 0, 3], "dilations": [2, 1], "group": 2}),
    ("Conv", (4, 1, 5, 1), {"pads": [2, 0, 2, 0], "group": 4}),
    ("ConvTranspose", (4, 6, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ("ConvTranspose", (4, 3, 2, 2), {"strides": [1, 2], "dilations": [2, 1], "group": 2}),
]


@pytest.mark.parametrize(("op", "shape", "attributes"), CASES)
def test_the_definition_is_that_of_onnx(op, shape, attributes):
    from segrt.cuda.partition import partition
    from segrt.cuda.recognise import recognise

    net, random = Net((1, 4, 9, 8)), np.random.default_rng(5)
    outputs = shape[0] if op == "Conv" else shape[1] * attributes.get("group", 1)
    kernel, bias = random.normal(size=shape), random.normal(size=outputs)
    name = net.apply(op, "x", net.constant(kernel), net.constant(bias), **attributes)
    model, feeds = net.model(name), feeds_for(net.shape)
    program = partition(recognise(ir.serde.deserialize_model(model)))
    operation = next(step for step in program.operations if definition.is_defined(step))
    image = feeds["x"][0].transpose(1, 2, 0)
    wanted = ort_outputs(model, feeds)[name][0].transpose(1, 2, 0)

    def fetch(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        inside = (rows >= 0) & (rows < 9) & (columns >= 0) & (columns < 8)
        return image[rows % 9, columns % 8] * inside[:, None]

    rows, columns = (index.ravel() for index in np.indices(wanted.shape[:2]))
    found = definition.pixels(operation, (fetch,), rows, columns)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)


def test_a_relu_that_leaves_little_hides_no_sums(monkeypatch, caplog):
    # Rounding is judged by the sums: what is left of them here is little.
    net, random = Net((1, 64, 16, 16)), np.random.default_rng(2)
    kernel = net.constant(random.normal(0, 1, (64, 64, 3, 3)))
    bias = net.constant(np.full(64, -65.0))
    output = net.apply("Relu", net.apply("Conv", "x", kernel, bias, pads=[1] * 4))
    feeds = feeds_for(net.shape)
    model = net.model(output)
    with caplog.at_level(logging.WARNING, "segrt.cuda"):
        ran = run(
            monkeypatch, ir.serde.deserialize_model(model), feeds, "bf16", memory=1 << 25,
            referee=True,
        )  # fmt: skip
    assert not [r for r in caplog.records if "not used" in r.getMessage()]
    assert ran.outputs[output].any()
