"""The manifest of a package: what it holds, how it was made; strict reading of its JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata as distributions
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from segrt.errors import PackageError
from segrt.graph.metadata import Source
from segrt.targets._mix_notes import MixNotes, read_mix
from segrt.targets._strict import each as _each
from segrt.targets._strict import is_a as _is
from segrt.types import (
    BuildOptions,
    Certificate,
    Precision,
    Preprocess,
    ShapeProfile,
    Size,
    TensorSpec,
    Verdict,
)

FORMAT = 1
NAME = "manifest.json"
REQUIRED_FILES = ("model.onnx", "imported.onnx", "layers.json", "selftest.npz")
_MOST_FILES = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the package: hexadecimal hash and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package says of itself.

    Attributes:
        segrt_version: Of the SegRT that wrote it.
        source: The file the network came from, None for graphs made otherwise.
        target: Name of the target it was built for.
        engine: The target's own notes (library, version, measured times ...), JSON values.
        options: What `build` was asked for; its ``preprocess`` is the network's.
        inputs: What a session wants.
        outputs: What a session returns.
        files: Every file but the manifest itself, by path relative to the package.
        verdicts: What the passes did and refused.
        remarks: For people.
        custom_ops: Operations of the user's own that it needs: name -> hash of the definition.
        fallback: The mix of engines, where one does not take the whole network.
    """

    segrt_version: str
    source: Source | None
    target: str
    engine: dict[str, Any]
    options: BuildOptions
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: dict[str, FileEntry]
    verdicts: tuple[Verdict, ...] = ()
    remarks: tuple[str, ...] = ()
    custom_ops: dict[str, str] = field(default_factory=dict)
    fallback: MixNotes | None = None

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become the session's input: as they are, where the engine prepares them."""
        return self.options.preprocess if self.options.input is None else Preprocess(scale=1.0)

    def to_json(self) -> str:
        """Write it as JSON, keys sorted."""
        value = asdict(self)
        value["format"] = FORMAT
        value["preprocess"] = value["options"].pop("preprocess")
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read it, checking every field.

        Raises:
            PackageError: Not JSON, another format, or a field is missing or of a wrong type.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PackageError(f"{NAME} is damaged", found=str(error), wanted="JSON") from error
        if not isinstance(value, dict):
            raise PackageError(f"{NAME} is no SegRT manifest", found=type(value).__name__)
        _check_format(value.get("format"))
        try:
            return _read(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise PackageError(
                f"{NAME} does not follow its schema",
                found=found,
                hint="build the package again",
            ) from error


def segrt_version() -> str:
    """Return the installed version, "unknown" when run from a bare source tree."""
    try:
        return distributions.version("segrt")
    except distributions.PackageNotFoundError:
        return "unknown"


def check_relative(name: str) -> str:
    """Return ``name`` if it stays inside the package.

    Raises:
        PackageError: It is absolute, climbs out or is not in its plainest form.
    """
    path = PurePosixPath(name)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if unsafe or "\0" in name or str(path) != name or name in ("", ".", NAME):
        raise PackageError(
            f"{NAME} lists a file that cannot be part of a package",
            found=repr(name),
            wanted="a path relative to the package, without '..'",
        )
    return name


def _check_format(found: object) -> None:
    if type(found) is not int:
        raise PackageError(f"{NAME} is no SegRT manifest", found=f"format {found!r}")
    if found != FORMAT:
        newer = found > FORMAT
        raise PackageError(
            f"the package has {'a newer' if newer else 'another'} format",
            found=f"format {found}",
            wanted=f"format {FORMAT}",
            hint="upgrade segrt" if newer else "build the package again",
        )


def _read(value: dict[str, Any]) -> Manifest:
    source = value["source"]
    files = _read_files(_is(dict, value["files"]))
    manifest = Manifest(
        segrt_version=_is(str, value["segrt_version"]),
        source=None if source is None else Source(**_texts(source)),
        target=_is(str, value["target"]),
        engine=_is(dict, value["engine"]),
        options=_read_options(_is(dict, value["options"])),
        inputs=_each(_read_spec, value["inputs"]),
        outputs=_each(_read_spec, value["outputs"]),
        files=files,
        verdicts=_each(_read_verdict, value["verdicts"]),
        remarks=_each(lambda text: _is(str, text), value["remarks"]),
        custom_ops=_texts(value.get("custom_ops", {})),  # absent in packages of 0.1
        fallback=read_mix(value.get("fallback"), files),
    )
    preprocess = _read_preprocess(_is(dict, value["preprocess"]))
    return replace(manifest, options=replace(manifest.options, preprocess=preprocess))


def _texts(value: Mapping[str, object]) -> dict[str, str]:
    return {_is(str, key): _is(str, text) for key, text in _is(dict, value).items()}


def _optional_count(value: object) -> int | None:
    if value is not None and _is(int, value) < 1:
        raise ValueError(f"{value!r} is not positive")
    return value if value is None else _is(int, value)


def _optional_size(value: object) -> Size | None:
    if not isinstance(value, dict):
        return _optional_count(value)
    profile = ShapeProfile(*(_is(int, value[key]) for key in ("minimum", "usual", "maximum")))
    if not 1 <= profile.minimum <= profile.usual <= profile.maximum:
        raise ValueError(f"{value!r:.80} is no range of sizes")
    return profile


def _read_sides(value: object) -> tuple[Size, ...] | None:
    if value is None:
        return None
    sides = tuple(side for item in _is(list, value) if (side := _optional_size(item)) is not None)
    if not 1 <= len(sides) <= 3 or len(sides) != len(_is(list, value)):
        raise ValueError(f"size {value!r:.80} is no height and width")
    return sides


def _read_options(value: dict[str, Any]) -> BuildOptions:
    upsampling = value["upsampling"]
    # Absent in packages of 0.1.
    via, pixels, head = (value.get(key) for key in ("via", "input", "head"))
    fallback = value.get("fallback")
    return BuildOptions(
        precision=Precision(_is(str, value["precision"])),
        threads=_optional_count(value["threads"]),
        batch=_optional_size(value["batch"]),
        size=_read_sides(value["size"]),
        upsampling=None if upsampling is None else _is(str, upsampling),
        via=None if via is None else _is(str, via),
        input=None if pixels is None else _is(str, pixels),
        head=None if head is None else _is(str, head),
        fallback=None if fallback is None else _is(str, fallback),
    )


def _read_preprocess(value: dict[str, Any]) -> Preprocess:
    order = value["channel_order"]
    if order not in ("rgb", "bgr"):
        raise ValueError(f"channel order {order!r} is neither rgb nor bgr")
    scale = value["scale"]
    std = _each(_number, value["std"])
    if 0.0 in std:
        raise ValueError("a std of 0")
    return Preprocess(
        scale=None if scale is None else _number(scale),
        mean=_each(_number, value["mean"]),
        std=std,
        channel_order=order,
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r:.80} is no finite number")
    return float(value)


def _read_spec(value: dict[str, Any]) -> TensorSpec:
    axis = value["channel_axis"]
    if axis not in (None, 1, -1):
        raise ValueError(f"channel axis {axis!r}")
    return TensorSpec(
        name=_is(str, value["name"]),
        shape=_each(_optional_count, value["shape"]),
        dtype=np.dtype(_is(str, value["dtype"])).name,
        channel_axis=axis,
        ranges=_each(_range, value.get("ranges", [])),  # absent in packages of 0.1
    )


def _range(value: object) -> ShapeProfile | None:
    found = _optional_size(value)
    if isinstance(found, int):
        raise TypeError(f"{value!r} is no range of sizes")
    return found


def _read_files(value: dict[str, Any]) -> dict[str, FileEntry]:
    if len(value) > _MOST_FILES:
        raise ValueError(f"{len(value)} files")
    files = {}
    for name, entry in value.items():
        sha256, size = _is(str, entry["sha256"]), _is(int, entry["bytes"])
        if not _SHA256.fullmatch(sha256) or size < 0:
            raise ValueError(f"file {name!r} has no proper hash or size")
        files[check_relative(name)] = FileEntry(sha256, size)
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise ValueError(f"no entry for {', '.join(missing)}")
    return files


def _read_verdict(value: dict[str, Any]) -> Verdict:
    certificate = value["certificate"]
    return Verdict(
        pass_name=_is(str, value["pass_name"]),
        subject=_is(str, value["subject"]),
        applied=_is(bool, value["applied"]),
        reason=_is(str, value["reason"]),
        certificate=None if certificate is None else _read_certificate(certificate),
    )


def _read_certificate(value: dict[str, Any]) -> Certificate:
    claim = value["claim"]
    if claim not in ("bit-equal", "up to rounding"):
        raise ValueError(f"claim {claim!r}")
    return Certificate(
        claim, _is(str, value["method"]), _number(value["error"]), _number(value["bound"])
    )
