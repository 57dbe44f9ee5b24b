"""TensorRT's messages: kept, and turned into errors that name our layer.

Most misuse of the API raises nothing: a setter logs an error and keeps the old value, ``add_*``
and ``build_serialized_network`` return None. So every error that is logged counts.

TensorRT has one logger in a process, whatever is given to a second builder. So there is one here
too, and it hands each message to the log that is active in the thread it comes from: the one of
the network or session being worked on. TensorRT's own threads report to whoever activated last.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from segrt.errors import EngineError

# Follows every real error on a machine without a driver, and says nothing about it.
_NOISE = ("catchCudaError", "cudaError 35", "CUDA driver version is insufficient")
_MOST_SHOWN = 3


class Log:
    """The messages about one network.

    Attributes:
        messages: Severity (E, W, I, V) and text, in order.
        sink: The process' logger, to be given to TensorRT.
    """

    def __init__(self, library: Any) -> None:
        self.messages: list[tuple[str, str]] = []
        self.sink = _sink(library)
        self._checked = 0
        self.activate()

    def activate(self) -> None:
        """Get the messages from now on; to be called before each piece of work."""
        self.sink.hand_to(self)

    def forget(self) -> None:
        """Drop the messages so far: a session that runs for days must not collect them."""
        self.messages.clear()
        self._checked = 0

    def errors(self) -> list[str]:
        """Return the errors so far, without noise."""
        return _real_errors(self.messages)

    def warnings(self) -> list[str]:
        """Return the warnings so far."""
        return [text for letter, text in self.messages if letter == "W"]

    def layers(self) -> str:
        """Return the builder's table of the engine's layers, "" if it printed none."""
        tables = [text for _, text in self.messages if text.startswith("Layers:")]
        return tables[-1] if tables else ""

    def check(self, subject: str) -> None:
        """Raise if an error was logged since the last check.

        Args:
            subject: What was being done, for the message.

        Raises:
            EngineError: With the logged text.
        """
        errors = _real_errors(self.messages[self._checked :])
        self._checked = len(self.messages)
        if errors:
            raise engine_error(subject, errors)


def engine_error(subject: str, errors: list[str]) -> EngineError:
    """Return the error to raise for what TensorRT logged about ``subject``."""
    shown = "; ".join(error.strip() for error in errors[:_MOST_SHOWN])
    more = len(errors) - _MOST_SHOWN
    return EngineError(
        f"TensorRT refuses {subject}",
        found=(shown or "nothing but a failure") + (f"; and {more} more" if more > 0 else ""),
    )


@functools.cache
def _sink(library: Any) -> Any:
    severity = library.ILogger.Severity
    letters = {
        severity.INTERNAL_ERROR: "E",
        severity.ERROR: "E",
        severity.WARNING: "W",
        severity.INFO: "I",
        severity.VERBOSE: "V",
    }

    class Sink(library.ILogger):  # type: ignore[misc]
        """Hands on every message; `log` must never raise, the caller is C++."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)  # pybind11 wants the base called by its own name
            self._last: Log | None = None
            self._mine = threading.local()

        def hand_to(self, log: Log) -> None:
            self._last = self._mine.log = log

        def log(self, severity: Any, message: str) -> None:
            log: Log | None = getattr(self._mine, "log", self._last)
            if log is not None:
                log.messages.append((letters.get(severity, "E"), message))

    return Sink()


def _real_errors(messages: list[tuple[str, str]]) -> list[str]:
    return [
        text
        for letter, text in messages
        if letter == "E" and not any(noise in text for noise in _NOISE)
    ]
