"""The golden models: what real Keras of many versions saved, and what it computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

import segrt

DATA = Path(__file__).parents[1] / "golden" / "data"


@dataclass(frozen=True)
class Golden:
    """One saved file and the recording of what Keras computed with that model."""

    folder: Path
    name: str
    file: str
    architecture: str | None
    recording: Path
    tolerance: float

    def __str__(self) -> str:
        return f"{self.folder.name}/{self.file}"

    def read(self) -> ir.Model:
        """Import the file."""
        architecture = self.folder / self.architecture if self.architecture else None
        return segrt.load(self.folder / self.file, architecture=architecture)

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """Return the recorded arrays of a kind (``input``, ``output``, ``layer``) by name."""
        with np.load(self.recording) as content:
            return {
                key.split("/", 1)[1]: content[key]
                for key in content.files
                if key.startswith(f"{kind}/")
            }


def _goldens() -> Iterator[Golden]:
    for index in sorted(DATA.glob("*/index.json")):
        for entry in json.loads(index.read_text("utf-8")):
            for file in entry["files"]:
                yield Golden(
                    index.parent,
                    entry["name"],
                    file["file"],
                    file.get("architecture"),
                    index.parent / entry["recording"],
                    entry["tolerance"],
                )


GOLDENS = tuple(_goldens())
