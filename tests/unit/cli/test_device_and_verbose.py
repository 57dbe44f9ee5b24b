"""`--device` chooses the GPU of what a verb opens; `-v` tells what happens meanwhile."""

import io
import logging

import pytest

from segrt import api
from segrt.cli import _console, build
from segrt.cli._progress import told
from segrt.cuda.devices import chosen_device
from segrt.errors import UsageError


@pytest.fixture
def built(monkeypatch, tmp_path):
    """Stand for building: asks which device it is on, and says so."""
    devices = []

    def instead(*arguments, **options):
        logging.getLogger("segrt.cuda.engine").info("layer 1 of 1", extra={"progress": (1, 1)})
        if options["target"] == "cuda":
            devices.append(chosen_device())

    (tmp_path / "unet.h5").write_bytes(b"x")
    monkeypatch.setattr(api, "load", lambda *a, **k: None)
    monkeypatch.setattr(api, "build", instead)
    monkeypatch.setattr(build, "show", lambda package: None)
    return devices


@pytest.fixture
def run(segrt, built, tmp_path, monkeypatch):
    class Package:
        path = "unet.segrt"

    made = api.build
    monkeypatch.setattr(api, "build", lambda *a, **k: made(*a, **k) or Package)
    return lambda *more: segrt("build", tmp_path / "unet.h5", "-o", tmp_path / "p", *more)


def test_the_device_is_that_of_what_is_opened(run, built):
    assert run("--target", "cuda", "--device", "2") == (0, "", "")
    assert run("--target", "cuda") == (0, "", "")
    assert built == [2, 0]


def test_a_device_that_nothing_uses_is_remarked(run, built):
    code, _, err = run("--target", "cpu", "--device", "1")
    assert code == 0
    assert "--device 1 changed nothing" in err
    assert built == []


def test_verbose_tells_with_seconds(run):
    code, out, err = run("--target", "cuda", "-v")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert [line.split("] ")[1] for line in lines][1:2] == ["layer 1 of 1"]
    assert all(line.startswith("[") and " s] " in line for line in lines)
    assert "is read" in lines[0]
    assert "is written" in lines[-1]


def test_negative_devices_are_no_devices(run):
    code, _, err = run("--device", "-1")
    assert code == UsageError.exit_code
    assert "-1" in err


def test_results_on_the_way_and_warnings_stay_and_the_rest_is_for_terminals():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    said = {}
    for stream in (io.StringIO(), Terminal()):
        with told(0, stream=stream):
            logger = logging.getLogger("segrt.measurement.run")
            logger.info("what is chosen")
            logger.info("half done", extra={"progress": True})
            logger.info("one done", extra={"lasting": True})
            logger.warning("a warning")
            logger.info("all but done", extra={"progress": True})
            _console.results()
            said_before_results = stream.getvalue()
        said[stream.isatty()] = said_before_results
    clear = "\r\x1b[K"
    assert said[False] == "one done\na warning\n"
    assert (
        said[True]
        == f"{clear}half done{clear}one done\n{clear}a warning\n{clear}all but done{clear}"
    )
