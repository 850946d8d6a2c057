"""Pictures in and out: every kind of source, every kind of damage, and what a written file still knows."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps

from maskwright import decode, encode, metadata
from maskwright.errors import MediaError, OptionError, RangeError, ShapeError, TooManyPixels, UnknownFormat
from maskwright.imageio import (
    OUTPUT_FORMATS,
    Cutout,
    LoadedImage,
    load_frames,
    load_image,
    load_mask,
    save_animation,
    save_mask,
    write_bytes,
)
from maskwright.types import Provenance, to_8_bit

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "images"
FORMATS = sorted((IMAGES / "formats").glob("*"))
BROKEN = sorted((IMAGES / "broken").glob("*"))
ASTRONAUTS = """
    1x1.png 1x400.png 400x1.png animated.gif animated.png animated.webp bmp24.bmp cmyk.jpg icc_srgb.jpg icon.ico
    lossless_alpha.webp lossy.webp lzw.tif multipage.tif palette.png photo.avif photo.heic progressive.jpg rgb16.png
    rgba.png rgba16.png still.gif
"""
RNG = np.random.default_rng(0)

needs_images = pytest.mark.skipif(not FORMATS, reason="the test pictures are not beside this checkout")


def picture(name):
    if not FORMATS:
        pytest.skip("the test pictures are not beside this checkout")
    return IMAGES / name


def noise(height, width, channels=3, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def smooth(height, width):
    """Colours that a lossy format keeps."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([y * 255 // height, x * 255 // width, (x + y) * 255 // (height + width)]).astype(np.uint8)


def saved(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@functools.cache  # a profile holds the second it was made in
def rgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make_cutout(rgba, **options):
    alpha = (rgba[..., 3] / np.iinfo(rgba.dtype).max).astype(np.float32)
    return Cutout(rgba=rgba, alpha=alpha, mask=alpha, provenance=Provenance("test"), **options)


def disc(height=64, width=96, dtype=np.uint8):
    """A cut-out: soft alpha, no colour where it is transparent."""
    y, x = np.mgrid[:height, :width]
    alpha = np.clip(1.6 - np.hypot((y - height / 2) / (height / 3), (x - width / 2) / (width / 3)), 0, 1)
    alpha = np.rint(alpha * np.iinfo(dtype).max).astype(dtype)
    colors = smooth(height, width).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    return np.where(alpha[..., None] > 0, np.dstack([colors, alpha]), dtype(0))


# --- reading: every format


@needs_images
@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
def test_every_format_is_read_as_pillow_reads_it(path):
    if path.suffix == ".heic":
        pytest.importorskip("pillow_heif")
    loaded = load_image(path)
    assert loaded.image.ndim == 3
    assert loaded.image.dtype in (np.uint8, np.uint16)
    assert loaded.image.flags.c_contiguous
    if path.suffix == ".heic" or loaded.image.dtype == np.uint16:
        return
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert loaded.size_hw == upright.size[::-1]
    has_alpha = upright.has_transparency_data
    expected = np.asarray(upright.convert("RGBA" if has_alpha else "RGB"))
    assert np.array_equal(loaded.image, expected[..., :3])
    assert (loaded.alpha is not None) == has_alpha
    if has_alpha:
        assert np.array_equal(loaded.alpha, expected[..., 3])


@needs_images
@pytest.mark.parametrize(
    "name",
    ASTRONAUTS.split(),
)
def test_colours_are_the_astronauts(name):
    if name.endswith(".heic"):
        pytest.importorskip("pillow_heif")
    loaded = load_image(IMAGES / "formats" / name)
    with Image.open(IMAGES / "photos" / "astronaut.jpg") as image:
        expected = np.asarray(image.convert("RGB").resize(loaded.size_hw[::-1], Image.Resampling.LANCZOS))
    unit = 257 if loaded.image.dtype == np.uint16 else 1
    assert np.abs(loaded.image / unit - expected).mean() < 6


@needs_images
def test_all_orientations_are_upright():
    first = load_image(IMAGES / "formats" / "exif_orient_1.jpg")
    for orientation in range(1, 9):
        loaded = load_image(IMAGES / "formats" / f"exif_orient_{orientation}.jpg")
        assert loaded.size_hw == (160, 240)
        assert np.abs(loaded.image.astype(int) - first.image).mean() < 3
        assert loaded.exif is None


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9, 77])
@pytest.mark.parametrize("mode", ["RGB", "LA", "P", "I;16", "F"])
def test_orientation_of_every_mode(orientation, mode, monkeypatch):
    monkeypatch.setattr(decode, "STRIP_PIXELS", 20)  # several strips
    gray = noise(7, 11, 1)[..., 0]
    image = Image.fromarray(gray.astype(np.uint16) if mode == "I;16" else gray)
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, "TIFF" if mode == "F" else "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("F"))
    loaded = load_image(data)
    unit = 257 if mode == "F" else 1
    assert np.array_equal(loaded.image[..., 1] / unit, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda rgba: rgba.convert("1"),
        lambda rgba: rgba.convert("L"),
        lambda rgba: rgba.convert("LA"),
        lambda rgba: rgba.convert("LA").convert("La"),
        lambda rgba: rgba.convert("P"),
        lambda rgba: rgba.convert("P").convert("PA"),
        lambda rgba: rgba.convert("RGB"),
        lambda rgba: rgba.convert("RGB").convert("RGBX"),
        lambda rgba: rgba,
        lambda rgba: rgba.convert("RGBa"),
        lambda rgba: rgba.convert("RGB").convert("CMYK"),
        lambda rgba: rgba.convert("RGB").convert("YCbCr"),
        lambda rgba: rgba.convert("RGB").convert("HSV"),
    ],
)
def test_every_mode_in_memory(make):
    image = make(Image.fromarray(noise(9, 8, 4)))
    before = image.copy()
    loaded = load_image(image)
    step = image.convert("LA") if image.mode == "La" else image
    expected = np.asarray(step.convert("RGBA" if image.has_transparency_data else "RGB"))
    assert np.array_equal(loaded.image, expected[..., :3])
    assert loaded.format is None
    if image.has_transparency_data:
        assert np.array_equal(loaded.alpha, expected[..., 3])
    assert image == before


def test_lab_becomes_srgb():
    red = Image.new("RGB", (3, 2), (200, 30, 40))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    loaded = load_image(ImageCms.applyTransform(red, to_lab))
    assert np.abs(loaded.image.astype(int) - (200, 30, 40)).max() <= 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_becomes_alpha(mode):
    gray = np.tile(np.array([0, 255, 255, 0], np.uint8), (3, 1))
    image = Image.fromarray(gray).convert(mode)
    data = saved(image, transparency=(255, 255, 255) if mode == "RGB" else 255)
    assert load_image(data).alpha.tolist() == [[255, 0, 0, 255]] * 3


def test_a_palette_with_many_opacities():
    image = Image.fromarray(np.arange(4, dtype=np.uint8)[None]).convert("P")
    data = saved(image, transparency=bytes([0, 80, 160, 255]))
    assert load_image(data).alpha.tolist() == [[0, 80, 160, 255]]


# --- reading: 16 bits


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def filtered(rows, step):
    """Rows of bytes behind their filter number; all five filters in turn."""
    out, above = bytearray(), bytes(len(rows[0]))
    for y, row in enumerate(rows):
        out.append(y % 5)
        for x, value in enumerate(row):
            left, up = row[x - step] if x >= step else 0, above[x]
            corner = above[x - step] if x >= step else 0
            near = left + up - corner
            guess = min([left, up, corner], key=lambda c: abs(near - c))
            out.append((value - [0, left, up, (left + up) // 2, guess][y % 5]) % 256)
        above = row
    return bytes(out)


def write_png16(samples, color_type, *, interlaced=False, clear=None):
    """A PNG of 16 bits written from the specification; nothing of ours or Pillow's takes part."""
    height, width, channels = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        if part.size:
            data += filtered([row.astype(">u2").tobytes() for row in part], 2 * channels)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, int(interlaced))
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    if clear is not None:
        chunks.insert(1, (b"tRNS", struct.pack(f">{len(clear)}H", *clear)))
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
@pytest.mark.parametrize("size_hw", [(1, 1), (13, 19), (40, 3)])
def test_16_bit_pngs_keep_all_bits(color_type, channels, interlaced, size_hw):
    samples = noise(*size_hw, channels, np.uint16)
    loaded = load_image(write_png16(samples, color_type, interlaced=interlaced))
    assert loaded.image.dtype == np.uint16
    assert np.array_equal(loaded.image, np.broadcast_to(samples[..., : 1 if channels < 3 else 3], loaded.image.shape))
    assert (loaded.alpha is not None) == (channels in (2, 4))
    if loaded.alpha is not None:
        assert loaded.alpha.dtype == np.uint16
        assert np.array_equal(loaded.alpha, samples[..., -1])
    assert loaded.notes == ()


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3)])
def test_a_transparent_16_bit_colour(color_type, channels):
    samples = noise(4, 5, channels, np.uint16)
    clear = samples[2, 3].tolist()
    loaded = load_image(write_png16(samples, color_type, clear=clear))
    assert np.argwhere(loaded.alpha == 0).tolist() == [[2, 3]]
    assert loaded.alpha.max() == 65535


def test_16_bit_png_that_lies_on_its_side():
    cutout = disc(dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(encode.encode_png(cutout, exif=exif.tobytes()))
    assert np.array_equal(np.dstack([loaded.image, loaded.alpha]), np.rot90(cutout, -1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiffs_keep_all_bits(order):
    samples = noise(5, 4, 3, np.uint16)
    pixels = samples.astype(f"{order}u2").tobytes()
    entries = [
        *[(256, 3, 1, 4), (257, 3, 1, 5), (258, 3, 3, 146), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 152)],
        *[(277, 3, 1, 3), (278, 3, 1, 5), (279, 4, 1, len(pixels)), (284, 3, 1, 1), (339, 3, 1, 1)],
    ]
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        wide = kind == 4 or count > 1
        directory += struct.pack(
            f"{order}HHI" + ("I" if wide else "HH"), tag, kind, count, *([value] if wide else [value, 0])
        )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    data = (head + directory + bytes(4)).ljust(146, b"\0") + bits + pixels
    assert np.array_equal(load_image(data).image, samples)


def test_16_bits_are_reduced_with_a_note_where_pillow_cannot(monkeypatch):
    samples = noise(4, 5, 3, np.uint16)
    data = write_png16(samples, 2)
    monkeypatch.setattr(decode, "OTHER_ORDER", {"B": "X"})
    loaded = load_image(data)
    assert np.array_equal(loaded.image, samples >> 8)
    assert loaded.notes == ("read at 8 of its 16 bits",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 32768, 65535]),
        ([0, 1, 255], [0, 257, 65535]),
        ([0, 256, 65535], [0, 256, 65535]),
    ],
)
def test_numbers_without_a_range(values, expected):
    image = Image.fromarray(np.array([values], np.float32))
    assert load_image(image).image[0, :, 0].tolist() == expected
    if values[1] != 0.5:
        assert load_image(Image.fromarray(np.array([values], np.int32))).image[0, :, 2].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none(bad):
    with pytest.raises(MediaError, match=r"the values of the image must be finite, got NaN or infinity; mend"):
        load_image(Image.fromarray(np.array([[0, bad]], np.float32)))


@pytest.mark.parametrize("bad", [-1, 70000])
def test_numbers_out_of_any_range(bad):
    with pytest.raises(MediaError, match=r"must be in \[0, 65535\], got .*; scale them"):
        load_image(Image.fromarray(np.array([[0, bad]], np.int32)))


# --- reading: broken files


@needs_images
@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.name)
def test_broken_files_work_or_say_what_is_wrong(path):
    if path.name in ("jpeg_named.png", "noextension", "png_named.jpg", "tv_bad_huffman.jpg"):
        assert load_image(path).image.size > 0
        return
    with pytest.raises(MediaError, match=path.name) as caught:
        load_image(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the picture is empty \(0 bytes\); copy"),
        (b"<!DOCTYPE html><html>404", r"must be a picture, got what looks like HTML; a download"),
        (b'<?xml version="1.0"?><svg/>', r"got an SVG drawing; draw it to a PNG first"),
        (b"%PDF-1.7 and so on, and on", r"got a PDF; export the page"),
        (b"\0\0\0\x18ftypmp42 and so on", r"got a film; take its frames out first"),
        (bytes(40), r"got nothing but zero bytes; copy"),
        (b"a letter to a friend", r"got text; is it really a picture\?"),
        (bytes(range(200, 250)), r"got bytes of no known format; is it really a picture\?"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), r"the picture is damaged or cut off \(.+\); copy or download it again"),
        (b"\xff\xd8\xff\xe0" + bytes(9), r"its JPEG header makes no sense"),
    ],
)
def test_what_is_no_picture_is_named(data, message):
    with pytest.raises(MediaError, match=message):
        load_image(data)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_is_an_image_or_a_media_error(data):
    format_, options = data.draw(st.sampled_from([("PNG", {}), ("JPEG", {}), ("GIF", {}), ("WEBP", {}), ("BMP", {})]))
    exif = Image.Exif()
    exif[0x010F] = "camera"
    whole = bytearray(saved(Image.fromarray(smooth(12, 9)), format_, exif=exif, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MediaError):
        load_image(bytes(whole[: data.draw(st.integers(1, len(whole)))]), max_pixels=10**6)


def test_too_little_memory(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(decode, "_read_colors", fail)
    with pytest.raises(MediaError, match=r"the picture does not fit into memory; make it smaller"):
        load_image(saved(Image.new("RGB", (2, 2))))


def test_warnings_of_pillow_are_silent_and_filters_stay_as_they_were():
    before = list(warnings.filters)
    data = saved(Image.fromarray(smooth(20, 20)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\xff\0\0\0")
    load_image(data)
    threads = [threading.Thread(target=lambda: [load_image(data) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_format_whose_library_is_missing(monkeypatch):
    def accept(_):
        return "image file could not be identified because WEBP support not installed"

    data = saved(Image.new("RGB", (2, 2)), "WEBP")
    monkeypatch.setitem(Image.OPEN, "WEBP", (Image.OPEN["WEBP"][0], accept))
    with pytest.raises(MediaError, match="WEBP support not installed"):
        load_image(data)


def test_heic_without_its_reader(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnknownFormat, match=r'is a HEIC picture, .*; pip install "maskwright\[heif\]"'):
        load_image(picture("formats/photo.heic"))


def test_heic_registers_nothing():
    pytest.importorskip("pillow_heif")
    loaded = load_image(picture("formats/photo.heic"))
    assert (loaded.format, loaded.size_hw) == ("HEIF", (256, 256))
    assert "HEIF" not in Image.OPEN


# --- reading: paths and other sources


@needs_images
def test_all_sources_of_one_picture_are_equal():
    path = IMAGES / "formats" / "rgba.png"
    data = path.read_bytes()
    first = load_image(path)
    with path.open("rb") as file, Image.open(path) as image:
        file.seek(100)
        sources = [str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file, image, first]
        sources.append(np.dstack([first.image, first.alpha]))
        for source in sources:
            loaded = load_image(source)
            assert np.array_equal(loaded.image, first.image)
            assert np.array_equal(loaded.alpha, first.alpha)
        assert not file.closed


def test_a_file_that_cannot_seek():
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.rest = data

        def readable(self):
            return True

        def readall(self):
            return self.rest

    assert load_image(Pipe(saved(Image.new("RGB", (3, 2))))).size_hw == (2, 3)


def test_paths_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(MediaError, match=r"none.png must be an existing file, got nothing at that path; check the sp"):
        load_image(tmp_path / "none.png")
    with pytest.raises(MediaError, match="addresses are not fetched: download it first"):
        load_image("https://example.com/cat.jpg")
    with pytest.raises(MediaError, match=r"must be a file, got a folder; for folders"):
        load_image(tmp_path)
    with pytest.raises(MediaError, match=r"cannot be read \(.*null.*\); check who may read it"):
        load_image("a\0b")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match=r"x.png cannot be read \(Permission denied\); check who may read it"):
        load_image("x.png")


def test_sources_that_are_none(tmp_path):
    with pytest.raises(OptionError, match=r"a picture must be a path, bytes, .*, got int; turn it into"):
        load_image(7)
    with pytest.raises(OptionError, match=r"must be a file opened in binary mode, got a text file; open\(path, 'rb'\)"):
        load_image(io.StringIO("text"))


def test_a_closed_image_is_refused():
    image = opened(saved(Image.new("RGB", (3, 2))))
    image.close()
    with pytest.raises(MediaError, match="the image is damaged or cut off"):
        load_image(image)


# --- reading: the pixel limit


def test_the_pixel_limit(monkeypatch):
    data = saved(Image.new("RGB", (30, 20)))
    assert load_image(data, max_pixels=600).size_hw == (20, 30)
    with pytest.raises(TooManyPixels, match=r"must be at most 599 pixels, got 30 x 20 = 600; .*MASKWRIGHT_MAX_PIXELS"):
        load_image(data, max_pixels=599)
    monkeypatch.setenv("MASKWRIGHT_MAX_PIXELS", "599")
    with pytest.raises(MediaError, match="at most 599 pixels"):
        load_image(opened(data))
    with pytest.raises(MediaError, match="at most 599 pixels"):
        next(load_frames(data))
    assert load_image(data, max_pixels=600).size_hw == (20, 30)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_raised_limit_goes_past_pillows_own(format_, monkeypatch):
    """Pillow's limit is not asked, and stays what another part of the process made it."""
    data = saved(Image.new("RGB", (1500, 1200)), format_)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    assert load_image(data, max_pixels=2_000_000).size_hw == (1200, 1500)
    assert Image.MAX_IMAGE_PIXELS == 1_000_000


@pytest.mark.parametrize("name", ["bomb_30000x30000.png", "huge_header.png"])
def test_bombs_are_refused_by_their_header(name, monkeypatch):
    monkeypatch.setattr(decode, "read_planes", None)
    with pytest.raises(MediaError, match=r"must be at most 178956970 pixels"):
        load_image(picture(f"broken/{name}"))


def test_limits_that_are_none(monkeypatch):
    with pytest.raises(RangeError, match=r"the pixel limit must be at least 1, got 0; leave it out"):
        load_image(b"", max_pixels=0)
    monkeypatch.setenv("MASKWRIGHT_MAX_PIXELS", "many")
    with pytest.raises(OptionError, match=r"MASKWRIGHT_MAX_PIXELS must be a whole number, got 'many'; unset it"):
        load_image(b"")


# --- reading: arrays


@pytest.mark.parametrize("size_hw", [(1, 1), (17, 31), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_of_integers(size_hw, dtype):
    for channels in (1, 2, 3, 4):
        pixels = noise(*size_hw, channels, dtype)
        before = pixels.copy()
        loaded = load_image(pixels)
        assert loaded.image.dtype == dtype
        assert np.array_equal(loaded.image, np.broadcast_to(pixels[..., : 3 if channels > 2 else 1], (*size_hw, 3)))
        assert (loaded.alpha is not None) == (channels in (2, 4))
        assert loaded.alpha is None or np.array_equal(loaded.alpha, pixels[..., -1])
        assert np.array_equal(pixels, before)
        assert not loaded.image.flags.writeable
        assert pixels.flags.writeable


@given(st.floats(0, 1), st.sampled_from([np.float16, np.float32, np.float64]))
def test_arrays_of_floats_are_rounded_to_8_bits(value, dtype):
    pixels = np.full((2, 3), value, dtype)
    image = load_image(pixels).image
    assert image.shape == (2, 3, 3)
    assert np.abs(image - float(pixels[0, 0]) * 255).max() <= 0.5001


def test_halves_are_rounded_to_even():
    assert load_image(np.array([[0.5 / 255, 1.5 / 255, 2.5 / 255]])).image[0, :, 0].tolist() == [0, 2, 2]


def test_arrays_of_bool_and_views():
    flags = np.array([[True, False], [False, True]])
    assert load_image(flags).image[..., 1].tolist() == [[255, 0], [0, 255]]
    pixels = noise(10, 12, 4)
    assert np.array_equal(load_image(pixels[::-2, ::3, 2::-1]).image, pixels[::-2, ::3, 2::-1])


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (4, 0, 3), (4, 4, 5), (1, 4, 4, 3)])
def test_arrays_of_other_shapes(shape):
    with pytest.raises(ShapeError, match=r"a picture's array must be \(H, W\), .*; channels come last"):
        load_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, np.inf, 255.0])
def test_floats_out_of_range(bad):
    with pytest.raises(RangeError, match=r"a picture's array of floats must be in \[0, 1\], got .*; divide"):
        load_image(np.array([[0, bad]]))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.complex64])
def test_arrays_of_other_dtypes(dtype):
    with pytest.raises(RangeError, match=r"must be uint8, uint16, bool or float in \[0, 1\], got .*; for values"):
        load_image(np.zeros((2, 2), dtype))


# --- reading: frames


def frames_of(count=4):
    return [Image.fromarray(np.roll(disc(40, 40), 5 * k, axis=1)) for k in range(count)]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_frames_are_composed(format_):
    first, *rest = frames_of()
    options = {} if format_ == "TIFF" else {"duration": [40, 80, 120, 160]}
    if format_ == "GIF":
        options["disposal"] = 2
    data = saved(first, format_, save_all=True, append_images=rest, **options)
    pairs = list(load_frames(data))
    assert [duration for _, duration in pairs] == ([0] * 4 if format_ == "TIFF" else [40, 80, 120, 160])
    with Image.open(io.BytesIO(data)) as image:
        for frame, (loaded, _) in enumerate(pairs):
            image.seek(frame)
            expected = np.asarray(image.convert("RGBA"))
            assert np.array_equal(loaded.image, expected[..., :3])
            assert np.array_equal(loaded.alpha, expected[..., 3])
            assert (loaded.frames, loaded.notes) == (4, ())
        image.seek(2)
        assert len(list(load_frames(image))) == 4
        assert image.tell() == 2
    only = load_image(data)
    assert only.notes == ("only the first of 4 frames was read",)
    assert np.array_equal(only.image, pairs[0][0].image)


def test_stills_are_one_frame():
    array = noise(4, 4)
    for source in (array, load_image(array), Image.fromarray(array), saved(Image.fromarray(array))):
        ((loaded, duration),) = load_frames(source)
        assert np.array_equal(loaded.image, array)
        assert (loaded.frames, duration, loaded.notes) == (1, 0, ())


def test_a_picture_before_the_animation_is_left_out():
    first, *rest = frames_of(3)
    data = saved(first, "PNG", save_all=True, append_images=rest, default_image=True, duration=50)
    assert len(list(load_frames(data))) == 2


def test_photos_of_several_lenses_are_stills():
    first, second = (Image.fromarray(smooth(9, 9)) for _ in range(2))
    loaded = load_image(saved(first, "MPO", save_all=True, append_images=[second]))
    assert (loaded.format, loaded.frames, loaded.notes) == ("JPEG", 1, ())


def test_damage_in_a_later_frame_is_met_there():
    first, *rest = frames_of()
    data = saved(first, "GIF", save_all=True, append_images=rest, duration=50)
    frames = load_frames(data[: len(data) - 60])
    assert next(frames)[0].size_hw == (40, 40)
    with pytest.raises(MediaError, match="damaged or cut off"):
        list(frames)


# --- colour profiles and EXIF


def test_a_fitting_profile_is_kept():
    profile = rgb_profile()
    for mode in ("RGB", "RGBA", "P", "L"):
        assert load_image(saved(Image.new(mode, (4, 4)), icc_profile=profile)).icc_profile == profile


def test_other_profiles_are_dropped():
    gray = rgb_profile().replace(b"RGB XYZ", b"GRAYXYZ")
    assert load_image(saved(Image.new("L", (4, 4)), icc_profile=gray)).icc_profile is None
    assert load_image(saved(Image.new("RGB", (4, 4)), icc_profile=b"no profile")).icc_profile is None
    assert load_image(saved(Image.new("CMYK", (4, 4)), "TIFF", icc_profile=rgb_profile())).icc_profile is None


def test_cmyk_goes_through_its_profile(monkeypatch):
    calls = []

    def transform(image, transform):
        calls.append(transform)
        return Image.new("RGB", image.size, (1, 2, 3))

    profile = rgb_profile().replace(b"RGB XYZ", b"CMYKXYZ")
    data = saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", icc_profile=profile)
    with_damaged = load_image(data)
    assert with_damaged.notes == ("the colour profile could not be used",)
    assert with_damaged.image[0, 0].tolist() == [255, 0, 0]
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *args: args)
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda file: file.read())
    monkeypatch.setattr(ImageCms, "applyTransform", transform)
    loaded = load_image(data)
    assert loaded.image[0, 0].tolist() == [1, 2, 3]
    assert loaded.icc_profile is None
    assert (calls[0][0], calls[0][2:4]) == (profile, ("CMYK", "RGB"))


def full_exif():
    """What a camera writes and more: place, maker's block, thumbnail, sizes, a long block."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x02BC] = "camera", 1, b"<xmp/>"
    exif[0x8769] = {
        0x9003: "2024:01:02 03:04:05",
        0x927C: b"maker" * 40,
        0xA002: 64,
        0xA003: 64,
        0xEA1C: bytes(9),
        0x9286: b"p" * 5000,
    }
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif


def with_thumbnail(data, thumbnail):
    """The same JPEG whose EXIF has a second directory with a thumbnail."""
    marker = data.index(b"\xff\xe1")
    end = marker + 2 + struct.unpack_from(">H", data, marker + 2)[0]
    tiff = bytearray(data[marker + 10 : end])
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    at = len(tiff) + len(tiff) % 2
    struct.pack_into(f"{order}I", tiff, start + 2 + 12 * count, at)
    tiff += bytes(at - len(tiff))
    tiff += struct.pack(f"{order}HHHIIHHIII", 2, 0x0201, 4, 1, at + 30, 0x0202, 4, 1, len(thumbnail), 0) + thumbnail
    segment = b"Exif\0\0" + bytes(tiff)
    return data[: marker + 2] + struct.pack(">H", len(segment) + 2) + segment + data[end:]


def test_exif_gives_nothing_away():
    small = saved(Image.fromarray(smooth(16, 16)), "JPEG")
    data = saved(Image.fromarray(smooth(64, 64)), "JPEG", exif=full_exif())
    data = with_thumbnail(data, small)
    assert opened(data).getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(small)  # the test's own thumbnail is found
    loaded = load_image(data)
    kept = Image.Exif()
    kept.load(loaded.exif)
    assert kept[0x010F] == "camera"
    assert set(kept) == {0x010F, 0x8769}
    assert kept.get_ifd(0x8769) == {0x9003: "2024:01:02 03:04:05"}
    assert kept.get_ifd(ExifTags.IFD.IFD1) == {}
    for secret in (small[:40], b"maker", b"xmp", b"ppp"):
        assert secret not in loaded.exif


def test_the_place_is_kept_only_when_asked_for():
    data = saved(Image.fromarray(smooth(8, 8)), "JPEG", exif=full_exif())
    for keep, expected in ((False, {}), (True, {1: "N", 2: (48.0, 8.0, 0.0)})):
        kept = Image.Exif()
        kept.load(load_image(data, keep_gps=keep).exif)
        assert kept.get_ifd(0x8825) == expected


@needs_images
def test_a_photo_with_a_place():
    path = IMAGES / "formats" / "exif_gps.jpg"
    for keep in (False, True):
        loaded = load_image(path, keep_gps=keep)
        assert loaded.size_hw == (160, 240)
        exif = Image.Exif()
        exif.load(loaded.exif)
        assert (0x8825 in exif) == keep
        assert 0x0112 not in exif
        assert exif[0x010F]


def test_exif_that_cannot_be_cleaned(monkeypatch):
    def fail(*_, **__):
        raise struct.error("unpack requires a buffer")

    data = saved(Image.new("RGB", (2, 2)), exif=full_exif())
    monkeypatch.setattr(metadata.Image.Exif, "tobytes", fail)
    loaded = load_image(data)
    assert (loaded.exif, loaded.notes) == (None, ("the EXIF data is damaged and was left out",))
    monkeypatch.setattr(metadata.Image.Exif, "tobytes", lambda _: bytes(70_000))
    assert load_image(data).exif is None
    monkeypatch.setattr(decode, "exif_orientation", fail)
    assert load_image(data).size_hw == (2, 2)


def test_a_pil_image_brings_its_profile_and_exif():
    image = Image.new("RGB", (5, 4))
    image.info = {"icc_profile": rgb_profile(), "exif": full_exif().tobytes()}
    loaded = load_image(image)
    assert loaded.icc_profile == rgb_profile()
    assert b"camera" in loaded.exif


# --- masks


def test_masks_come_from_alpha_or_brightness():
    assert load_mask(disc()).dtype == np.float32
    assert np.array_equal(load_mask(disc()), disc()[..., 3] / np.float32(255))
    gray = np.arange(256, dtype=np.uint8)[None]
    assert np.array_equal(load_mask(gray), gray / np.float32(255))
    deep = np.array([[0, 32768, 65535]], np.uint16)
    assert np.allclose(load_mask(deep), [[0, 0.5, 1]], atol=1e-4)


def test_masks_are_saved_gray(tmp_path):
    mask = np.array([[0, 0.25, 1]], np.float32)
    data = save_mask(mask, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").read_bytes() == data
    assert opened(data).mode == "L"
    assert np.asarray(opened(data)).tolist() == [[0, 64, 255]]
    assert opened(save_mask(mask, format="webp")).format == "WEBP"
    with pytest.raises(RangeError, match=r"mask must be in \[0, 1\]"):
        save_mask(mask * 2)
    with pytest.raises(ShapeError, match="mask must be"):
        save_mask(mask[0])


# --- writing


@pytest.mark.parametrize("format_", ["png", "webp", "tiff"])
def test_lossless_formats_hold_every_pixel(format_, tmp_path):
    cutout = make_cutout(disc())
    path = cutout.save(tmp_path / f"cutout.{format_}")
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), cutout.rgba)


def test_16_bits_are_written_and_read_back(tmp_path):
    rgba = disc(dtype=np.uint16) + np.uint16(3) * (disc(dtype=np.uint16) > 0)
    loaded = load_image(make_cutout(rgba).save(tmp_path / "deep.png"))
    assert np.array_equal(np.dstack([loaded.image, loaded.alpha]), rgba)


@pytest.mark.parametrize("format_", OUTPUT_FORMATS)
def test_profile_and_exif_survive(format_):
    rgba = disc()
    rgba[..., 3] = 255
    exif = load_image(saved(Image.new("RGB", (2, 2)), exif=full_exif())).exif
    data = make_cutout(rgba, icc_profile=rgb_profile(), exif=exif).to_bytes(format_)
    image = opened(data)
    assert image.size == (96, 64)
    if format_ != "gif":
        assert image.info["icc_profile"] == rgb_profile()
        assert image.getexif()[0x010F] == "camera"
        assert (0x8769 in image.getexif()) == (format_ != "tiff")
        assert not image.getexif().get_ifd(0x8825)


@pytest.mark.parametrize("format_", [f for f in OUTPUT_FORMATS if f != "jpeg"])
@pytest.mark.parametrize("quality", [None, 30, 100])
def test_what_was_hidden_cannot_be_seen(format_, quality):
    """Nothing of the background comes back: in exact formats no colour at all, in lossy ones no trace of texture."""
    image = noise(96, 96)
    y, x = np.mgrid[:96, :96]
    alpha = np.where(np.hypot(y - 48, x - 48) < 24, 255, 0).astype(np.uint8)
    rgba = np.where(alpha[..., None] > 0, np.dstack([image, alpha]), np.uint8(0))
    back = np.asarray(opened(make_cutout(rgba).to_bytes(format_, quality=quality)).convert("RGBA"))
    exact = format_ in ("png", "tiff", "gif") or (format_ == "webp" and quality is None)
    hidden = back[..., 3] == 0
    assert hidden.mean() > 0.7
    if exact:
        assert back[..., :3][hidden].max() == 0
    far = np.hypot(y - 48, x - 48) > 40  # past the reach of a block that holds an edge
    assert back[..., :3][far].max() <= 8
    assert abs(np.corrcoef(back[..., 0][far] + RNG.random(far.sum()) / 9, image[..., 0][far])[0, 1]) < 0.1


def test_lossy_formats_are_near():
    rgba = disc()
    for format_ in ("webp", "avif"):
        back = np.asarray(opened(make_cutout(rgba).to_bytes(format_, quality=90)))
        opaque = rgba[..., 3] == 255
        assert np.abs(back[opaque].astype(int) - rgba[opaque]).mean() < 4


def test_quality_is_heard():
    cutout = make_cutout(disc(128, 128))
    for format_ in ("webp", "avif"):
        assert len(cutout.to_bytes(format_, quality=10)) < len(cutout.to_bytes(format_, quality=95))


def test_the_suffix_says_the_format_unless_told(tmp_path):
    rgba = disc()
    rgba[..., 3] = 255
    cutout = make_cutout(rgba)
    for name, expected in {"a.JPG": "JPEG", "a.tif": "TIFF", "a.WebP": "WEBP", "a": "PNG", "a.apng": "PNG"}.items():
        with Image.open(cutout.save(tmp_path / name)) as image:
            assert image.format == expected
    with Image.open(cutout.save(tmp_path / "b.jpg", format=".png")) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"


@pytest.mark.parametrize(("wanted", "cure"), [("pngg", "did you mean png"), ("docx", "name the file .png")])
def test_unknown_formats(wanted, cure, tmp_path):
    message = f"format must be one of png, webp, jpeg, tiff, avif, gif, got '{wanted}'; {cure}"
    with pytest.raises(OptionError, match=message):
        make_cutout(disc()).save(tmp_path / f"a.{wanted}")
    with pytest.raises(OptionError, match=message):
        make_cutout(disc()).to_bytes(wanted)
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold():
    with pytest.raises(OptionError, match=r"a JPEG must be opaque, got transparent pixels; .*--bgcolor"):
        make_cutout(disc()).to_bytes("jpeg")
    for format_ in ("webp", "tiff", "jpeg", "avif", "gif"):
        with pytest.raises(OptionError, match=rf"a 16-bit picture must be written as PNG, got {format_}; name it .png"):
            make_cutout(disc(dtype=np.uint16)).to_bytes(format_)
    with pytest.raises(
        MediaError, match=r"a picture of 16384 x 1 could not be written as webp \(.*\); write it as PNG"
    ):
        make_cutout(np.zeros((1, 16384, 4), np.uint8)).to_bytes("webp")


@pytest.mark.parametrize("quality", [0, 101, -3, 1.5])
def test_qualities_that_are_none(quality):
    with pytest.raises(RangeError, match=rf"quality must be a whole number, 1 to 100, got {quality}; 90"):
        make_cutout(disc()).to_bytes("webp", quality=quality)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_the_mask(dtype, tmp_path):
    cutout = make_cutout(disc(dtype=dtype), only_mask=True, icc_profile=rgb_profile())
    image = opened(cutout.to_bytes())
    assert image.mode == ("L" if dtype == np.uint8 else "I;16")
    assert "icc_profile" not in image.info
    assert np.array_equal(np.asarray(image), cutout.rgba[..., 3])
    assert cutout.to_pil().mode == "L"
    assert np.array_equal(opened(cutout.to_bytes("tiff")), cutout.rgba[..., 3])
    if dtype == np.uint8:
        assert opened(cutout.to_bytes("jpeg")).mode == "L"


def test_to_pil_and_foreground():
    cutout = make_cutout(disc(dtype=np.uint16), icc_profile=b"p")
    image = cutout.to_pil()
    assert (image.mode, image.info["icc_profile"]) == ("RGBA", b"p")
    expected = to_8_bit(cutout.rgba)
    expected[expected[..., 3] == 0] = 0  # what 8 bits cannot show takes its colour along
    assert np.array_equal(image, expected)
    assert np.shares_memory(cutout.foreground, cutout.rgba)
    assert cutout.foreground.shape == (64, 96, 3)


# --- writing: all or nothing


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "cutout.png"
    path.write_bytes(b"what was there")

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(encode.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["cutout.png"]
    assert path.read_bytes() == b"what was there"

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encode.os, "fsync", full)
    with pytest.raises(MediaError, match=r"cutout.png cannot be written \(No space left on device\); choose a folder"):
        write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["cutout.png"]
    assert path.read_bytes() == b"what was there"


def test_an_encoder_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(MediaError, match=r"could not be written as webp \(encoder error -2\); write it as PNG"):
        make_cutout(disc()).save(tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(MediaError, match=r"there is no folder .*none; make it: mkdir -p"):
        write_bytes(tmp_path / "none" / "a.png", b"x")
    with pytest.raises(MediaError, match=r"must be a file, got a folder; name a file in it: .*cutout.png"):
        write_bytes(tmp_path, b"x")
    with pytest.raises(MediaError, match=r"cannot be written \(.*null.*\)"):
        write_bytes("a\0b", b"x")
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=r"cannot be written \(Not a directory\)"):
        write_bytes(tmp_path / "file" / "a.png", b"x")


def test_links_and_pipes(tmp_path):
    (tmp_path / "real.png").write_bytes(b"old")
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "real.png")
    assert write_bytes(link, b"new") == link
    assert link.is_symlink()
    assert (tmp_path / "real.png").read_bytes() == b"new"
    assert write_bytes(os.devnull, b"new") == Path(os.devnull)
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_a_new_file_has_usual_rights(tmp_path):
    (tmp_path / "usual").touch()
    assert write_bytes(tmp_path / "a", b"x").stat().st_mode == (tmp_path / "usual").stat().st_mode


# --- animations


@pytest.mark.parametrize("format_", ["webp", "png", "gif"])
def test_animations_keep_their_frames(format_, tmp_path):
    cutouts = [make_cutout(np.roll(disc(40, 40), 5 * k, axis=1)) for k in range(3)]
    path = tmp_path / f"a.{format_}"
    data = save_animation(cutouts, [40, 50, 60], path)
    assert path.read_bytes() == data
    pairs = list(load_frames(data))
    assert [duration for _, duration in pairs] == [40, 50, 60]
    for cutout, (loaded, _) in zip(cutouts, pairs, strict=True):
        opaque = cutout.rgba[..., 3] == 255
        assert np.array_equal(loaded.alpha[opaque], np.full(opaque.sum(), 255))
        assert loaded.alpha[cutout.rgba[..., 3] == 0].max() == 0
        assert np.abs(loaded.image[opaque].astype(int) - cutout.rgba[opaque][:, :3]).mean() < 12


def test_rounded_durations_do_not_add_up():
    cutouts = [make_cutout(np.roll(disc(16, 16), k, axis=1)) for k in range(30)]
    durations = [1000 / 29.97] * 30
    for format_ in ("gif", "webp", "png"):
        total = sum(duration for _, duration in load_frames(save_animation(cutouts, durations, format=format_)))
        assert abs(total - sum(durations)) <= 5


def test_masks_and_deep_cutouts_are_animated_too():
    deep = [make_cutout(np.roll(disc(16, 16, np.uint16), k, axis=0)) for k in range(2)]
    assert len(list(load_frames(save_animation(deep, [30, 30], format="apng")))) == 2
    masks = [make_cutout(cutout.rgba, only_mask=True) for cutout in deep]
    for format_ in ("webp", "png", "gif"):
        assert len(list(load_frames(save_animation(masks, [30, 30], format=format_)))) == 2


def test_animations_that_cannot_be():
    cutout = make_cutout(disc(16, 16))
    with pytest.raises(
        OptionError, match=r"an animation must be one or more frames with a duration each, got 0 frames"
    ):
        save_animation([], [])
    with pytest.raises(OptionError, match="got 1 frames and 2 durations; durations are milliseconds"):
        save_animation([cutout], [1, 2])
    with pytest.raises(OptionError, match=r"format must be one of webp, png, gif, got 'jpeg'"):
        save_animation([cutout], [1], format="jpeg")
    with pytest.raises(ShapeError, match=r"a frame size must be that of the first frame"):
        save_animation([cutout, make_cutout(disc(16, 17))], [1, 1])
    with pytest.raises(RangeError, match=r"a frame's duration must be at least 0 ms, got -1; use 0"):
        save_animation([cutout], [-1])


def test_a_loaded_image_is_a_value():
    loaded = LoadedImage(image=noise(3, 4), alpha=None, icc_profile=None, exif=None, format=None)
    assert load_image(loaded) is loaded
    assert loaded.size_hw == (3, 4)
