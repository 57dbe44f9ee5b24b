"""The child process that reads a file first: what it survives, and what is made of its end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from segrt.importers import _hdf5_probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks only on Linux")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(b"content is never looked at here")
    return path


def read_by(monkeypatch, function):
    monkeypatch.setattr(_hdf5_probe, "_read_all", function)
    monkeypatch.setattr(_hdf5_probe, "_SECONDS_AT_LEAST", 1.0)


def test_endless_computing_is_stopped(file, monkeypatch):
    def loop(_path):
        while True:
            pass

    read_by(monkeypatch, loop)
    assert "did not finish" in (_hdf5_probe.probe(file) or "")


def test_a_slow_machine_is_no_damage(file, monkeypatch):
    """The clock runs past the limit while the child is kept from computing."""
    read_by(monkeypatch, lambda _path: time.sleep(1.3))
    assert _hdf5_probe.probe(file) is None


def test_endless_waiting_is_stopped(file, monkeypatch):
    read_by(monkeypatch, lambda _path: time.sleep(60))
    monkeypatch.setattr(_hdf5_probe, "_PATIENCE", 0.2)
    assert "did not finish" in (_hdf5_probe.probe(file) or "")


def test_a_crash_is_told(file, monkeypatch):
    read_by(monkeypatch, lambda _path: os.kill(os.getpid(), signal.SIGSEGV))
    assert _hdf5_probe.probe(file) == "the HDF5 library crashed on it (signal 11)"


def test_an_exception_is_told(file, monkeypatch):
    def fail(_path):
        raise OSError("broken heap")

    read_by(monkeypatch, fail)
    assert _hdf5_probe.probe(file) == "OSError: broken heap"


def test_a_limit_on_the_whole_process_is_no_damage(file):
    """`ulimit -t`: no process may raise it, nor ask for more in a child."""
    program = """
import resource, sys
from pathlib import Path
from segrt.importers import _hdf5_probe
resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))
_hdf5_probe._SECONDS_AT_LEAST = 2000.0
_hdf5_probe._read_all = lambda path: None
print(_hdf5_probe.probe(Path(sys.argv[1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, file], capture_output=True, text=True, check=False
    )
    assert done.stdout == "None\n", done.stderr


def test_many_open_files_are_no_damage(file, monkeypatch):
    """`select` refuses descriptors above 1023."""
    import fcntl
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 2100:
        pytest.skip("no more than 2100 files may be open")
    made = os.pipe

    def high():
        both = made()
        moved = tuple(fcntl.fcntl(one, fcntl.F_DUPFD, 2000) for one in both)
        for one in both:
            os.close(one)
        return moved

    monkeypatch.setattr(os, "pipe", high)
    read_by(monkeypatch, lambda _path: None)
    assert _hdf5_probe.probe(file) is None
