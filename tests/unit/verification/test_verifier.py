"""The whole verification, on graphs with one planted mistake each."""

import hashlib
import io
import json
import tracemalloc

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from rich.console import Console

from segrt.errors import ModelFileError, UnavailableError, UsageError
from segrt.graph import metadata
from segrt.graph.builder import GraphBuilder
from segrt.types import Precision
from segrt.verification.report_table import render
from segrt.verification.verifier import VerifyOptions, random_inputs, verify_package

LAYERS = ["conv_a", "pool", "conv_b", "up", "conv_c", "concat", "conv_d", "drop", "out"]


def statuses(report):
    return {row.name: row.status for row in report.rows}


def run(case, against=None, **options):
    inputs = case.inputs if against is None else None
    return verify_package(
        case.subject(), against=against, inputs=inputs, options=VerifyOptions(**options)
    )


def test_an_untouched_graph_holds(case):
    report = run(case)
    assert report.ok, report.verdict
    assert statuses(report) == dict.fromkeys(LAYERS, "ok")
    # The reference writes its sigmoid out, which rounds otherwise.
    rows = [row for row in report.rows if row.name != "out"]
    assert all(row.whole.max_abs == 0 and row.own.max_abs == 0 for row in rows)
    assert report.outputs[0].metrics.relative_l2 < 1e-6
    assert report.outputs[0].masks.agreement == 1.0
    assert "imported graph" in report.reference
    assert report.first_over_budget is None


@pytest.mark.parametrize(("dtype", "size"), [("float16", "0.000488"), ("bfloat16", "0.00391")])
def test_a_recording_in_half_precision_says_what_its_errors_are(case, tmp_path, dtype, size):
    def coarse(content):
        meta = json.loads(str(content["meta"]))
        content["meta"] = np.array(json.dumps({**meta, "compute_dtypes": ["float32", dtype]}))
        half = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
        for key in [key for key in content if key.startswith("layer/")]:
            content[key] = content[key].astype(half).astype(np.float32)

    report = run(case, case.record(tmp_path / "r.npz", coarse))
    assert not report.ok
    (told,) = [remark for remark in report.remarks if "Keras computed in" in remark]
    assert f"in {dtype} when it was recorded" in told
    assert f"about {size}" in told
    assert "dtype float32" in told
    # What it says of the size is true of plain rounding.
    assert all(row.whole.relative_l2 <= float(size) * 1.01 for row in report.rows if row.whole)


def test_a_recording_holds(case, tmp_path):
    report = run(case, case.record(tmp_path / "r.npz"))
    assert report.ok, report.verdict
    assert report.compared == len(LAYERS)
    assert "2.15.0" in report.reference


def double_first(array):
    array[0] *= 1.5


def test_blames_the_layer_with_a_wrong_weight(case):
    case.change_weight("conv_b/kernel", double_first)
    report = run(case)
    assert not report.ok
    assert report.first_over_budget.name == "conv_b"
    found = statuses(report)
    assert [found[name] for name in ("conv_a", "pool", "conv_b")] == ["ok", "ok", "wrong"]
    assert [found[name] for name in LAYERS[3:]] == ["inherited"] * 6
    rows = {row.name: row for row in report.rows}
    assert rows["conv_b"].own.relative_l2 > 1e-2
    assert rows["conv_c"].own.max_abs == 0.0
    assert rows["conv_c"].whole.relative_l2 > 1e-3
    assert "conv_b" in report.verdict


def test_blames_two_layers_apart(case):
    case.change_weight("conv_a/bias", lambda bias: bias.__iadd__(0.01))
    case.change_weight("conv_d/kernel", double_first)
    found = statuses(run(case))
    assert [name for name in LAYERS if found[name] == "wrong"] == ["conv_a", "conv_d"]


def test_blames_through_a_recording(case, tmp_path):
    case.change_weight("conv_c/kernel", lambda k: k.__imul__(-1))
    report = run(case, case.record(tmp_path / "r.npz"))
    assert report.first_over_budget.name == "conv_c"


def test_blames_the_output_layer_behind_its_transpose(case):
    case.change_weight("out/bias", lambda bias: bias.__iadd__(1))
    report = run(case)
    assert [r.name for r in report.rows if r.status == "wrong"] == ["out"]


@pytest.mark.parametrize("mode", ["round_prefer_ceil", "ceil"])
def test_names_an_upsampling_that_shifts(case, mode):
    node = case.node("up")
    # ceil(i / 2) of the output index: everything lies one pixel further up and left.
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", mode)
    report = run(case)
    assert report.first_over_budget.name == "up"
    row = report.first_over_budget
    assert (row.shift.dy, row.shift.dx) == (-1, -1)
    assert all(row.shift is None for row in report.rows if row.name != "up")
    assert "shifted" in row.note


@pytest.mark.parametrize(("name", "status"), [("pool", "wrong"), ("up", "wrong"), ("conv_b", "ok")])
def test_layers_that_only_move_numbers_must_be_bit_equal(case, tmp_path, name, status):
    def scale(content):
        content[f"layer/{name}"] = content[f"layer/{name}"] * np.float32(1 + 1e-6)

    report = run(case, case.record(tmp_path / "r.npz", scale))
    assert statuses(report)[name] == status


def test_a_wrong_final_output_is_found_although_all_layers_hold(case):
    case.deployed = case.lowered.clone(deep_copy=True)
    weight = case.deployed.graph.initializers["out/bias"]
    weight.const_value = ir.Tensor(weight.const_value.numpy() + np.float32(0.5), name="out/bias")
    report = run(case)
    assert set(statuses(report).values()) == {"ok"}
    assert not report.ok
    assert "output 'out'" in report.verdict


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_never_passes(case, bad):
    for graph in (case.imported, case.lowered):
        initializer = graph.graph.initializers["conv_b/bias"]
        array = initializer.const_value.numpy().copy()
        array[0] = bad
        initializer.const_value = ir.Tensor(array, name=initializer.name)
    report = run(case)
    assert not report.ok
    assert report.first_over_budget.name == "conv_b"
    assert "finite" in report.first_over_budget.note
    json.loads(report.to_json())


SPOILED = {
    "an extra layer": (lambda c: c.update({"layer/stranger": c["layer/up"]}), "stranger"),
    "a missing layer": (lambda c: c.pop("layer/conv_c"), "conv_c"),
    "a wrong layer": (lambda c: c.update({"layer/up": c["layer/up"] * 2}), "up"),
    "a shape": (lambda c: c.update({"layer/up": c["layer/up"][:, :-1]}), "up"),
    "a type": (lambda c: c.update({"layer/up": c["layer/up"].astype(int)}), "up"),
    "NCHW": (lambda c: c.update({"layer/up": c["layer/up"].transpose(0, 3, 1, 2)}), "up"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_recordings_fail(case, tmp_path, how):
    change, name = SPOILED[how]
    report = run(case, case.record(tmp_path / "r.npz", change))
    assert not report.ok
    row = next(row for row in report.rows if row.name == name)
    assert not row.holds


def test_a_dropout_need_not_be_recorded(case, tmp_path):
    assert run(case, case.record(tmp_path / "r.npz", lambda c: c.pop("layer/drop"))).ok


def test_outputs_must_match(case, tmp_path):
    def rename(content):
        content["output/other"] = content.pop("output/out")

    report = run(case, case.record(tmp_path / "r.npz", rename))
    assert not report.ok
    assert {output.name for output in report.outputs} == {"out", "other"}
    assert not any(output.holds for output in report.outputs)


def test_inputs_must_match(case, tmp_path):
    def rename(content):
        content["input/other"] = content.pop("input/input_1")

    with pytest.raises(UsageError, match="inputs"):
        run(case, case.record(tmp_path / "r.npz", rename))


def test_nothing_compared_is_a_failure(case):
    for model in (case.imported, case.lowered):
        for value in [*model.graph.inputs, *(o for node in model.graph for o in node.outputs)]:
            value.metadata_props.clear()
    report = run(case)
    assert report.compared == 0
    assert not report.ok
    assert "nothing" in report.verdict


def test_an_ambiguous_name_fails(case):
    metadata.tag_value(case.value("conv_c"), "conv_b", (0, 2, 3, 1))
    report = run(case)
    assert statuses(report)["conv_b"] == "unmatched"
    assert statuses(report)["conv_c"] == "unmatched"
    assert not report.ok


def test_a_transposed_twin_is_not_ambiguous(case):
    metadata.tag_value(case.value("out:nchw"), "out", (0, 2, 3, 1))
    assert run(case).ok


def test_a_fused_layer_is_listed_with_its_reason(case):
    case.value("up").metadata_props.clear()
    metadata.add_fused(case.lowered, "up", "merged into 'conv_c' (subpixel)")
    report = run(case)
    row = next(row for row in report.rows if row.name == "up")
    assert (row.status, row.note) == ("fused", "merged into 'conv_c' (subpixel)")
    assert report.ok


def test_a_layer_that_vanished_without_a_reason_fails(case):
    case.value("up").metadata_props.clear()
    assert statuses(run(case))["up"] == "unmatched"


def fold_scale(case, scale, shift):
    """Make the lowered graph carry ``conv_b`` only as ``conv_b * scale + shift``."""
    builder = GraphBuilder(case.lowered.graph)
    value = case.value("conv_b")
    sides = (1, -1, 1, 1)
    a = builder.constant("a", np.asarray(scale, np.float32).reshape(sides))
    b = builder.constant("b", np.asarray(shift, np.float32).reshape(sides))
    product = builder.op("Mul", [value, a], name="product")
    carrier = builder.op("Add", [product, b], name="carrier")
    back = builder.op("Div", [builder.op("Sub", [carrier, b], name="minus"), a], name="back")
    for node, index in list(value.uses()):
        if node is not product.producer():
            node.replace_input_with(index, back)
    value.metadata_props.clear()
    metadata.add_recovery(
        carrier,
        metadata.Recovery("conv_b", "0,2,3,1", np.asarray(scale, float), np.asarray(shift, float)),
    )
    case.lowered.graph.sort()


def test_a_folded_layer_is_recovered(case):
    fold_scale(case, np.linspace(0.5, 2, 8), np.linspace(-1, 1, 8))
    report = run(case)
    row = next(row for row in report.rows if row.name == "conv_b")
    assert row.recovered
    assert row.status == "ok", row.note
    assert 0 < row.whole.relative_l2 < 1e-5
    assert row.whole.amplification > 1
    assert row.own is not None


def test_a_wrong_recovered_layer_is_blamed(case):
    case.change_weight("conv_b/kernel", double_first)
    fold_scale(case, np.linspace(0.5, 2, 8), np.linspace(-1, 1, 8))
    report = run(case)
    assert report.first_over_budget.name == "conv_b"


def test_channels_that_cannot_be_recovered_are_left_out(case):
    case.change_weight("conv_b/kernel", lambda kernel: None)
    scale = np.ones(8)
    scale[3] = 1e-9
    scale[5] = 1e-6
    fold_scale(case, scale, np.full(8, 0.5))
    report = run(case)
    row = next(row for row in report.rows if row.name == "conv_b")
    assert row.whole.problem == ""
    assert "2 channel(s)" in row.note
    assert row.status == "ok", row.note


def test_masks_and_table(case):
    metadata.tag_node(case.value("out", case.imported).producer(), "out", "")
    case.change_weight("out/bias", lambda bias: bias.__iadd__(0.3))
    report = run(case)
    masks = report.outputs[0].masks
    assert 0 < masks.agreement < 1
    assert "masks agree" in report.outputs[0].note
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(report))
    text = console.export_text()
    for word in ("conv_b", "MaxPooling2D", "wrong", "boundary", "does not hold"):
        assert word in text
    assert report.rows[-1].layer_class == "Conv2D"
    parsed = json.loads(report.to_json())
    assert parsed["first_over_budget"] == "out"
    assert parsed["ok"] is False


def test_a_threshold_of_the_users(case):
    everywhere = run(case, threshold=-1.0).outputs[0].masks
    assert everywhere.iou == (None, 1.0)


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_a_fixed_batch_is_filled_up(make_case, images, tmp_path):
    case = make_case(images=images, batch=2)
    report = run(case)
    assert report.ok, report.verdict
    assert report.images == images
    assert report.outputs[0].masks.pixels == images * 16 * 24
    assert run(case, case.record(tmp_path / "r.npz")).ok


def test_unknown_sizes(make_case):
    case = make_case(height=None, width=None)
    case.inputs = {"input_1": np.random.default_rng(0).random((3, 12, 20, 2), dtype=np.float32)}
    case.change_weight("conv_d/kernel", double_first)
    for budget in (1, 1 << 14, 1 << 28):
        report = run(case, budget_bytes=budget)
        assert report.first_over_budget.name == "conv_d"
        assert report.images == 3


def test_small_and_large_budgets_say_the_same(case):
    case.change_weight("conv_b/kernel", double_first)
    reports = [run(case, budget_bytes=budget) for budget in (1, 20_000, 1 << 28)]
    for report in reports[1:]:
        assert statuses(report) == statuses(reports[0])
        for one, other in zip(report.rows, reports[0].rows, strict=True):
            assert one.whole.relative_l2 == pytest.approx(other.whole.relative_l2, rel=1e-9)
            assert one.own.relative_l2 == pytest.approx(other.own.relative_l2, rel=1e-9)


def test_memory_stays_bounded(make_case, tmp_path):
    """What verify holds in Python stays far below the size of all values together."""
    case = make_case(images=4, height=128, width=128, channels=12)
    path = case.record(tmp_path / "r.npz")
    assert path.stat().st_size > 20 << 20
    tracemalloc.start()
    report = run(case, path, budget_bytes=6 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.ok, report.verdict
    assert peak < 10 << 20


def test_random_inputs_where_none_are_given(case):
    inputs = random_inputs(case.lowered)
    assert inputs["input_1"].shape == (1, 16, 24, 2)
    assert np.array_equal(inputs["input_1"], random_inputs(case.lowered)["input_1"])
    report = verify_package(case.subject())
    assert report.ok
    assert report.images == 1


def test_the_reference_must_exist(case, tmp_path):
    with pytest.raises(UsageError, match="no file"):
        run(case, tmp_path / "missing.npz")


def test_a_recording_brings_its_own_inputs(case, tmp_path):
    path = case.record(tmp_path / "r.npz")
    with pytest.raises(UsageError, match="own inputs"):
        verify_package(case.subject(), against=path, inputs=case.inputs)


def test_another_model_file_without_keras_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.setattr("segrt.verification.reference.is_installed", lambda name: False)
    path = tmp_path / "other.h5"
    path.write_bytes(b"another model")
    with pytest.raises(ModelFileError, match="not the file"):
        run(case, path)


def test_without_keras_the_graph_stands_in_aloud(case, tmp_path, monkeypatch):
    monkeypatch.setattr("segrt.verification.reference.is_installed", lambda name: False)
    path = tmp_path / "unet.h5"
    path.write_bytes(b"the model")
    source = metadata.Source(
        "unet.h5", hashlib.sha256(b"the model").hexdigest(), "keras-h5", "2.15", "tf", "u"
    )
    metadata.set_source(case.imported, source)
    report = verify_package(case.subject(), against=path, inputs=case.inputs)
    assert report.ok
    assert "not Keras" in report.reference
    assert "Keras is not installed" in report.remarks[0]


def test_another_source_is_remarked(case, tmp_path):
    metadata.set_source(case.imported, metadata.Source("a.h5", "d" * 64, "keras-h5", "2", "t", "u"))
    report = run(case, case.record(tmp_path / "r.npz"))
    assert any("another file" in remark for remark in report.remarks)


def test_a_precision_without_tolerance_is_refused(case):
    case.precision = Precision.FP8
    with pytest.raises(UnavailableError, match="tolerance"):
        run(case)


def remove_dropout(case):
    """Dissolve ``drop`` into ``conv_d``, as the removal of operators without effect does."""
    drop, conv = case.value("drop"), case.value("conv_d")
    for node, index in list(drop.uses()):
        node.replace_input_with(index, conv)
    case.lowered.graph.remove(drop.producer(), safe=True)
    metadata.add_recovery(conv, metadata.Recovery("drop", "0,2,3,1", np.ones(1), np.zeros(1)))


@pytest.mark.parametrize("recorded", [True, False])
def test_a_removed_dropout_is_recovered_exactly(case, tmp_path, recorded):
    remove_dropout(case)

    def spoil(content):
        if not recorded:
            content.pop("layer/drop")

    report = run(case, case.record(tmp_path / "r.npz", spoil))
    assert report.ok, report.verdict
    found = {row.name: row for row in report.rows}
    assert ("drop" in found) is recorded
    if recorded:
        assert found["drop"].recovered
        assert found["drop"].whole.amplification == 1.0


def test_an_inner_model_need_not_have_its_inputs_recorded(case, tmp_path):
    """``inner/input`` repeats the network's input in another layout."""
    for model in (case.imported, case.lowered):
        builder = GraphBuilder(model.graph)
        stored = ir.convenience.create_value_mapping(model.graph)["input_1:nchw"]
        users = list(stored.uses())
        inner = builder.op("Identity", [stored], name="inner/input")
        metadata.tag_value(inner, "inner/input", (0, 2, 3, 1))
        for node, index in users:
            node.replace_input_with(index, inner)
        model.graph.sort()
    path = case.record(tmp_path / "r.npz", lambda content: content.pop("layer/inner/input"))
    report = run(case, path)
    assert report.ok, report.verdict
