"""The guide about a layer of one's own: from a Keras file to verified packages, as printed."""

import sys
from pathlib import Path

import pytest

import segrt
from examples.test_guides import blocks, module_of
from helpers.tensorrt_plugins import plugin_layer, stand_in
from segrt._optional import is_installed
from segrt.errors import PackageError, UnavailableError, UnsupportedLayerError, UsageError
from segrt.graph import custom_ops
from segrt.importers.layers import _base as layers

DATA = Path(__file__).parent / "data"
MODEL, RECORDING = DATA / "own_layer.keras", DATA / "own_layer.npz"
DEFINITION, DEPLOYMENT, COMPILATION = range(3)


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """The guide's file, on the path, with registries that are put back afterwards."""
    for registry in (layers.REGISTRY, custom_ops.REGISTRY):
        registry.load()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    code = blocks("own_operation.md")
    (tmp_path / "steep_leak.py").write_text(code[DEFINITION], "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "steep_leak", raising=False)
    yield code, tmp_path
    sys.modules.pop("steep_leak", None)


def assert_holds(package, **options):
    report = segrt.verify(package, against=RECORDING, **options)
    assert report.ok, report.verdict
    assert {"leak_low", "leak_deep", "up", "large"} <= {row.name for row in report.rows}
    assert {row.status for row in report.rows} <= {"ok", "fused"}


def test_without_the_file_the_model_is_refused():
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(MODEL)
    assert {kind for _, kind in caught.value.layers} == {"Custom>SteepLeak"}


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "cpu"])
def test_the_guide_deploys_on_a_cpu(guide, target):
    code, folder = guide
    module = module_of(code[DEPLOYMENT], "guide_deploy", folder)
    assert module.deploy(MODEL, folder / "net.segrt", target=target).ok
    assert_holds(folder / "net.segrt", threads=1)
    with segrt.open_session(folder / "net.segrt", selftest=True, threads=1) as session:
        assert [spec.name for spec in session.outputs] == ["mask"]


def test_a_wrong_reference_is_found(guide):
    code, folder = guide
    wrong = code[DEFINITION].replace("return np.where(x < 0, slope * x, x)", "return np.abs(x)")
    (folder / "steep_leak.py").write_text(wrong, "utf-8")
    module_of(code[DEPLOYMENT], "guide_wrong", folder)
    package = segrt.build(MODEL, target="onnxruntime", output=folder / "net.segrt", threads=1)
    report = segrt.verify(package, against=RECORDING)
    assert not report.ok
    wrong_rows = {row.name for row in report.rows if row.status == "wrong"}
    assert wrong_rows == {"leak_low", "leak_deep"}


def test_a_package_wants_the_same_definition(guide):
    code, folder = guide
    module_of(code[DEPLOYMENT], "guide_first", folder)
    package = segrt.build(MODEL, target="onnxruntime", output=folder / "net.segrt", threads=1)
    (name,) = package.manifest.custom_ops
    assert name == "steep_leak"
    assert "np.where" not in "".join(
        path.read_text("latin-1") for path in package.path.iterdir() if path.is_file()
    )
    del custom_ops.REGISTRY._entries["steep_leak"]
    for attempt in (segrt.open_session, segrt.verify):
        with pytest.raises(PackageError, match="needs custom operation 'steep_leak'") as caught:
            attempt(package)
        assert "--ops" in (caught.value.hint or "")
    operation = code[DEFINITION].split("@segrt.keras_layer")[0]
    module_of(operation.replace("v < 0.0f", "v <= 0.0f"), "guide_other", folder)
    with pytest.raises(PackageError, match="another one than the package was built with"):
        segrt.open_session(package)


def test_the_command_line_takes_the_file(guide, capsys):
    from segrt.cli import _app, _errors

    _, folder = guide
    ops = ["--ops", str(folder / "steep_leak.py")]
    package = str(folder / "net.segrt")
    made = ["build", str(MODEL), "-o", package, "--target", "onnxruntime", "--threads", "1"]
    assert _errors.run(_app.group, made) == 3
    assert _errors.run(_app.group, [*made, *ops]) == 0
    assert _errors.run(_app.group, ["verify", package, "--against", str(RECORDING), *ops]) == 0
    assert _errors.run(_app.group, ["doctor", package, *ops]) == 0
    assert _errors.run(_app.group, ["inspect", str(MODEL), "--upsampling", *ops]) == 0
    assert "plugin" in capsys.readouterr().out


def test_a_file_that_cannot_be_imported_is_a_usage_error(guide, capsys):
    from segrt.cli import _app, _errors

    _, folder = guide
    broken = folder / "broken.py"
    broken.write_text("import nothing_of_this_name\n", "utf-8")
    assert _errors.run(_app.group, ["inspect", str(MODEL), "--ops", str(broken)]) == 2
    assert "nothing_of_this_name" in capsys.readouterr().err


def test_upsampling_as_a_plugin_is_proven_and_runs(guide):
    code, folder = guide
    module_of(code[DEPLOYMENT], "guide_plugin", folder)
    package = segrt.build(
        MODEL, target="onnxruntime", output=folder / "net.segrt", upsampling="plugin", threads=1
    )
    proofs = {
        verdict.subject: verdict.certificate.claim
        for verdict in package.manifest.verdicts
        if verdict.pass_name == "upsampling/plugin" and verdict.applied
    }
    assert proofs == {"up": "bit-equal", "large": "up to rounding"}
    # What is SegRT's own needs no file.
    assert list(package.manifest.custom_ops) == ["steep_leak"]
    nodes = [node.op_type for node in package.model().graph if node.domain]
    assert sorted(nodes) == ["steep_leak", "steep_leak", "upsample_bilinear", "upsample_nearest"]
    assert_holds(package, threads=1)


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90", "compute_120"])
def test_the_guide_compiles_its_kernel(guide, architecture):
    pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed")
    code, folder = guide
    text = module_of(code[COMPILATION], "guide_compile", folder).compile_for(architecture)
    assert b".entry custom_steep_leak(" in text


def test_tensorrt_gets_a_plugin(guide):
    from segrt.targets.trt.plugin import plugin_of

    code, folder = guide
    module = module_of(code[DEFINITION], "guide_tensorrt", folder)
    library = stand_in()
    with plugin_layer(library):
        maker = plugin_of(library, module.steep_leak)(library.ITensor(), slope=0.25)
        _, _, plugin = maker(library.QuickPluginCreationRequest.STRICT_AOT)
        assert plugin.attrs == {"slope": 0.25}
        assert plugin.get_output_data_types([library.float16], [4]) == [library.float16]


@pytest.mark.parametrize("upsampling", [None, "plugin"])
def test_tensorrt_for_rtx_refuses_it_by_name(guide, upsampling):
    if not is_installed("tensorrt_rtx"):
        pytest.skip("TensorRT for RTX is not installed: pip install 'segrt[rtx]'")
    code, folder = guide
    module_of(code[DEFINITION], "guide_rtx", folder)
    with pytest.raises(UnsupportedLayerError, match="TensorRT for RTX has no plugins") as caught:
        segrt.build(
            MODEL, target="tensorrt-rtx", output=folder / "net.segrt", upsampling=upsampling
        )
    wanted = {("leak_low", "steep_leak"), ("leak_deep", "steep_leak")}
    if upsampling:
        wanted |= {("up", "upsample_nearest"), ("large", "upsample_bilinear")}
    assert set(caught.value.layers) == wanted
    assert "tensorrt, cuda or cpu" in (caught.value.hint or "")


def test_tensorrt_for_rtx_has_a_fallback_for_it(guide, capsys):
    if not is_installed("tensorrt_rtx"):
        pytest.skip("TensorRT for RTX is not installed: pip install 'segrt[rtx]'")
    from segrt.cli import _app, _errors

    _, folder = guide
    package = folder / "net.segrt"
    ops = ["--ops", str(folder / "steep_leak.py")]
    made = ["build", str(MODEL), "-o", str(package), "--target", "tensorrt-rtx", *ops]
    assert _errors.run(_app.group, made) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "leak_low (steep_leak)" in told
    assert "leak_deep (steep_leak)" in told
    assert "--fallback cpu" in told
    assert _errors.run(_app.group, [*made, "--fallback", "cpu", "--threads", "1"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "2 layers run on cpu in fp32, not on 'tensorrt-rtx': leak_low, leak_deep" in told
    assert "bytes over the bus" in told
    assert_holds(package, network=True)
    with pytest.raises(UnavailableError):
        segrt.open_session(package)


def test_two_operations_of_one_name_are_refused(guide):
    code, folder = guide
    module_of(code[DEFINITION], "guide_one", folder)
    other = code[DEFINITION].replace("v < 0.0f", "v <= 0.0f")
    with pytest.raises(UsageError, match="two custom operations called 'steep_leak'"):
        module_of(other, "guide_two", folder)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("upsampling", [None, "plugin"])
def test_the_cuda_engine_runs_it(guide, precision, upsampling):
    code, folder = guide
    module_of(code[DEFINITION], "guide_cuda", folder)
    package = segrt.build(
        MODEL,
        target="cuda",
        output=folder / "net.segrt",
        precision=precision,
        batch=1,
        upsampling=upsampling,
    )
    assert_holds(package)
