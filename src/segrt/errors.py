"""Every error SegRT raises on purpose.

    SegrtError                      exit code 1
    +-- UsageError                  2  an argument or option is wrong or missing
    |   +-- ShapeError              2  an array or image does not fit the network
    +-- RefusedError                3  a guard refused to go on
    |   +-- ModelFileError          3  a model file is damaged, inconsistent or not what it says
    |   |   +-- UnsafeFileError     3  a file tries what no model file needs (links, `..`, bombs)
    |   +-- UnsupportedLayerError   3  layers without a converter; lists all of them
    |   +-- UnsupportedConfigError  3  a known layer with settings that cannot be converted
    |   +-- PackageError            3  a package is damaged, foreign or does not match its manifest
    |   +-- RecordingError          3  a recording of activations is damaged or inconsistent
    |   +-- PassError               3  a rewrite would not be exact, or a certificate failed
    +-- VerificationError           1  a comparison ran and did not hold
    +-- ConverterError              1  the user's own layer converter failed
    +-- ImageError                  1  an image cannot be read or written
    +-- EngineError                 1  a runtime library failed to build or run an engine
    |   +-- DeviceMemoryError       1  a GPU's memory does not suffice; says how much would
    +-- UnavailableError            4  the environment lacks a library, a driver or a device

Exceptions of libraries (h5py, onnx, ONNX Runtime, OpenVINO, Pillow ...) are mapped into this tree
with ``raise ... from``. A message says what is wrong, and, where they apply, what was found, what
was wanted and what to do.
"""

from __future__ import annotations


class SegrtError(Exception):
    """Base of all errors of this package.

    Args:
        message: What is wrong; names the file or the layer.
        found: The offending value, in words.
        wanted: What would have been accepted.
        hint: What the user can do.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        found: str | None = None,
        wanted: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.found = found
        self.wanted = wanted
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        lines = [self.message]
        lines += [
            f"  {title}: {text}"
            for title, text in (("found", self.found), ("wanted", self.wanted), ("do", self.hint))
            if text
        ]
        return "\n".join(lines)


class UsageError(SegrtError):
    """An argument or option is wrong, missing or contradicts another one."""

    exit_code = 2


class ShapeError(UsageError):
    """An array or image does not fit the network's input."""


class RefusedError(SegrtError):
    """A guard refused to go on."""

    exit_code = 3


class ModelFileError(RefusedError):
    """A model file is damaged, inconsistent or not what it says it is."""


class UnsafeFileError(ModelFileError):
    """A file tries something no model file needs: external links, ``..``, absurd sizes."""


class UnsupportedLayerError(RefusedError):
    """The model holds layers without a converter.

    Attributes:
        layers: ``(layer name, class name)`` of every such layer, in model order.
        stub: Python source with one converter to fill in for each missing class; "" for none.
    """

    def __init__(
        self,
        message: str,
        layers: list[tuple[str, str]],
        *,
        hint: str | None = None,
        stub: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.layers = layers
        self.stub = stub


class UnsupportedConfigError(RefusedError):
    """A known layer with settings that cannot be converted exactly."""


class PackageError(RefusedError):
    """A package is damaged, foreign, or does not match its manifest."""


class RecordingError(RefusedError):
    """A recording of activations is damaged, inconsistent or not what it says it is."""


class PassError(RefusedError):
    """A rewrite would not be exact, or its certificate failed."""


class VerificationError(SegrtError):
    """A comparison ran and did not hold."""


class ConverterError(SegrtError):
    """A layer converter of the user's own cannot be loaded, failed, or returned what is none."""


class ImageError(SegrtError):
    """An image file cannot be read or written."""


class EngineError(SegrtError):
    """A runtime library failed to build or run an engine."""


class DeviceMemoryError(EngineError):
    """A GPU's memory does not suffice; says how much would."""


class UnavailableError(SegrtError):
    """The environment lacks a library, a driver or a device."""

    exit_code = 4
