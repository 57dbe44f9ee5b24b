"""What ``--target`` may say: ``tensorrt:8.6``, ``rtx:1.7``, ``jetpack:6.2``, ``cpu`` ..."""

from __future__ import annotations

import re

from segrt.checks._architectures import ARCHITECTURES, Architecture, find_architecture
from segrt.checks._features import NEWEST_MINOR, OLDEST, RTX_NEWEST, Version
from segrt.checks._jetpack import JETPACKS, find_jetpack
from segrt.checks._release import Release
from segrt.errors import UsageError

RTX_NAMES = ("rtx", "tensorrt-rtx")


def parse_target(text: str, engines: list[str]) -> Release | str:
    """Return a release of TensorRT, or the name of one of ``engines``.

    Args:
        text: What the user wrote. Without a version the newest known release is meant.
        engines: Further names that are known.

    Raises:
        UsageError: Unknown name or version; it lists what is known.
    """
    name, colon, number = text.strip().lower().partition(":")
    if name in engines and not colon and name not in RTX_NAMES and name != "tensorrt":
        return name
    if name == "tensorrt":
        return Release("tensorrt", _tensorrt(_version(text, number) if colon else None, text))
    if name in RTX_NAMES:
        return Release("rtx", _rtx(_version(text, number) if colon else None, text))
    if name == "jetpack" and colon:
        return _jetpack(_version(text, number), text)
    raise UsageError(
        f"unknown target {text!r}",
        found=text,
        wanted=f"tensorrt:VERSION, rtx:VERSION, jetpack:VERSION, {', '.join(engines)}",
        hint="for example --target tensorrt:8.6 or --target jetpack:6.2",
    )


def parse_gpu(text: str) -> Architecture:
    """Return the architecture of a compute capability.

    Raises:
        UsageError: It is none that is known.
    """
    found = find_architecture(text.strip())
    if found is None:
        known = (f"{', '.join(a.capabilities)} ({a.name})" for a in ARCHITECTURES)
        raise UsageError(
            f"unknown compute capability {text!r}", found=text, wanted="; ".join(known)
        )
    return found


def _version(text: str, number: str) -> Version:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", number):
        raise UsageError(
            f"{text!r} holds no version", found=number or "nothing", wanted="such as tensorrt:8.6"
        )
    return tuple(int(part) for part in number.split("."))


def _tensorrt(version: Version | None, text: str) -> Version:
    newest_major = max(NEWEST_MINOR)
    if version is None:
        return newest_major, NEWEST_MINOR[newest_major]
    major = version[0]
    newest = NEWEST_MINOR.get(major)
    # A major release alone means the newest of its line.
    full = version if len(version) > 1 else (major, newest or 0)
    if newest is None or full[1] > newest or full < OLDEST:
        lines = ", ".join(
            f"{line}.0-{line}.{minor}" for line, minor in sorted(NEWEST_MINOR.items())
        )
        raise UsageError(
            f"{text!r}: no such TensorRT is known here",
            found=".".join(map(str, version)),
            wanted=lines.replace("5.0-5.1", "5.1").replace("6.0-6.0", "6.0"),
        )
    return full


def _rtx(version: Version | None, text: str) -> Version:
    if version is None:
        return RTX_NEWEST
    full = version if len(version) > 1 else RTX_NEWEST
    if full[0] != RTX_NEWEST[0] or full[1] > RTX_NEWEST[1]:
        raise UsageError(
            f"{text!r}: no such TensorRT for RTX is known here",
            found=".".join(map(str, version)),
            wanted="1.0-" + ".".join(map(str, RTX_NEWEST)),
        )
    return full


def _jetpack(version: Version, text: str) -> Release:
    known = ", ".join(
        _text(entry.first) if entry.first == entry.last
        else f"{_text(entry.first)}-{_text(entry.last)}"
        for entry in JETPACKS
    )  # fmt: skip
    entry = find_jetpack(version)
    if entry is None:
        raise UsageError(
            f"{text!r}: no such JetPack is known here", found=_text(version), wanted=known
        )
    if entry.tensorrt < OLDEST:
        raise UsageError(
            f"JetPack {_text(version)} brings TensorRT {_text(entry.tensorrt)}",
            wanted=f"TensorRT {_text(OLDEST)} or newer, from where the tables begin",
            hint="use a newer JetPack",
        )
    doubt = "" if entry.sure else ", by one source only"
    return Release("tensorrt", entry.tensorrt, f"JetPack {_text(version)}, {entry.linux}{doubt}")


def _text(version: Version) -> str:
    return ".".join(map(str, version))
