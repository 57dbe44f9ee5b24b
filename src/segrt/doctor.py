"""What this machine has: versions, targets and the processor's features."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "segrt", "numpy", "h5py", "onnx", "onnx-ir", "onnxruntime", "openvino", "pillow", "tifffile",
    "tensorrt_rtx_cu13", "tensorrt", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc",
    "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "keras", "tf_keras", "tensorflow",
)  # fmt: skip
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16")


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One target; see `segrt.targets._base.Availability`."""

    name: str
    can_build: bool
    can_run: bool
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Attributes:
        machine: Facts for people, by name.
        libraries: Package -> version, None where it is not installed.
        targets: Every registered target.
    """

    machine: dict[str, str]
    libraries: dict[str, str | None]
    targets: tuple[TargetHealth, ...]

    @property
    def ok(self) -> bool:
        """Whether anything can run here."""
        return any(target.can_run for target in self.targets)


def examine() -> Health:
    """Look at this machine; imports no engine unless a target does to answer."""
    return Health(_machine(), {name: _version(name) for name in _LIBRARIES}, _targets())


def selftest(package: Path) -> str:
    """Open a package, run its own input and compare with its recorded output.

    Returns:
        What was run, for people.

    Raises:
        PackageError: The package is damaged.
        EngineError: The engine does not say here what it should.
        UnavailableError: The package's target is not available here.
    """
    from segrt.targets._build import open_package

    with open_package(package, selftest=True) as session:
        names = ", ".join(spec.name for spec in session.outputs)
    return f"outputs {names}"


def _machine() -> dict[str, str]:
    from segrt.targets._processor import has_native_bf16, processor_flags, processor_name

    flags = processor_flags()
    found = [feature for feature in _FEATURES if feature in (flags or ())]
    keras = [package for package in ("keras", "tf_keras", "tensorflow") if _version(package)]
    return {
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "features": "unknown" if flags is None else ", ".join(found) or "none that matter",
        "bf16": {True: "native", False: "not native", None: "unknown"}[has_native_bf16()],
        "threads": f"{_usable_threads()} usable of {os.cpu_count()}",
        "Keras": ", ".join(keras) or "not installed (needed for `segrt record` only)",
    }


def _usable_threads() -> int:
    """Processors this process may use: fewer than the machine has in containers and job queues."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _targets() -> tuple[TargetHealth, ...]:
    from segrt.targets._base import REGISTRY

    found = []
    for name, target in REGISTRY:
        state = target.availability()
        found.append(TargetHealth(name, state.can_build, state.can_run, state.detail, state.hint))
    return tuple(found)
