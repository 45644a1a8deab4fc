"""Files of every kind: what is read is what was drawn, and what is written is what was given."""

import dataclasses
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from hyperfunc.api.representing import to_pixels
from hyperfunc.errors import UserError
from hyperfunc.images import (
    Photo,
    check_output,
    read_as_shown,
    read_header,
    read_image,
    read_photo,
    write_photo,
)
from hyperfunc.images.deep import PNG_SIGNATURE, png_chunk, read_png_chunks, write_png16
from hyperfunc.images.metadata import COLOUR_CHUNKS, Metadata, load_exif
from hyperfunc.images.photos import to_srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" dc:title="ducks"/></x:xmpmeta>'
)


def draw(size: tuple[int, int], channels: int, dtype: type) -> np.ndarray:
    """Noise on a ramp, so that each of the filters of PNG has its use."""
    rng = np.random.default_rng(channels)
    largest = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    ramp = np.linspace(0, 0.9, size[0] * size[1] * channels).reshape(*size, channels)
    values = ramp + rng.uniform(0, 0.1, size=(*size, channels)) * (np.arange(size[1]) % 2)[:, None]
    values = values * largest
    return values.astype(np.float32) if dtype is np.float32 else np.round(values).astype(dtype)


def decode_png(path: Path) -> np.ndarray:
    """The specification's definition, byte for byte: an independent reader of 16-bit PNGs."""
    data, offset, packed = path.read_bytes(), 8, b""
    while offset < len(data):
        length, name = struct.unpack_from(">I4s", data, offset)
        body = data[offset + 8 : offset + 8 + length]
        assert struct.unpack_from(">I", data, offset + 8 + length)[0] == zlib.crc32(name + body)
        if name == b"IHDR":
            width, height, bits, colour_type = struct.unpack_from(">IIBB", body)
        packed += body if name == b"IDAT" else b""
        offset += 12 + length
    assert bits == 16
    stride = 2 * {0: 1, 4: 2, 2: 3, 6: 4}[colour_type]
    raw, above, rows = zlib.decompress(packed), bytes(width * stride), []
    for start in range(0, len(raw), width * stride + 1):
        kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + width * stride])
        for i in range(len(row)):
            a = row[i - stride] if i >= stride else 0
            b, c = above[i], above[i - stride] if i >= stride else 0
            nearest = min((a, b, c), key=lambda value: abs(a + b - c - value))  # noqa: B023
            row[i] = (row[i] + [0, a, b, (a + b) // 2, nearest][kind]) % 256
        rows.append(bytes(row))
        above = rows[-1]
    return np.frombuffer(b"".join(rows), ">u2").reshape(height, width, -1)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".tif", np.uint8),
        (".tif", np.uint16),
        (".tif", np.float32),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(23, 17), (1, 1), (1, 9)])
def test_what_is_written_is_read_back(tmp_path, suffix, dtype, channels, size):
    pixels = draw(size, channels, dtype)
    path = tmp_path / f"image{suffix}"
    assert write_photo(path, Photo(pixels)) == []
    photo, header = read_photo(path), read_header(path)
    assert photo.pixels.dtype == dtype and photo.notes == ()
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert (header.size, header.channels, header.dtype) == (size, channels, dtype)
    assert header.bits == 8 * np.dtype(dtype).itemsize
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_what_the_specification_says(tmp_path, channels):
    pixels = draw((19, 11), channels, np.uint16)
    with (tmp_path / "image.png").open("wb") as file:
        write_png16(file, pixels)
    np.testing.assert_array_equal(decode_png(tmp_path / "image.png"), pixels)
    with Image.open(tmp_path / "image.png") as image:
        high = np.asarray(image.convert({1: "I", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    expected = pixels if channels == 1 else pixels >> 8
    np.testing.assert_array_equal(high.reshape(expected.shape), expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}])
def test_16_bit_tiff_without_and_through_pillow(tmp_path, byteorder, options, monkeypatch):
    pixels, path = draw((20, 30), 3, np.uint16), tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", byteorder=byteorder, **options)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)

    def refuse(self: object) -> None:  # as tifffile does for LZW, without imagecodecs
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiff_is_turned_as_others_are(tmp_path, orientation, monkeypatch):
    stored = draw((12, 10), 3, np.uint16)
    for name, pixels in {"8.tif": (stored >> 8).astype(np.uint8), "16.tif": stored}.items():
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", extratags=[tag])
    shallow, deep = (read_photo(tmp_path / name).pixels for name in ("8.tif", "16.tif"))
    np.testing.assert_array_equal(deep >> 8, shallow)
    assert read_header(tmp_path / "16.tif").size == deep.shape[:2]


def test_lzw_tiff(tmp_path):
    pixels = draw((20, 30), 1, np.uint16)
    path = tmp_path / "image.tif"
    Image.fromarray(pixels[..., 0]).save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)
    # The same with white as zero: a tag of two bytes, which stands in the file once.
    entry = struct.pack("<HHII", 262, 3, 1, 1)
    data = path.read_bytes()
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<HHII", 262, 3, 1, 0)))
    np.testing.assert_array_equal(read_photo(path).pixels, 65535 - pixels)


def test_pages_of_a_deep_tiff_are_noted(tmp_path):
    path, pixels = tmp_path / "image.tif", draw((3, 12), 10, np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels[..., 0], pixels[0])
    assert photo.notes == ("only the first of 3 images",)


@pytest.mark.parametrize("bits", [2, 4])
def test_key_of_a_png_of_few_bits(tmp_path, bits):
    samples, key = [0, 1, 2, 3], 2
    row = sum(sample << bits * (3 - i) for i, sample in enumerate(samples))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", key)),
        (b"IDAT", zlib.compress(b"\0" + row.to_bytes(bits // 2, "big"))),
        (b"IEND", b""),
    ]
    path = tmp_path / "image.png"
    path.write_bytes(PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))
    pixels = read_photo(path).pixels
    np.testing.assert_array_equal(pixels[0, :, 0], np.multiply(samples, 255) // (2**bits - 1))
    np.testing.assert_array_equal(pixels[0, :, 1], [255, 255, 0, 255])


def test_xmp_behind_the_pixels_of_a_png(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(draw((8, 8), 3, np.uint8)).save(path)
    pixels, end = path.read_bytes().split(png_chunk(b"IEND", b""))
    text = b"XML:com.adobe.xmp" + b"\0" * 5 + XMP
    path.write_bytes(pixels + png_chunk(b"iTXt", text) + png_chunk(b"IEND", b"") + end)
    xmp = read_photo(path).metadata.xmp
    assert xmp is not None and b"ducks" in xmp and b"Orientation" not in xmp


def test_what_windows_notes_of_a_jpeg_is_kept_in_a_tiff(tmp_path):
    exif = Image.Exif()
    title = "Enten".encode("utf-16-le") + b"\0\0"
    exif[40091], exif[18246] = title, 4
    Image.fromarray(draw((8, 8), 3, np.uint8)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    write_photo(tmp_path / "a.tif", read_photo(tmp_path / "a.jpg"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages[0].tags
        assert bytes(tags[40091].value) == title and tags[18246].value == 4


def test_a_profile_of_grey_does_not_go_with_rgb(tmp_path):
    grey = b"\0" * 16 + b"GRAY" + b"\0" * 108
    photo = Photo(draw((8, 8), 1, np.uint8), Metadata(icc=grey))
    assert write_photo(tmp_path / "a.png", photo) == []
    assert read_photo(tmp_path / "a.png").metadata.icc == grey
    (note,) = write_photo(tmp_path / "a.webp", photo)
    assert "ICC profile dropped" in note and read_photo(tmp_path / "a.webp").metadata.icc is None


def test_a_long_name(tmp_path):
    path = tmp_path / ("ü" * 123 + ".png")  # 250 of the 255 bytes that there may be.
    write_photo(path, Photo(draw((8, 8), 3, np.uint8)))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("channels", "dtype", "options"),
    [
        (1, np.float32, {"photometric": "minisblack"}),
        (1, np.uint16, {"photometric": "miniswhite"}),
        (3, np.uint16, {"photometric": "rgb", "planarconfig": "separate"}),
        (3, np.float32, {"photometric": "rgb"}),
        (2, np.uint16, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    ],
)
def test_every_way_to_read_a_deep_tiff_agrees(tmp_path, channels, dtype, options):
    path, pixels = tmp_path / "image.tif", draw((12, 10), channels, dtype)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(path, stored[..., 0] if channels == 1 else stored, **options)
    expected = pixels / (1 if dtype is np.float32 else 65535)
    expected = 1 - expected if options["photometric"] == "miniswhite" else expected
    alpha = expected[..., 1:] if channels == 2 else 1.0
    expected = np.broadcast_to(expected[..., : 3 if channels == 3 else 1], (12, 10, 3))
    shown = expected * alpha + 1 - alpha  # On white; what is trained on has no alpha.
    shown = np.round(shown * 65535) / 65535 if channels == 2 else shown
    np.testing.assert_allclose(to_pixels(path), shown, atol=1e-6)
    for image in (read_image(path), read_image(io.BytesIO(path.read_bytes()))):
        np.testing.assert_allclose(image / 255, expected, atol=0.501 / 255)


def test_tiff_variants(tmp_path):
    path, pixels = tmp_path / "image.tif", draw((12, 10), 3, np.uint16)
    tifffile.imwrite(path, np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)
    tifffile.imwrite(path, pixels[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(path).pixels[..., 0], 65535 - pixels[..., 0])
    tifffile.imwrite(path, pixels.astype(np.float64), photometric="rgb")
    np.testing.assert_array_equal(read_photo(path).pixels, pixels.astype(np.float32))
    straight = np.concatenate([pixels, np.full((12, 10, 1), 32768, np.uint16)], axis=-1)
    stored = straight.copy()
    stored[..., :3] = np.round(pixels * (32768 / 65535))
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_allclose(read_photo(path).pixels, straight, atol=2)
    with pytest.raises(UserError, match="32 bits"):
        tifffile.imwrite(path, pixels.astype(np.uint32), photometric="rgb")
        read_photo(path)
    with pytest.raises(UserError, match="not finite"):
        tifffile.imwrite(path, np.full((4, 4, 3), np.nan, np.float32), photometric="rgb")
        read_photo(path)


def test_palette_bits_and_keys(tmp_path):
    path = tmp_path / "image.png"
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    index = rng.integers(0, 7, (13, 11), dtype=np.uint8)
    palette = Image.fromarray(index, "P")
    palette.putpalette(colours.tobytes())
    palette.save(path)
    np.testing.assert_array_equal(read_photo(path).pixels, colours[index])
    palette.save(path, transparency=bytes([0, 128, 255, 255, 255, 255, 255]))
    alpha = np.array([0, 128, 255, 255, 255, 255, 255], np.uint8)
    np.testing.assert_array_equal(read_photo(path).pixels[..., 3], alpha[index])
    assert read_header(path).channels == 4

    Image.fromarray(index > 3).save(path)
    np.testing.assert_array_equal(read_photo(path).pixels[..., 0], (index > 3) * 255)
    assert read_header(path).bits == 1 and read_header(path).channels == 1

    Image.fromarray(index).save(path, transparency=3)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels[..., 1], np.where(index == 3, 0, 255))
    assert photo.pixels.shape[2] == read_header(path).channels == 2

    deep = rng.integers(0, 65536, (13, 11, 3)).astype(np.uint16)
    key = struct.pack(">3H", *deep[4, 5])
    chunk = struct.pack(">I", 6) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    with path.open("wb") as file:
        write_png16(file, deep, chunks=[chunk])
    photo = read_photo(path)
    assert photo.pixels[4, 5, 3] == 0 and (photo.pixels[..., 3] == 65535).sum() == 13 * 11 - 1
    assert read_header(path).channels == 4


def test_cmyk_with_and_without_a_profile(tmp_path):
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:, 4:] = [0, 255, 255, 0]  # white, and red
    image = Image.fromarray(cmyk, "CMYK")
    for suffix in ("jpg", "tif"):
        image.save(tmp_path / f"image.{suffix}")
        photo = read_photo(tmp_path / f"image.{suffix}")
        assert "without an ICC profile" in photo.notes[0]
        np.testing.assert_allclose(photo.pixels[4, 1], [255, 255, 255], atol=3)
        np.testing.assert_allclose(photo.pixels[4, 6], [255, 0, 0], atol=3)
        # A profile that is none of CMYK, or damaged, is no reason to fail.
        image.save(tmp_path / f"image.{suffix}", icc_profile=SRGB[:100])
        photo = read_photo(tmp_path / f"image.{suffix}")
        assert photo.pixels.shape == (8, 8, 3) and photo.metadata.icc is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16] = 255  # the corner where an upright image begins
    exif = Image.Exif()
    exif[0x0112] = orientation
    if suffix == ".tif":
        exif[700] = XMP
    path = tmp_path / f"image{suffix}"
    Image.fromarray(stored).save(path, exif=exif, xmp=XMP if suffix != ".png" else None)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert read_header(path).size == photo.pixels.shape[:2]
    out = tmp_path / f"out{suffix}"
    write_photo(out, photo)
    assert read_header(out).orientation == 1
    if suffix != ".png":
        assert b"ducks" in photo.metadata.xmp and b"Orientation" not in photo.metadata.xmp


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_is_kept(tmp_path, source, target, dtype):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Camera 1", 6
    exif[0x013B] = "José".encode()
    exif[0x8769] = {
        0x829A: IFDRational(1, 250),
        0x9003: "2024:05:06 07:08:09",
        0xA002: 48,
        0xA003: 32,
    }
    exif[0x8769][0x927C] = b"maker's secret"
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 30.0)}
    path = tmp_path / f"image{source}"
    options = {"icc_profile": SRGB, "dpi": (300, 200)}
    if source == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add_itxt("Title", "Enten am Fluß")
        options["pnginfo"] = texts
    elif source == ".tif":
        exif[700] = XMP
    else:
        options["xmp"] = XMP
    options["exif"] = exif.tobytes()
    Image.fromarray(draw((32, 48), 3, np.uint8)).save(path, **options)
    photo = read_photo(path)
    pixels = np.repeat(photo.pixels, 2, axis=0).astype(dtype)
    out = tmp_path / f"out{target}"
    notes = write_photo(out, Photo(pixels, photo.metadata))
    is_reduced = dtype is np.uint16 and target in (".jpg", ".webp")
    lost = ["texts dropped: Title"] if source == ".png" != target else []
    assert len(notes) == is_reduced + len(lost) and set(lost) <= set(notes)
    kept = read_photo(out).metadata
    assert kept.icc == SRGB
    assert b"ducks" in kept.xmp
    entries, directories = load_exif(kept.exif)
    assert entries[0x010F] == "Maker" and entries[0x0110] == "Camera 1" and 0x0112 not in entries
    if source != ".tif":  # where Pillow has written question marks itself
        assert entries[0x013B].encode("latin-1").decode() == "José"
    assert directories[0x8769][0x9003] == "2024:05:06 07:08:09"
    assert float(directories[0x8769][0x829A]) == pytest.approx(1 / 250)
    assert directories[0x8769][0x927C] == b"maker's secret"
    assert directories[0x8769][0xA002] == 32 and directories[0x8769][0xA003] == 96
    assert [float(x) for x in directories[0x8825][2]] == [47.0, 22.0, 30.0]
    if source != ".webp":  # where Pillow has not written it
        assert kept.dpi == pytest.approx((200, 300), abs=0.1)  # turned with the image
    if (source, target) == (".png", ".png"):
        assert kept.texts == {"Title": "Enten am Fluß"}


def test_what_a_format_lacks_is_said(tmp_path):
    alpha = draw((8, 8), 4, np.uint8)
    alpha[..., 3] = 0
    notes = write_photo(tmp_path / "a.jpg", Photo(alpha))
    assert "laid on white" in notes[0] and (read_photo(tmp_path / "a.jpg").pixels >= 254).all()
    notes = write_photo(tmp_path / "a.png", Photo(draw((8, 8), 3, np.float32)))
    assert "no floats" in notes[0]
    read = read_photo(tmp_path / "a.png").pixels
    np.testing.assert_allclose(read / 65535, draw((8, 8), 3, np.float32), atol=1 / 65535)
    deep = draw((8, 8), 1, np.uint16)
    assert "8 bits" in write_photo(tmp_path / "a.webp", Photo(deep), quality=100)[0]
    read = read_photo(tmp_path / "a.webp").pixels
    np.testing.assert_allclose(read, np.repeat(deep / 257, 3, axis=-1), atol=0.51)
    long = Metadata(exif=None, xmp=b"x" * 70000)
    assert "XMP dropped" in write_photo(tmp_path / "b.jpg", Photo(alpha[..., :3], long))[0]


def test_what_cannot_be_read(tmp_path):
    for name, data in {"empty.png": b"", "text.jpg": b"hello", "tiff.tif": b"II*\0rubbish"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name}: cannot be read as an image"):
            read_photo(tmp_path / name)
    write_photo(tmp_path / "whole.png", Photo(draw((40, 40), 3, np.uint16)))
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="half.png: cannot be read"):
        read_photo(tmp_path / "half.png")
    with pytest.raises(UserError, match="no such file"):
        read_photo(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder"):
        read_photo(tmp_path)


def test_damaged_metadata_costs_no_pixels(tmp_path):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Camera 1"
    exif[0x8769] = {0x829A: IFDRational(1, 250), 0x9003: "2024:05:06 07:08:09"}
    good, pixels = exif.tobytes(), draw((4, 4), 3, np.uint8)
    for trial in range(40):
        block = bytearray(good)
        for _ in range(4):
            block[rng.integers(6, len(block))] = rng.integers(256)
        for suffix in (".png", ".tif"):
            Image.fromarray(pixels).save(tmp_path / "in.png", exif=bytes(block))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the command does so, too
                photo = read_photo(tmp_path / "in.png")
                write_photo(tmp_path / f"{trial}{suffix}", photo)
                read = read_photo(tmp_path / f"{trial}{suffix}")
            assert read.pixels.size == pixels.size


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot write images as '.gif'"):
        check_output("a.gif", (4, 4))
    with pytest.raises(UserError, match="65500"):
        check_output("a.jpg", (4, 70000))
    with pytest.raises(UserError, match="16383"):
        check_output("a.webp", (16384, 4))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_photo(tmp_path / "file" / "a.png", Photo(draw((4, 4), 3, np.uint8)))


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_photo(path, Photo(draw((4, 4), 3, np.uint8)))
    before = path.read_bytes()

    def interrupt(self: Image.Image, where: Path, *args: object, **kwargs: object) -> None:
        where.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_photo(path, Photo(draw((8, 8), 3, np.uint8)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("largest", [65535, 1023])
def test_ppm_of_16_bits_keeps_them(tmp_path, largest, monkeypatch):
    values = draw((5, 7), 3, np.uint16)
    if largest < 65535:
        values >>= 6
    header = f"P6 # from a camera\n7\n# and more\n5 {largest}\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + values.astype(">u2").tobytes())
    looked = read_header(tmp_path / "a.ppm")
    assert (looked.bits, looked.dtype, looked.channels) == (16, np.uint16, 3)
    pixels = read_photo(tmp_path / "a.ppm").pixels
    assert pixels.dtype == np.uint16
    assert np.abs(pixels / 65535 - values / largest).max() <= 0.5 / 65535 + 1e-9
    assert np.abs(read_image(tmp_path / "a.ppm") / 255 - values / largest).max() <= 0.51 / 255
    # Half of it, and a header that promises more than any machine has.
    data = (tmp_path / "a.ppm").read_bytes()
    (tmp_path / "a.ppm").write_bytes(data[:-3])
    with pytest.raises(UserError, match="a.ppm.*truncated"):
        read_photo(tmp_path / "a.ppm")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as the command has it
    (tmp_path / "a.ppm").write_bytes(b"P6 99999999 99999999 65535\n" + b"0" * 60)
    with pytest.raises(UserError, match="a.ppm.*truncated"):
        read_photo(tmp_path / "a.ppm")


def test_pfm_is_floats(tmp_path):
    values = draw((5, 7), 1, np.float32) * 1.5 - 0.1
    Image.fromarray(values[..., 0]).save(tmp_path / "a.pfm")
    looked = read_header(tmp_path / "a.pfm")
    assert (looked.bits, looked.dtype, looked.channels) == (32, np.float32, 1)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.pfm").pixels, values)
    eight = np.floor(np.clip(values, 0, 1) * 255 + 0.5)
    np.testing.assert_array_equal(read_image(tmp_path / "a.pfm"), eight.repeat(3, axis=-1))
    values[2, 2] = np.nan
    Image.fromarray(values[..., 0]).save(tmp_path / "a.pfm")
    with pytest.raises(UserError, match="a.pfm.*not finite"):
        read_photo(tmp_path / "a.pfm")


def test_grey_with_premultiplied_alpha(tmp_path):
    stored = np.zeros((3, 4, 2), np.uint8)
    stored[..., 0], stored[..., 1] = 50, 128
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack", extrasamples=["assocalpha"]
    )
    pixels = read_photo(tmp_path / "a.tif").pixels
    assert pixels.shape == (3, 4, 2) and (pixels[..., 1] == 128).all()
    assert np.abs(pixels[..., 0] - 50 * 255 / 128.0).max() <= 1
    assert read_header(tmp_path / "a.tif").colours == "grey with alpha"


@pytest.mark.parametrize("exif", [None, "camera"])
def test_webp_keeps_the_resolution(tmp_path, exif):
    block = Image.Exif()
    block[271] = "a camera"
    metadata = Metadata(exif=block.tobytes() if exif else None, dpi=(300.0, 118.11))
    notes = write_photo(tmp_path / "a.webp", Photo(draw((4, 4), 3, np.uint8), metadata))
    kept = read_photo(tmp_path / "a.webp").metadata
    assert notes == [] and kept.dpi == pytest.approx((300, 118.11), abs=1e-3)
    assert (kept.exif is not None) == (exif is not None)  # Nothing but what there was.
    if exif:
        assert load_exif(kept.exif)[0] == {271: "a camera"}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (read_header, read_photo):
        with pytest.raises(UserError, match="a.png.*a pipe or a device"):
            read(tmp_path / "a.png")


def test_what_may_not_be_read_is_said(tmp_path, monkeypatch):
    write_photo(tmp_path / "a.png", Photo(draw((4, 4), 3, np.uint8)))

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="a.png: permission denied; check who may read it"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("photometric", "channels"), [("minisblack", 1), ("rgb", 4), ("rgb", 3)])
def test_turned_tiffs_without_compression(tmp_path, photometric, channels, orientation):
    """Pillow, given a path, maps them into memory by the size that they have after the turn."""
    stored = draw((12, 20), channels, np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored[..., 0] if channels == 1 else stored,
        photometric=photometric,
        extrasamples=["unassalpha"] if channels == 4 else None,
        extratags=[(274, 3, 1, orientation, True)],
    )
    upright = {1: stored, 3: stored[::-1, ::-1], 6: np.rot90(stored, 3), 8: np.rot90(stored)}
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, upright[orientation])
    colour = upright[orientation][..., :3]
    expected = np.broadcast_to(colour, (*colour.shape[:2], 3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)


def chunks_of(path: Path) -> dict[bytes, bytes]:
    return read_png_chunks(path, b"gAMA", b"cHRM", b"cICP")


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
USUAL = {name: data for name, data in COLOUR_CHUNKS.items() if name != b"cICP"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_png_says_of_colours_is_kept_or_noted(tmp_path, dtype):
    photo = Photo(draw((5, 6), 3, dtype))
    unusual = {b"gAMA": struct.pack(">I", 100000), b"cHRM": P3, b"cICP": bytes([9, 16, 0, 1])}
    write_photo(tmp_path / "a.png", dataclasses.replace(photo, metadata=Metadata(colour=unusual)))
    read = read_photo(tmp_path / "a.png")
    assert read.metadata.colour == unusual and chunks_of(tmp_path / "a.png") == unusual
    assert not any("gAMA" in note for note in write_photo(tmp_path / "b.png", read))
    assert chunks_of(tmp_path / "b.png") == unusual
    for suffix in (".jpg", ".webp", ".tif"):
        (note,) = [n for n in write_photo(tmp_path / f"b{suffix}", read) if "dropped" in n]
        assert note.startswith("gAMA, cHRM, cICP dropped, which only PNG has")
    # What says sRGB needs no word, and an ICC profile goes before all but cICP.
    for metadata in (Metadata(colour=USUAL), Metadata(colour={b"gAMA": b"\0\0\0\1"}, icc=SRGB)):
        write_photo(tmp_path / "c.png", dataclasses.replace(photo, metadata=metadata))
        assert read_photo(tmp_path / "c.png").metadata.colour == {}


def test_what_is_lost_besides_the_pixels_is_noted(tmp_path):
    photo = Photo(draw((5, 6), 3, np.uint8), Metadata(texts={"Author": "me", "comment": "ducks"}))
    lost = {
        ".png": [],
        ".jpg": ["texts dropped: Author"],
        ".tif": ["texts dropped: Author"],
        ".webp": ["texts dropped: Author, comment"],
    }
    for suffix, notes in lost.items():
        assert write_photo(tmp_path / f"a{suffix}", photo) == notes
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 4) + b"\x1c\x02\0\0"
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "b.jpg", extra=b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc)
    assert "IPTC dropped" in write_photo(tmp_path / "c.png", read_photo(tmp_path / "b.jpg"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_channel_of_no_meaning_is_left_out_with_a_word(tmp_path, dtype):
    pixels = draw((5, 6), 4, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
    assert any("left out: what it means is not stated" in note for note in photo.notes)


def make_profile(gamma: float, *, is_grey: bool) -> bytes:
    """The smallest ICC profile (version 2) that there can be: sRGB's primaries, or grey."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = xyz(0.9642, 1.0, 0.8249)
    tags = (
        {b"wtpt": white, b"kTRC": curve}
        if is_grey
        else {
            b"wtpt": white,
            b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
            **dict.fromkeys([b"rTRC", b"gTRC", b"bTRC"], curve),
        }
    )
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body
    size = start + len(data)
    space = b"GRAY" if is_grey else b"RGB "
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_through_its_profile_to_srgb(channels, dtype):
    """Gamma 1: the formula of sRGB's curve says what is to come out."""
    pixels = draw((16, 20), channels, dtype)
    largest = np.iinfo(dtype).max
    icc = make_profile(1.0, is_grey=channels < 3)
    converted = to_srgb(Photo(pixels, Metadata(icc=icc)))
    linear = pixels / largest
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    alpha = linear[..., -1:] if channels in (2, 4) else linear[..., :0]
    colour = curve[..., : channels - alpha.shape[2]]
    expected = np.concatenate([np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha], axis=-1)
    assert converted.pixels.dtype == np.uint8 and converted.pixels.shape == expected.shape
    # The steps of 8 bits are wide where sRGB's curve is steep.
    tolerance = np.where(expected > 0.2, 2.0, 14.0)
    assert (np.abs(converted.pixels - 255 * expected) <= tolerance).all()
    assert converted.metadata.icc and converted.metadata.icc != icc
    assert "converted to sRGB through its ICC profile" in converted.notes[0]


def test_srgb_stays_as_it_is_and_a_broken_profile_is_said():
    pixels = draw((5, 6), 3, np.uint16)
    for metadata in (Metadata(), Metadata(icc=SRGB)):
        photo = Photo(pixels, metadata)
        assert to_srgb(photo) is photo
    photo = to_srgb(Photo(pixels, Metadata(icc=b"no profile")))
    assert photo.pixels is pixels and "cannot be applied" in photo.notes[0]


def test_grey_in_its_own_colours_keeps_its_look_in_webp(tmp_path):
    photo = Photo(draw((16, 20), 1, np.uint8), Metadata(icc=make_profile(1.0, is_grey=True)))
    notes = write_photo(tmp_path / "a.webp", photo, quality=100)
    assert any("converted to sRGB" in note for note in notes)
    expected = to_srgb(photo).pixels
    np.testing.assert_array_equal(read_photo(tmp_path / "a.webp").pixels, expected)


@pytest.mark.parametrize("quality", [30, 75, 90, 97])
def test_the_quality_of_a_jpeg_is_estimated(tmp_path, quality):
    write_photo(tmp_path / "a.jpg", Photo(draw((16, 16), 3, np.uint8)), quality=quality)
    estimate = read_header(tmp_path / "a.jpg").quality
    assert estimate is not None and abs(estimate - quality) <= 1
    write_photo(tmp_path / "a.png", Photo(draw((16, 16), 3, np.uint8)))
    assert read_header(tmp_path / "a.png").quality is None


def test_an_image_is_read_as_it_is_shown(tmp_path):
    """In sRGB and on white; a function of it shows the same."""
    pixels = draw((16, 20), 4, np.uint8)
    pixels[:8, :, 3], pixels[8:, :, 3] = 0, 255
    icc = make_profile(1.0, is_grey=False)
    write_photo(tmp_path / "a.png", Photo(pixels, Metadata(icc=icc)))
    shown = read_as_shown(tmp_path / "a.png")
    expected = to_srgb(Photo(pixels[..., :3], Metadata(icc=icc))).pixels
    np.testing.assert_array_equal(shown.pixels[8:], expected[8:])
    assert (shown.pixels[:8] == 255).all() and "converted to sRGB" in shown.notes[0]
    np.testing.assert_allclose(to_pixels(tmp_path / "a.png"), shown.pixels / 255, atol=1e-6)
    write_photo(tmp_path / "a.tif", Photo(draw((16, 20), 3, np.float32) * 3))
    with pytest.raises(UserError, match=r"a\.tif: values from 0 to 2\.\d+; floats have to be in"):
        read_as_shown(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_a_png_cannot_hold_is_said(tmp_path, dtype):
    photo = Photo(draw((4, 5), 3, dtype), Metadata(has_iptc=True))
    assert any("IPTC" in note for note in write_photo(tmp_path / "a.png", photo))


def test_an_orientation_in_any_quotes_is_applied_once(tmp_path):
    for xmp in (XMP, XMP.replace(b'"6"', b"'6'")):
        Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", xmp=xmp)
        kept = read_photo(tmp_path / "a.jpg").metadata.xmp
        assert kept is not None and b"ducks" in kept and b"Orientation" not in kept
