"""What every form of upsampling must do, and that engines run what it makes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from segrt.passes import _base as passes_base
from segrt.passes._base import PassContext
from segrt.passes._pipeline import ORDER, lower
from segrt.passes.upsampling._base import REGISTRY, Candidate, Refusal
from segrt.passes.upsampling._sites import find_sites
from segrt.targets._build import find_target
from segrt.types import BuildOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "passes"))
from _graphs import Net, run

FORMS = REGISTRY.names()


def network(factors=(2, 2), **attributes):
    net = Net()
    y = net.conv(net.up(net.conv(net.image(3), 4), *factors, **attributes), 5, (2, 2))
    return net.model(net.layer("Sigmoid", [y], "out"))


def test_every_pass_has_its_place_and_every_form_its_name():
    assert sorted(set(ORDER)) == passes_base.REGISTRY.names()
    assert {"resize", "deconvolution", "subpixel", "expand"} <= set(FORMS)
    assert all(REGISTRY.find(name).name == name for name in FORMS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_form_proposes_or_says_why_not_and_touches_nothing(form, mode):
    model = network(mode=mode)
    before = ir.to_proto(model).SerializeToString()
    for site in find_sites(model.graph):
        answer = REGISTRY.find(form).propose(site)
        assert isinstance(answer, Candidate | Refusal)
        assert answer.reason
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("factors", [(2, 2), (3, 2)])
def test_engines_run_what_a_form_makes(form, factors):
    model = network(factors)
    lowered, _ = lower(model, PassContext((form,)))
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 5)).astype(np.float32)
    wanted = run(model, x)["out"]
    for name in ("onnxruntime", "openvino"):
        target = find_target(name)
        if not target.availability().can_run:
            pytest.skip(target.availability().detail)
        with target.open_model(lowered, BuildOptions(threads=1)) as session:
            found = session.run({session.inputs[0].name: x})["out"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
