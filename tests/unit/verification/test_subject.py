"""A package is verified on its own engine, with the outputs of its own session."""

import numpy as np
import onnx_ir as ir
import pytest

from segrt.errors import PackageError
from segrt.targets._build import build_package
from segrt.types import BuildOptions
from segrt.verification.subject import package_subject
from segrt.verification.verifier import VerifyOptions, verify_package


@pytest.fixture(params=["onnxruntime", "openvino", "cpu"])
def build(request, tmp_path):
    pytest.importorskip("onnxruntime" if request.param == "cpu" else request.param)

    def make(case, lowered=None):
        options = BuildOptions(threads=1)
        output = tmp_path / "unet.segrt"
        return build_package(
            case.imported, options, request.param, output, lambda *_: (lowered or case.lowered, ())
        )

    return make


def test_a_package_holds(case, build, tmp_path):
    subject = package_subject(build(case))
    recording = case.record(tmp_path / "r.npz")
    for against, inputs in ((recording, None), (None, case.inputs), (None, None)):
        report = verify_package(subject, against=against, inputs=inputs)
        assert report.ok, report.verdict
        assert report.compared == 9
        assert report.outputs[0].masks is not None
    assert "unet.segrt" in report.subject


@pytest.mark.parametrize("budget", [1, 256 << 20])
def test_a_planted_error_is_found_in_a_package(case, build, tmp_path, budget):
    case.change_weight("conv_b/kernel", lambda kernel: kernel.__imul__(1.01))
    subject = package_subject(build(case))
    report = verify_package(
        subject,
        against=case.record(tmp_path / "r.npz"),
        options=VerifyOptions(budget_bytes=budget),
    )
    assert [row.name for row in report.rows if row.status == "wrong"] == ["conv_b"]
    assert report.first_over_budget.name == "conv_b"


def test_free_sizes_in_a_package(make_case, build):
    case = make_case(height=None, width=None)
    case.inputs = {"input_1": np.random.default_rng(0).random((2, 12, 20, 2), dtype=np.float32)}
    report = verify_package(package_subject(build(case)), inputs=case.inputs)
    assert report.ok, report.verdict


def test_a_fixed_batch_in_a_package(make_case, build, tmp_path):
    case = make_case(images=3, batch=2)
    report = verify_package(package_subject(build(case)), against=case.record(tmp_path / "r.npz"))
    assert report.ok, report.verdict


def test_a_changed_package_is_refused(case, build):
    package = build(case)
    model = ir.load(package.path / "model.onnx")
    model.graph.name = "another"
    ir.save(model, package.path / "model.onnx")
    with pytest.raises(PackageError):
        package_subject(package.path)
