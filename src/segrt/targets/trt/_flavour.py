"""TensorRT and TensorRT for RTX, 10 and 11: the one place that knows how they differ.

Both have the same Python API. RTX and TensorRT 11 type every tensor strongly and have dropped the
flags that said so; TensorRT 10 has to be asked for it. ``EXPLICIT_BATCH`` is gone from 11, so
flags are looked up by name and left out where they do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata as distributions
from typing import Any

from segrt._optional import is_installed, require
from segrt.errors import UnavailableError
from segrt.targets._base import Availability
from segrt.targets.trt import device

# The first version whose API is all there: explicit types (10.0) and add_normalization_v2.
_OLDEST = (10, 0)
# Engines for RTX are compiled for these unless Turing is asked for by name.
_AMPERE = (8, 0)


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
        runtime_config: Whether its runtime captures CUDA graphs and keeps compiled kernels itself,
            as a runtime configuration tells it to.
        capabilities: Compute capabilities of the GPUs it runs on; empty where the installed
            version alone knows.
        portable: Whether an engine runs on all of those that are Ampere or newer, not only on
            the kind of GPU it was built on.
        extra_passes: Optional passes that its engines are better for.
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
    runtime_config: bool
    capabilities: tuple[tuple[int, int], ...] = ()
    portable: bool = False
    extra_passes: tuple[str, ...] = ()

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
            return Availability(
                False, False, f"{self.module} is not installed", f"run: {self.install}"
            )
        detail = f"{self.title} {self.version()}"
        here = device.compute_capability()
        if here is None:
            builds = "builds engines" if self.builds_without_gpu else "cannot build engines"
            return Availability(
                self.builds_without_gpu,
                False,
                f"{detail}: {builds} here, but cannot run them: no NVIDIA driver with a GPU",
                "run engines on a machine with an NVIDIA GPU and its driver",
            )
        if self.capabilities and here not in self.capabilities:
            return Availability(
                True,
                False,
                f"{detail}: builds engines here, but does not run on GPUs of compute capability "
                f"{dotted(here)}",
                f"run engines on one of {', '.join(map(dotted, self.capabilities))}",
            )
        if not (is_installed("cuda") and is_installed("cuda.core")):
            detail += ": builds engines here, but cannot run them: cuda-core is not installed"
            return Availability(True, False, detail, f"run: {self.install}")
        return Availability(True, True, f"{detail}, GPU of compute capability {dotted(here)}")

    def engine_capabilities(self) -> list[str]:
        """Return the compute capabilities on which an engine that is built now will run."""
        if self.portable:
            return [dotted(one) for one in self.capabilities if one >= _AMPERE]
        here = device.compute_capability()
        return [] if here is None else [dotted(here)]

    def create_network(self, library: Any, builder: Any) -> Any:
        """Return an empty, strongly typed network."""
        flags = 0
        strong = getattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        if strong is not None:
            flags |= 1 << int(strong)
        return builder.create_network(flags)


def dotted(capability: tuple[int, int]) -> str:
    """Write a compute capability: ``8.9``."""
    return f"{capability[0]}.{capability[1]}"


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
    runtime_config=True,
    # Those of the library's `ComputeCapability`; 9.0 (H100) is refused.
    capabilities=((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)),
    portable=True,
    extra_passes=("slice_pools",),
)

FULL = Flavour(
    name="tensorrt",
    module="tensorrt",
    title="TensorRT",
    install="pip install tensorrt cuda-core cuda-bindings",
    distributions=("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    magic=b"ftrt",
    bf16_deconvolution=True,
    builds_without_gpu=False,
    plugins=True,
    runtime_config=False,
)
