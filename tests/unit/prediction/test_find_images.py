from __future__ import annotations

from pathlib import Path

import pytest

from segrt.errors import UsageError
from segrt.prediction.find_images import find_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folder_in_natural_order(tmp_path):
    touch(
        tmp_path,
        "i10.png",
        "i2.PNG",
        "i1.tif",
        "é.jpg",
        "a b.bmp",
        "notes.txt",
        ".hid.png",
        "s/x.png",
    )
    names = [path.name for path in find_images([tmp_path])]
    assert names == ["a b.bmp", "i1.tif", "i2.PNG", "i10.png", "é.jpg"]


def test_files_are_taken_once_and_whatever_their_suffix(tmp_path):
    touch(tmp_path, "a.png", "scan.raw")
    found = find_images([tmp_path / "scan.raw", tmp_path, str(tmp_path / "a.png")])
    assert [path.name for path in found] == ["a.png", "scan.raw"]


@pytest.mark.parametrize("names", [(), ("notes.txt",)])
def test_no_images(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(UsageError, match="no images"):
        find_images([tmp_path])
    with pytest.raises(UsageError):
        find_images([])


def test_missing_input_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        find_images([tmp_path, Path("nowhere")])
