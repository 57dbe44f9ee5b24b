"""What a compiled kernel wants of a multiprocessor, read from its machine code."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# Sections without bytes of their own, as ELF numbers them.
_NO_BITS = 8
# An attribute of a number (format 4) that says how many registers a kernel wants.
_REGISTERS = b"\x04\x2f\x08\x00"


@dataclass(frozen=True)
class Wants:
    """Of one kernel.

    Attributes:
        registers: Of a thread.
        shared_bytes: Static shared memory; on architectures from sm_90 with the 1 KiB that is the
            system's.
    """

    registers: int
    shared_bytes: int


def wants(cubin: bytes, entry: str) -> Wants:
    """Read a cubin of one kernel."""
    found = _sections(cubin)
    info = found[".nv.info"][1]
    registers = struct.unpack_from("<I", info, info.index(_REGISTERS) + 8)[0]
    size, _ = found.get(f".nv.shared.{entry}", (0, b""))
    return Wants(registers, size)


def _sections(cubin: bytes) -> dict[str, tuple[int, bytes]]:
    """Return size and bytes of each section of a little-endian ELF file of 64 bits."""
    (start,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", cubin, start + i * size) for i in range(count)]
    strings = heads[names][4]
    result = {}
    for name, kind, _, _, offset, length in heads:
        end = cubin.index(b"\0", strings + name)
        data = b"" if kind == _NO_BITS else cubin[offset : offset + length]
        result[cubin[strings + name : end].decode()] = (length, data)
    return result
