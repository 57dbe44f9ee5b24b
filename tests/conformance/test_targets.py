"""One contract over the registry: every target runs the same graphs and refuses the same feeds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest

from segrt.errors import ShapeError, UnavailableError, UsageError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.targets import openvino
from segrt.targets._base import REGISTRY, Session, Target
from segrt.targets._processor import has_native_bf16
from segrt.types import BuildOptions, Precision

FP32_BOUND = 2e-6

AVAILABLE = [name for name, target in REGISTRY if target.availability().can_run]


def _model(fill: Callable[[GraphBuilder], list[ir.Value]]) -> ir.Model:
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    graph.outputs.extend(fill(GraphBuilder(graph)))
    return ir.Model(graph, ir_version=IR_VERSION)


def _unet(batch: int | None = None, side: int | None = None) -> ir.Model:
    """A two-level U-Net with channels-last input and output."""

    def fill(b: GraphBuilder) -> list[ir.Value]:
        rng = np.random.default_rng(3)

        def conv(x: ir.Value, name: str, into: int, outof: int) -> ir.Value:
            kernel = b.constant(
                f"{name}/kernel", rng.normal(0, 0.2, (outof, into, 3, 3)).astype("f4")
            )
            bias = b.constant(f"{name}/bias", rng.normal(0, 0.1, outof).astype("f4"))
            y = b.op("Conv", [x, kernel, bias], name=f"{name}:conv", pads=[1, 1, 1, 1])
            return b.op("Relu", [y], name=name)

        x = b.input("image", (batch, side, side, 2), ir.DataType.FLOAT)
        x = b.op("Transpose", [x], name="image:nchw", perm=[0, 3, 1, 2])
        top = conv(x, "top", 2, 8)
        low = b.op("MaxPool", [top], name="pool", kernel_shape=[2, 2], strides=[2, 2])
        low = conv(low, "low", 8, 8)
        scales = b.constant("scales", np.array([1, 1, 2, 2], "f4"))
        up = b.op(
            "Resize", [low, None, scales], name="up", mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        joined = b.op("Concat", [top, up], name="join", axis=1)
        y = b.op("Sigmoid", [conv(joined, "last", 16, 3)], name="mask:nchw")
        return [b.op("Transpose", [y], name="mask", perm=[0, 2, 3, 1])]

    return _model(fill)


def _two_by_two() -> ir.Model:
    """Two inputs, two outputs: the second output is the first input unchanged."""

    def fill(b: GraphBuilder) -> list[ir.Value]:
        left = b.input("left", (None, 3, 4, 4), ir.DataType.FLOAT)
        right = b.input("right", (None, 3, 4, 4), ir.DataType.FLOAT)
        total = b.op("Sub", [left, right], name="difference")
        return [total, b.op("Identity", [left], name="same")]

    return _model(fill)


def _reference(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(model))
    names = [value.name for value in model.graph.outputs]
    return dict(zip(names, evaluator.run(names, feeds), strict=True))


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def _image(batch: int = 1, side: int = 16) -> np.ndarray:
    return np.random.default_rng(7).random((batch, side, side, 2), dtype=np.float32)


@pytest.fixture(params=AVAILABLE)
def target(request: pytest.FixtureRequest) -> Target:
    found = REGISTRY.find(request.param)
    assert found is not None
    return found


@pytest.fixture
def session(target: Target):
    with target.open_model(_unet(), BuildOptions(threads=2)) as opened:
        yield opened


def test_the_cpu_targets_are_registered():
    assert {"cpu", "onnxruntime", "openvino"} <= set(REGISTRY.names())
    assert AVAILABLE, "no target can run here"


def test_the_measure_rejects_wrong_outputs():
    good = _image()
    for wrong in (2 * good, np.roll(good, 1, axis=1), good.transpose(0, 2, 1, 3), good * np.nan):
        assert not _error(wrong.astype(np.float32), good) <= FP32_BOUND


def test_says_what_it_wants_and_returns(session: Session):
    (image,), (mask,) = session.inputs, session.outputs
    assert (image.name, image.shape, image.dtype) == ("image", (None, None, None, 2), "float32")
    assert (mask.name, mask.shape[-1], mask.channel_axis) == ("mask", 3, -1)
    assert image.channel_axis == -1


@pytest.mark.parametrize(("batch", "side"), [(1, 16), (3, 16), (2, 24)])
def test_agrees_with_the_reference_evaluator(session: Session, batch: int, side: int):
    feeds = {"image": _image(batch, side)}
    found = session.run(feeds)
    assert _error(found["mask"], _reference(_unet(), feeds)["mask"]) <= FP32_BOUND


def test_fixed_sizes(target: Target):
    feeds = {"image": _image(2, 16)}
    with target.open_model(_unet(2, 16), BuildOptions(batch=2, size=(16, 16))) as fixed:
        wanted = _reference(_unet(), feeds)["mask"]
        assert _error(fixed.run(feeds)["mask"], wanted) <= FP32_BOUND
        with pytest.raises(ShapeError, match=r"\(2, 16, 16, 2\)"):
            fixed.run({"image": _image(1, 16)})


def test_several_inputs_and_outputs_keep_their_places(target: Target):
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 1, 3, 4, 4), dtype=np.float32)
    with target.open_model(_two_by_two(), BuildOptions()) as opened:
        # Given in the other order on purpose: names decide.
        found = opened.run({"right": right, "left": left})
    assert list(found) == ["difference", "same"]
    np.testing.assert_array_equal(found["difference"], left - right)
    np.testing.assert_array_equal(found["same"], left)


def test_results_are_new_arrays(target: Target):
    left = np.ones((1, 3, 4, 4), np.float32)
    with target.open_model(_two_by_two(), BuildOptions()) as opened:
        first = opened.run({"left": left, "right": left})["same"]
        assert not np.shares_memory(first, left)
        opened.run({"left": 5 * left, "right": left})
    # Neither the second run nor closing may change what the first returned.
    np.testing.assert_array_equal(first, left)


def test_takes_read_only_and_strided_arrays(session: Session):
    image = _image(1, 16)
    wanted = session.run({"image": image})["mask"]
    frozen = image.copy()
    frozen.flags.writeable = False
    strided = np.asfortranarray(image)
    for variant in (frozen, strided, image.astype(">f4")):
        np.testing.assert_array_equal(session.run({"image": variant})["mask"], wanted)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f8", "?"])
def test_casts_numbers(session: Session, dtype: str):
    image = (_image() > 0.5).astype(dtype)
    wanted = session.run({"image": image.astype(np.float32)})["mask"]
    np.testing.assert_array_equal(session.run({"image": image})["mask"], wanted)


@pytest.mark.parametrize(
    "array",
    [
        _image().astype(np.complex64),
        np.full((1, 16, 16, 2), "a"),
        np.full((1, 16, 16, 2), 2**24 + 1, np.int64),
        np.full((1, 16, 16, 2), 1e300),
    ],
)
def test_refuses_types_that_would_lose_values(session: Session, array: np.ndarray):
    with pytest.raises(ShapeError, match="type that does not fit"):
        session.run({"image": array})


@pytest.mark.parametrize("feeds", [{}, {"img": 1}, {"image": 1, "more": 1}])
def test_refuses_wrong_names(session: Session, feeds: dict[str, int]):
    with pytest.raises(ShapeError, match="'image'"):
        session.run({name: _image() for name in feeds})


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (_image()[0], r"batch: add it with array\[None\]"),
        (_image().transpose(0, 3, 1, 2), r"channels last: transpose the array by \(0, 2, 3, 1\)"),
        (_image()[..., :1], r"wanted: \(any, any, any, 2\)"),
        (_image()[:0], "shape that does not fit"),
        (_image(1, 15), "multiples of 2"),
    ],
)
def test_refuses_wrong_shapes(session: Session, array: np.ndarray, says: str):
    with pytest.raises(ShapeError, match=says):
        session.run({"image": array})
    # A refusal leaves the session usable.
    assert session.run({"image": _image()})["mask"].shape == (1, 16, 16, 3)


@pytest.mark.parametrize("own", [0, 1])
def test_zero_padding_before_a_pool_counts(target: Target, own: int):
    """A pool pads with minus infinity; a Pad with zeros before it must stay one."""

    def fill(b: GraphBuilder) -> list[ir.Value]:
        image = b.input("image", (None, 6, 6, 2), ir.DataType.FLOAT)
        x = b.op("Transpose", [image], name="image:nchw", perm=[0, 3, 1, 2])
        pads = b.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        x = b.op("Pad", [x, pads], name="pad")
        x = b.op(
            "MaxPool", [x], name="pool:nchw", kernel_shape=[3, 3], strides=[2, 2],
            pads=[0, 0, own, own],
        )  # fmt: skip
        return [b.op("Transpose", [x], name="pool", perm=[0, 2, 3, 1])]

    image = -1 - _image(1, 6)
    with target.open_model(_model(fill), BuildOptions()) as opened:
        found = opened.run({"image": image})["pool"]
    assert (found[:, 0] == 0).all()
    np.testing.assert_array_equal(found, _reference(_model(fill), {"image": image})["pool"])


def test_closing(target: Target):
    opened = target.open_model(_unet(), BuildOptions())
    opened.close()
    opened.close()
    with pytest.raises(UsageError, match="closed"):
        opened.run({"image": _image()})


def test_two_sessions_are_independent(target: Target):
    first = target.open_model(_unet(), BuildOptions(threads=1))
    second = target.open_model(_unet(), BuildOptions(threads=2))
    wanted = second.run({"image": _image()})["mask"]
    first.close()
    np.testing.assert_array_equal(second.run({"image": _image()})["mask"], wanted)
    second.close()


def test_threads_may_share_a_session(session: Session):
    images = [_image(1, 16) * factor for factor in (0.1, 0.5, 1.0, 2.0)]
    wanted = [session.run({"image": image})["mask"] for image in images]
    found: list[bool] = []

    def work(index: int) -> None:
        for _ in range(5):
            result = session.run({"image": images[index]})["mask"]
            found.append(np.array_equal(result, wanted[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


def test_precisions(target: Target):
    """Each precision runs, or is refused by an error that says what to do."""
    with pytest.raises(UsageError, match="fp32"):
        target.open_model(_unet(), BuildOptions(precision=Precision.INT8))
    if target.name == "onnxruntime":
        with pytest.raises(UsageError, match="openvino"):
            target.open_model(_unet(), BuildOptions(precision=Precision.BF16))


@pytest.mark.skipif(not has_native_bf16(), reason="the processor has no bf16 instructions")
def test_bf16_is_close_and_is_not_fp32(target: Target):
    if target.name == "onnxruntime":
        pytest.skip("ONNX Runtime has no bf16 convolution on the CPU")
    feeds = {"image": _image(1, 32)}
    if "BF16" not in openvino._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        # The library uses other instructions here, or fewer (ONEDNN_MAX_CPU_ISA).
        with pytest.raises(UnavailableError, match="bf16"):
            target.open_model(_unet(), BuildOptions(precision=Precision.BF16))
        return
    with target.open_model(_unet(), BuildOptions(precision=Precision.BF16)) as opened:
        error = _error(opened.run(feeds)["mask"], _reference(_unet(), feeds)["mask"])
    assert 1e-5 < error < 2e-2
