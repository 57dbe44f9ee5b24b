"""Which GPU is here, asked of the driver itself.

Without cuda-core, which need not be installed where engines are only built; and without TensorRT,
whose runtime crashes where there is no driver.
"""

from __future__ import annotations

import ctypes

_DRIVERS = ("libcuda.so.1", "nvcuda.dll")
# CUdevice_attribute: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_MAJOR, _MINOR = 75, 76


def compute_capability(index: int = 0) -> tuple[int, int] | None:
    """Return a GPU's compute capability, None without a driver or such a GPU; never raises."""
    for name in _DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        return _ask(driver, index)
    return None


def _ask(driver: ctypes.CDLL, index: int) -> tuple[int, int] | None:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    calls = (
        # In this order: nothing else may be asked before `cuInit`.
        (driver.cuInit, (0,)),
        (driver.cuDeviceGet, (ctypes.byref(device), index)),
        (driver.cuDeviceGetAttribute, (ctypes.byref(major), _MAJOR, device)),
        (driver.cuDeviceGetAttribute, (ctypes.byref(minor), _MINOR, device)),
    )
    for function, arguments in calls:
        if function(*arguments) != 0:
            return None
    return major.value, minor.value
