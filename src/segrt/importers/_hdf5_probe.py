"""Read everything in an HDF5 file once, in a process of its own.

The HDF5 library can crash or loop for ever on damaged structures (a broken global heap is
enough). What a whole read-through survives here is then opened in the caller's process.

On Linux the process is a fork, which takes milliseconds; elsewhere, where forking is unsafe or
absent, this file is run as a script.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

# Of processor time, so that a busy machine does not make a sound file look damaged.
_SECONDS_AT_LEAST = 3.0
_BYTES_PER_SECOND = 20e6
# By the clock, for a child that waits instead of computing (a file on a share that went away).
_PATIENCE = 10


def probe(path: Path) -> str | None:
    """Read ``path`` in a child process.

    Returns:
        None if all went well, else what went wrong, in words.
    """
    seconds = _SECONDS_AT_LEAST + path.stat().st_size / _BYTES_PER_SECOND
    run = _in_fork if sys.platform == "linux" else _in_interpreter
    try:
        return run(os.fspath(path), seconds)
    except TimeoutError:
        return f"the HDF5 library did not finish reading it within {seconds:.0f} s of computing"
    except OSError as error:
        return f"no process could be started to read it: {error}"


def attribute_bytes(holder: Any, name: str) -> int:
    """Return an attribute's size as declared, without reading it (texts count as pointers)."""
    attribute = holder.attrs.get_id(name)
    return math.prod(attribute.shape or ()) * int(attribute.dtype.itemsize)


def _in_fork(path: str, seconds: float) -> str | None:
    receiver, sender = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns when a process with threads forks: the child might inherit a lock that
        # is held. h5py guards its own lock across forks, and the child uses nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _report(path, sender, seconds)
    os.close(sender)
    try:
        # Not `select`, which takes no descriptor above 1023: a server may have more files open.
        waiting = select.poll()
        waiting.register(receiver, select.POLLIN)
        if not waiting.poll(seconds * _PATIENCE * 1e3):
            os.kill(child, signal.SIGKILL)
            raise TimeoutError
        message = os.read(receiver, 4096).decode("utf-8", "replace")
    finally:
        os.close(receiver)
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) == signal.SIGXCPU:
            raise TimeoutError
        return f"the HDF5 library crashed on it (signal {os.WTERMSIG(status)})"
    return message or None


def _report(path: str, sender: int, seconds: float) -> None:
    """Read in the child, send what went wrong, and end without Python's usual clean-up."""
    import resource  # not on Windows, where nothing is forked

    try:
        limit = math.ceil(seconds)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        # A limit that the whole process is under (`ulimit -t`) can only be lowered.
        if most == resource.RLIM_INFINITY or limit < most:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        _read_all(path)
    except BaseException as error:  # noqa: BLE001 - nothing may unwind into the parent's code
        os.write(sender, f"{type(error).__name__}: {error}".encode()[:4096])
    finally:
        os._exit(0)


def _in_interpreter(path: str, seconds: float) -> str | None:
    # -P: this folder's modules must not shadow the standard library's.
    command = [sys.executable, "-P", __file__, path]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and file, no shell
            command, capture_output=True, timeout=seconds * _PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"the HDF5 library crashed on it (code {done.returncode})"


def _read_all(path: str) -> None:
    import h5py

    # Attributes matter as much as data: they hold the architecture.
    def visit(_name: str, member: Any) -> None:
        for key in list(member.attrs):
            if attribute_bytes(member, key) < 1 << 26:
                member.attrs[key]
        if not isinstance(member, h5py.Dataset) or member.is_virtual or member.external:
            return
        # An oversized declaration is the reader's to refuse, with a better message.
        if member.nbytes <= 1100 * member.id.get_storage_size() + (1 << 20):
            for chunk in member.iter_chunks() if member.chunks else [()]:
                member[chunk]

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)


if __name__ == "__main__":
    _read_all(sys.argv[1])
