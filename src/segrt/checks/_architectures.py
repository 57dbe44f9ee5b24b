"""Which GPU architectures each TensorRT runs on: data.

Sources: release notes of TensorRT 8.5.2 (Kepler, Maxwell), 10.0.1-10.5 (Volta), the CMake files at
the tags of NVIDIA/TensorRT, the support matrix of TensorRT for RTX 1.5 and its enumeration of
compute capabilities in 1.7.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from segrt.checks._features import OLDEST, Version


@dataclass(frozen=True, slots=True)
class Architecture:
    """Compute capabilities and the TensorRT releases that run on them."""

    name: str
    capabilities: tuple[str, ...]
    first: Version
    source: str
    last: Version | None = None
    rtx: bool = False


ARCHITECTURES = (
    Architecture(
        "Kepler", ("3.0", "3.5", "3.7"), OLDEST, "release notes of TensorRT 8.5.2", last=(8, 5)
    ),
    Architecture(
        "Maxwell", ("5.0", "5.2", "5.3"), OLDEST, "release notes of TensorRT 8.5.2", last=(8, 6)
    ),
    Architecture(
        "Pascal", ("6.0", "6.1", "6.2"), OLDEST,
        "CMake files of NVIDIA/TensorRT: gone in 10.0", last=(9, 3),
    ),
    Architecture(
        "Volta", ("7.0", "7.2"), OLDEST, "release notes of TensorRT 10.4 and 10.5", last=(10, 4)
    ),
    Architecture("Turing", ("7.5",), OLDEST, "CMake files of NVIDIA/TensorRT", rtx=True),
    Architecture("Ampere (data center)", ("8.0",), (7, 1), "headers of TensorRT 7.1.3: TF32"),
    Architecture("Ampere", ("8.6",), (7, 2), "CUDA 11.1 came with TensorRT 7.2.1", rtx=True),
    Architecture("Ampere (Jetson Orin)", ("8.7",), (8, 4), "JetPack 5 brings TensorRT 8.4"),
    Architecture("Ada", ("8.9",), (8, 5), "first release not confirmed", rtx=True),
    Architecture("Hopper", ("9.0",), (8, 5), "first release not confirmed"),
    Architecture("Blackwell (data center)", ("10.0",), (10, 8), "changelog of TensorRT 10.8"),
    Architecture("Thor", ("11.0",), (10, 13), "CMake files of NVIDIA/TensorRT"),
    Architecture(
        "Blackwell", ("12.0", "12.1"), (10, 8), "changelog of TensorRT 10.8", rtx=True
    ),
)  # fmt: skip


# TensorRT for RTX says so itself, whatever the full TensorRT of that time did.
RTX_SOURCE = "support matrix of TensorRT for RTX 1.5, compute capabilities of 1.7.1"


def find_architecture(capability: str) -> Architecture | None:
    """Return the architecture of a compute capability such as ``8.6``, None if unknown."""
    return next((entry for entry in ARCHITECTURES if capability in entry.capabilities), None)
