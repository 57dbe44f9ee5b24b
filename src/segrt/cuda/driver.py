"""The GPU: device, stream, memory and compiled kernels, through cuda-core."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt._optional import is_installed, require
from segrt.cuda import compiled_code
from segrt.cuda.compiling import Asked, Compilations
from segrt.cuda.devices import chosen_device
from segrt.cuda.kernels._base import Launch, Map
from segrt.cuda.views import INTEGERS, View
from segrt.errors import DeviceMemoryError, EngineError, UnavailableError

INSTALL = "pip install 'segrt[cuda]'"
# How `missing` begins where the packages are there.
NO_GPU = "no NVIDIA GPU with its driver"
_LOG = logging.getLogger(__name__)
_MAP_BYTES = 128


def core() -> ModuleType:
    """Import cuda-core.

    Raises:
        UnavailableError: It is not installed.
    """
    return require("cuda.core", purpose="the CUDA engine", install=INSTALL)


def bindings() -> ModuleType:
    """Import the driver's functions that cuda-core has no words for.

    Raises:
        UnavailableError: They are not installed.
    """
    return require("cuda.bindings.driver", purpose="the CUDA engine", install=INSTALL)


def _checked(answer: tuple[Any, ...]) -> Any:
    """Return what a driver function gave.

    Raises:
        EngineError: It failed.
    """
    status, *results = answer
    if int(status) != 0:
        raise EngineError("the CUDA driver refuses a call", found=str(status))
    return results[0] if results else None


def missing() -> str | None:
    """Say what keeps the engine from running here, None if nothing does; never raises."""
    # `cuda` is a folder that several packages share.
    for module, package in (("cuda.core", "cuda-core"), ("cudnn", "nvidia-cudnn-frontend")):
        if not is_installed(module):
            return f"{package} is not installed"
    try:
        count = len(core().Device.get_all_devices())
    except Exception as error:  # noqa: BLE001 - each layer below has errors of its own
        return f"{NO_GPU}: {' '.join(str(error).split())}"
    return None if count else NO_GPU


def driver_version() -> str:
    """Return the driver's version, for the plan cache's key."""
    system = require("cuda.core.system", purpose="the CUDA engine", install=INSTALL)
    return ".".join(map(str, system.get_user_mode_driver_version()))


def newest_ptx() -> tuple[int, int]:
    """Return the CUDA version up to which the driver reads PTX; needs a driver."""
    system = require("cuda.core.system", purpose="the CUDA engine", install=INSTALL)
    major, minor = system.get_user_mode_driver_version()[:2]
    return major, minor


@functools.lru_cache(maxsize=1024)
def compile_source(source: str, architecture: str, name: str) -> bytes:
    """Compile CUDA C++ to machine code, once a source; needs NVRTC, no GPU.

    Raises:
        EngineError: The compiler refuses it; ``found`` is its log.
    """
    key = compiled_code.key(source, architecture)
    known = compiled_code.find(key)
    if known is None:
        known = _compile(source, architecture, name)
        compiled_code.remember(key, known)
    return known


def _compile(source: str, architecture: str, name: str) -> bytes:
    library = core()
    options = library.ProgramOptions(name=name, arch=architecture, std="c++17")
    try:
        code = library.Program(source, "c++", options).compile("cubin").code
    except Exception as error:
        raise EngineError(
            f"kernel {name!r} does not compile for {architecture}", found=str(error)
        ) from error
    return bytes(code)


def count() -> int:
    """Return how many GPUs there are; 0 where that cannot be found out."""
    try:
        return len(core().Device.get_all_devices())
    except Exception as error:  # noqa: BLE001 - each layer below has errors of its own
        _LOG.debug("no driver: %s", error)
        return 0


class Gpu:
    """One device with one stream of its own.

    Args:
        index: Which device; None: the one chosen with `segrt.cuda.devices.on_device`.

    Raises:
        UnavailableError: No driver or no such GPU.
    """

    def __init__(self, index: int | None = None) -> None:
        self._core = core()
        index = chosen_device() if index is None else index
        try:
            self.device = self._core.Device(index)
            self.device.set_current()
            self.index = int(self.device.device_id)
            self.stream = self.device.create_stream()
        except Exception as error:
            raise UnavailableError(
                f"CUDA device {index} cannot be used",
                found=str(error),
                wanted=f"0 to {count() - 1}" if count() else None,
                hint="install an NVIDIA driver; `nvidia-smi` shows whether one works",
            ) from error
        capability = self.device.compute_capability
        self.capability: tuple[int, int] = (capability.major, capability.minor)
        self.multiprocessors: int = self.device.properties.multiprocessor_count
        self.architecture = f"sm_{capability.major}{capability.minor}"
        self.name: str = self.device.name
        self.driver: str = driver_version()
        self._kernels: dict[tuple[str, str], Any] = {}
        self._compilations = Compilations(compile_source)

    def use(self) -> None:
        """Make the device current for the calling thread."""
        self.device.set_current()

    def allocate(self, size: int, purpose: str) -> Any:
        """Return a device buffer.

        Raises:
            DeviceMemoryError: It does not suffice; says how much was asked for.
        """
        try:
            return self.device.allocate(max(size, 1), stream=self.stream)
        except Exception as error:
            raise DeviceMemoryError(
                f"the GPU's memory does not hold the {purpose}",
                found=str(error),
                wanted=f"{size / 2**20:.0f} MiB",
                hint="use a smaller batch or image, or close other sessions",
            ) from error

    def memory(self) -> tuple[int, int]:
        """Return how much device memory is free, and how much there is, in bytes."""
        status, free, whole = bindings().cuMemGetInfo()
        _checked((status,))
        return int(free), int(whole)

    def pinned(self, size: int) -> tuple[Any, npt.NDArray[np.uint8]]:
        """Return host memory that the GPU copies from at full speed, as buffer and as array.

        Raises:
            DeviceMemoryError: There is not enough of it; says how much was asked for.
        """
        try:
            buffer = self._core.LegacyPinnedMemoryResource().allocate(size)
        except Exception as error:
            raise DeviceMemoryError(
                "the host has too little memory that the GPU can copy from",
                found=str(error),
                wanted=f"{size / 2**20:.0f} MiB",
                hint="use a smaller batch or image, or close other sessions",
            ) from error
        memory = (ctypes.c_uint8 * size).from_address(int(buffer.handle))
        return buffer, np.ctypeslib.as_array(memory)

    def upload(self, array: npt.NDArray[Any], purpose: str) -> Any:
        """Return a device buffer with the bytes of ``array``."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        buffer = self.allocate(data.size, purpose)
        staging, memory = self.pinned(max(data.size, 1))
        memory[: data.size] = data
        if data.size:
            buffer.copy_from(staging, stream=self.stream)
        self.stream.sync()
        staging.close()
        return buffer

    def copy(self, address: int, source: Any) -> None:
        """Copy a device buffer to a device address, on the stream."""
        target = self._core.Buffer.from_handle(address, source.size)
        target.copy_from(source, stream=self.stream)

    def copy_bytes(self, target: int, source: int, size: int) -> None:
        """Copy between two addresses, device memory or pinned, on the stream."""
        self.copy(target, self._core.Buffer.from_handle(source, size))

    def kernel(self, launch: Launch) -> Any:
        """Return the compiled kernel of ``launch``; compiled once."""
        key = (launch.source, launch.entry)
        if key not in self._kernels:
            cubin = self._compilations.code(self._asked(launch))
            module = self._core.ObjectCode.from_cubin(cubin)
            kernel = module.get_kernel(launch.entry)
            if launch.shared_bytes:
                self._allow_shared(kernel, launch.shared_bytes)
            self._kernels[key] = kernel
        return self._kernels[key]

    def compile(self, launches: Iterable[Launch]) -> None:
        """Begin to compile what launches want; what fails will say so when it is used."""
        for launch in launches:
            if (launch.source, launch.entry) not in self._kernels:
                self._compilations.begin(self._asked(launch))

    def wait_for(self, launches: Iterable[Launch]) -> None:
        """Wait until what was begun for these launches is compiled."""
        for launch in launches:
            self._compilations.wait(self._asked(launch))

    def stop_compiling(self) -> None:
        """Compile nothing more in the background."""
        self._compilations.close()

    def _asked(self, launch: Launch) -> Asked:
        # Instructions of one architecture alone need the target that names it so.
        target = self.architecture + ("a" if launch.specific else "")
        return launch.source, target, launch.entry

    def _allow_shared(self, kernel: Any, size: int) -> None:
        """Let a kernel have more dynamic shared memory than the 48 KiB that are always there."""
        driver = bindings()
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        handle = driver.CUkernel(int(kernel.handle))
        _checked(driver.cuKernelSetAttribute(attribute, size, handle, self.device.device_id))

    def tensor_map(self, view: View, address: int, box: Map) -> npt.NDArray[np.uint8]:
        """Return the 128 bytes that tell the copy engine how ``view`` at ``address`` lies.

        Boxes may reach over the image's edges: there they are zero.
        """
        driver = bindings()
        kinds = driver.CUtensorMapDataType
        kind = kinds.CU_TENSOR_MAP_DATA_TYPE_FLOAT16
        if view.dtype == "bf16":
            kind = kinds.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
        elif view.dtype in INTEGERS:
            kind = kinds.CU_TENSOR_MAP_DATA_TYPE_UINT8
        pixel = view.pitch * view.item_bytes
        sizes = (view.c, view.w, view.h, view.n)
        strides = (pixel, pixel * view.w, pixel * view.w * view.h)
        made = _checked(
            driver.cuTensorMapEncodeTiled(
                kind,
                4,
                address,
                [driver.cuuint64_t(size) for size in sizes],
                [driver.cuuint64_t(stride) for stride in strides],
                [driver.cuuint32_t(size) for size in (*box.box, 1)],
                [driver.cuuint32_t(1)] * 4,
                driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
                driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
                driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        )
        return np.frombuffer(ctypes.string_at(made.getPtr(), _MAP_BYTES), np.uint8).copy()

    def configuration(self, launch: Launch) -> Any:
        """Return cuda-core's words for a launch's geometry."""
        blocks = launch.blocks
        if launch.persistent:
            blocks = min(blocks, self.multiprocessors)
        return self._core.LaunchConfig(
            grid=blocks, block=launch.threads, shmem_size=launch.shared_bytes
        )

    def put(self, configuration: Any, kernel: Any, pointers: Sequence[int]) -> None:
        """Put a kernel on the stream."""
        self._core.launch(self.stream, configuration, kernel, *pointers)

    def close(self) -> None:
        """Wait for the stream and drop it."""
        self.use()
        self.stop_compiling()
        self.stream.sync()
        self._kernels.clear()
        self.stream.close()
