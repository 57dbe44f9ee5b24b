from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segrt.errors import ImageError, UsageError
from segrt.prediction.write import prepare_folder, write_picture

MASK = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_come_back(tmp_path, dtype):
    mask = MASK.astype(dtype) * (20 if dtype == np.uint8 else 5000)
    write_picture(tmp_path / "a.png", mask)
    write_picture(tmp_path / "a.tif", mask)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), mask)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.tif"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", MASK)
    before = (tmp_path / "a.png").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageError, match=r"a\.png") as caught:
        write_picture(tmp_path / "a.png", MASK + 1)
    assert "No space left" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_folder_is_created_with_its_parents(tmp_path):
    prepare_folder(tmp_path / "a" / "b c" / "ü")
    assert (tmp_path / "a" / "b c" / "ü").is_dir()
    assert not list((tmp_path / "a" / "b c" / "ü").iterdir())


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "f").touch()
    for folder in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(UsageError, match="cannot be written"):
            prepare_folder(folder)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux' /proc")
def test_read_only_folder():
    """/proc refuses new files even to root, as a read-only file system does."""
    for folder in (Path("/proc/self"), Path("/proc/self/none")):
        with pytest.raises(UsageError, match="cannot be written"):
            prepare_folder(folder)
    with pytest.raises(ImageError, match="cannot be written"):
        write_picture(Path("/proc/self/a.png"), MASK)
