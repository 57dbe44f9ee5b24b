"""A peer's process answers, is quiet, and ends when it is told to, whatever it is doing."""

import contextlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import fake_peers
from helpers.fake_peers import task
from segrt.errors import EngineError, UnavailableError
from segrt.measurement.peer_process import NotReadyError, PeerProcess

PATIENCE_S = 60.0


@contextlib.contextmanager
def started(kind, **options):
    process = PeerProcess(kind(), **options)
    try:
        yield process
    finally:
        process.end()


def gone(pid):
    """Wait until there is no such process, for as long as it takes."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # One that ended and that nobody asks after is gone, too.
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rsplit(")", 1)[1].split()[0] in "ZX":
                return True
        time.sleep(0.02)


def test_a_network_is_opened_timed_and_freed_again_and_again():
    with started(fake_peers.Good) as process:
        for _ in range(2):
            opened = process.open(task(mode="fast"), PATIENCE_S)
            np.testing.assert_array_equal(opened.outputs[0], 2 * np.arange(6))
            assert (opened.note.split()[1:], opened.memory_bytes) == (["fast", "net"], 5)
            assert process.several(3) == [1.0, 2.0, 3.0]
            assert process.several(1) == [4.0]
            process.close()


def test_what_libraries_print_is_told_to_those_alone_who_want_it_all(capfd, caplog):
    with started(fake_peers.Chatty) as process:
        with caplog.at_level(logging.INFO, "segrt"):
            process.open(task(), PATIENCE_S)
        assert caplog.messages == []
        with caplog.at_level(logging.DEBUG, "segrt"):
            process.open(task(), PATIENCE_S)
    assert sorted(caplog.messages[-3:]) == [
        "chatty: AUTOTUNE from below", "chatty: AUTOTUNE to stderr", "chatty: AUTOTUNE to stdout",
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_one_that_is_never_ready_ends_with_all_that_it_started(tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    monkeypatch.setenv(fake_peers.NOTES, str(notes))
    with started(fake_peers.Slow) as process:
        with pytest.raises(NotReadyError, match=r"not ready within 0\.01 s"):
            process.open(task(), 0.01)
        while not notes.exists():
            time.sleep(0.02)
    peer, its_child = map(int, notes.read_text().split())
    assert gone(peer)
    assert gone(its_child)


def test_it_ends_with_its_parent(tmp_path):
    notes = tmp_path / "notes"
    code = (
        "import os, threading, time\n"
        "from helpers import fake_peers\n"
        "from segrt.measurement.peer_process import PeerProcess\n"
        "process = PeerProcess(fake_peers.Slow())\n"
        "given = (fake_peers.task(), 60)\n"
        "threading.Thread(target=process.open, args=given, daemon=True).start()\n"
        f"while not os.path.exists({str(notes)!r}): time.sleep(0.02)\n"
        "os._exit(0)\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, fake_peers.NOTES: str(notes)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    peer, its_child = map(int, notes.read_text().split())
    assert gone(peer)
    os.kill(its_child, 9)


def test_one_that_dies_leaves_its_last_words():
    with started(fake_peers.Dying) as process:
        with pytest.raises(EngineError, match="process of dying ended") as error:
            process.open(task(), PATIENCE_S)
        assert error.value.found == "exit status 7: out of luck"
    with started(fake_peers.DyingLater) as process:
        process.open(task(), PATIENCE_S)
        with pytest.raises(EngineError, match="ended"):
            process.several(2)


def test_errors_come_back_as_what_they_are():
    with started(fake_peers.Raising) as process:
        with pytest.raises(EngineError, match="raising fails") as error:
            process.open(task(), PATIENCE_S)
        assert error.value.found == "ValueError: what a library says"
        with pytest.raises(EngineError, match="raising fails"):
            process.open(task(), PATIENCE_S)
    with started(fake_peers.Missing) as process:
        with pytest.raises(UnavailableError, match="not here") as missing:
            process.open(task(), PATIENCE_S)
        assert (missing.value.found, missing.value.hint) == ("nothing", "run: get it")


@pytest.mark.parametrize(
    ("visible", "gpu", "wanted"),
    [(None, 1, "1"), ("GPU-a,GPU-b,GPU-c", 2, "GPU-c"), ("5, 3", 1, "3"), ("5,3", None, "5,3"),
     (None, None, "None")],
)  # fmt: skip
def test_it_sees_the_gpu_that_was_chosen_alone(visible, gpu, wanted, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with started(fake_peers.Good, gpu=gpu) as process:
        assert process.open(task(), PATIENCE_S).note.startswith(f"{wanted} ")
