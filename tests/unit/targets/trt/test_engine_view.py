"""What became of each layer: nothing copied without need, nothing computed too wide."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

import segrt
from helpers.tensorrt_graphs import one_node, unet, weights
from segrt.errors import PackageError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.engine import build_engine
from segrt.targets.trt.engine_view import is_wide, moves_only, read_engine_view
from segrt.targets.trt.network import write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import Precision

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]")
KERNELS = "engines/model.layers.json"


@pytest.fixture(name="built", scope="module")
def a_built_package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "p.segrt"
    return segrt.build(unet((4, 8, 16), side=32), target=RTX.name, output=folder, precision="fp16")


@pytest.fixture(name="package")
def a_package_of_its_own(built, tmp_path):
    shutil.copytree(built.path, tmp_path / "p.segrt")
    return dataclasses.replace(built, path=tmp_path / "p.segrt")


def change_kernels(package, change):
    path = package.path / KERNELS
    table = json.loads(path.read_text("utf-8"))
    change(table)
    path.write_text(json.dumps(table), "utf-8")


def lowered(model):
    return lower(model, PassContext(extra_passes=RTX.extra_passes))[0]


def steps(engine):
    return [layer.to_json() for layer in engine.layers]


@pytest.mark.parametrize("route", [write_network, parse_network])
@pytest.mark.parametrize("kind", ["nearest", "linear", "transposed"])
def test_nothing_is_copied_between_the_edges(route, kind):
    model = lowered(unet((16, 32, 64), side=64, kind=kind))
    engine = build_engine(route(RTX, model, Precision.FP16), Precision.FP16)
    first, *inside, last = steps(engine)
    assert first["inputs"][0]["name"] == "image"
    assert last["outputs"][0]["name"] == "mask"
    # No kernel that no layer asked for, none that only moves data.
    assert [kernel["name"] for kernel in inside if not kernel["nodes"]] == []
    assert [kernel["name"] for kernel in inside if moves_only(kernel)] == []


def test_the_mission_size_in_half_precision():
    model = lowered(unet((64, 128, 256, 512, 1024), side=256))
    engine = build_engine(write_network(RTX, model, Precision.FP16), Precision.FP16)
    first, *inside, last = steps(engine)
    assert moves_only(first)
    assert last["outputs"][0]["name"] == "mask"
    assert not any(moves_only(kernel) for kernel in inside)
    kinds = [kernel["kind"] for kernel in inside]
    # One kernel a convolution, with bias and ReLU; one a pool; one an upsampling.
    assert kinds.count("correlation") == 23
    assert len([kernel for kernel in inside if "Max" in kernel["name"]]) == 4
    assert len([kernel for kernel in inside if "Resi" in kernel["name"]]) == 4
    assert len(inside) == 31
    convolutions = {
        node.name.removesuffix(":conv") for node in model.graph if node.op_type == "Conv"
    }
    for name in convolutions - {"mask"}:
        (kernel,) = [kernel for kernel in inside if name in kernel["nodes"]]
        assert f"{name}:conv" in kernel["nodes"]
    # Both halves of each concatenation are written where it lies.
    for level in range(4):
        written = [k for k in inside if k["outputs"][0]["name"].startswith(f"join{level}_")]
        assert [kernel["kind"] for kernel in written] == ["correlation"] * 2
        assert not any(f"join{level}" in kernel["nodes"] for kernel in inside)
    tensors = [t for kernel in inside for t in (*kernel["inputs"], *kernel["outputs"])]
    assert {tensor["type"] for tensor in tensors} == {"Half"}


def test_without_the_pass_every_skip_is_copied():
    model = unet((16, 32, 64), side=64)
    engine = build_engine(write_network(RTX, model, Precision.FP16), Precision.FP16)
    copies = [kernel for kernel in steps(engine) if not kernel["nodes"]]
    assert len(copies) == 2
    assert all(moves_only(kernel) for kernel in copies)


def test_every_layer_has_its_row(built):
    view = read_engine_view(built)
    rows = {row.keras: row for row in view.rows}
    assert (view.target, view.precision, view.kernels) == (RTX.name, "fp16", 19)
    assert view.inserted == ()
    assert view.copies() == view.wide() == []
    assert rows["down0b"].kind == "correlation"
    assert rows["down0b"].nodes == ("down0b:conv", "down0b")
    assert rows["down0b"].inputs == rows["down0b"].outputs == ("Half NHWC",)
    assert rows["mask"].outputs == ("Float Linear",)
    assert rows["mask"].at_edge
    assert not rows["mask"].moves_only
    join = rows["join0"]
    assert join.kernel == ""
    writers = [rows["down0b"].kernel, rows["up0conv"].kernel]
    assert join.remark == f"written in place by {', '.join(writers)}"


def test_layers_in_one_kernel_name_one_another(package):
    table = json.loads((package.path / "layers.json").read_text("utf-8"))
    shared = next(row for row in table if row["keras"] == "up0a")["engine"]
    for row in table:
        if row["keras"] == "up0":
            row["engine"] = shared
    (package.path / "layers.json").write_text(json.dumps(table), "utf-8")
    view = read_engine_view(package)
    rows = {row.keras: row for row in view.rows}
    assert (rows["up0"].fused_with, rows["up0a"].fused_with) == (("up0a",), ("up0",))
    # What `up0` was before belongs to no layer now.
    assert [row.kernel for row in view.inserted] == ["__myl_Resi_myl0_13"]


def test_a_copy_is_marked(package):
    def insert(table):
        tensor = table[3]["inputs"][0]
        table.insert(3, {
            "name": "__myl_Move_myl0_9", "kind": "kgen", "tactic": "", "nodes": [],
            "inputs": [tensor], "outputs": [tensor],
        })  # fmt: skip

    change_kernels(package, insert)
    view = read_engine_view(package)
    assert view.copies() == ["__myl_Move_myl0_9"]
    assert view.inserted[0].moves_only


def test_a_layer_that_lost_half_precision_is_marked(package):
    def widen(table):
        for tensor in (*table[4]["inputs"], *table[4]["outputs"]):
            tensor["type"] = "Float"

    change_kernels(package, widen)
    view = read_engine_view(package)
    (row,) = [row for row in view.rows if row.wide]
    assert view.wide() == [row.kernel]
    assert row.keras == "down1a"


def test_what_a_real_engine_computes_too_wide_is_marked():
    # The library has no max pooling in bf16 and takes single precision, with casts around it.
    def fill(b, x):
        kernel = b.constant("kernel", weights(8, 4, 3, 3))
        y = b.op("Conv", [x, kernel], name="first", pads=[1, 1, 1, 1])
        y = b.op("MaxPool", [y], name="pool", kernel_shape=[2, 2], strides=[2, 2])
        return b.op("Conv", [y, b.constant("last/kernel", weights(8, 8, 3, 3))], name="y")

    engine = build_engine(write_network(RTX, one_node(fill), Precision.BF16), Precision.BF16)
    wide = [kernel for kernel in steps(engine) if is_wide(kernel, {"x", "y"}, Precision.BF16)]
    marked = {node for kernel in wide for node in kernel["nodes"]}
    # The convolution in front multiplies in bf16, but writes what the pool wants.
    assert marked == {"first", "pool"}


@pytest.mark.parametrize(("precision", "wanted"), [("int8", "Int8"), ("fp8", "FP8")])
def test_lost_quantisation_is_marked(package, precision, wanted):
    def quantise(table):
        for kernel in table:
            if kernel["kind"] == "correlation":
                kernel["inputs"][0]["type"] = wanted
        table[4]["inputs"][0]["type"] = "Half"

    change_kernels(package, quantise)
    options = dataclasses.replace(package.manifest.options, precision=Precision(precision))
    manifest = dataclasses.replace(package.manifest, options=options)
    view = read_engine_view(dataclasses.replace(package, manifest=manifest))
    assert [row.keras for row in view.rows if row.wide] == ["down1a"]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("__myl_Move_myl0_3", "kgen", True),
        ("__myl_CastReshConc_myl0_0", "kgen", True),
        ("__myl_Tran_myl0_4", "kgen", True),
        ("__myl_Conc_myl0_17", "runtime_function", True),
        ("__myl_Resi_myl0_19", "runtime_function", False),
        ("__myl_MaxSlicSlicSlicSlicMaxMaxMax_myl0_2", "kgen", False),
        ("__myl_CorrElu_myl0_1", "kgen", False),
        ("down0a:conv_U1_myl0_1", "correlation", False),
        ("Reformatting CopyNode for Input Tensor 0 to conv", "Reformat", True),
    ],
)
def test_what_moves_data_only(name, kind, expected):
    assert moves_only({"name": name, "kind": kind}) is expected


@pytest.mark.parametrize("file", [KERNELS, "layers.json"])
@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"engine": ["x"]}]', "[{}]"])
def test_damaged_tables_are_refused(package, file, text):
    (package.path / file).write_text(text, "utf-8")
    with pytest.raises(PackageError, match="damaged"):
        read_engine_view(package)


def test_a_cpu_engine_lists_nothing(tmp_path):
    package = segrt.build(unet((4, 8), side=16), target="onnxruntime", output=tmp_path / "p.segrt")
    view = read_engine_view(package)
    assert (view.kernels, view.rows) == (None, ())
    assert view.library.startswith("onnxruntime ")
