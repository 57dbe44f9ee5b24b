"""The pass ``unfold_pools`` against the pool as ONNX Runtime computes it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("unfold_pools",))


def net_of(size=(8, 12), *, places=False, rank=2, **attributes):
    """Return a net that pools its image and, if asked, hands out the places of the maxima."""
    net = Net()
    x = net.input("x", (None, 3, *size), ir.DataType.FLOAT)
    if not places:
        return net.model(net.layer("MaxPool", [x], "pool", **attributes))
    pool, index = net.ops("MaxPool", [x], name="pool:o", outputs=2, **attributes)
    net.keras(pool, "pool", "MaxPool")
    number = net.layer("Cast", [index], "argmax", to=int(ir.DataType.FLOAT))
    return net.model(pool, number)


def pool_verdicts(verdicts):
    return [v for v in verdicts if v.pass_name == "unfold_pools"]


def check(model, *shapes):
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert verdict.applied, verdict.reason
    assert verdict.certificate.claim == "bit-equal"
    assert "MaxPool" not in ops(lowered)
    for seed, shape in enumerate(shapes):
        # Whole numbers: the first of equal maxima has to be the one.
        x = np.random.default_rng(seed).integers(-4, 4, shape).astype(np.float32)
        wanted, found = run(model, x), run(lowered, x)
        assert set(found) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
    return lowered


AXES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(10, 14), st.integers(10, 14)),
    axes=st.tuples(AXES, AXES),
    pads=st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "ceil"]),
    places=st.booleans(),
)
def test_equals_the_pool_bit_for_bit(size, axes, pads, places):
    kernel, strides, dilations = zip(*axes, strict=True)
    assume(places or max(dilations) > 1)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    more = {}
    if pads == "pads":
        more = {"pads": [0, (kernel[1] - 1) // 2, (kernel[0] - 1) // 2, 0]}
    elif pads == "ceil":
        more = {"ceil_mode": 1}
        # ONNX Runtime drops a last window that begins behind the image, ONNX' inference does not.
        assume(all(e >= s for e, s in zip(extents, strides, strict=True)))
    elif pads != "none":
        # ONNX Runtime pads SAME without minding the gaps.
        assume(max(dilations) == 1 or set(strides) == {1})
        more = {"auto_pad": pads}
        assume(max(dilations) == 1)
    model = net_of(
        size, places=places, kernel_shape=kernel, strides=strides, dilations=dilations, **more
    )
    check(model, (2, 3, *size), (1, 3, *size))


@pytest.mark.parametrize("pads", [{}, {"pads": [2, 1, 2, 0]}])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_one_graph_for_all_sizes(pads, strides):
    model = net_of((None, None), kernel_shape=(3, 3), dilations=(2, 2), strides=strides, **pads)
    check(model, (2, 3, 9, 12), (1, 3, 16, 7))


@pytest.mark.parametrize(
    ("size", "attributes"),
    [
        ((17,), {"kernel_shape": (3,), "dilations": (4,)}),
        ((6, 7, 9), {"kernel_shape": (2, 3, 2), "dilations": (2, 1, 3), "strides": (1, 2, 1)}),
    ],
)
def test_sequences_and_volumes(size, attributes):
    check(net_of(size, **attributes), (2, 3, *size))


def test_names_stay():
    model = net_of(places=True, kernel_shape=(2, 2), strides=(2, 2))
    lowered = check(model, (2, 3, 8, 12))
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 12)).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    assert set(found) == set(wanted) == {"pool", "argmax"}
    assert {metadata.layer_of(node) for node in lowered.graph} == {"pool", "argmax"}


def test_a_plain_pool_stays():
    lowered, verdicts = lower(net_of(kernel_shape=(2, 2), strides=(2, 2)), CONTEXT)
    assert ops(lowered) == ["MaxPool"]
    assert not pool_verdicts(verdicts)


def test_places_that_nobody_reads_are_not_asked_for():
    net = Net()
    x = net.input("x", (None, 3, 8, 8), ir.DataType.FLOAT)
    pool = net.ops("MaxPool", [x], name="pool:o", outputs=2, kernel_shape=(2, 2), strides=(2, 2))
    lowered, verdicts = lower(net.model(net.keras(pool[0], "pool", "MaxPool")), CONTEXT)
    assert ops(lowered) == ["MaxPool"]
    assert not pool_verdicts(verdicts)


@pytest.mark.parametrize(
    ("size", "attributes", "reason"),
    [
        ((None, None), {"places": True, "kernel_shape": (2, 2)}, "places of an image of free size"),
        ((None, 8), {"kernel_shape": (2, 2), "dilations": (2, 2), "strides": (2, 2),
                     "auto_pad": "SAME_UPPER"}, "its padding depends on a size"),
        ((None, 8), {"kernel_shape": (2, 2), "dilations": (2, 2), "strides": (2, 2),
                     "ceil_mode": 1}, "rounding up depends on a size"),
        ((200, 8), {"kernel_shape": (65, 2), "dilations": (2, 2)}, "its windows are large"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(size, attributes, reason):
    lowered, verdicts = lower(net_of(size, **attributes), CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert not verdict.applied
    assert reason in verdict.reason
    assert "MaxPool" in ops(lowered)
