"""Make a virtual environment with pip in it; standard library only.

Debian and Ubuntu split ``ensurepip`` off into the package python3-venv, which a fresh system does
not have, and ``python3 -m venv`` gives up there. Then pip is fetched as one wheel of known hash.

    python3 tools/make_venv.py .venv

SEGRT_PIP_WHEEL names another place of that wheel: a URL or a file, for machines without PyPI.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

PIP = "pip-26.0-py3-none-any.whl"
SHA256 = "98436feffb9e31bc9339cf369fd55d3331b1580b6a6f1173bacacddcf9c34754"
URL = f"https://example.invalid/{PIP}"
WANTED = (3, 11)


def main(arguments: list[str]) -> str | None:
    """Make the environment; return what went wrong."""
    if len(arguments) != 1:
        return "usage: python3 tools/make_venv.py FOLDER"
    if sys.version_info < WANTED:
        return (
            f"Python {sys.version.split()[0]} is too old: 3.11 or newer is needed.\n"
            "  do: install one (sudo apt install python3.11) and run: make PYTHON=python3.11 ..."
        )
    folder = Path(arguments[0])
    bundled = importlib.util.find_spec("ensurepip") is not None
    venv.create(folder, with_pip=bundled, clear=True, symlinks=True)
    if bundled:
        return None
    source = os.environ.get("SEGRT_PIP_WHEEL", URL)
    try:
        install_pip(folder / "bin" / "python", fetch(source))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return (
            f"This Python has no ensurepip, and pip could not be had from {source}:\n  {error}\n"
            f"  do: sudo apt install python3-venv    (or python3.{sys.version_info.minor}-venv)"
        )
    return None


def fetch(source: str) -> bytes:
    """Read the wheel and check its hash.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not the wheel that was expected.
    """
    url = source if "://" in source else Path(source).resolve().as_uri()
    with urllib.request.urlopen(url, timeout=60) as stream:
        wheel: bytes = stream.read()
    found = hashlib.sha256(wheel).hexdigest()
    if found != SHA256:
        raise ValueError(f"wrong file: sha256 {found}, wanted {SHA256}")
    return wheel


def install_pip(python: Path, wheel: bytes) -> None:
    """Let the wheel install itself: a wheel of pip can be run from within."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PIP
        path.write_bytes(wheel)
        command = [str(python), f"{path}/pip", "install", "--quiet", "--no-index", str(path)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
