"""The encoder against decoders that know nothing of it: Pillow's, and one written here from the specification."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskwright import png
from maskwright.errors import RangeError, ShapeError
from maskwright.imageio import load_image
from maskwright.png import encode_png

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "images" / "photos"
CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}


def chunks_of(data):
    """(kind, content) of each chunk; its CRC must be right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + content)
        found.append((kind, content))
        at += 12 + size
    return found


def paeth(left, up, corner):
    near = left + up - corner
    return min((abs(near - left), 0, left), (abs(near - up), 1, up), (abs(near - corner), 2, corner))[2]


def decode(data):
    """The pixels of a PNG that is not interlaced, byte by byte."""
    chunks = chunks_of(data)
    width, height, depth, color_type, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [0, 0, 0]
    step = CHANNELS[color_type] * depth // 8
    reader = zlib.decompressobj()
    raw = reader.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    assert reader.eof
    assert not reader.unused_data
    size = width * step
    assert len(raw) == height * (1 + size)
    rows = [[0] * size]
    for y in range(height):
        kind, *row = raw[y * (1 + size) : (y + 1) * (1 + size)]
        for x in range(size):
            left, up = row[x - step] if x >= step else 0, rows[-1][x]
            corner = rows[-1][x - step] if x >= step else 0
            row[x] = (row[x] + [0, left, up, (left + up) // 2, paeth(left, up, corner)][kind]) % 256
        rows.append(row)
    values = np.array(rows[1:], np.uint8).reshape(height, -1).view(">u2" if depth == 16 else np.uint8)
    return values.reshape(height, width, -1).squeeze(axis=2) if color_type == 0 else values.reshape(height, width, -1)


@pytest.fixture(params=["zlib_ng", "zlib"])
def deflater(request, monkeypatch):
    """With the library that is installed, and without it."""
    if request.param == "zlib":
        monkeypatch.setattr(png, "deflater", zlib)
    elif png.deflater is zlib:
        pytest.skip("zlib-ng is not installed")


def with_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def pillow_size(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return len(buffer.getvalue())


def make_pixels(shape, dtype, kind, seed):
    rng = np.random.default_rng(seed)
    full = np.iinfo(dtype).max
    if kind == "noise":
        return rng.integers(0, full, shape, dtype, endpoint=True)
    if kind == "flat":
        return np.full(shape, rng.integers(0, full), dtype)
    ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) * (full // 97)
    return (ramp if len(shape) == 2 else ramp[..., None] + np.arange(shape[2]) * 31).astype(dtype)


def make_cutout(photo):
    """A photo in a soft ellipse, with no colour where it is transparent."""
    with Image.open(PHOTOS / f"{photo}.jpg") as image:
        colors = np.asarray(image.convert("RGB"))
    height, width = colors.shape[:2]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot((y - height / 2) / (height * 0.4), (x - width / 2) / (width * 0.33))
    alpha = (np.clip((1.2 - distance) * 5, 0, 1) * 255).astype(np.uint8)
    return np.where(alpha[..., None] > 0, np.dstack([colors, alpha]), np.uint8(0))


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from(["noise", "flat", "ramp"]),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_holds_exactly_the_pixels(height, width, channels, dtype, kind, seed):
    pixels = make_pixels((height, width) if channels is None else (height, width, channels), dtype, kind, seed)
    before = pixels.copy()
    data = encode_png(pixels)
    expected = pixels[..., 0] if channels == 1 else pixels
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(pixels, before)
    if dtype == np.uint8:
        assert np.array_equal(with_pillow(data), expected)


@pytest.mark.usefixtures("deflater")
@pytest.mark.parametrize(
    "method", sorted({*png.FAST_METHODS, *png.SLOW_METHODS, png._Method(png.UP, 6)}, key=str), ids=str
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (13, 7)])
def test_each_way_to_write_rows_is_valid(method, dtype, size_hw, monkeypatch):
    monkeypatch.setattr(png, "STRIP_BYTES", 64)  # several strips: the row above comes from the strip before
    monkeypatch.setattr(png, "WINDOW", 100)
    monkeypatch.setattr(png, "_choose_methods", lambda _: [method])
    pixels = make_pixels((*size_hw, 4), dtype, "noise", 3)
    assert np.array_equal(decode(encode_png(pixels)), pixels)


@pytest.mark.usefixtures("deflater")
@pytest.mark.parametrize("kind", ["noise", "flat", "ramp"])
def test_big_pictures_are_many_strips(kind):
    pixels = make_pixels((700, 531, 4), np.uint8, kind, 1)
    data = encode_png(pixels)
    assert [name for name, _ in chunks_of(data)].count(b"IDAT") == 3
    assert np.array_equal(with_pillow(data), pixels)
    deep = pixels.astype(np.uint16) * 251 + 5
    loaded = load_image(encode_png(deep))
    assert np.array_equal(np.dstack([loaded.image, loaded.alpha]), deep)


@pytest.mark.usefixtures("deflater")
def test_a_strip_looks_back_into_the_one_before(monkeypatch):
    pair = make_pixels((2, 3000), np.uint8, "noise", 5)
    pixels = np.concatenate([pair] * 20)
    monkeypatch.setattr(png, "STRIP_BYTES", 2 * 3001)
    monkeypatch.setattr(png, "_choose_methods", lambda _: [png._Method(png.UP, 6)])
    data = encode_png(pixels)
    assert np.array_equal(decode(data), pixels)
    assert len(data) < 1.5 * 3 * 3000  # three rows are new, the other thirty-seven are those


def test_without_the_library_the_pixels_are_the_same(run_python, tmp_path):
    pixels = make_pixels((700, 531, 4), np.uint8, "ramp", 1)
    code = (
        "import sys; sys.modules['zlib_ng'] = None\n"
        "import numpy as np; from maskwright import png; assert png.deflater is png.zlib\n"
        "open('ours.png', 'wb').write(png.encode_png(np.load('pixels.npy')))"
    )
    np.save(tmp_path / "pixels.npy", pixels)
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(with_pillow((tmp_path / "ours.png").read_bytes()), pixels)


def test_views_are_written_as_they_look():
    pixels = make_pixels((40, 30, 4), np.uint16, "noise", 2)
    for view in (pixels[::-2, 3:20], pixels.transpose(1, 0, 2), pixels[..., ::-1], pixels[..., 1]):
        assert np.array_equal(decode(encode_png(view)), view)


@pytest.mark.usefixtures("deflater")
def test_bytes_do_not_depend_on_threads(monkeypatch):
    pixels = make_pixels((600, 700, 4), np.uint8, "ramp", 0) ^ make_pixels((600, 700, 4), np.uint8, "noise", 0) // 64
    files = []
    for cores in (1, 2, 7, None):
        monkeypatch.setattr(png.os, "cpu_count", lambda cores=cores: cores)
        files.append(encode_png(pixels))
    assert len(set(files)) == 1


def test_profile_and_exif_are_read_back():
    exif = Image.Exif()
    exif[0x0132] = "2024:01:02 03:04:05"
    data = encode_png(np.zeros((3, 4, 4), np.uint8), icc_profile=b"profile" * 99, exif=exif.tobytes())
    assert [kind for kind, _ in chunks_of(data)] == [b"IHDR", b"iCCP", b"eXIf", b"IDAT", b"IEND"]
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == b"profile" * 99
        assert image.getexif()[0x0132] == "2024:01:02 03:04:05"


@pytest.mark.usefixtures("deflater")
@pytest.mark.parametrize(
    "photo", ["anime_girl_lawn", "cars_two", "coffee", "groceries", "icecream", "person_skateboard", "lion"]
)
def test_not_much_bigger_than_pillow(photo):
    if not PHOTOS.is_dir():
        pytest.skip("the photos are not beside this checkout")
    cutout = make_cutout(photo)
    soft = np.ascontiguousarray(cutout[..., 3])
    for pixels in (cutout, soft, np.where(soft > 127, np.uint8(255), np.uint8(0))):
        assert len(encode_png(pixels)) <= 1.1 * pillow_size(pixels)


@pytest.mark.usefixtures("deflater")
def test_flat_art_is_not_much_bigger_than_pillow():
    blocks = np.kron(np.random.default_rng(1).integers(0, 255, (20, 20, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    assert len(encode_png(blocks)) <= 1.1 * pillow_size(blocks)


@pytest.mark.parametrize("shape", [(), (4,), (0, 3), (3, 0, 4), (3, 3, 5), (1, 3, 3, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"PNG pixels must be \(H, W\) or \(H, W, 1 to 4\).*; save each picture"):
        encode_png(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(RangeError, match=f"PNG pixels must be uint8 or uint16, got {np.dtype(dtype)}; for floats"):
        encode_png(np.zeros((3, 3), dtype))
