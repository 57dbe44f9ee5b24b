"""`segrt bench` hands on what was asked for, and prints what came back."""

import json

import pytest

from segrt.cuda.devices import chosen_device
from segrt.measurement import bench as measurement
from segrt.measurement.ceiling import Ceiling
from segrt.measurement.gauges._base import LayerTime
from segrt.measurement.report import BenchReport, Entry, ImageTimes, LeftOut
from segrt.measurement.statistics import Times

TIMES = Times(2.0, 3.0, 12.345, 1.5, 40)


def report_of(holds=True, **others):
    own = Entry("segrt", 1, TIMES, 500.0, 0.25, 0.125, 3 * 2**20, 2e-7, holds)
    peer = Entry("torch", 1, TIMES, 400.0, 0.2, 0.1, None, 1e-7, True, "mode [default]")
    shapes = {"image": (64, 64, 1)}
    ceiling = Ceiling(2.0, "NumPy, 8 x 8 x 8")
    return BenchReport(
        "unet.segrt", "cpu (openvino)", "fp32", "a processor", 2, shapes, 500_000_000,
        400_000_000, ceiling, (own, peer), (LeftOut("jax", None, "it is not there", "get it"),),
        **others,
    )  # fmt: skip


@pytest.fixture
def made(monkeypatch):
    calls = []

    def replace(report):
        def instead(*arguments, **options):
            calls.append((arguments, options))
            return report

        monkeypatch.setattr(measurement, "bench", instead)
        return calls

    return replace


def test_all_options_are_handed_on(segrt, made, tmp_path):
    calls = made(report_of())
    code, _, err = segrt(
        "bench", tmp_path, "--against", "torch, jax", "--batches", "1,8,8", "--size", "96x128",
        "--seconds", 0.5, "--rounds", 7, "--threads", 2, "--layers", "--images", tmp_path,
        "--patience", 30,
    )  # fmt: skip
    assert (code, err) == (0, "")
    ((package,), options), = calls  # fmt: skip
    assert package == tmp_path
    assert callable(options.pop("stopped"))
    assert options == {
        "against": ("torch", "jax"), "batches": (1, 8), "size": (96, 128), "seconds": 0.5,
        "rounds": 7, "threads": 2, "layers": True, "images": tmp_path, "patience": 30,
    }  # fmt: skip


def test_one_number_is_every_side_and_a_range_is_none(segrt, made, tmp_path):
    calls = made(report_of())
    assert segrt("bench", tmp_path, "--size", "96")[0] == 0
    assert calls[0][1]["size"] == (96,)
    code, _, err = segrt("bench", tmp_path, "--size", "64:96:128")
    assert code == 2
    assert "one size is measured" in err
    assert len(calls) == 1


def test_the_table_says_it_all(segrt, made, tmp_path):
    rows = (LayerTime(("conv1", "relu1"), "Conv", "fast", 1.5), LayerTime((), "Reorder", "", 0.5),
            LayerTime(("tiny",), "Conv", "", 0.001))  # fmt: skip
    images = ImageTimes(3, 12, 8, 36.5, 0.25, 0.5, 0.25)
    made(report_of(layers=rows, images=images, remarks=("one remark",)))
    code, out, _ = segrt("bench", tmp_path)
    assert code == 0
    for text in (
        "0.5 GFLOP (the package computes it with 0.4 GFLOP)", "2 TFLOP/s (NumPy, 8 x 8 x 8)",
        "12.35", "500.0", "12%", "2.0e-07", "mode [default]", "conv1 + relu1", "(between layers)",
        "(1 smaller ones)", "36.5 images a second", "decoding takes 25%", "remark: one remark",
        "left out: jax: it is not there  do: get it",
    ):  # fmt: skip
        assert text in out, text
    assert "tiny" not in out


def test_a_package_that_computes_something_else(segrt, made, tmp_path):
    made(report_of(holds=False))
    code, out, _ = segrt("bench", tmp_path)
    assert code == 1
    assert "does not compute its network" in out


def test_json_and_markdown(segrt, made, tmp_path):
    made(report_of())
    files = tmp_path / "deep" / "b.json", tmp_path / "deeper" / "b.md"
    assert segrt("bench", tmp_path, "--json", files[0], "--markdown", files[1])[0] == 0
    assert json.loads(files[0].read_text())["entries"][0]["times"]["p99"] == 12.345
    lines = files[1].read_text().splitlines()
    assert lines[0].startswith("unet.segrt, target cpu (openvino), fp32, on a processor")
    row = "| 1 | torch (mode [default]) | 2.000 | 3.000 | 12.35 | 400.0 | 0.2 | 10% |  | 1.0e-07 |"
    assert row in lines
    assert lines[-2:] == ["", "- left out: jax: it is not there do: get it"]
    columns = {line.count("|") for line in lines[2:-2]}
    assert columns == {11}


def test_json_to_stdout_is_only_json(segrt, made, tmp_path):
    made(report_of())
    code, out, _ = segrt("bench", tmp_path, "--json", "-")
    assert code == 0
    assert json.loads(out)["left_out"][0]["hint"] == "get it"


def test_peers_are_on_the_device_that_is_chosen(segrt, monkeypatch, tmp_path):
    devices = []

    def instead(*arguments, **options):
        devices.append(chosen_device())
        return report_of()

    monkeypatch.setattr(measurement, "bench", instead)
    assert segrt("bench", tmp_path, "--device", 2)[0] == 0
    assert devices == [2]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit(143)])
def test_what_there_is_when_it_is_stopped(segrt, monkeypatch, tmp_path, stop):
    def instead(*arguments, stopped, **options):
        stopped(report_of(remarks=("stopped before the end",)))
        raise stop

    monkeypatch.setattr(measurement, "bench", instead)
    files = tmp_path / "b.json", tmp_path / "b.md"
    arguments = ("bench", tmp_path, "--json", files[0], "--markdown", files[1])
    if stop is KeyboardInterrupt:
        assert segrt(*arguments)[0] == 130
    else:
        with pytest.raises(SystemExit):
            segrt(*arguments)
    assert json.loads(files[0].read_text())["remarks"] == ["stopped before the end"]
    assert files[1].read_text().endswith("- stopped before the end\n")


@pytest.mark.parametrize(
    ("option", "text"),
    [("--batches", "1,x"), ("--batches", "0"), ("--batches", ""), ("--size", "64:128:256"),
     ("--size", "0"), ("--seconds", "0"), ("--rounds", "0"), ("--threads", "0"),
     ("--patience", "0")],
)  # fmt: skip
def test_nonsense_is_refused(segrt, made, tmp_path, option, text):
    calls = made(report_of())
    code, _, err = segrt("bench", tmp_path, option, text)
    assert code == 2
    assert option in err
    assert calls == []


def test_an_unknown_peer_lists_those_known(segrt, tmp_path):
    code, _, err = segrt("bench", tmp_path, "--against", "caffe")
    assert code == 2
    assert "jax, onnxruntime, openvino, torch, torch.compile" in err
