"""TensorRT's messages: kept, and turned into errors that name our layer.

Most misuse of the API raises nothing: a setter logs an error and keeps the old value, ``add_*``
and ``build_serialized_network`` return None. So every error that is logged counts.
"""

from __future__ import annotations

from typing import Any, Protocol

from segrt.errors import EngineError

# Follows every real error on a machine without a driver, and says nothing about it.
_NOISE = ("catchCudaError", "cudaError 35", "CUDA driver version is insufficient")
_MOST_SHOWN = 3


class Log(Protocol):
    """What `make_logger` returns, besides being a TensorRT logger."""

    messages: list[tuple[str, str]]

    def errors(self) -> list[str]:
        """Return the errors so far, without noise."""
        ...

    def warnings(self) -> list[str]:
        """Return the warnings so far."""
        ...

    def layers(self) -> str:
        """Return the builder's table of the engine's layers, "" if it printed none."""
        ...

    def check(self, subject: str) -> None:
        """Raise if an error was logged since the last check."""
        ...


def make_logger(library: Any) -> Log:
    """Return a logger for one network or build.

    Args:
        library: The TensorRT module.
    """
    severity = library.ILogger.Severity
    letters = {
        severity.INTERNAL_ERROR: "E",
        severity.ERROR: "E",
        severity.WARNING: "W",
        severity.INFO: "I",
        severity.VERBOSE: "V",
    }

    class Logger(library.ILogger):  # type: ignore[misc]
        """Keeps every message; `log` must never raise, the caller is C++."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)  # pybind11 wants the base called by its own name
            self.messages: list[tuple[str, str]] = []
            self._checked = 0

        def log(self, severity: Any, message: str) -> None:
            self.messages.append((letters.get(severity, "E"), message))

        def errors(self) -> list[str]:
            return _real_errors(self.messages)

        def warnings(self) -> list[str]:
            return [text for letter, text in self.messages if letter == "W"]

        def layers(self) -> str:
            tables = [text for _, text in self.messages if text.startswith("Layers:")]
            return tables[-1] if tables else ""

        def check(self, subject: str) -> None:
            errors = _real_errors(self.messages[self._checked :])
            self._checked = len(self.messages)
            if errors:
                raise engine_error(subject, errors)

    return Logger()


def engine_error(subject: str, errors: list[str]) -> EngineError:
    """Return the error to raise for what TensorRT logged about ``subject``."""
    shown = "; ".join(error.strip() for error in errors[:_MOST_SHOWN])
    more = len(errors) - _MOST_SHOWN
    return EngineError(
        f"TensorRT refuses {subject}",
        found=(shown or "nothing but a failure") + (f"; and {more} more" if more > 0 else ""),
    )


def _real_errors(messages: list[tuple[str, str]]) -> list[str]:
    return [
        text
        for letter, text in messages
        if letter == "E" and not any(noise in text for noise in _NOISE)
    ]
