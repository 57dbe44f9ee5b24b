"""A release of TensorRT, and what it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Literal

from segrt.checks._architectures import Architecture
from segrt.checks._features import (
    FEATURES,
    PARSER_OPSETS,
    RTX_MEASURED,
    Feature,
    Version,
)


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is asked about.

    Attributes:
        flavour: ``tensorrt``, or ``rtx`` for TensorRT for RTX.
        version: At least major and minor; what is left out means the newest of that line.
        via: The JetPack that brings it, "" for none.
    """

    flavour: Literal["tensorrt", "rtx"]
    version: Version
    via: str = ""

    def __str__(self) -> str:
        number = ".".join(map(str, self.version))
        name = f"TensorRT for RTX {number}" if self.flavour == "rtx" else f"TensorRT {number}"
        return f"{name} ({self.via})" if self.via else name

    def has(self, feature: str) -> bool:
        """Say whether the release has a feature of the table."""
        entry = _features()[feature]
        if self.flavour == "rtx":
            return entry.rtx
        return self._within(entry.first, entry.last)

    def runs_on(self, architecture: Architecture) -> bool:
        """Say whether the release runs on a GPU architecture."""
        if self.flavour == "rtx":
            return architecture.rtx
        return self._within(architecture.first, architecture.last)

    def parser_opset(self) -> int | None:
        """Return the largest ONNX opset its parser is said to read; None where nobody says."""
        if self.flavour == "rtx":
            return None
        return max(opset for first, opset in PARSER_OPSETS if self._within(first, None))

    def _within(self, first: Version, last: Version | None) -> bool:
        width = max(len(first), len(self.version))
        newest = (*self.version, *[inf] * (width - len(self.version)))
        return newest >= first and (last is None or self.version[: len(last)] <= last)


@cache
def _features() -> dict[str, Feature]:
    return {entry.name: entry for entry in FEATURES}


def source_of(feature: str, release: Release) -> str:
    """Return where the table's statement about a feature is taken from."""
    entry = _features()[feature]
    if release.flavour == "rtx" and entry.rtx:
        return f"TensorRT for RTX {'.'.join(map(str, RTX_MEASURED))}, whose API has it"
    return entry.source


def first_with(feature: str) -> str:
    """Return the first release that has a feature, as text."""
    return "TensorRT " + ".".join(map(str, _features()[feature].first))
