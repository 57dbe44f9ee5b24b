"""What the command line does where stdout, a pipe or a file leaves it alone."""

import os
import signal
import subprocess
import sys

import pytest
from rich.table import Table

from helpers import keras_files as kf
from segrt.cli import _console, predict
from segrt.prediction.report import ImageResult, PredictReport


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        **options,
    )  # fmt: skip


def test_a_reader_that_left_changes_no_exit_code(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        console = _console.results()
        for _ in range(3):
            console.print(Table(title="x" * 9000))
        # No SystemExit: the verb goes on and returns its own code.
        assert os.fstat(pipe.fileno()).st_ino == os.stat(os.devnull).st_ino  # noqa: PTH116


def test_a_closed_stdout_is_nobody():
    done = run("import os; os.close(1)\nimport sys; sys.stdout = None\n"
               "sys.argv = ['segrt', '--help']\nfrom segrt.cli import main; main()")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_termination_runs_every_finally():
    done = run(
        "import os, signal, sys\nfrom segrt import cli\nfrom segrt.cli import _errors\n"
        "def stopped(*_):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
        "    finally: print('tidied')\n"
        "_errors.run = stopped\ncli.main()"
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "tidied\n")


@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_a_report_that_cannot_be_written_is_said_at_once(segrt, tmp_path, verb):
    (tmp_path / "file").write_text("x")
    code, out, err = segrt(verb, tmp_path, "--json", tmp_path / "file" / "report.json")
    assert (code, out) == (2, "")
    assert "report.json cannot be written" in err


def test_a_model_is_never_converted_onto_itself(segrt, tmp_path):
    model = kf.write_h5(tmp_path / "unet.h5")
    before = model.read_bytes()
    for more in ([], ["--architecture", tmp_path / "unet.h5"]):
        code, _, err = segrt("convert", model, "-o", model, *more)
        assert code == 2
        assert "written over" in err
    assert model.read_bytes() == before


def test_images_may_follow_without_an_option(segrt, tmp_path):
    code, _, err = segrt("predict", "-m", tmp_path, "-o", tmp_path / "out")
    assert code == 2
    assert "Missing option '-i'" in err
    code, _, err = segrt("predict", "-m", tmp_path, tmp_path / "a.png", "-o", tmp_path / "out")
    assert code == 2
    assert "a.png: there is no such file or folder" in err


def test_a_remark_on_many_images_is_one_line(tmp_path, capsys):
    def image(name, *remarks):
        return ImageResult(tmp_path / name, 0, (4, 4), 1, {}, {}, remarks)

    results = (image("a.png", "dark"), image("b.png", "dark", "odd"), image("c.png", "dark"))
    predict.show(PredictReport(results, 0.5), tmp_path, quiet=False)
    err = capsys.readouterr().err
    assert "remark: a.png and 2 more: dark\n" in err
    assert "remark: b.png: odd\n" in err
    assert err.count("dark") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale", "nan"], "'nan' is no number"),
        (["--scale", "inf"], "'inf' is no number"),
        (["--mean", "1,nan"], "'nan' is no number"),
        (["--scale", "0"], "scale must not be 0"),
        (["--std", "0"], "std must not hold a 0"),
        (["--mean", "1,2"], "wanted: 1 value\n"),
        (["--outputs", "a:0"], "for frozen graphs"),
        (["--target", "cpu", "--fallback", "cpu"], "another target, such as onnxruntime"),
    ],
)
def test_numbers_and_options_that_mean_nothing(segrt, tmp_path, options, said):
    model = kf.write_h5(tmp_path / "unet.h5")
    code, _, err = segrt("build", model, "-o", tmp_path / "p.segrt", *options)
    assert code == 2
    assert said in err
    assert not (tmp_path / "p.segrt").exists()


def test_eight_bits_are_asked_of_the_target(segrt, tmp_path):
    model = kf.write_h5(tmp_path / "unet.h5")
    code, _, err = segrt(
        "build", model, "-o", tmp_path / "p", "--precision", "int8", "--target", "onnxruntime"
    )
    assert code == 2
    assert "cannot compute in int8" in err
