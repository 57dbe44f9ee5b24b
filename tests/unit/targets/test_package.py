"""Packages: what is written, what is refused, what damage is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from segrt.errors import (
    EngineError,
    PackageError,
    ShapeError,
    UnavailableError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.targets import openvino
from segrt.targets._base import Lowering
from segrt.targets._build import build_package, open_package
from segrt.targets._manifest import Manifest
from segrt.targets._measure import Timing
from segrt.targets._package import Package, load_package
from segrt.targets.cpu import choose
from segrt.types import BuildOptions, Certificate, Precision, Preprocess, Verdict

VERDICT = Verdict(
    "fold", "conv", True, "because", Certificate("bit-equal", "integer ramp", 0.0, 0.0)
)


def _net() -> ir.Model:
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("image", (None, None, None, 1), ir.DataType.FLOAT)
    metadata.tag_value(x, "image", None)
    x = b.op("Transpose", [x], name="image:nchw", perm=[0, 3, 1, 2])
    kernel = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype("f4")
    x = b.op("Conv", [x, b.constant("conv/kernel", kernel)], name="conv", pads=[1, 1, 1, 1])
    metadata.tag_value(x, "conv", (0, 2, 3, 1))
    producer = x.producer()
    assert producer is not None
    metadata.tag_node(producer, "conv", "Conv2D")
    graph.outputs.append(b.op("Transpose", [x], name="out", perm=[0, 2, 3, 1]))
    model = ir.Model(graph, ir_version=IR_VERSION)
    metadata.set_source(model, metadata.Source("m.h5", "0" * 64, "keras-h5", "2.2.4", "tf", "m"))
    metadata.add_remark(model, "a remark")
    return model


def _lower(model: ir.Model, lowering: Lowering) -> tuple[ir.Model, tuple[Verdict, ...]]:
    assert lowering.upsampling_forms
    return model.clone(), (VERDICT,)


def _build(output: Path | None, options: BuildOptions | None = None, target="onnxruntime"):
    options = options or BuildOptions()
    return build_package(_net(), options, target, output, _lower)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return _build(tmp_path / "net.segrt")


def _edit(package: Package, change: Callable[[dict], None]) -> None:
    file = package.path / "manifest.json"
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_what_is_written_is_what_is_read(tmp_path: Path):
    options = BuildOptions(
        threads=2,
        batch=2,
        size=(8, 12),
        upsampling="resize",
        preprocess=Preprocess(0.5, (0.25,), (2.0,), "bgr"),
    )
    built = _build(tmp_path / "deep" / "net.segrt", options)
    loaded = load_package(built.path)
    assert loaded.manifest == built.manifest
    assert loaded.manifest.options == options
    assert loaded.manifest.preprocess == options.preprocess
    assert loaded.manifest.verdicts == (VERDICT,)
    assert loaded.manifest.remarks == ("a remark",)
    assert loaded.manifest.source is not None
    assert loaded.manifest.source.keras_version == "2.2.4"
    assert loaded.manifest.inputs[0].shape == (2, 8, 12, 1)
    assert [value.name for value in loaded.imported().graph.outputs] == ["out"]
    assert sorted(path.name for path in tmp_path.glob("deep/*")) == ["net.segrt"]


def test_layers_json(package: Package):
    rows = {row["keras"]: row for row in json.loads((package.path / "layers.json").read_text())}
    assert rows["conv"]["class"] == "Conv2D"
    assert rows["conv"]["imported"] == rows["conv"]["lowered"] == ["conv"]
    assert rows["conv"]["present"]
    assert rows["conv"]["fused"] is None


@pytest.mark.parametrize("target", ["cpu", "onnxruntime", "openvino"])
def test_opens_and_passes_its_selftest(tmp_path: Path, target: str):
    built = _build(tmp_path / "net.segrt", target=target)
    with open_package(built, threads=1, selftest=True) as session:
        assert session.run({"image": np.ones((2, 5, 7, 1), "f4")})["out"].shape == (2, 5, 7, 2)


def test_no_output_is_a_temporary_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert _build(None).path.is_relative_to(tmp_path)


def test_cpu_records_what_it_measured(tmp_path: Path):
    engine = _build(tmp_path / "net.segrt", target="cpu").manifest.engine
    assert {entry["library"] for entry in engine["measured"]} == {"openvino", "onnxruntime"}
    timings = {
        (entry["library"], entry["lowering"]): Timing(
            entry["median_ms"], entry["fastest_ms"], entry["rounds"]
        )
        for entry in engine["measured"]
    }
    assert engine["library"] == choose(timings)[0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # fastest, median
        ((10.0, 10.2), (9.8, 10.0), "openvino"),
        ((10.0, 10.2), (9.0, 9.2), "onnxruntime"),
        ((9.0, 9.2), (10.0, 10.2), "openvino"),
        # The second one's median does not matter, only its fastest run.
        ((10.0, 10.2), (9.0, 9.4), "onnxruntime"),
        ((9.0, 99.0), (10.0, 10.2), "openvino"),
        # A busy machine: the winner's own runs differ by more than the two engines.
        ((13.0, 30.0), (9.0, 14.0), "openvino"),
        ((15.0, 30.0), (9.0, 14.0), "onnxruntime"),
    ],
)
def test_the_faster_engine_is_chosen_and_ties_go_to_the_first(first, second, expected: str):
    timings = {
        ("openvino", 0): Timing(first[1], first[0], 5),
        ("onnxruntime", 1): Timing(second[1], second[0], 5),
    }
    assert choose(timings)[0] == expected


def test_cpu_says_when_the_processor_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    package = _build(tmp_path / "net.segrt", target="cpu")
    open_package(package).close()
    assert not caplog.records
    monkeypatch.setattr("segrt.targets.cpu.processor_name", lambda: "another one")
    open_package(package).close()
    assert "another one" in caplog.text


def test_replaces_a_package(package: Package):
    again = _build(package.path, BuildOptions(batch=3))
    assert load_package(package.path).manifest.options.batch == 3
    assert [path.name for path in again.path.parent.iterdir()] == [again.path.name]


def test_keeps_what_is_no_package(tmp_path: Path, package: Package):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to(package.path)
    (package.path / "notes.txt").write_text("mine")
    for name in ("photos", "file", "link", "net.segrt"):
        with pytest.raises(UsageError):
            _build(tmp_path / name)
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"
    assert (package.path / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert load_package(_build(tmp_path / "empty").path)


def test_a_failed_build_leaves_nothing(tmp_path: Path):
    def fail(model: ir.Model, lowering: Lowering) -> tuple[ir.Model, tuple[Verdict, ...]]:
        broken = model.clone()
        broken.graph.node("conv").op_type = "NoSuchOperator"
        return broken, ()

    for target in ("cpu", "onnxruntime", "openvino"):
        with pytest.raises(UnsupportedLayerError, match="NoSuchOperator"):
            build_package(_net(), BuildOptions(), target, tmp_path / "net.segrt", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_package(
    package: Package, monkeypatch: pytest.MonkeyPatch
):
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp") and Path(target) == package.path:
            raise OSError("disk trouble")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk trouble"):
        _build(package.path, BuildOptions(batch=3))
    assert load_package(package.path).manifest.options.batch is None


@pytest.mark.parametrize(
    ("options", "target", "error"),
    [
        (BuildOptions(), "toaster", UsageError),
        (BuildOptions(threads=0), "cpu", UsageError),
        (BuildOptions(batch=0), "cpu", ShapeError),
        (BuildOptions(precision=Precision.FP8), "openvino", UsageError),
        (BuildOptions(precision=Precision.BF16), "onnxruntime", UsageError),
    ],
)
def test_options_that_cannot_be(tmp_path, options: BuildOptions, target: str, error: type):
    with pytest.raises(error):
        _build(tmp_path / "net.segrt", options, target)
    assert list(tmp_path.iterdir()) == []


def test_bf16_without_the_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino, "has_native_bf16", lambda: False)
    for target in ("cpu", "openvino"):
        with pytest.raises(UnavailableError, match="avx512_bf16"):
            _build(tmp_path / "net.segrt", BuildOptions(precision=Precision.BF16), target)


def _swap(package: Package) -> None:
    data = bytearray((package.path / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (package.path / "model.onnx").write_bytes(data)


def _truncate(package: Package) -> None:
    os.truncate(package.path / "model.onnx", 100)


def _add(package: Package) -> None:
    (package.path / "engines").mkdir()
    (package.path / "engines" / "more.bin").write_bytes(b"more")


def _remove(package: Package) -> None:
    (package.path / "selftest.npz").unlink()


def _link(package: Package) -> None:
    file = package.path / "layers.json"
    file.rename(package.path.parent / "elsewhere.json")
    file.symlink_to(package.path.parent / "elsewhere.json")


def _link_directory(package: Package) -> None:
    (package.path / "engines").symlink_to(package.path.parent)


def _pipe(package: Package) -> None:
    (package.path / "layers.json").unlink()
    os.mkfifo(package.path / "layers.json")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_swap, "model.onnx: sha256"),
        (_truncate, "model.onnx: 100 bytes"),
        (_add, "unknown: engines/more.bin"),
        (_remove, "missing: selftest.npz"),
        (_link, "layers.json is a link"),
        (_link_directory, "engines is a link"),
        (_pipe, "layers.json is a link or special file"),
    ],
)
def test_damage_is_noticed(package: Package, damage: Callable[[Package], None], says: str):
    damage(package)
    with pytest.raises(PackageError, match=says):
        open_package(package.path)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../b", "a//b", "./a", "a\\b", "C:x", "", ".", "manifest.json"],
)
def test_names_that_leave_the_package(package: Package, name: str):
    entry = {"sha256": "0" * 64, "bytes": 1}
    _edit(package, lambda value: value["files"].update({name: entry}))
    with pytest.raises(PackageError, match="cannot be part of a package"):
        load_package(package.path)


def _set(*path: str | int, to: object) -> Callable[[dict], None]:
    def change(value: dict) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("inputs"),
        lambda value: value["files"].pop("model.onnx"),
        _set("files", to=[]),
        _set("files", "model.onnx", "sha256", to="0"),
        _set("files", "model.onnx", "bytes", to=-1),
        _set("files", "model.onnx", "bytes", to=True),
        _set("inputs", 0, "shape", to=[None, "a"]),
        _set("inputs", 0, "shape", to=[0]),
        _set("inputs", 0, "dtype", to="no type"),
        _set("inputs", 0, "channel_axis", to=7),
        _set("options", "precision", to="fp3"),
        _set("options", "threads", to=-2),
        _set("options", "size", to=[]),
        _set("options", "size", to=[1, 2, 3, 4]),
        _set("options", "size", to=[16, None]),
        _set("preprocess", "std", to=[0]),
        _set("preprocess", "scale", to="big"),
        _set("preprocess", "channel_order", to="gbr"),
        _set("source", to={"file": 3}),
        _set("verdicts", to=[{"pass_name": "x"}]),
        _set("verdicts", 0, "certificate", "claim", to="roughly"),
        _set("format", to="1"),
        _set("format", to=None),
    ],
)
def test_a_manifest_against_its_schema(package: Package, change: Callable[[dict], None]):
    _edit(package, change)
    with pytest.raises(PackageError):
        load_package(package.path)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null", b'{"format": 1}']
)
def test_a_manifest_that_is_none(package: Package, data: bytes):
    (package.path / "manifest.json").write_bytes(data)
    with pytest.raises(PackageError):
        load_package(package.path)


def test_a_newer_format_asks_for_an_upgrade(package: Package):
    _edit(package, _set("format", to=2))
    with pytest.raises(PackageError, match="upgrade segrt"):
        load_package(package.path)


def test_an_unknown_target_asks_for_an_upgrade(package: Package):
    _edit(package, _set("target", to="abacus"))
    with pytest.raises(PackageError, match="upgrade segrt"):
        open_package(package.path)


@pytest.mark.parametrize("library", ["abacus", None, 3])
def test_an_unknown_engine(tmp_path: Path, library: object):
    package = _build(tmp_path / "net.segrt", target="cpu")
    _edit(package, _set("engine", "library", to=library))
    with pytest.raises(PackageError, match="does not know"):
        open_package(package.path)


def test_no_package_at_all(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(PackageError, match="no SegRT package"):
            load_package(path)


@pytest.mark.parametrize("wrong", [np.nan, 2.0])
def test_the_selftest_can_fail(package: Package, wrong: float):
    """Only the recording is changed (and its hash with it): the engine must disagree with it."""
    file = package.path / "selftest.npz"
    with np.load(file) as arrays:
        changed = {name: arrays[name] * (wrong if "output" in name else 1) for name in arrays}
    np.savez_compressed(file, **changed)
    from segrt.targets._package import hash_file

    entry = hash_file(file)
    _edit(
        package,
        _set("files", "selftest.npz", to={"sha256": entry.sha256, "bytes": entry.bytes}),
    )
    open_package(package.path).close()
    with pytest.raises(EngineError, match="self-test"):
        open_package(package.path, selftest=True)


def test_a_manifest_survives_its_own_json(package: Package):
    assert Manifest.from_json(package.manifest.to_json()) == package.manifest
