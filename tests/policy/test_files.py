"""Files: short, free of foreign paths, small where they are data, and under a licence."""

import re
import tomllib
from pathlib import Path

from policy._source import ROOT, SOURCE, python_files, relative, repository_files

LONGEST = 350
# Longer for a reason; the number may only fall.
LONGER = {
    "src/segrt/api.py": 480,  # the public functions: more than half of it is their documentation
}
LARGEST_DATA_BYTES = 2_000_000
# In pieces, so that this file does not hold what it looks for.
FORBIDDEN = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w.])/wo" + r"rk/",
        r"(?<![\w.])/op" + r"t/",
        r"(?<![\w.])/ro" + r"ot/",
        r"(?<![\w.])/ho" + r"me/\w",
        r"\bpypi-" + r"more\b",
        r"\bwork" + r"trees?\b",
        r"\bTO" + r"DO\b",
        r"\bFIX" + r"ME\b",
    )
)
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".cfg", ".yml", ".yaml", ".sh", ""}


def too_long(name: str, text: str) -> str | None:
    lines, limit = len(text.splitlines()), LONGER.get(name, LONGEST)
    return f"{name}: {lines} lines, at most {limit}" if lines > limit else None


def forbidden(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern in FORBIDDEN
        for match in pattern.finditer(line)
    ]


def test_source_files_are_short():
    found = [too_long(relative(path), path.read_text("utf-8")) for path in python_files(SOURCE)]
    assert [problem for problem in found if problem] == []


def test_a_long_file_is_found():
    assert too_long("src/segrt/new.py", "x = 1\n" * (LONGEST + 1))
    assert not too_long("src/segrt/new.py", "x = 1\n" * LONGEST)


def test_no_longer_file_is_forgotten():
    assert [name for name in LONGER if not (ROOT / name).is_file()] == []
    short = [n for n in LONGER if len((ROOT / n).read_text("utf-8").splitlines()) <= LONGEST]
    assert short == [], "no longer too long: take it off the list"


def test_repository_names_no_foreign_paths_and_leaves_nothing_open():
    found = []
    for path in repository_files():
        if path.suffix in TEXT and path != Path(__file__):
            found += forbidden(relative(path), path.read_text("utf-8", errors="replace"))
    assert found == []


def test_foreign_paths_are_found():
    assert forbidden("a.md", "see /wo" + "rk/x") == ["a.md:1: /wo" + "rk/"]
    assert forbidden("a.py", "\n# TO" + "DO: later") == ["a.py:2: TO" + "DO"]
    assert forbidden("a.md", "docs/work/x and https://example.org/opt/x") == []


def test_package_data_is_small():
    data = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".py"]
    data = [path for path in data if "__pycache__" not in path.parts]
    assert data, "the demo's data is missing"
    sizes = {relative(path): path.stat().st_size for path in data}
    assert {name: size for name, size in sizes.items() if size > LARGEST_DATA_BYTES} == {}
    assert sum(sizes.values()) < 2 * LARGEST_DATA_BYTES


def test_licence_is_there():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache" in (ROOT / "README.md").read_text("utf-8")


def unpinned(project: dict, constraints: str) -> list[str]:
    """Dependencies without an exact version in the constraints."""
    lines = [line.split("#")[0].strip() for line in constraints.splitlines()]
    pinned = {_normal(line.split("==")[0]) for line in lines if "==" in line}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [_normal(re.split(r"[<>=!~;\[ ]", entry)[0]) for entry in wanted]
    return [name for name in names if name not in pinned]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_in_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert unpinned(project, (ROOT / "constraints.txt").read_text("utf-8")) == []


def test_an_unpinned_dependency_is_found():
    project = {"dependencies": ["numpy>=1.26", "onnx_ir>=1"], "optional-dependencies": {"dev": []}}
    assert unpinned(project, "numpy==2.0\nonnx-ir>=1\n") == ["onnx-ir"]


LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def broken_links(path: Path, text: str) -> list[str]:
    return [link for link in LINK.findall(text) if not (path.parent / link).exists()]


def test_links_between_documents_lead_somewhere():
    documents = [path for path in repository_files() if path.suffix == ".md"]
    assert len(documents) > 3
    found = {relative(path): broken_links(path, path.read_text("utf-8")) for path in documents}
    assert {name: links for name, links in found.items() if links} == {}


def test_a_broken_link_is_found():
    text = "[a](README.md), [b](nowhere.md#there), [c](https://example.org/x), [d](#here)"
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md"]
