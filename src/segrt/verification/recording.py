"""Reading of recordings: what Keras computed somewhere else, in one ``.npz``.

Keys: ``input/<name>``, ``output/<name>``, ``layer/<value name>`` (arrays in the source's layout,
batch first) and ``meta``, a JSON object with at least ``"format": 1``. A recording comes from
another machine, so nothing in it is believed: no pickle, every declared size is checked against
the bytes that are there, and arrays are read a few images at a time.
"""

from __future__ import annotations

import json
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import RecordingError

Array: TypeAlias = npt.NDArray[Any]

FORMAT = 1
_MOST_MEMBERS = 20_000
_MOST_META_BYTES = 1 << 20
_READ_BYTES = 1 << 20
# All that zipfile and its decompressors raise on damaged, encrypted or exotic archives.
_DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
_GROUPS = ("input", "output", "layer")


@dataclass(frozen=True, slots=True)
class _Member:
    """One array of the file: where it lies and what it declares."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    header_bytes: int


class Recording:
    """A reference that was recorded beforehand; see the module.

    Args:
        path: The ``.npz`` file; kept open until `close`.

    Raises:
        RecordingError: It is no recording, damaged or inconsistent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise self._bad("cannot be opened", str(error)) from error
        try:
            self.meta = self._read_meta()
            self._members = dict(self._read_headers())
            self.loose: tuple[str, ...] = ()
            self._drop_loose()
            self._images = self._count_images()
        except BaseException:
            self._archive.close()
            raise

    @property
    def kind(self) -> str:
        """What the reference is, for people."""
        made = "Keras " + str(self.meta.get("keras_version", "of unknown version"))
        backend = self.meta.get("backend")
        return f"{made}{f' on {backend}' if backend else ''}, recorded in {self._path.name}"

    def names(self) -> tuple[str, ...]:
        """Return the names of the recorded layers' values, in the file's order."""
        return self._group("layer")

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the recorded outputs."""
        return self._group("output")

    def inputs(self) -> dict[str, Array]:
        """Return the arrays the network was fed with."""
        return {name: self._read(f"input/{name}", slice(None)) for name in self._group("input")}

    def get(self, name: str, rows: slice = slice(None)) -> Array:
        """Return images ``rows`` of a layer's value, in the source's layout."""
        return self._read(f"layer/{name}", rows)

    def fetch(self, names: Collection[str], rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield the values of several layers, one at a time."""
        for name in names:
            yield name, self.get(name, rows)

    def fetch_outputs(self, rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield the outputs, one at a time."""
        for name in self.outputs():
            yield name, self._read(f"output/{name}", rows)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _group(self, group: str) -> tuple[str, ...]:
        prefix = group + "/"
        return tuple(key.removeprefix(prefix) for key in self._members if key.startswith(prefix))

    def _read_meta(self) -> Mapping[str, Any]:
        try:
            info = self._archive.getinfo("meta.npy")
        except KeyError as error:
            raise self._bad("has no 'meta'", f"{len(self._archive.namelist())} entries") from error
        if info.file_size > _MOST_META_BYTES:
            raise self._bad("declares an absurd 'meta'", f"{info.file_size} bytes")
        member = self._header(info)
        if member.dtype.kind not in "SU" or member.shape != ():
            raise self._bad("has a 'meta' that is no text", f"{member.dtype} {member.shape}")
        array = self._array(member, slice(None))
        try:
            text = array.item()
            meta = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        except (ValueError, RecursionError) as error:
            raise self._bad("has a 'meta' that is no JSON", str(error)) from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            found = meta.get("format") if isinstance(meta, dict) else type(meta).__name__
            raise self._bad("is of another format", repr(found)[:80], f"format {FORMAT}")
        return meta

    def _read_headers(self) -> Iterator[tuple[str, _Member]]:
        infos = self._archive.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise self._bad("has too many arrays", f"{len(infos)}", f"at most {_MOST_MEMBERS}")
        seen: set[str] = set()
        for info in infos:
            key = info.filename.removesuffix(".npy")
            if key in seen:
                raise self._bad("holds an array twice", repr(key))
            seen.add(key)
            if key == "meta":
                continue
            group, _, name = key.partition("/")
            if group not in _GROUPS or not name or not info.filename.endswith(".npy"):
                wanted = "input/<name>, output/<name>, layer/<name> or meta"
                raise self._bad("holds something else", repr(info.filename)[:120], wanted)
            member = self._header(info)
            if member.dtype.kind not in "fiub":
                raise self._bad(f"array {key!r} holds no numbers", str(member.dtype))
            yield key, member

    def _header(self, info: zipfile.ZipInfo) -> _Member:
        """Read an array's header and check that it declares as many bytes as there are."""
        try:
            with self._archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                readers = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }
                if version not in readers:
                    raise self._bad(f"array {info.filename!r} has version {version}", "")
                shape, fortran, dtype = readers[version](stream)
                header_bytes = stream.tell()
        except RecordingError:
            raise
        # NumPy's header parser raises whatever Python's own parser does.
        except Exception as error:
            raise self._bad(f"array {info.filename!r} cannot be read", str(error)[:160]) from error
        if dtype.hasobject or any(size < 0 for size in shape):
            raise self._bad(f"array {info.filename!r} holds objects, not numbers", str(dtype))
        declared = header_bytes + math.prod(shape) * dtype.itemsize
        if declared != info.file_size:
            raise self._bad(
                f"array {info.filename!r} is damaged",
                f"{info.file_size} bytes",
                f"{declared} bytes for shape {list(shape)} of {dtype}",
            )
        return _Member(info.filename, tuple(shape), dtype, fortran, header_bytes)

    def _drop_loose(self) -> None:
        """Leave out layers whose values are no batches of the inputs' images.

        Numbers, vectors such as sizes, and images cut up into a larger batch cannot be compared
        image by image; what is computed from them is.
        """
        inputs = [member for key, member in self._members.items() if _is_input(key)]
        images = inputs[0].shape[0] if inputs and inputs[0].shape else 0
        for key in [key for key, m in self._members.items() if _is_loose(key, m, images)]:
            del self._members[key]
            self.loose += (key.removeprefix("layer/"),)

    def _count_images(self) -> int:
        """Return the batch size, which all arrays share."""
        if not self._group("input"):
            raise self._bad("has no input", f"{len(self._members)} arrays", "input/<name>")
        counts = {member.shape[0] if member.shape else None for member in self._members.values()}
        count = counts.pop()
        if counts or not count:
            found = ", ".join(
                f"{key} {list(member.shape)}" for key, member in list(self._members.items())[:4]
            )
            raise self._bad("holds batches of different sizes", found, "the batch as first axis")
        return count

    def _read(self, key: str, rows: slice) -> Array:
        if key not in self._members:
            raise RecordingError(f"{self._path.name} has no {key!r}")
        return self._array(self._members[key], rows)

    def _array(self, member: _Member, rows: slice) -> Array:
        """Read some images of an array, never more of it than a buffer besides."""
        whole = not member.shape or member.fortran or rows == slice(None)
        start, stop, _ = (0, 1, 1) if not member.shape else rows.indices(member.shape[0])
        if whole:
            start, stop = 0, member.shape[0] if member.shape else 1
        row_bytes = math.prod(member.shape[1:]) * member.dtype.itemsize
        shape = (stop - start, *member.shape[1:]) if member.shape else ()
        buffer = bytearray((stop - start) * row_bytes)
        try:
            with self._archive.open(member.path) as stream:
                _skip(stream, member.header_bytes + start * row_bytes)
                _fill(stream, buffer)
        except _DAMAGE as error:
            raise self._bad(f"array {member.path!r} cannot be read", str(error)) from error
        flat = np.frombuffer(buffer, dtype=member.dtype)
        if member.fortran:
            return flat.reshape(shape[::-1]).T[rows]
        return flat.reshape(shape)

    def _bad(self, what: str, found: str, wanted: str | None = None) -> RecordingError:
        return RecordingError(
            f"{self._path.name} {what}",
            found=found or None,
            wanted=wanted,
            hint="make it again with: segrt record MODEL --images DIR -o FILE.npz",
        )


def is_recording(path: Path) -> bool:
    """Say whether a file looks like a recording: a zip archive with a ``meta`` array."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "meta.npy" in archive.namelist()
    except _DAMAGE:
        return False


def _skip(stream: IO[bytes], count: int) -> None:
    while count:
        piece = len(stream.read(min(count, _READ_BYTES)))
        if not piece:
            raise EOFError("it ends too early")
        count -= piece


def _fill(stream: IO[bytes], buffer: bytearray) -> None:
    view = memoryview(buffer)
    while view:
        piece = stream.read(min(len(view), _READ_BYTES))
        if not piece:
            raise EOFError("it ends too early")
        view[: len(piece)] = piece
        view = view[len(piece) :]


def _is_input(key: str) -> bool:
    return key.startswith("input/")


def _is_loose(key: str, member: _Member, images: int) -> bool:
    if not key.startswith("layer/"):
        return False
    if len(member.shape) <= 1:
        return True
    # Cut up, images make a whole multiple; any other batch is damage.
    count = member.shape[0]
    return images > 0 and count > images and count % images == 0
