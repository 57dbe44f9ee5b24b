"""Verbs hand on what was asked for, and print what came back."""

import json
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from segrt import api
from segrt.cli import _app
from segrt.errors import ImageError
from segrt.prediction.report import ImageResult, PredictReport
from segrt.types import Preprocess
from segrt.verification.report import Report

VERBS = (
    "bench", "build", "check", "convert", "demo", "doctor", "inspect", "predict", "record",
    "verify",
)  # fmt: skip


@pytest.fixture
def calls(monkeypatch):
    """Replace a function of the API; returns the list of what it was called with."""

    def replace(name, result):
        made = []

        def instead(*arguments, **options):
            made.append((arguments, options))
            return result

        monkeypatch.setattr(api, name, instead)
        return made

    return replace


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "unet.h5"
    path.write_bytes(b"x")
    return path


def test_help_names_every_verb_and_the_exit_codes(segrt):
    code, out, _ = segrt("--help")
    assert code == 0
    assert all(f"  {verb} " in out for verb in VERBS)
    assert "Exit codes" in out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_shows_examples(segrt, verb):
    code, out, _ = segrt(verb, "--help")
    assert code == 0
    assert f"segrt {verb}" in out.split("Example")[1]
    command = _app.group.get_command(click.Context(_app.group), verb)
    assert command is not None
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_version(segrt):
    assert segrt("--version") == (0, "segrt, version 0.1.0\n", "")


def test_build_hands_on_all_options(segrt, calls, model, tmp_path, monkeypatch):
    from segrt.cli import build

    read = calls("load", "graph")
    made = calls("build", "package")
    shown = []
    monkeypatch.setattr(build, "show", shown.append)
    code, _, err = segrt(
        "build", model, "-o", tmp_path / "p", "--target", "openvino", "--precision", "bf16",
        "--threads", 2, "--batch", 4, "--size", "96x128", "--upsampling", "subpixel",
        "--scale", "1/127.5", "--mean", "1", "--std", "0.5,0.25,1", "--channel-order", "bgr",
        "--input", "uint8", "--head", "mask:0.35", "--fallback", "cpu",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert shown == ["package"]
    wanted = {
        "target": "openvino", "output": tmp_path / "p", "precision": "bf16",
        "threads": 2, "batch": 4, "size": (96, 128), "via": None,
        "upsampling": "subpixel", "input": "uint8", "head": "mask:0.35",
        "fallback": "cpu",
        "preprocess": Preprocess(1 / 127.5, (1.0,), (0.5, 0.25, 1.0), "bgr"),
    }  # fmt: skip
    nothing = dict.fromkeys(("layers", "lambdas", "outputs", "inputs"), ())
    assert read == [((model,), {"architecture": None, **nothing})]
    assert made == [(("graph",), wanted)]


def test_build_by_default_leaves_everything_open(segrt, calls, model, tmp_path, monkeypatch):
    from segrt.cli import build

    calls("load", "graph")
    made = calls("build", "package")
    monkeypatch.setattr(build, "show", lambda package: None)
    assert segrt("build", model, "-o", tmp_path / "p")[0] == 0
    options = made[0][1]
    assert options["target"] == "cpu"
    assert options["precision"] == "fp32"
    assert [options[name] for name in ("threads", "batch", "size", "upsampling")] == [None] * 4
    assert options["preprocess"] == Preprocess()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--size", "12y13"), ("--size", "0x8"), ("--size", "1x2x3x4"), ("--size", "-1"),
        ("--scale", "1/0"), ("--scale", "a"), ("--mean", "1,,2"), ("--std", ""),
        ("--threads", "0"), ("--batch", "x"), ("--precision", "fp8"), ("--channel-order", "gbr"),
    ],
)  # fmt: skip
def test_build_refuses_nonsense(segrt, calls, model, option, text):
    made = calls("build", "package")
    code, _, err = segrt("build", model, "-o", "p", option, text)
    assert code == 2
    assert option in err
    assert made == []


def report_of(ok):
    return SimpleNamespace(ok=ok, to_dict=lambda: {"ok": ok})


@pytest.mark.parametrize("ok", [True, False])
def test_verify_exit_code_and_json(segrt, calls, model, tmp_path, ok, monkeypatch):
    from segrt.verification import report_table

    monkeypatch.setattr(report_table, "render", lambda report: f"table {report.ok}")
    made = calls("verify", report_of(ok))
    file = tmp_path / "deep" / "report.json"
    code, out, _ = segrt("verify", tmp_path, "--against", model, "--threads", 1, "--json", file)
    assert code == (0 if ok else 1)
    assert f"table {ok}" in out
    assert json.loads(file.read_text()) == {"ok": ok}
    (package,), options = made[0]
    assert (package, options["against"], options["threads"]) == (tmp_path, model, 1)
    assert options["images"] is None


def test_verify_json_to_stdout_is_only_json(segrt, calls, tmp_path):
    calls("verify", report_of(True))
    code, out, _ = segrt("verify", tmp_path, "--json", "-")
    assert code == 0
    assert json.loads(out) == {"ok": True}


def test_a_report_that_compared_nothing_does_not_hold(segrt, calls, tmp_path):
    calls("verify", Report("a", "b", "fp32", 0, (), ()))
    code, out, _ = segrt("verify", tmp_path)
    assert code == 1
    assert "does not hold" in out


def image(name, error=None):
    return ImageResult(Path(name), 0, (4, 4), 1, {}, {}, (), error)


def test_predict_reports_failures_and_finishes(segrt, calls, tmp_path):
    results = (image("a.png"), image("b.png", ImageError("b.png: broken")))
    made = calls("predict", PredictReport(results, 0.5, ("one remark",)))
    code, out, err = segrt(
        "predict", "-m", tmp_path, "-i", "a.png", "b.png", "-i", "c", "-o", tmp_path / "out",
        "--tile", 64, "--overlap", 8, "--save", "overlay,prob", "--threshold", 0.25, "--batch", 3,
    )  # fmt: skip
    assert code == 1
    assert out.startswith("1 of 2 images in 0.50 s")
    assert "failed: b.png: broken" in err
    assert "one remark" in err
    (package, images, output), options = made[0]
    assert package == tmp_path
    assert sorted(images) == [Path("a.png"), Path("b.png"), Path("c")]
    assert output == tmp_path / "out"
    asked = options["options"]
    assert asked.save == ("mask", "overlay", "prob")
    assert (asked.tile, asked.overlap, asked.threshold, asked.batch) == (64, 8, 0.25, 3)


def test_predict_succeeds_quietly(segrt, calls, tmp_path):
    calls("predict", PredictReport((image("a.png"),), 0.5, ("one remark",)))
    code, _, err = segrt("predict", "-q", "-m", tmp_path, "-i", "a.png", "-o", tmp_path)
    assert (code, err) == (0, "")


def test_predict_refuses_unknown_products(segrt, tmp_path):
    code, _, err = segrt("predict", "-m", tmp_path, "-i", "a", "-o", "b", "--save", "gif")
    assert code == 2
    assert "'gif' is none of mask, overlay, prob" in err


def test_record_hands_on(segrt, calls, model, tmp_path):
    file = tmp_path / "keras.npz"
    file.write_bytes(bytes(1_500_000))
    made = calls("record", SimpleNamespace(path=file, layers=("a", "b"), keras_version="3.15.1"))
    code, out, _ = segrt("record", model, "--images", tmp_path, "-o", file, "--mean", "0.5")
    assert code == 0
    assert out == f"{file}: 2 layers by Keras 3.15.1, 1.5 MB\n"
    assert made[0][1]["preprocess"] == Preprocess(mean=(0.5,))


def test_doctor_exits_with_4_when_nothing_can_run(segrt, monkeypatch):
    import segrt.doctor as doctor

    broken = doctor.TargetHealth("cpu", False, False, "nothing installed", "install something")
    health = doctor.Health({"Python": "3"}, {"numpy": None}, (broken,))
    monkeypatch.setattr(doctor, "examine", lambda: health)
    code, out, _ = segrt("doctor")
    assert code == 4
    assert "install something" in out
    code, out, _ = segrt("doctor", "--json")
    assert code == 4
    assert json.loads(out)["ok"] is False
