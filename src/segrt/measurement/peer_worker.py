"""What runs in a peer's own process: networks are opened and timed as the parent asks."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from queue import SimpleQueue
from typing import IO

from segrt._child import take_streams
from segrt._messages import Message, read, write
from segrt.errors import SegrtError
from segrt.measurement.peers._base import Contender, Peer
from segrt.measurement.wire import pack_arrays, unpack_task


class Worker:
    """A peer and the network that it has open, if any.

    Args:
        peer: The peer.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._open: Contender | None = None

    def answer(self, request: Message) -> Message:
        """Do what is asked and return what to send back; if it fails, the error."""
        try:
            return {"open": self.open, "several": self.several, "close": self.close}[
                request.fields["word"]
            ](request)
        except SegrtError as error:
            return _failure(error.message, error.found, error.hint, error.exit_code)
        except Exception as error:  # noqa: BLE001 - libraries raise whatever they like
            lines = str(error).strip().splitlines() or [""]
            text = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
            return _failure(f"{self._peer.name} fails", text, None, 1)

    def open(self, request: Message) -> Message:
        """Open a network and run it once."""
        ready = self._peer.open(unpack_task(request))
        self._open = ready
        fields = {"note": ready.note, "memory_bytes": ready.memory_bytes}
        return pack_arrays(fields, ready.outputs())

    def several(self, request: Message) -> Message:
        """Run so many times."""
        assert self._open is not None
        return Message({"times": [self._open.sample() for _ in range(request.fields["count"])]})

    def close(self, _: Message) -> Message:
        """Free the network."""
        ready, self._open = self._open, None
        if ready is not None:
            ready.close()
        return Message({})


def _failure(message: str, found: str | None, hint: str | None, code: int) -> Message:
    told = {"message": message, "found": found, "hint": hint, "exit_code": code}
    return Message({"failure": told})


def main(module: str, kind: str) -> None:
    """Serve the parent until it goes away.

    Args:
        module: Where the peer's class is.
        kind: Its name.
    """
    requests, answers = take_streams()
    worker = Worker(getattr(importlib.import_module(module), kind)())
    queue: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read, args=(requests, queue), daemon=True).start()
    while True:
        found = worker.answer(queue.get())
        # The parent is gone where it fails; the thread ends the process.
        with contextlib.suppress(BrokenPipeError):
            write(answers, found)


def _read(requests: IO[bytes], queue: SimpleQueue[Message]) -> None:
    """Hand requests on; end the process with its parent, whatever library is at work."""
    try:
        while (request := read(requests)) is not None:
            queue.put(request)
    finally:
        os._exit(0)
