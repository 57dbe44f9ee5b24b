"""What every form of upsampling must do, and that OpenVINO runs what it makes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from segrt._optional import is_installed
from segrt.passes import _base as passes_base
from segrt.passes._base import PassContext
from segrt.passes._pipeline import ORDER, lower
from segrt.passes.upsampling._base import REGISTRY, Candidate, Refusal
from segrt.passes.upsampling._sites import find_sites

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
    np.testing.assert_allclose(run(lowered, x)["out"], wanted, rtol=1e-5, atol=1e-6)
    if not is_installed("openvino"):
        pytest.skip("OpenVINO is not installed")
    import openvino

    core = openvino.Core()
    data = ir.to_proto(lowered).SerializeToString()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    engine = core.compile_model(core.read_model(data, b""), "CPU", settings)
    np.testing.assert_allclose(engine([x])[0], wanted, rtol=1e-4, atol=1e-5)
