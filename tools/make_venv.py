"""Make a virtual environment with pip in it; standard library only.

Debian and Ubuntu split ``ensurepip`` off into the package python3-venv, which a fresh system does
not have, and ``python3 -m venv`` gives up there. Then pip comes from the system's own package
python3-pip-whl, which needs no installation: it is downloaded, checked and unpacked by apt's tools.

    python3 tools/make_venv.py .venv
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

WANTED = (3, 11)
PACKAGE = "python3-pip-whl"


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
    try:
        with tempfile.TemporaryDirectory() as work:
            install_pip(folder / "bin" / "python", system_pip(Path(work)))
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        return (
            f"This Python has no ensurepip, and pip could not be had from {PACKAGE}:\n  {error}\n"
            f"  do: sudo apt install python3-venv    (or python3.{sys.version_info.minor}-venv)"
        )
    return None


def system_pip(work: Path) -> Path:
    """Download and unpack the system's package of pip; return the wheel in it.

    Raises:
        OSError: There is no apt, or no wheel in the package.
        subprocess.CalledProcessError: It cannot be downloaded or unpacked.
    """
    # apt's download helper is another user, who must be able to enter the folder.
    work.chmod(0o755)
    download = ["apt-get", "download", "--quiet", PACKAGE]
    if subprocess.run(download, cwd=work, capture_output=True, check=False).returncode:
        if os.geteuid() == 0:  # a fresh container has no package lists yet
            subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=True)
        subprocess.run(download, cwd=work, capture_output=True, check=True)
    packages = sorted(work.glob("*.deb"))
    if not packages:
        raise FileNotFoundError(f"apt-get downloaded no {PACKAGE}")
    unpacked = work / "unpacked"
    subprocess.run(["dpkg", "-x", str(packages[0]), str(unpacked)], check=True)
    wheels = sorted(unpacked.rglob("pip-*.whl"))
    if not wheels:
        raise FileNotFoundError(f"{packages[0].name} holds no wheel of pip")
    return wheels[0]


def install_pip(python: Path, wheel: Path) -> None:
    """Let the wheel install itself: a wheel of pip can be run from within."""
    command = [str(python), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
