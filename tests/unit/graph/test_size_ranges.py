"""Ranges of sizes: what is tried before an engine is built, and what is noted on the graph."""

import numpy as np
import pytest

import segrt
from helpers.tensorrt_graphs import one_node, unet, weights
from segrt.errors import ShapeError, UsageError
from segrt.graph import metadata
from segrt.graph.size_ranges import apply_sizes, nearest_in_range
from segrt.graph.specs import input_specs
from segrt.types import ShapeProfile

BATCH = ShapeProfile(1, 2, 4)
SIDES = ShapeProfile(16, 32, 64)


def free():
    return unet((4, 8, 8), side=None, batch=None)


def test_ranges_are_noted_on_the_input_and_survive_a_file():
    model = apply_sizes(free(), batch=BATCH, size=(SIDES, 48))
    (spec,) = input_specs(model)
    assert spec.shape == (None, None, 48, 1)
    assert spec.ranges == (BATCH, SIDES, None, None)
    assert input_specs(free())[0].ranges == ()


def test_a_range_of_one_size_is_that_size():
    one = ShapeProfile(32, 32, 32)
    (spec,) = input_specs(apply_sizes(free(), batch=ShapeProfile(2, 2, 2), size=(one, one)))
    assert (spec.shape, spec.ranges) == ((2, 32, 32, 1), ())


@pytest.mark.parametrize(
    ("bad", "label"),
    [
        (ShapeProfile(18, 32, 64), "smallest"),
        (ShapeProfile(16, 30, 64), "usual"),
        (ShapeProfile(16, 32, 62), "largest"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_sizes_that_do_not_meet_are_refused_with_the_multiple(bad, label, axis):
    size = (bad, SIDES) if axis == 0 else (SIDES, bad)
    with pytest.raises(ShapeError, match=f"the {label} sizes") as caught:
        apply_sizes(free(), batch=None, size=size)
    assert "multiples of 4" in str(caught.value)


@pytest.mark.parametrize(
    "bad", [ShapeProfile(4, 2, 8), ShapeProfile(1, 9, 8), ShapeProfile(0, 1, 2)]
)
def test_what_is_no_range_is_refused(bad):
    with pytest.raises(UsageError, match="the range of the batch is none"):
        apply_sizes(free(), batch=bad, size=None)


def test_what_the_model_fixes_takes_no_range():
    fixed = unet((4, 8), side=16, batch=2)
    with pytest.raises(ShapeError, match="fixes the height") as caught:
        apply_sizes(fixed, batch=None, size=(SIDES, SIDES))
    assert "16" in str(caught.value.wanted)
    with pytest.raises(ShapeError, match="fixes the batch"):
        apply_sizes(fixed, batch=BATCH, size=None)


def pooled(*shape):
    """Halve every side of a sequence, an image or a volume, and join it with its double."""
    sides = len(shape) - 2
    scales = np.array([1, 1, *[2] * sides], np.float32)

    def fill(b, x):
        low = b.op("MaxPool", [x], name="low", kernel_shape=[2] * sides, strides=[2] * sides)
        up = b.op("Resize", [low, None, b.constant("s", scales)], name="up", mode="nearest")
        return b.op("Concat", [x, up], name="y", axis=1)

    return one_node(fill, shape)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_range_is_for_every_side(count):
    model = pooled(None, 3, *[None] * count)
    (spec,) = input_specs(apply_sizes(model, batch=2, size=(SIDES,)))
    assert spec.ranges == (None, None, *[SIDES] * count)
    (spec,) = input_specs(apply_sizes(model, batch=2, size=(16,)))
    assert spec.shape == (2, 3, *[16] * count)
    with pytest.raises(ShapeError, match="the usual sizes"):
        apply_sizes(model, batch=2, size=(ShapeProfile(16, 31, 64),))


def test_volumes_have_three_sides():
    deep, wide = ShapeProfile(4, 8, 16), ShapeProfile(8, 16, 32)
    model = pooled(None, 3, None, None, None)
    (spec,) = input_specs(apply_sizes(model, batch=1, size=(deep, wide, 24)))
    assert (spec.shape, spec.ranges) == ((1, 3, None, None, 24), (None, None, deep, wide, None))
    with pytest.raises(ShapeError, match="no input has 2 sides") as caught:
        apply_sizes(model, batch=1, size=(16, 16))
    assert "three of a volume" in str(caught.value.wanted)
    with pytest.raises(ShapeError, match="fixes the depth"):
        apply_sizes(pooled(1, 3, 8, None, None), batch=None, size=(deep, wide, wide))


@pytest.mark.parametrize("size", [(), (8, 8, 8, 8)])
def test_other_numbers_of_sides_are_refused(size):
    with pytest.raises(UsageError, match="number of sides"):
        apply_sizes(free(), batch=None, size=size)


def test_a_range_of_sizes_needs_an_image():
    model = one_node(lambda b, x: b.op("MatMul", [x, b.constant("w", weights(4, 3))], name="y"),
                     (None, 4))  # fmt: skip
    with pytest.raises(ShapeError, match="no input has 2 sides"):
        apply_sizes(model, batch=None, size=(SIDES, SIDES))
    assert apply_sizes(model, batch=BATCH, size=None).graph.inputs[0] is not None
    assert metadata.ranges(apply_sizes(model, batch=BATCH, size=None).graph.inputs[0]) == (
        BATCH, None,
    )  # fmt: skip


def test_the_nearest_size_of_a_range():
    assert [nearest_in_range(size, SIDES) for size in (1, 20, 99)] == [16, 20, 64]
    assert nearest_in_range(7, None) == 7


def test_a_session_refuses_what_the_range_leaves_out(tmp_path):
    package = segrt.build(
        free(), target="onnxruntime", output=tmp_path / "p.segrt", batch=BATCH, size=(SIDES, SIDES)
    )
    reread = segrt.open_session(package.path, selftest=True)
    assert package.manifest.options.batch == BATCH
    assert package.manifest.options.size == (SIDES, SIDES)
    with reread as session:
        assert session.inputs[0].ranges == (BATCH, SIDES, SIDES, None)
        assert session.inputs == package.manifest.inputs
        for shape in ((1, 16, 64, 1), (4, 20, 32, 1)):
            assert session.run({"image": np.zeros(shape, "f4")})["mask"].shape == shape
        for shape in ((5, 16, 16, 1), (1, 12, 16, 1), (1, 16, 68, 1)):
            with pytest.raises(ShapeError, match="1 to 4, 16 to 64, 16 to 64, 1") as caught:
                session.run({"image": np.zeros(shape, "f4")})
            assert "wider range" in str(caught.value)
        # Inside the range, but odd after the second pooling.
        with pytest.raises(ShapeError, match="multiples of 4"):
            session.run({"image": np.zeros((1, 18, 16, 1), "f4")})
    assert segrt.verify(package).ok
