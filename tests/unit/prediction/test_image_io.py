from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from segrt.errors import ImageError
from segrt.prediction.image_io import count_pages, read_image

RNG = np.random.default_rng(7)
GREY8 = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
RGBA8 = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
LA8 = RNG.integers(0, 256, (13, 17, 2), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)
RGBA16 = RNG.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
LA16 = RNG.integers(0, 65536, (13, 17, 2), dtype=np.uint16)


def png(path, pixels):
    """Write a PNG by its specification, each row with another filter."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = pixels.shape
    wide = pixels.dtype.itemsize
    rows = np.frombuffer(pixels.astype(f">u{wide}").tobytes(), np.uint8).reshape(height, -1)
    rows = rows.astype(int)
    step, out = channels * wide, bytearray()
    for y, row in enumerate(rows):
        up = rows[y - 1] if y else np.zeros_like(row)
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), up[:-step]])
        guess = left + up - corner
        paeth = np.select(
            [
                (abs(guess - left) <= abs(guess - up)) & (abs(guess - left) <= abs(guess - corner)),
                abs(guess - up) <= abs(guess - corner),
            ],
            [left, up],
            corner,
        )
        filters = (np.zeros_like(row), left, up, (left + up) // 2, paeth)
        out.append(y % 5)
        out += ((row - filters[y % 5]) % 256).astype(np.uint8).tobytes()
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8 * wide, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(out)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "pixels",
    [GREY8, LA8, RGB8, RGBA8, GREY16, LA16, RGB16, RGBA16],
    ids=lambda p: f"{p.shape}{p.dtype}",
)
def test_png_of_every_depth_and_colour_is_exact(tmp_path, pixels):
    png(tmp_path / "a.png", pixels)
    picture = read_image(tmp_path / "a.png")
    expected = pixels if pixels.ndim == 3 else pixels[..., None]
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.alpha == (expected.shape[-1] in (2, 4))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"planarconfig": "separate"}])
@pytest.mark.parametrize("pixels", [GREY8, RGB8, RGBA8, GREY16, RGB16, RGBA16], ids=str.__class__)
def test_tiff_is_exact(tmp_path, pixels, options, compression):
    options = dict(options)
    colour = pixels.ndim == 3
    if not colour:
        options.pop("planarconfig", None)
    stored = pixels
    if "planarconfig" in options:
        stored = np.moveaxis(pixels, -1, 0)
    extra = {"extrasamples": ["unassalpha"]} if colour and pixels.shape[-1] == 4 else {}
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb" if colour else "minisblack",
        compression=compression,
        **options,
        **extra,
    )
    picture = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, pixels if colour else pixels[..., None])
    assert picture.pixels.dtype == pixels.dtype
    assert picture.alpha == bool(extra)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "raw"])
@pytest.mark.parametrize("pixels", [GREY8, RGB8], ids=["grey", "rgb"])
def test_tiff_of_other_compressions_is_exact(tmp_path, pixels, compression):
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)
    expected = pixels if pixels.ndim == 3 else pixels[..., None]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, expected)


def test_compression_that_would_lose_bits_is_refused(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", RGB16, photometric="rgb")
    monkeypatch.setattr(
        tifffile.TiffPage,
        "asarray",
        lambda *_, **__: (_ for _ in ()).throw(
            ValueError("LZW requires the 'imagecodecs' package")
        ),
    )
    with pytest.raises(ImageError, match="compression") as caught:
        read_image(tmp_path / "a.tif")
    assert "pip install imagecodecs" in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_one_bit_and_palette(tmp_path, suffix):
    bits = GREY8 > 127
    Image.fromarray(bits).save(tmp_path / f"bits.{suffix}")
    np.testing.assert_array_equal(
        read_image(tmp_path / f"bits.{suffix}").pixels[..., 0], bits * 255
    )
    palette = Image.fromarray(RGB8).quantize(200)
    palette.save(tmp_path / f"palette.{suffix}")
    np.testing.assert_array_equal(
        read_image(tmp_path / f"palette.{suffix}").pixels, np.asarray(palette.convert("RGB"))
    )


def test_palette_with_transparency(tmp_path):
    palette = Image.fromarray(RGB8).quantize(200)
    palette.save(tmp_path / "a.png", transparency=3)
    picture = read_image(tmp_path / "a.png")
    assert picture.alpha
    np.testing.assert_array_equal(picture.pixels[..., :3], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(picture.pixels[..., 3] == 0, np.asarray(palette) == 3)


def test_white_is_zero(tmp_path):
    for pixels, name in ((GREY8, "a.tif"), (GREY16, "b.tif")):
        tifffile.imwrite(tmp_path / name, pixels, photometric="miniswhite")
        expected = np.iinfo(pixels.dtype).max - pixels
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels[..., 0], expected)


def test_cmyk(tmp_path):
    cmyk = Image.frombytes("CMYK", (17, 13), RGBA8.tobytes())
    expected = np.asarray(cmyk.convert("RGB")).astype(int)
    cmyk.save(tmp_path / "a.tif")
    found = read_image(tmp_path / "a.tif").pixels.astype(int)
    assert abs(found - expected).max() <= 1  # Pillow rounds twice
    cmyk.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").pixels, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "uint32"])
def test_other_tiff_numbers_stay_as_stored(tmp_path, dtype):
    values = (RNG.normal(size=(5, 6)) * 1000).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    picture = read_image(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(picture.pixels[..., 0], values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_float_tiff_with_nan_is_refused(tmp_path, bad):
    values = np.zeros((4, 4), np.float32)
    values[2, 1] = bad
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match=r"a\.tif.*NaN"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation_is_applied(tmp_path, code, name):
    exif = Image.Exif()
    exif[0x0112] = code
    smooth = np.add.outer(np.arange(24) * 8, np.arange(16) * 2).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / name, exif=exif)
    # Without its tag, the picture is as stored (and a JPEG has its losses).
    Image.fromarray(smooth).save(tmp_path / f"plain_{name}")
    plain = Image.fromarray(read_image(tmp_path / f"plain_{name}").pixels[..., 0])
    plain.getexif()[0x0112] = code
    expected = np.asarray(ImageOps.exif_transpose(plain))
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels[..., 0], expected)
    assert expected.shape == ((16, 24) if code >= 5 else (24, 16))


def test_every_page_of_a_stack_is_an_image(tmp_path):
    stack = RNG.integers(0, 256, (5, 8, 9), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert count_pages(tmp_path / "a.tif") == 5
    for page in range(5):
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.tif", page).pixels[..., 0], stack[page]
        )


def test_thumbnails_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(GREY8[::2, ::2], subfiletype=1, metadata=None)
        tiff.write(GREY8, metadata=None)
    assert count_pages(tmp_path / "a.tif") == 1
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[..., 0], GREY8)


def test_volume_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 16, 16), np.uint8),
        volumetric=True,
        tile=(4, 16, 16),
        photometric="minisblack",
    )
    with pytest.raises(ImageError, match="volume"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_thin_images(tmp_path, size, name):
    pixels = RNG.integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels[..., 0], pixels)


def test_suffix_does_not_matter(tmp_path):
    Image.fromarray(RGB8).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").pixels, RGB8)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of a directory that is cut off
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "raw.tif", "lzw.tif", "zlib.tif"])
def test_truncated_file_is_named(tmp_path, name):
    path = tmp_path / name
    if name.startswith(("raw", "zlib")):
        tifffile.imwrite(
            path, RGB8, photometric="rgb", compression=None if name[0] == "r" else "zlib"
        )
    else:
        Image.fromarray(RGB8).save(path, **({"compression": "tiff_lzw"} if name[0] == "l" else {}))
    data, whole = path.read_bytes(), read_image(path).pixels
    lengths, refused = range(0, len(data), 11), 0
    for length in lengths:
        path.write_bytes(data[:length])
        try:
            found = read_image(path).pixels
        except ImageError as error:
            refused += name in error.message
        else:  # only what follows the pixels was cut off
            np.testing.assert_array_equal(found, whole)
    assert refused > len(lengths) * 0.9


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
)
def test_no_image(tmp_path, content):
    (tmp_path / "x y.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"x y\.png"):
        read_image(tmp_path / "x y.png")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError):
        read_image(tmp_path)


def test_declared_giant_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "bomb.png"
    png(path, GREY8)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 2**30, 2**30)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match=r"bomb\.png.*too large"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_size_limit_counts_pixels(tmp_path, name):
    Image.fromarray(RGB8).save(tmp_path / name)
    read_image(tmp_path / name, max_pixels=13 * 17)
    with pytest.raises(ImageError, match="too large"):
        read_image(tmp_path / name, max_pixels=13 * 17 - 1)


def test_tiff_segment_that_inflates_too_far_is_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), compression="zlib", metadata=None)
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    bomb = b"".join([*(packer.compress(block) for _ in range(80)), packer.flush()])
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages[0].tags[tag].valueoffset for tag in (273, 279)]
    data = bytearray(path.read_bytes())
    for place, value in zip(places, (len(data), len(bomb)), strict=True):
        data[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(bytes(data) + bomb)
    with pytest.raises(ImageError, match="compressed segment"):
        read_image(path)


def test_damaged_files_raise_nothing_but_image_errors(tmp_path):
    chance = np.random.default_rng(3)
    path = tmp_path / "a"
    seeds = []
    for name, options in (("a.png", {}), ("a.jpg", {}), ("a.bmp", {})):
        Image.fromarray(RGB8).save(tmp_path / name, **options)
        seeds.append((tmp_path / name).read_bytes())
    tifffile.imwrite(path, GREY16, compression="zlib")
    seeds.append(path.read_bytes())
    survived = 0
    for seed in seeds:
        for _ in range(30):
            data = np.frombuffer(seed, np.uint8).copy()
            places = chance.integers(0, min(len(data), 200), chance.integers(1, 8))
            data[places] = chance.integers(0, 256, len(places))
            path.write_bytes(data.tobytes())
            with suppress(ImageError):
                read_image(path)
                survived += 1
    # Neither all nor none: else the damage was too small, or too large to reach the decoders.
    assert 0 < survived < 30 * len(seeds)


@pytest.mark.skipif(os.name != "posix", reason="file names of this kind need POSIX")
def test_unicode_and_spaces_in_names(tmp_path):
    path = tmp_path / "Zell e ñ 細胞.tif"
    tifffile.imwrite(path, GREY8)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], GREY8)
