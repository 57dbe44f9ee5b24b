"""The repository as the policies see it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
TESTS = ROOT / "tests"

_SKIPPED = {"__pycache__", "build", "dist", "demo-output", "node_modules"}


def python_files(*folders: Path) -> list[Path]:
    """Return the Python files under the folders; an empty answer would make a policy void."""
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    assert found, f"no Python files under {folders}"
    return found


def repository_files() -> list[Path]:
    """Return all files of the repository, without what was built or downloaded."""
    return sorted(_walk(ROOT))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in (".ci", ".gitignore")
        if hidden or path.name in _SKIPPED or path.suffix in (".segrt", ".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def relative(path: Path) -> str:
    """Name a file as it is called in messages."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", code],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
