"""What this machine's processor is, as far as an engine's choice depends on it."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    """Read the first processor's entry; empty where the system has no such file."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def processor_name() -> str:
    """Return a name that differs between processors of different speed or instructions."""
    info = _cpuinfo()
    name = info.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in info:
        # Virtual machines often say no more than "AMD EPYC"; family and model tell them apart.
        return f"{name} (family {info['cpu family']}, model {info.get('model', '?')})"
    return name


def processor_flags() -> frozenset[str] | None:
    """Return the instruction sets' names as the system spells them; None where it does not say."""
    info = _cpuinfo()
    flags = info.get("flags") or info.get("Features")
    return None if flags is None else frozenset(flags.split())


def has_native_bf16() -> bool | None:
    """Say whether the processor multiplies bf16 natively; None where that cannot be read."""
    flags = processor_flags()
    return None if flags is None else bool({"amx_bf16", "avx512_bf16", "bf16"} & flags)
