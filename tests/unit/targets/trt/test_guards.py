"""A plan that is not the one we built never reaches TensorRT; each guard is tried alone."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import struct

import pytest

import segrt
from helpers.tensorrt_graphs import one_node, unet
from segrt.errors import PackageError, UnavailableError
from segrt.targets._base import REGISTRY
from segrt.targets.trt import _flavour, device
from segrt.targets.trt._flavour import FULL, RTX
from segrt.targets.trt.engine import build_engine
from segrt.targets.trt.network import write_network
from segrt.targets.trt.plan_header import check_plan, read_plan_header
from segrt.types import BuildOptions, Precision

trt = pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]"
)
PLAN = "engines/model.plan"


@pytest.fixture(autouse=True)
def never_a_runtime(monkeypatch):
    """Whatever a test does, TensorRT is given no plan; it would crash here, without a driver."""

    def refuse(*_):
        raise AssertionError("a plan reached TensorRT")

    monkeypatch.setattr(trt, "Runtime", refuse)


@pytest.fixture(name="built", scope="module")
def a_built_package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "p.segrt"
    return segrt.build(unet((4, 8), side=16), target=RTX.name, output=folder, precision="fp16")


@pytest.fixture(name="package")
def a_package_of_its_own(built, tmp_path):
    shutil.copytree(built.path, tmp_path / "p.segrt")
    return dataclasses.replace(built, path=tmp_path / "p.segrt")


@pytest.fixture(name="plan", scope="module")
def another_plan():
    model = one_node(lambda b, x: b.op("Relu", [x], name="y"))
    return build_engine(write_network(RTX, model, Precision.FP32), Precision.FP32).plan


@pytest.fixture(name="carrier", scope="module")
def a_plan_with_a_library_inside():
    """Made by the real builder: any shared library will do, here one of Python's own."""
    model = one_node(lambda b, x: b.op("Relu", [x], name="y"))
    network = write_network(RTX, model, Precision.FP32)
    config = network.builder.create_builder_config()
    config.plugins_to_serialize = [importlib.util.find_spec("_json").origin]
    return bytes(network.builder.build_serialized_network(network.definition, config))


def rtx_gpu(monkeypatch, capability=(8, 9)):
    monkeypatch.setattr(device, "compute_capability", lambda: capability)


def forge(package, plan=None, notes=()):
    """Put another plan into a package, and make its manifest agree."""
    path = package.path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    if plan is not None:
        (package.path / PLAN).write_bytes(plan)
        digest = hashlib.sha256(plan).hexdigest()
        manifest["files"][PLAN] = {"sha256": digest, "bytes": len(plan)}
        manifest["engine"]["plan_sha256"] = digest
    manifest["engine"] |= dict(notes)
    path.write_text(json.dumps(manifest), "utf-8")


def test_a_header_says_what_the_plan_is(plan):
    header = read_plan_header(plan)
    assert (header.magic, header.size, header.sections) == (b"vtrt", len(plan), 2)
    assert ".".join(map(str, header.version)) == trt.__version__


DAMAGES = [
    (lambda plan: plan[:-1], "cut off"),
    (lambda plan: plan + b"\0", "grown"),
    (lambda plan: plan[:10], "cut off"),
    (lambda plan: b"", "cut off"),
    (lambda plan: b"\x7fELF" + plan[4:], "no TensorRT plan"),
    (lambda plan: b"ftrt" + plan[4:], "the other TensorRT"),
    (lambda plan: plan[:24] + bytes([9]) + plan[25:], "another version"),
    (lambda plan: plan[:27] + bytes([117]) + plan[28:], "another version"),
    (lambda plan: plan[:8] + struct.pack("<I", 3) + plan[12:], "more than a network"),
    (lambda plan: plan[:-8] + b"\x7fELF\2\1\1\0", "carries a shared library"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_plan_that_is_not_what_was_built_is_refused(plan, damage, said):
    check_plan(plan, name="model.plan", magic=RTX.magic, version=trt.__version__)
    with pytest.raises(PackageError, match=said):
        check_plan(damage(plan), name="model.plan", magic=RTX.magic, version=trt.__version__)


def test_a_plan_that_carries_a_library_is_refused(carrier):
    with pytest.raises(PackageError, match="3 sections") as caught:
        check_plan(carrier, name="model.plan", magic=RTX.magic, version=trt.__version__)
    assert caught.value.message == "model.plan carries more than a network"
    # Even if it does not say so.
    hidden = carrier[:8] + struct.pack("<I", 2) + carrier[12:]
    with pytest.raises(PackageError, match="carries a shared library"):
        check_plan(hidden, name="model.plan", magic=RTX.magic, version=trt.__version__)


def test_four_bytes_that_weights_hold_by_chance_are_no_library(plan):
    lucky = plan[:-8] + b"\x7fELF\0\0\0\0"
    header = check_plan(lucky, name="p", magic=RTX.magic, version=trt.__version__)
    assert header == read_plan_header(plan)


def test_plans_of_full_tensorrt_hold_elf_kernels(plan):
    foreign = b"ftrt" + plan[4:-8] + b"\x7fELF\2\1\1\0"
    header = check_plan(foreign, name="p", magic=FULL.magic, version=trt.__version__)
    assert header.magic == FULL.magic


def test_a_package_notes_what_its_engine_is(built):
    notes = built.manifest.engine
    plan = (built.path / PLAN).read_bytes()
    assert notes["plan_sha256"] == hashlib.sha256(plan).hexdigest()
    assert notes["version"] == trt.__version__
    assert notes["compute_capabilities"] == ["8.0", "8.6", "8.9", "12.0", "12.1"]


def test_a_swapped_plan_is_refused_by_the_manifest(package, plan, monkeypatch):
    rtx_gpu(monkeypatch)
    (package.path / PLAN).write_bytes(plan)
    with pytest.raises(PackageError, match="does not match its manifest"):
        segrt.open_session(package.path)


def test_a_plan_that_changes_after_the_check_is_refused(package, plan, monkeypatch):
    rtx_gpu(monkeypatch)
    (package.path / PLAN).write_bytes(plan)
    # As if it had been swapped between the package's check and the session's reading.
    with pytest.raises(PackageError, match="not the engine that was built"):
        REGISTRY.find(RTX.name).open(package.path, package.manifest.engine, BuildOptions())


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_forged_manifest_does_not_help(package, plan, damage, said, monkeypatch):
    rtx_gpu(monkeypatch)
    forge(package, damage(plan))
    with pytest.raises(PackageError, match=said):
        segrt.open_session(package.path)


def test_a_forged_package_with_a_library_is_refused(package, carrier, monkeypatch):
    rtx_gpu(monkeypatch)
    forge(package, carrier)
    with pytest.raises(PackageError, match="more than a network"):
        segrt.open_session(package.path)


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"version": "1.6.0.1"}, "another library"),
        ({"library": "tensorrt"}, "another library"),
        ({"plan": "engines/../model.onnx"}, "names no engine"),
        ({"plan": None}, "names no engine"),
        ({"plan_sha256": "0" * 64}, "not the engine that was built"),
        ({"plan_sha256": None}, "not the engine that was built"),
        ({"compute_capabilities": ["12.0"]}, "other GPUs"),
        ({"compute_capabilities": []}, "other GPUs"),
        ({"compute_capabilities": None}, "other GPUs"),
    ],
)
def test_a_changed_manifest_is_refused(package, notes, said, monkeypatch):
    rtx_gpu(monkeypatch)
    forge(package, notes=notes)
    with pytest.raises(PackageError, match=said):
        segrt.open_session(package.path)


def test_what_we_built_goes_on_to_the_gpu(package, monkeypatch):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    if device.compute_capability() is not None:
        pytest.skip("there is a GPU here")
    rtx_gpu(monkeypatch)
    for open_it in (
        lambda: segrt.open_session(package),
        lambda: REGISTRY.find(RTX.name).open_model(package.model(), package.manifest.options),
    ):
        with pytest.raises(UnavailableError, match="CUDA device 0 cannot be used"):
            open_it()


@pytest.mark.parametrize(
    ("capability", "can_run", "said"),
    [
        (None, False, "no NVIDIA driver"),
        ((8, 9), True, "GPU of compute capability 8.9"),
        ((7, 5), True, "7.5"),
        ((9, 0), False, "does not run on GPUs of compute capability 9.0"),
        ((7, 0), False, "does not run on GPUs"),
    ],
)
def test_what_can_run_depends_on_the_gpu(capability, can_run, said, monkeypatch):
    rtx_gpu(monkeypatch, capability)
    monkeypatch.setattr(_flavour, "is_installed", lambda name: True)
    found = RTX.availability()
    assert (found.can_build, found.can_run) == (True, can_run)
    assert said in found.detail
    assert bool(found.hint) != can_run


def test_full_tensorrt_cannot_build_without_a_gpu(monkeypatch):
    monkeypatch.setattr(_flavour, "is_installed", lambda name: True)
    rtx_gpu(monkeypatch, None)
    assert not FULL.availability().can_build
    # Its own library knows which GPUs it takes.
    rtx_gpu(monkeypatch, (9, 0))
    assert FULL.availability().can_run
    assert FULL.engine_capabilities() == ["9.0"]


def test_running_needs_cuda_core(monkeypatch):
    rtx_gpu(monkeypatch)
    monkeypatch.setattr(_flavour, "is_installed", lambda name: not name.startswith("cuda"))
    found = RTX.availability()
    assert (found.can_build, found.can_run) == (True, False)
    assert "cuda-core is not installed" in found.detail
    assert found.hint == f"run: {RTX.install}"
