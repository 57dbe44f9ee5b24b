"""What runs in a peer's own process: networks are opened and timed as the parent asks.

Requests come through what was standard input, answers go through what was standard output. What
libraries print on either stream goes to standard error, so that they can say what they like.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from queue import SimpleQueue
from typing import Any, BinaryIO, NamedTuple

import onnx
import onnx_ir as ir

from segrt.errors import SegrtError
from segrt.measurement.peers._base import Contender, Peer, Task
from segrt.targets._base import Array
from segrt.targets._engine import serialize


@dataclass(frozen=True, slots=True)
class PackedTask:
    """A `Task` that can be sent.

    Attributes:
        model: Its model, as ONNX bytes.
        others: Its other attributes.
    """

    model: bytes
    others: dict[str, Any]

    @classmethod
    def of(cls, task: Task) -> PackedTask:
        """Pack a task.

        Raises:
            EngineError: The model is larger than protobuf's 2 GiB.
        """
        others = {item.name: getattr(task, item.name) for item in fields(task)}
        return cls(serialize(others.pop("model")), others)

    def task(self) -> Task:
        """Unpack it."""
        model = ir.from_proto(onnx.load_from_string(self.model))
        return Task(model=model, **self.others)


class Opened(NamedTuple):
    """What is told of a network that was opened; see `Contender`."""

    note: str
    memory_bytes: int | None
    outputs: list[Array]


class Failure(NamedTuple):
    """What is told of an error; see `SegrtError`."""

    message: str
    found: str | None
    hint: str | None
    exit_code: int


class Worker:
    """A peer and the network that it has open, if any.

    Args:
        peer: The peer.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._open: Contender | None = None

    def answer(self, word: str, argument: Any) -> Any:
        """Do what is asked and return what to send back; a `Failure` where it fails."""
        asked: dict[str, Callable[[Any], Any]] = {
            "open": self.open,
            "several": self.several,
            "close": self.close,
        }
        try:
            return asked[word](argument)
        except SegrtError as error:
            return Failure(error.message, error.found, error.hint, error.exit_code)
        except Exception as error:  # noqa: BLE001 - libraries raise whatever they like
            lines = str(error).strip().splitlines() or [""]
            text = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
            return Failure(f"{self._peer.name} fails", text, None, 1)

    def open(self, packed: PackedTask) -> Opened:
        """Open a network and run it once."""
        ready = self._peer.open(packed.task())
        self._open = ready
        return Opened(ready.note, ready.memory_bytes, ready.outputs())

    def several(self, count: int) -> list[float]:
        """Run so many times."""
        assert self._open is not None
        return [self._open.sample() for _ in range(count)]

    def close(self, _: object) -> None:
        """Free the network."""
        ready, self._open = self._open, None
        if ready is not None:
            ready.close()


def main() -> None:
    """Serve the parent until it goes away."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    queue: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(requests, queue), daemon=True).start()
    worker = Worker(queue.get())
    while True:
        found = worker.answer(*queue.get())
        # The parent is gone where it fails; the thread ends the process.
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(found, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _read(requests: BinaryIO, queue: SimpleQueue[Any]) -> None:
    """Hand requests on; end the process with its parent, whatever library is at work."""
    try:
        while True:
            queue.put(pickle.load(requests))  # noqa: S301 - from the process that started this one
    except EOFError:
        os._exit(0)
    except Exception:  # noqa: BLE001 - a peer that cannot be imported here
        traceback.print_exc()
        os._exit(1)
