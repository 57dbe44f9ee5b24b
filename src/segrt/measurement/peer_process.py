"""A peer in a process of its own, seen from outside.

Compilers cannot be stopped from within their process, print what they like, and keep memory that
they once had. Processes can be ended at any time, and the other contenders never notice: while one
runs, all others wait for a word on a pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple

from segrt import _child
from segrt._messages import Message, read, write
from segrt.errors import EngineError, RefusedError, SegrtError, UnavailableError
from segrt.measurement.peers._base import Peer, Task
from segrt.measurement.timing import Series
from segrt.measurement.wire import pack_task, unpack_arrays
from segrt.targets._base import Array

_LOG = logging.getLogger(__name__)
_WORKER = "segrt.measurement.peer_worker"
_CLOSING_S = 10.0
_SAID_BYTES = 1 << 16


class NotReadyError(EngineError):
    """A peer takes longer than one waits for it."""


class Opened(NamedTuple):
    """What is told of a network that was opened; see `Contender`."""

    note: str
    memory_bytes: int | None
    outputs: list[Array]


class PeerProcess(Series):
    """A peer and the network that it has open.

    Args:
        peer: The peer.
        gpu: Which GPU is its only one, as CUDA counts them here; None: all are its.
    """

    def __init__(self, peer: Peer, *, gpu: int | None = None) -> None:
        self._name = peer.name
        # None: there will be no more.
        self._answers: SimpleQueue[Message | None] = SimpleQueue()
        # What its libraries print.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._shown = 0
        self._process = _child.begin(
            _WORKER, type(peer).__module__, type(peer).__qualname__,
            stderr=self._said, variables=_variables(gpu), apart=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(
            target=_read, args=(self._process.stdout, self._answers), daemon=True
        )
        self._reader.start()

    def open(self, task: Task, patience_s: float) -> Opened:
        """Open a network and run it once.

        Args:
            task: What to run.
            patience_s: How long to wait.

        Raises:
            NotReadyError: It takes longer; nothing but `end` may follow.
            SegrtError: It fails.
        """
        request = pack_task(task)
        try:
            answer = self._ask(request, patience_s)
        finally:
            self._tell_what_it_says()
        fields = answer.fields
        outputs = unpack_arrays(fields["arrays"], answer.pieces)
        return Opened(fields["note"], fields["memory_bytes"], outputs)

    def several(self, count: int) -> list[float]:
        """Run so many times in a row and return how long each run took, in milliseconds.

        Raises:
            SegrtError: It fails.
        """
        answer = self._ask(Message({"word": "several", "count": count}))
        return list(answer.fields["times"])

    def close(self) -> None:
        """Free the network; the process is ready for another one.

        Raises:
            SegrtError: It fails.
        """
        self._ask(Message({"word": "close"}), _CLOSING_S)

    def end(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._reader.join(timeout=1)
        self._said.close()

    def _ask(self, request: Message, limit_s: float | None = None) -> Message:
        # A process that is gone is found out where its answer is waited for.
        with contextlib.suppress(BrokenPipeError):
            write(self._requests, request)
        try:
            answer = self._answers.get(timeout=limit_s)
        except Empty:
            raise NotReadyError(f"not ready within {limit_s:g} s") from None
        if answer is None:
            raise EngineError(f"the process of {self._name} ended", found=self._last_words())
        if "failure" in answer.fields:
            raise _error(answer.fields["failure"])
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ": ".join([how, *self._lines(0)[-1:]])

    def _lines(self, start: int) -> list[str]:
        # Not by its own position, which the other process writes at.
        descriptor = self._said.fileno()
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, _SAID_BYTES, max(start, size - _SAID_BYTES))
        return [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]

    def _tell_what_it_says(self) -> None:
        if _LOG.isEnabledFor(logging.DEBUG):
            for line in self._lines(self._shown):
                _LOG.debug("%s: %s", self._name, line)
            self._shown = os.fstat(self._said.fileno()).st_size


def _error(failure: dict[str, Any]) -> SegrtError:
    kinds: dict[int, type[SegrtError]] = {3: RefusedError, 4: UnavailableError}
    kind = kinds.get(failure["exit_code"], EngineError)
    return kind(failure["message"], found=failure["found"], hint=failure["hint"])


def _variables(gpu: int | None) -> dict[str, str]:
    if gpu is None:
        return {}
    # Whatever a library counts as its first GPU, and no memory taken on any other one.
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    here = [name.strip() for name in names if name.strip()]
    return {"CUDA_VISIBLE_DEVICES": here[gpu] if gpu < len(here) else str(gpu)}


def _read(stream: IO[bytes], answers: SimpleQueue[Message | None]) -> None:
    """Hand answers on, and at last that there will be no more."""
    with stream:
        while (answer := read(stream)) is not None:
            answers.put(answer)
    answers.put(None)
