"""The first bytes of a plan, read before TensorRT is given any of it.

Deserializing a plan is running its code, so a file that is not plainly what our builder wrote is
refused here. What the header means: tag and version are documented for TensorRT's
``trtexec --getPlanVersionOnly``; size and number of sections are observed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from segrt.errors import PackageError

# tag, zero, sections, unused, bytes of the whole plan, major, minor, patch, build
_HEADER = struct.Struct("<4sIIIQ4B")
_RTX = b"vtrt"
_FLAVOURS = {_RTX: "TensorRT for RTX", b"ftrt": "TensorRT"}
# A third section holds a plugin library, whose code would run on loading.
_RTX_SECTIONS = 2


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan says of itself.

    Attributes:
        magic: Its first four bytes.
        sections: Number of parts, meaningful for RTX.
        size: Bytes of the whole plan.
        version: Of the library that built it: major, minor, patch, build (its lowest byte).
    """

    magic: bytes
    sections: int
    size: int
    version: tuple[int, int, int, int]


def read_plan_header(data: bytes) -> PlanHeader:
    """Read a plan's header.

    Raises:
        PackageError: There is none.
    """
    if len(data) < _HEADER.size:
        raise PackageError("an engine is cut off", found=f"{len(data)} bytes")
    magic, _, sections, _, size, *version = _HEADER.unpack_from(data)
    if magic not in _FLAVOURS:
        raise PackageError(
            "an engine is no TensorRT plan", found=repr(magic), wanted="'ftrt' or 'vtrt' in front"
        )
    return PlanHeader(magic, sections, size, (version[0], version[1], version[2], version[3]))


def check_plan(path: Path, *, magic: bytes, version: str) -> PlanHeader:
    """Refuse a plan that the library must not be given.

    Args:
        path: The plan.
        magic: The flavour's tag.
        version: Of the installed library.

    Raises:
        PackageError: Cut off, of another flavour or version, or with a library inside.
    """
    with path.open("rb") as stream:
        header = read_plan_header(stream.read(_HEADER.size))
    actual = path.stat().st_size
    if header.magic != magic:
        raise PackageError(
            f"{path.name} is an engine of the other TensorRT",
            found=_FLAVOURS[header.magic],
            wanted=_FLAVOURS[magic],
            hint="build the package again for this target",
        )
    if header.size != actual:
        raise PackageError(
            f"{path.name} is cut off or has grown", found=f"{actual} bytes", wanted=str(header.size)
        )
    wanted = tuple(int(part) & 0xFF for part in version.split("."))
    if header.version[: len(wanted)] != wanted:
        raise PackageError(
            f"{path.name} was built by another version of {_FLAVOURS[magic]}",
            found=".".join(map(str, header.version)),
            wanted=f"{version} (build number modulo 256)",
            hint="build the package again with the installed version",
        )
    if magic == _RTX and header.sections != _RTX_SECTIONS:
        raise PackageError(
            f"{path.name} carries more than a network",
            found=f"{header.sections} sections",
            wanted=f"{_RTX_SECTIONS}: a third one holds a library that runs when it is loaded",
        )
    return header
