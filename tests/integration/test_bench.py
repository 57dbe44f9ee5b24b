"""`segrt bench` on real packages: what it says is true of them, and what is missing is named."""

from __future__ import annotations

import json
import math

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

import segrt
from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.gpu_boundary import here_times_count
from helpers.mixed_nets import refused_by_openvino
from helpers.tensorrt_graphs import one_node, unet
from segrt.errors import PackageError, ShapeError, UnavailableError, UsageError
from segrt.graph.fix_shapes import fix_shapes
from segrt.measurement import bench as measurement
from segrt.measurement.answer import Answer
from segrt.measurement.ceiling import Ceiling, measure_ceiling
from segrt.measurement.operation_count import count_operations
from segrt.targets._base import REGISTRY as TARGETS
from segrt.targets.cuda import CudaSession
from segrt.types import BuildOptions, Precision

QUICK = {"rounds": 5, "threads": 1}
SIDE = 32


def lively(channels, **sizes) -> ir.Model:
    """A U-Net whose output is not one number: with negative biases its last ReLU may be dead."""
    model = unet(channels, **sizes)
    for name, value in model.graph.initializers.items():
        if name.endswith("/bias"):
            value.const_value = ir.Tensor(np.abs(value.const_value.numpy()) + 0.2, name=name)
    return model


@pytest.fixture(autouse=True)
def _small_product(monkeypatch):
    """A small matrix product: these tests ask what is told, not how fast this machine is."""
    monkeypatch.setattr("segrt.measurement.ceiling._CPU_SIDE", 128)
    monkeypatch.setattr("segrt.measurement.ceiling._GPU_SIDE", 2048)
    monkeypatch.setattr("segrt.measurement.ceiling._OWN_SIDE", 64)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def package(request, tmp_path_factory):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    output = tmp_path_factory.mktemp(request.param) / "net.segrt"
    model = lively((4, 8), side=None, batch=None)
    return segrt.build(model, target=request.param, threads=1, output=output)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        pixels = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_the_network_answers(package):
    image = np.random.default_rng(0).random((1, SIDE, SIDE, 1), dtype=np.float32)
    with segrt.open_session(package) as session:
        (found,) = session.run({"image": image}).values()
    assert found.std() > 0.01


def test_what_is_told_of_a_package(package):
    report = segrt.bench(package, batches=(1, 3), size=(SIDE,), **QUICK)
    assert report.ok
    assert [(entry.name, entry.batch) for entry in report.entries] == [("segrt", 1), ("segrt", 3)]
    fixed = fix_shapes(package.imported(), {"image": (1, SIDE, SIDE, 1)})
    assert report.operations == count_operations(fixed)
    assert report.shapes == {"image": (SIDE, SIDE, 1)}
    for entry in report.entries:
        times = entry.times
        assert times.runs == 5
        assert 0 < times.fastest <= times.p50 <= times.p90 <= times.p99
        assert entry.images_per_second == pytest.approx(entry.batch / times.p50 * 1e3)
        wanted = report.operations * entry.batch / times.p50 / 1e9
        assert entry.tflops == pytest.approx(wanted)
        assert entry.ceiling_share == pytest.approx(wanted / report.ceiling.tflops)
        assert entry.error < 1e-5
    assert report.left_out == ()
    assert report.remarks == ()


def test_the_network_is_timed_beside_its_peers(package):
    names = ["onnxruntime", "openvino"]
    report = segrt.bench(package, against=names, batches=(2,), size=(SIDE, SIDE), **QUICK)
    assert [entry.name for entry in report.entries] == ["segrt", *names]
    assert all(report.of(name, 2).error < 1e-5 for name in names)


@pytest.mark.parametrize("peer", ["torch", "torch.compile", "jax"])
def test_translated_peers(package, peer):
    pytest.importorskip(peer.split(".")[0], reason=f"{peer} is not installed")
    report = segrt.bench(package, against=[peer], batches=(1, 2), size=(SIDE, SIDE), **QUICK)
    assert report.left_out == ()
    for batch in (1, 2):
        assert report.of(peer, batch).error < 1e-5
        assert report.of(peer, batch).times.runs == 5


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_a_peer_that_is_not_installed_is_named(package, peer, monkeypatch, tmp_path):
    (tmp_path / f"{peer}.py").write_text("raise ImportError('not installed')")
    monkeypatch.syspath_prepend(tmp_path)
    report = segrt.bench(package, against=[peer], batches=(1, 2), size=(SIDE, SIDE), **QUICK)
    (left,) = report.left_out
    assert (left.name, left.batch, left.hint) == (peer, None, f"pip install {peer}")
    assert {entry.name for entry in report.entries} == {"segrt"}


def test_pytorch_compiles_in_another_mode(package):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    modes = {"torch.compile": "default", "torch.compile:reduce-overhead": "reduce-overhead"}
    report = segrt.bench(package, against=modes, batches=(1,), size=(SIDE, SIDE), **QUICK)
    for name, mode in modes.items():
        assert report.of(name, 1).note == f"mode {mode}"


def test_nothing_is_imported_that_was_not_asked_for(package):
    from policy._source import run_python

    code = (
        "import sys, segrt\n"
        f"segrt.bench({str(package.path)!r}, batches=(1,), size=(32, 32), rounds=1, threads=1)\n"
        "print([name for name in ('torch', 'jax') if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "[]"


def test_a_package_with_another_output_does_not_hold(package, monkeypatch):
    from segrt.measurement.subject import Subject

    original = Subject.__init__

    def broken(self, *arguments):
        original(self, *arguments)
        run = self.session.run
        self.session.run = lambda feeds: {n: a * np.nan for n, a in run(feeds).items()}

    monkeypatch.setattr(Subject, "__init__", broken)
    report = segrt.bench(package, batches=(1,), size=(SIDE, SIDE), **QUICK)
    assert not report.ok
    assert math.isnan(report.entries[0].error)
    assert report.to_dict()["entries"][0]["error"] == "nan"


@pytest.mark.parametrize("peer", ["onnxruntime", "torch", "jax"])
def test_pixels_in_and_masks_out(peer, tmp_path):
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    package = segrt.build(
        lively((4, 8), side=SIDE, batch=None), target="onnxruntime", threads=1,
        output=tmp_path / "p.segrt", input="uint8", head="mask:0.9",
    )  # fmt: skip
    report = segrt.bench(package, against=[peer], batches=(3,), **QUICK)
    assert report.left_out == ()
    assert report.of(peer, 3).error == pytest.approx(0, abs=1e-3)


def test_masks_are_compared_by_their_pixels():
    answer = Answer.__new__(Answer)
    answer._count, answer._wanted = 2, [np.array([[0, 1], [1, 1]], np.uint8)]
    assert answer.error([np.array([[0, 1], [1, 0]], np.uint8)]) == 0.25


def test_other_shapes_and_missing_numbers_are_no_answer():
    answer = Answer.__new__(Answer)
    answer._count, answer._wanted = 2, [np.ones((2, 3), np.float32), np.ones(2, np.float32)]
    good = [np.ones((2, 3)), np.ones(2)]
    assert answer.error(good) == 0
    assert answer.error([np.ones((3, 2)), good[1]]) == math.inf
    assert math.isnan(answer.error([np.full((2, 3), np.nan), good[1]]))
    assert math.isnan(answer.error([good[0], np.full(2, np.nan)]))


def test_layers_are_those_of_the_network(package):
    report = segrt.bench(package, batches=(1,), size=(SIDE, SIDE), layers=True, **QUICK)
    known = {node.metadata_props["segrt.layer"] for node in package.imported().graph
             if "segrt.layer" in node.metadata_props}  # fmt: skip
    named = {layer for row in report.layers for layer in row.layers}
    assert named <= known
    # Each convolution is somebody's.
    convolutions = {node.metadata_props["segrt.layer"] for node in package.imported().graph
                    if node.op_type == "Conv"}  # fmt: skip
    assert convolutions <= named
    assert all(row.time_ms >= 0 for row in report.layers)


def test_from_files_to_files(package, photos):
    report = segrt.bench(package, batches=(1,), size=(SIDE, SIDE), images=photos, **QUICK)
    found = report.images
    assert (found.images, found.tiles, found.batch) == (3, 3, 1)
    assert found.images_per_second > 0
    shares = (found.decoding, found.inference, found.writing)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_the_report_is_json_all_through(package):
    report = segrt.bench(package, batches=(1,), size=(SIDE, SIDE), layers=True, **QUICK)
    read = json.loads(report.to_json())
    assert read["format"] == 1
    assert read["entries"][0]["times"]["p50"] == report.entries[0].times.p50
    assert read["ceiling"]["tflops"] > 0


def test_sizes_that_do_not_fit_are_refused(package):
    with pytest.raises(ShapeError, match="cannot take"):
        segrt.bench(package, batches=(1,), size=(SIDE + 1, SIDE), **QUICK)


def test_a_fixed_batch_is_the_one_that_is_measured(tmp_path):
    model = lively((4, 8), side=SIDE, batch=2)
    package = segrt.build(model, target="onnxruntime", threads=1, output=tmp_path / "p.segrt")
    assert [e.batch for e in segrt.bench(package, **QUICK).entries] == [2]
    with pytest.raises(ShapeError, match="does not fit") as error:
        segrt.bench(package, batches=(8,), **QUICK)
    assert "(2, 32, 32, 1)" in str(error.value.wanted)


def test_ranges_keep_the_usual_batches_that_they_hold(tmp_path):
    model = lively((4, 8), side=SIDE, batch=None)
    package = segrt.build(
        model, target="onnxruntime", threads=1, output=tmp_path / "p.segrt",
        batch=segrt.ShapeProfile(1, 4, 9),
    )  # fmt: skip
    assert [e.batch for e in segrt.bench(package, **QUICK).entries] == [1, 8]


@pytest.mark.parametrize(
    "wrong",
    [{"against": ["tensorflow"]}, {"batches": (0,)}, {"batches": ()}, {"seconds": 0.0},
     {"rounds": 0}, {"size": (0, 4)}, {"patience": 0.0}, {"against": ["torch.compile:quick"]},
     {"against": ["jax:fast"]}, {"against": ["torch.compile:"]}],
)  # fmt: skip
def test_what_cannot_be_asked_for(package, wrong):
    with pytest.raises(UsageError) as error:
        segrt.bench(package, **wrong)
    if wrong.get("against") == ["tensorflow"]:
        assert "torch.compile" in str(error.value.wanted)
    if wrong.get("against") == ["torch.compile:quick"]:
        assert "max-autotune" in str(error.value.wanted)


def test_a_damaged_package_is_refused(package, tmp_path):
    import shutil

    copy = tmp_path / "copy.segrt"
    shutil.copytree(package.path, copy)
    with (copy / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PackageError, match="manifest"):
        segrt.bench(copy, **QUICK)


def test_an_operator_without_translation_leaves_the_peer_out(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")

    def fill(b, x):
        return b.op("Hardmax", [x], name="y", axis=1)

    package = segrt.build(
        one_node(fill), target="onnxruntime", threads=1, output=tmp_path / "p.segrt"
    )
    report = segrt.bench(package, against=["torch"], **QUICK)
    (left,) = report.left_out
    assert "Hardmax" in left.why
    assert left.batch is None
    assert [entry.name for entry in report.entries] == ["segrt"]


def test_a_mix_of_engines_is_timed_whole(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    package = segrt.build(
        refused_by_openvino(), target="openvino", fallback="onnxruntime", threads=1,
        output=tmp_path / "p.segrt",
    )  # fmt: skip
    report = segrt.bench(package, layers=True, **QUICK)
    assert report.ok
    assert report.target == "openvino with onnxruntime"
    assert report.layers == ()
    assert "mix of engines" in report.remarks[0]


@pytest.fixture
def emulated(monkeypatch):
    """A GPU that NumPy stands for."""
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    monkeypatch.setenv("SEGRT_CACHE", "/dev/null/none")
    monkeypatch.setattr("segrt.cuda.driver.missing", lambda: None)
    monkeypatch.setattr("segrt.cuda.driver.Gpu", lambda index=0: EmulatedGpu(monkeypatch))
    monkeypatch.setattr("segrt.cuda.cudnn_graph.Library", EmulatedLibrary)
    monkeypatch.setattr(EmulatedGpu, "close", lambda self: None, raising=False)

    def computing(self, arrays):
        # Launches only cost time while the engine tunes.
        engine = self.engine([array.shape for array in arrays])
        self._gpu.tuning = False
        try:
            return engine.run(arrays)
        finally:
            self._gpu.tuning = True

    monkeypatch.setattr(CudaSession, "_infer", computing)
    monkeypatch.setattr(
        measurement, "measure_ceiling", lambda *args, **options: Ceiling(0.0, "", "emulated")
    )


@pytest.mark.usefixtures("emulated")
def test_the_own_engine_multiplies_matrices():
    target = TARGETS.find("cuda")
    found = measure_ceiling(target, BuildOptions(precision=Precision.FP16), torch=False)
    # One convolution of 5 ms by the emulated clock.
    assert found.problem == ""
    assert found.tflops == pytest.approx(2 * 64**3 / 5 / 1e9)
    assert found.how == "the CUDA engine, 64 x 64 x 64"


@pytest.mark.usefixtures("emulated")
def test_the_cuda_engine_is_timed_by_events(tmp_path):
    model = lively((8, 16), side=16, batch=None)
    package = segrt.build(model, target="cuda", precision="fp16", output=tmp_path / "p.segrt")
    report = segrt.bench(package, batches=(1, 2), layers=True, rounds=2)
    names = {(entry.name, entry.batch) for entry in report.entries}
    assert names == {(n, b) for n in ("segrt", "segrt, with copies") for b in (1, 2)}
    assert report.ok, report.to_json()
    assert report.device == "emulated"
    for batch in (1, 2):
        alone = report.of("segrt", batch)
        assert alone.memory_bytes > 0
        # Eleven launches of 5 ms by the emulated clock.
        assert alone.times.p50 == sum(row.time_ms for row in report.layers)
    assert report.of("segrt", 2).memory_bytes > report.of("segrt", 1).memory_bytes
    rows = [row for row in report.layers if row.operation == "Convolution"]
    assert {layer for row in rows for layer in row.layers}
    assert report.entries[0].ceiling_share is None
    assert "emulated" in report.remarks[-1]


def test_a_cuda_package_without_a_gpu(tmp_path, request):
    from segrt.cuda.driver import missing

    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    if missing() is None:
        pytest.skip("there is a GPU")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segrt.cuda.driver.missing", lambda: None)
        patch.setenv("SEGRT_CACHE", "/dev/null/none")
        patch.setattr("segrt.cuda.driver.Gpu", lambda index=0: EmulatedGpu(patch))
        patch.setattr("segrt.cuda.cudnn_graph.Library", EmulatedLibrary)
        patch.setattr(EmulatedGpu, "close", lambda self: None, raising=False)
        package = segrt.build(lively((8, 16), side=16), target="cuda", output=tmp_path / "p.segrt")
    with pytest.raises(UnavailableError, match="not available"):
        segrt.bench(package)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_the_own_product_on_a_gpu(precision, monkeypatch):
    monkeypatch.setattr("segrt.measurement.ceiling._OWN_SIDE", 4096)
    target = TARGETS.find("cuda")
    found = measure_ceiling(target, BuildOptions(precision=Precision(precision)), torch=False)
    print(found)  # noqa: T201
    assert found.problem == ""
    here_times_count()
    assert found.tflops > 10


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_gpu_beside_pytorch(tmp_path, precision):
    model = lively((16, 32), side=64, batch=None)
    package = segrt.build(model, target="cuda", precision=precision, output=tmp_path / "p.segrt")
    peers = ["torch", "torch.compile", "jax", "onnxruntime"]
    report = segrt.bench(package, against=peers, batches=(1, 4), layers=True, seconds=0.2)
    print(report.to_json())  # noqa: T201
    assert report.ok
    assert report.precision == Precision(precision)
    here_times_count()
    assert report.ceiling.tflops > 1
    for batch in (1, 4):
        alone = report.of("segrt", batch)
        assert alone.memory_bytes > 0
        assert alone.times.p50 < report.of("segrt, with copies", batch).times.p50
        left = {entry.name for entry in report.left_out}
        assert {entry.name for entry in report.entries} | left >= set(peers)
    assert {layer for row in report.layers for layer in row.layers}
    whole = sum(row.time_ms for row in report.layers)
    assert whole == pytest.approx(report.of("segrt", 1).times.p50, rel=2)
