"""TensorRT and TensorRT for RTX, 10 and 11: the one place that knows how they differ.

Both have the same Python API. RTX and TensorRT 11 type every tensor strongly and have dropped the
flags that said so; TensorRT 10 has to be asked for it. ``EXPLICIT_BATCH`` is gone from 11, so
flags are looked up by name and left out where they do not exist.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib import metadata as distributions
from typing import Any

from segrt._optional import is_installed, require
from segrt.errors import UnavailableError
from segrt.targets._base import Availability

# The first version whose API is all there: explicit types (10.0) and add_normalization_v2.
_OLDEST = (10, 0)
_NVIDIA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of the libraries.

    Attributes:
        name: Of our target.
        module: Python module.
        title: For people.
        install: The command that installs it.
        distributions: Python distributions that may carry the module, for the version.
        magic: First four bytes of its plans.
        bf16_deconvolution: Whether a bf16 transposed convolution can be compiled.
        builds_without_gpu: Whether an engine can be built on a machine without a GPU.
        plugins: Whether there are any; custom operations become plugins.
    """

    name: str
    module: str
    title: str
    install: str
    distributions: tuple[str, ...]
    magic: bytes
    bf16_deconvolution: bool
    builds_without_gpu: bool
    plugins: bool

    def load(self) -> Any:
        """Import the library.

        Raises:
            UnavailableError: It is not installed, cannot be imported or is too old.
        """
        library = require(self.module, purpose=f"target {self.name!r}", install=self.install)
        version = tuple(int(part) for part in library.__version__.split(".")[:2])
        if self.module == "tensorrt" and version < _OLDEST:
            raise UnavailableError(
                f"{self.title} is too old",
                found=library.__version__,
                wanted="10.0 or newer",
                hint=f"run: {self.install}",
            )
        return library

    def version(self) -> str:
        """Return the installed version, "unknown" where its distribution goes by another name."""
        for name in self.distributions:
            try:
                return distributions.version(name)
            except distributions.PackageNotFoundError:
                continue
        return "unknown"

    def availability(self) -> Availability:
        """Say whether it can build and run here, without importing it."""
        if not is_installed(self.module):
            return Availability(False, False, f"{self.module} is not installed", self.install)
        detail = f"{self.title} {self.version()}"
        if not has_driver():
            builds = "builds engines" if self.builds_without_gpu else "cannot build engines"
            return Availability(
                self.builds_without_gpu,
                False,
                f"{detail}: {builds} here, but cannot run them: no NVIDIA driver with a GPU",
                "run engines on a machine with an NVIDIA GPU and its driver",
            )
        return Availability(
            True, False, f"{detail}: builds engines; this SegRT has no session to run them yet"
        )

    def create_network(self, library: Any, builder: Any) -> Any:
        """Return an empty, strongly typed network."""
        flags = 0
        strong = getattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        if strong is not None:
            flags |= 1 << int(strong)
        return builder.create_network(flags)


RTX = Flavour(
    name="tensorrt-rtx",
    module="tensorrt_rtx",
    title="TensorRT for RTX",
    install="pip install 'segrt[rtx]'",
    distributions=("tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx"),
    magic=b"vtrt",
    bf16_deconvolution=False,
    builds_without_gpu=True,
    plugins=False,
)

FULL = Flavour(
    name="tensorrt",
    module="tensorrt",
    title="TensorRT",
    install="pip install tensorrt",
    distributions=("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    magic=b"ftrt",
    bf16_deconvolution=True,
    builds_without_gpu=False,
    plugins=True,
)


def has_driver() -> bool:
    """Say whether an NVIDIA driver is installed and finds a device.

    Asked of the driver itself, because TensorRT's runtime crashes where there is none.
    """
    for name in _NVIDIA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value > 0
    return False
