"""The deployable directory: written at once or not at all, and read with suspicion."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from segrt.errors import PackageError, UsageError
from segrt.graph import custom_nodes
from segrt.targets._manifest import NAME, FileEntry, Manifest

_LARGEST_MANIFEST = 32 * 2**20
_MOST_ENTRIES = 2000
# The disk, or what one may use of it, is full; or a file may not become so large.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Package:
    """A package on disk whose files agree with its manifest.

    Attributes:
        path: The directory.
        manifest: What it says of itself.
    """

    path: Path
    manifest: Manifest

    def model(self) -> ir.Model:
        """Read the lowered graph, the one the engine runs.

        Raises:
            PackageError: It is damaged, or needs a custom operation that is not defined here.
        """
        custom_nodes.check_defined(self.manifest.custom_ops)
        return _read_model(self.path / "model.onnx")

    def imported(self) -> ir.Model:
        """Read the graph as it was before any pass.

        Raises:
            PackageError: See `model`.
        """
        custom_nodes.check_defined(self.manifest.custom_ops)
        return _read_model(self.path / "imported.onnx")

    def piece(self, folder: str) -> ir.Model:
        """Read the graph of one piece, where the package has a mix of engines.

        Raises:
            PackageError: See `model`.
        """
        custom_nodes.check_defined(self.manifest.custom_ops)
        return _read_model(self.path / folder / "model.onnx")


def load_package(path: str | os.PathLike[str]) -> Package:
    """Open a package, checking that it is whole and holds nothing else.

    Raises:
        PackageError: It is no package, is damaged, was changed, or comes from a newer SegRT.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    present = _list_files(folder)
    listed = set(manifest.files)
    if missing := sorted(listed - set(present)):
        raise _damaged(folder, f"missing: {', '.join(missing)}", "all files of the manifest")
    if extra := sorted(set(present) - listed):
        raise _damaged(folder, f"unknown: {', '.join(extra)}", "the files of the manifest only")
    # The sizes first: a file that was swapped for a huge one is refused without reading it.
    for name, entry in manifest.files.items():
        if present[name] != entry.bytes:
            raise _damaged(folder, f"{name}: {present[name]} bytes", f"{entry.bytes} bytes")
    hashes = _hashes(folder, list(manifest.files))
    for name, entry in manifest.files.items():
        if (found := hashes[name].sha256) != entry.sha256:
            raise _damaged(folder, f"{name}: sha256 {found}", entry.sha256)
    return Package(folder, manifest)


def write_package(
    output: Path, fill: Callable[[Path], Callable[[dict[str, FileEntry]], Manifest]]
) -> Package:
    """Write a package beside ``output`` and move it there when it is complete.

    Args:
        output: Where it goes. An existing package there is replaced; anything else is kept.
        fill: Writes the files into the folder it is given, and returns a function that makes
            the manifest from the files' hashes.

    Raises:
        UsageError: ``output`` is something that must not be overwritten, or cannot be written.
    """
    _check_replaceable(output)
    with _staging(output) as folder:
        finish = fill(folder)
        files = _hashes(folder, sorted(_list_files(folder)))
        manifest = finish(files)
        (folder / NAME).write_text(manifest.to_json(), encoding="utf-8")
        _move_into_place(folder, output)
    return Package(output, manifest)


def hash_file(path: Path) -> FileEntry:
    """Hash a file in pieces, so that memory does not grow with it."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return FileEntry(digest.hexdigest(), size)


def _hashes(folder: Path, names: Sequence[str]) -> dict[str, FileEntry]:
    """Hash files, two at a time: the library lets go of Python while it hashes."""
    with ThreadPoolExecutor(2, thread_name_prefix="segrt-hash") as workers:
        return dict(zip(names, workers.map(hash_file, [folder / n for n in names]), strict=True))


def _read_manifest(folder: Path) -> Manifest:
    file = folder / NAME
    if not folder.is_dir() or file.is_symlink() or not file.is_file():
        raise PackageError(
            f"{folder} is no SegRT package",
            found="a directory without manifest.json" if folder.is_dir() else "no directory",
            wanted="a directory that `segrt build` wrote",
            hint=f"a model file becomes one: segrt build {folder} -o {folder.with_suffix('.segrt')}"
            if folder.is_file()
            else None,
        )
    with file.open("rb") as stream:
        data = stream.read(_LARGEST_MANIFEST + 1)
    if len(data) > _LARGEST_MANIFEST:
        raise PackageError(f"{file} is too large", wanted=f"{_LARGEST_MANIFEST} bytes at most")
    try:
        return Manifest.from_json(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PackageError(f"{file} is damaged", found=str(error), wanted="UTF-8") from error


def _list_files(folder: Path) -> dict[str, int]:
    """Return path -> bytes of all files but the manifest; refuse links and special files."""
    found: dict[str, int] = {}
    entries, front = 0, [folder]
    while front:
        with os.scandir(front.pop()) as listing:
            for entry in listing:
                entries += 1
                if entries > _MOST_ENTRIES:
                    raise _damaged(folder, f"more than {_MOST_ENTRIES} entries", "a package")
                name = Path(entry.path).relative_to(folder).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    front.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    found[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise _damaged(folder, f"{name} is a link or special file", "plain files")
    found.pop(NAME, None)
    return found


def _damaged(folder: Path, found: str, wanted: str) -> PackageError:
    return PackageError(
        f"package {folder} does not match its manifest",
        found=found,
        wanted=wanted,
        hint="build it again, or copy it again from where it was built",
    )


def _check_replaceable(output: Path) -> None:
    """Refuse to replace anything that is not wholly a package of ours, or an empty directory."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output} exists and is no directory", hint="choose another name")
    if not output.exists() or not any(output.iterdir()):
        return
    try:
        strangers = set(_list_files(output)) - set(_read_manifest(output).files)
    except PackageError as error:
        raise UsageError(
            f"{output} exists and is no SegRT package, so it is not overwritten",
            hint="choose another name, or remove it",
        ) from error
    if strangers:
        raise UsageError(
            f"{output} holds files that are not SegRT's, so it is not overwritten",
            found=", ".join(sorted(strangers)),
            hint="choose another name, or move them away",
        )


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    folder = output.parent / f".{output.name}.{secrets.token_hex(4)}.tmp"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise UsageError(f"cannot write to {output.parent}", found=str(error)) from error
    try:
        yield folder
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UsageError(
            f"cannot write {output}",
            found=error.strerror,
            hint="make room there, or choose another place; nothing was changed",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_into_place(folder: Path, output: Path) -> None:
    """Rename; an old package is moved aside first and put back should the rename fail."""
    if not output.exists():
        folder.rename(output)
        return
    aside = folder.with_name(f"{folder.name}.old")
    output.rename(aside)
    try:
        folder.rename(output)
    except OSError:
        aside.rename(output)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _read_model(path: Path) -> ir.Model:
    try:
        return ir.load(path)
    except Exception as error:  # protobuf and onnx_ir raise many kinds
        raise PackageError(f"{path} is no ONNX model", found=str(error)) from error
