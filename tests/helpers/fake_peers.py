"""Peers that are slow, chatty or broken; each runs in a process of its own, as real ones do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segrt.errors import UnavailableError
from segrt.measurement.peers._base import REGISTRY, Peer, Task
from segrt.types import Precision

# Where a peer writes who it is, if this is set.
NOTES = "FAKE_PEER_NOTES"


def task(*, on_gpu=False, **others):
    """Return a task for those to whom the network is all one."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="net")
    feeds = {"x": np.arange(6, dtype=np.float32)}
    return Task(ir.Model(graph, ir_version=10), feeds, Precision.FP32, on_gpu, None, **others)


class Ready:
    """What a good peer has open: doubles its input, and counts its runs."""

    note = ""
    memory_bytes = 5

    def __init__(self, task):
        self._feeds = task.feeds
        self._runs = 0

    def outputs(self):
        return [2 * array for array in self._feeds.values()]

    def sample(self):
        self._runs += 1
        return float(self._runs)

    def close(self):
        print("closed")  # noqa: T201


class Good(Peer):
    name = "good"
    install = ""

    def open(self, task):
        ready = Ready(task)
        ready.note = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {task.mode} {task.model.graph.name}"
        return ready


class Chatty(Good):
    name = "chatty"

    def open(self, task):
        print("AUTOTUNE to stdout")  # noqa: T201
        os.write(1, b"AUTOTUNE from below\n")
        print("AUTOTUNE to stderr", file=sys.stderr)  # noqa: T201
        return super().open(task)


class Slow(Peer):
    """Never ready, with a compiler of its own that is never done."""

    name = "slow"
    install = ""

    def open(self, task):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if NOTES in os.environ:
            path = Path(os.environ[NOTES])
            path.with_suffix(".part").write_text(f"{os.getpid()} {child.pid}")
            path.with_suffix(".part").rename(path)
        child.wait()


class Stopping(Peer):
    """Never ready; meanwhile whoever waits for it is stopped."""

    name = "stopping"
    install = ""
    number = signal.SIGTERM

    def open(self, task):
        os.kill(os.getppid(), self.number)
        time.sleep(600)


class Interrupting(Stopping):
    """The same from the keyboard."""

    name = "interrupting"
    number = signal.SIGINT


class Dying(Peer):
    name = "dying"
    install = ""

    def open(self, task):
        print("out of luck", file=sys.stderr)  # noqa: T201
        os._exit(7)


class DyingLater(Good):
    name = "dying-later"

    def open(self, task):
        ready = super().open(task)
        ready.sample = lambda: os._exit(7)
        return ready


class Raising(Peer):
    name = "raising"
    install = ""

    def open(self, task):
        raise ValueError("what a library says\nand says")


class Missing(Peer):
    name = "missing"
    install = ""

    def open(self, task):
        raise UnavailableError("not here", found="nothing", hint="run: get it")


class Wrong(Peer):
    """ONNX Runtime, the other way round."""

    name = "wrong"
    install = ""

    def open(self, task):
        ready = REGISTRY.find("onnxruntime").open(task)
        ready.outputs = lambda: [1 - o for o in type(ready).outputs(ready)]
        return ready


class Failing(Peer):
    """ONNX Runtime, which fails once it is timed."""

    name = "failing"
    install = ""

    def open(self, task):
        ready = REGISTRY.find("onnxruntime").open(task)
        ready.sample = lambda: 1 / 0
        return ready


def register():
    """Let them be asked for by name, in this process and for good."""
    for kind in (Slow, Stopping, Interrupting):
        REGISTRY.register(kind.name)(kind())
