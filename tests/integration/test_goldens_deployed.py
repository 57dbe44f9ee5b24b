"""Every golden model is built, and the package verified against what real Keras recorded."""

from __future__ import annotations

import pytest

import segrt
from helpers.goldens import GOLDENS, Golden

# One file a recording: that the other formats hold the same graph is for the golden tests.
RECORDED = tuple({golden.recording: golden for golden in reversed(GOLDENS)}.values())[::-1]
NEWEST = {golden.name: golden for golden in RECORDED if golden.folder.name == "keras-3.15"}
# OpenVINO compiles slowly: it sees each model once, as the newest Keras that has it saved it.
ONCE = tuple({**{golden.name: golden for golden in RECORDED}, **NEWEST}.values())
CASES = [
    *(pytest.param("onnxruntime", golden, id=f"onnxruntime-{golden}") for golden in RECORDED),
    *(pytest.param("openvino", golden, id=f"openvino-{golden}") for golden in ONCE),
]
UNETS = tuple(golden for golden in NEWEST.values() if golden.name.startswith("unet"))
# Most pixels of its output are 0 in all channels but for rounding: no masks follow from it.
UNDECIDED = ("published_segnet",)
FORMS = ("resize", "deconvolution", "subpixel", "expand", "transposed")


def deploy(golden: Golden, target: str, folder, **options) -> tuple[segrt.Package, segrt.Report]:
    if target == "openvino":
        pytest.importorskip("openvino")
    package = segrt.build(
        golden.read(), target=target, output=folder / "net.segrt", threads=1, **options
    )
    return package, segrt.verify(package, against=golden.recording, threads=1)


def assert_holds(report: segrt.Report, golden: Golden) -> None:
    if golden.name in UNDECIDED:
        assert all(row.holds for row in report.rows)
        assert sorted(o.name for o in report.outputs) == sorted(golden.arrays("output"))
        assert all(o.metrics.relative_l2 <= golden.tolerance for o in report.outputs)
        return
    assert report.ok, report.verdict
    assert report.reference
    # Nothing may be called fused or left out to get round the comparison: Keras values that are
    # not compared are those a rewrite dissolved, and each says why.
    names = {row.name for row in report.rows}
    layers = {name: array for name, array in golden.arrays("layer").items() if array.ndim > 1}
    assert set(layers) <= names
    assert all(row.note for row in report.rows if row.whole is None)
    # By name: Keras sorts the keys of a dictionary of outputs, the file keeps their order.
    assert sorted(o.name for o in report.outputs) == sorted(golden.arrays("output"))
    for output in report.outputs:
        assert output.shift is None
        assert output.masks is None or output.masks.agreement == 1.0


def test_the_cases_cover_all_models_and_versions():
    assert {golden.name for golden in ONCE} == {golden.name for golden in GOLDENS}
    assert {golden.recording for golden in RECORDED} == {golden.recording for golden in GOLDENS}
    assert {golden.name for golden in UNETS} == {"unet_nearest", "unet_transpose", "unet_bilinear"}


@pytest.mark.parametrize(("target", "golden"), CASES)
def test_a_package_says_what_keras_said(target, golden, tmp_path):
    _, report = deploy(golden, target, tmp_path)
    assert_holds(report, golden)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("golden", UNETS, ids=str)
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_every_form_of_upsampling_says_what_keras_said(target, golden, form, tmp_path):
    package, report = deploy(golden, target, tmp_path, upsampling=form)
    assert_holds(report, golden)
    plans = segrt.plan_upsampling(golden.read(), target=target, upsampling=form)
    assert plans
    taken = {
        verdict.subject
        for verdict in package.manifest.verdicts
        if verdict.pass_name == f"upsampling/{form}"
        and (verdict.applied or verdict.reason.startswith("stays"))
    }
    # Wherever the form is exact it was really taken, not another one.
    assert taken == {plan.layer for plan in plans if plan.chosen == form}
    for plan in plans:
        assert plan.chosen == form or not option_of(plan, form).exact


def option_of(plan, form):
    return next(option for option in plan.options if option.form == form)


def test_each_form_is_exact_somewhere():
    chosen = {
        plan.chosen
        for golden in UNETS
        for form in FORMS
        for plan in segrt.plan_upsampling(golden.read(), upsampling=form)
    }
    assert chosen == set(FORMS)


def test_mask_agreement_is_seen_on_the_segmentation_nets(tmp_path):
    for golden in UNETS:
        _, report = deploy(golden, "onnxruntime", tmp_path)
        assert [output.masks is not None for output in report.outputs] == [True]
