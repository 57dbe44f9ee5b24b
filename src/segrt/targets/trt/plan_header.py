"""The first bytes of a plan, read before TensorRT is given any of it.

Deserializing a plan is running its code, so a file that is not plainly what our builder wrote is
refused here. What the header means: tag and version are documented for TensorRT's
``trtexec --getPlanVersionOnly``; size and number of sections are observed.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from segrt.errors import PackageError

# tag, zero, sections, unused, bytes of the whole plan, major, minor, patch, build
_HEADER = struct.Struct("<4sIIIQ4B")
_RTX = b"vtrt"
_FLAVOURS = {_RTX: "TensorRT for RTX", b"ftrt": "TensorRT"}
# A third section holds a plugin library, whose code would run on loading.
_RTX_SECTIONS = 2
# ELF's tag, class, byte order and version: what a loader insists on. The tag alone is four bytes,
# which a hundred megabytes of weights hold by chance.
_LIBRARY = re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01")


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


def check_plan(plan: bytes, *, name: str, magic: bytes, version: str) -> PlanHeader:
    """Refuse a plan that the library must not be given.

    Args:
        plan: All of it: what is checked here is what is loaded, not a file that may change.
        name: Of its file, for messages.
        magic: The flavour's tag.
        version: Of the installed library.

    Raises:
        PackageError: Cut off, of another flavour or version, or with a library inside.
    """
    header = read_plan_header(plan[: _HEADER.size])
    if header.magic != magic:
        raise PackageError(
            f"{name} is an engine of the other TensorRT",
            found=_FLAVOURS[header.magic],
            wanted=_FLAVOURS[magic],
            hint="build the package again for this target",
        )
    if header.size != len(plan):
        raise PackageError(
            f"{name} is cut off or has grown", found=f"{len(plan)} bytes", wanted=str(header.size)
        )
    wanted = tuple(int(part) & 0xFF for part in version.split("."))
    if header.version[: len(wanted)] != wanted:
        raise PackageError(
            f"{name} was built by another version of {_FLAVOURS[magic]}",
            found=".".join(map(str, header.version)),
            wanted=f"{version} (build number modulo 256)",
            hint="build the package again with the installed version",
        )
    if magic == _RTX:
        _check_no_library(plan, header, name)
    return header


def _check_no_library(plan: bytes, header: PlanHeader, name: str) -> None:
    """Refuse an RTX plan that is more than a network; full TensorRT's hold kernels as ELF."""
    wanted = f"{_RTX_SECTIONS}: a third one holds a library that runs when it is loaded"
    if header.sections != _RTX_SECTIONS:
        raise PackageError(
            f"{name} carries more than a network",
            found=f"{header.sections} sections",
            wanted=wanted,
        )
    library = _LIBRARY.search(plan)
    if library is not None:
        raise PackageError(
            f"{name} carries a shared library",
            found=f"an ELF header at byte {library.start()}",
            wanted="a network alone",
        )
