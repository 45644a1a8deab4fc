"""EXIF, ICC profiles, XMP, IPTC, resolution and texts, from any format into any other."""

import dataclasses
import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, IptcImagePlugin, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from hyperfunc.images import Photo, read_header, read_photo, write_photo
from hyperfunc.images.containers import read_chunks
from hyperfunc.images.libvips import from_array, set_field
from hyperfunc.images.metadata import SRGB_CHUNKS, Metadata

EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005


def make_exif() -> Image.Exif:
    """The tags of a photograph, turned, of 48 x 32 pixels."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Camera 1", 6
    exif[0x013B] = "José".encode()
    exif[EXIF] = {
        0x829A: IFDRational(1, 250),
        0x9003: "2024:05:06 07:08:09",
        0x927C: b"maker's secret",
        0xA002: 48,
        0xA003: 32,
        INTEROP: {1: "R98", 2: b"0100"},
    }
    exif[GPS] = {1: "N", 2: (47.0, 22.0, 30.0)}
    return exif


def load_exif(block: bytes | None) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """The main, the EXIF and the GPS directory of a block, as Pillow reads them."""
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    main = {tag: value for tag, value in exif.items() if tag not in (EXIF, GPS)}
    return main, dict(exif.get_ifd(EXIF)), dict(exif.get_ifd(GPS))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_once(tmp_path, xmp, suffix, orientation):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16] = 255  # The corner where an upright image begins.
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image{suffix}"
    Image.fromarray(stored).save(path, exif=exif, xmp=xmp if suffix != ".png" else None)
    with Image.open(path) as image:
        if suffix == ".avif" and orientation == 1:  # Pillow would go by the XMP.
            image.getexif()[0x0112] = 1
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    photo = read_photo(path)
    assert photo.pixels.shape == expected.shape and abs(photo.pixels - expected).max() <= 6
    assert read_header(path).size == photo.pixels.shape[:2]
    if suffix != ".png":
        assert b"ducks" in (photo.metadata.xmp or b"")
        assert b"Orientation" not in (photo.metadata.xmp or b"")
    for target in (".jpg", ".png", ".tif", ".webp", ".avif"):
        out = tmp_path / f"out{target}"
        write_photo(out, photo)
        assert read_header(out).orientation == 1
        with Image.open(out) as image:
            assert image.getexif().get(0x0112, 1) == 1


def test_avif_states_its_orientation_twice(tmp_path, draw_pixels):
    """That in its EXIF does not count (ISO/IEC 23008-12, Annex A.2.1)."""
    stored = draw_pixels((8, 12), 3, np.uint8)
    image = from_array(stored)
    set_field(image, "orientation", 6)
    image.heifsave(tmp_path / "a.avif", compression="av1", lossless=True)
    with Image.open(tmp_path / "a.avif") as other:
        assert b"\x12\x01\x03\0\x01\0\0\0\x06" in other.info["exif"]
    np.testing.assert_array_equal(read_photo(tmp_path / "a.avif").pixels, np.rot90(stored, -1))


def test_an_orientation_in_any_notation_is_applied_once(tmp_path, xmp):
    for notation in (b'tiff:Orientation="6"', b"tiff:Orientation='6'"):
        packet = xmp.replace(b'tiff:Orientation="6"', notation)
        Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", xmp=packet)
        kept = read_photo(tmp_path / "a.jpg").metadata.xmp
        assert kept is not None and b"ducks" in kept and b"Orientation" not in kept


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_is_kept(tmp_path, draw_pixels, srgb_profile, xmp, source, target):
    exif, path = make_exif(), tmp_path / f"image{source}"
    options: dict[str, Any] = {"icc_profile": srgb_profile, "dpi": (300, 200)}
    if source == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        texts.add_itxt("Title", "Enten am Fluß")
        options["pnginfo"] = texts
    elif source == ".tif":
        exif[700] = xmp
    else:
        options["xmp"] = xmp
    Image.fromarray(draw_pixels((32, 48), 3, np.uint8)).save(path, exif=exif.tobytes(), **options)
    photo = read_photo(path)
    out = tmp_path / f"out{target}"
    notes = write_photo(out, Photo(np.repeat(photo.pixels, 2, axis=0), photo.metadata))
    assert notes == (["texts dropped: Title"] if source == ".png" != target else [])
    kept = read_photo(out).metadata
    assert kept.icc == srgb_profile and kept.xmp and b"ducks" in kept.xmp
    main, details, gps = load_exif(kept.exif)
    assert main[0x010F] == "Maker" and main[0x0110] == "Camera 1" and main.get(0x0112, 1) == 1
    if source != ".tif":  # Pillow has written question marks there.
        assert main[0x013B].encode("latin-1").decode() == "José"
    assert details[0x9003] == "2024:05:06 07:08:09" and details[0x927C] == b"maker's secret"
    assert float(details[0x829A]) == pytest.approx(1 / 250)
    assert details[0xA002] == 32 and details[0xA003] == 96
    assert details.get(0xA001, 1) == 0xFFFF or source == ".tif" or target == ".tif"
    assert [float(x) for x in gps[2]] == [47.0, 22.0, 30.0]
    if source != ".webp":  # Pillow has not written it there.
        assert kept.dpi == pytest.approx((200, 300), abs=0.1)  # Turned with the image.
    if (source, target) == (".png", ".png"):
        assert kept.texts == {"Title": "Enten am Fluß"}


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_tags_of_any_tiff_become_exif(tmp_path, draw_pixels, byteorder, is_big):
    tags = [(271, 2, 6, b"Maker\0", True), (18246, 3, 1, 4, True), (33432, 2, 3, b"me\0", True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        draw_pixels((8, 8), 3, np.uint8),
        photometric="rgb",
        byteorder=byteorder,
        bigtiff=is_big,
        extratags=tags,
        metadata=None,
        software=False,
    )
    photo = read_photo(tmp_path / "a.tif")
    assert load_exif(photo.metadata.exif)[0] == {271: "Maker", 18246: 4, 33432: "me"}


def test_a_tiff_keeps_tags_of_windows_and_the_comment_of_a_jpeg(tmp_path, draw_pixels):
    exif, title = Image.Exif(), "Enten".encode("utf-16-le") + b"\0\0"
    exif[40091], exif[18246] = title, 4
    picture = Image.fromarray(draw_pixels((8, 8), 3, np.uint8))
    picture.save(tmp_path / "a.jpg", exif=exif.tobytes(), comment="ducks")
    write_photo(tmp_path / "a.tif", read_photo(tmp_path / "a.jpg"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        assert bytes(tags[40091].value) == title and tags[18246].value == 4
        assert tags[270].value == "ducks"


def test_a_thumbnail_is_dropped(tmp_path, draw_pixels):
    """It would show the image before it was enlarged."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 12)).save(thumbnail, "JPEG")
    data = thumbnail.getvalue()
    main = struct.pack("<HHHI4sI", 1, 271, 2, 2, b"m\0", 26)
    entries = [(259, 3, 1, 6), (513, 4, 1, 26 + 42), (514, 4, 1, len(data))]
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    block = b"Exif\0\0II*\0\x08\0\0\0" + main + second + bytes(4) + data
    path = tmp_path / "a.jpg"
    Image.fromarray(draw_pixels((8, 8), 3, np.uint8)).save(path, exif=block)
    assert data in path.read_bytes()
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        write_photo(tmp_path / f"b{suffix}", read_photo(path))
        assert data not in (tmp_path / f"b{suffix}").read_bytes()
        assert load_exif(read_photo(tmp_path / f"b{suffix}").metadata.exif)[0][271] == "m"


def test_no_metadata_is_invented(tmp_path, draw_pixels):
    """A resolution apart: libvips states the usual one where there is none, and it is ignored."""
    for suffix in (".jpg", ".png", ".tif", ".webp", ".avif"):
        write_photo(tmp_path / f"a{suffix}", Photo(draw_pixels((4, 4), 3, np.uint8)))
        assert read_photo(tmp_path / f"a{suffix}").metadata == Metadata()


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_webp_and_avif_keep_the_resolution_in_exif(tmp_path, draw_pixels, suffix):
    metadata = Metadata(dpi=(300.0, 118.11))
    path = tmp_path / f"a{suffix}"
    assert write_photo(path, Photo(draw_pixels((4, 4), 3, np.uint8), metadata)) == []
    assert read_photo(path).metadata.dpi == pytest.approx((300, 118.11), abs=0.01)
    with Image.open(path) as image:
        exif = image.getexif()
        assert (float(exif[282]), float(exif[283])) == pytest.approx((300, 118.11), abs=0.01)


def test_exif_of_an_srgb_image_says_so(tmp_path, draw_pixels):
    """libvips adds the tag where it is missing, for other colours by default."""
    exif = Image.Exif()
    exif[271] = "Maker"
    for stated, expected in ((None, 1), (1, 1), (0xFFFF, 0xFFFF)):
        if stated:
            exif[EXIF] = {0xA001: stated}
        photo = Photo(draw_pixels((4, 4), 3, np.uint8), Metadata(exif=exif.tobytes()[6:]))
        write_photo(tmp_path / "a.jpg", photo)
        assert load_exif(read_photo(tmp_path / "a.jpg").metadata.exif)[1][0xA001] == expected


def test_iptc_is_kept_by_jpeg_and_tiff(tmp_path, draw_pixels):
    records = b"\x1c\x02\x78\0\x05ducks"
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    picture = Image.fromarray(draw_pixels((8, 8), 3, np.uint8))
    extra = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    picture.save(tmp_path / "a.jpg", extra=extra)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.metadata.iptc == records
    for suffix in (".jpg", ".tif"):
        path = tmp_path / f"b{suffix}"
        assert write_photo(path, photo) == []
        assert read_photo(path).metadata.iptc == records
        with Image.open(path) as image:
            assert (IptcImagePlugin.getiptcinfo(image) or {})[2, 120] == b"ducks"
    for suffix in (".png", ".webp", ".avif"):
        assert write_photo(tmp_path / f"b{suffix}", photo) == ["IPTC dropped"]


def test_losses_are_noted(tmp_path, draw_pixels):
    pixels = draw_pixels((5, 6), 3, np.uint8)
    photo = Photo(pixels, Metadata(texts={"Author": "me", "comment": "ducks"}))
    lost = {
        ".png": [],
        ".jpg": ["texts dropped: Author"],
        ".tif": ["texts dropped: Author"],
        ".webp": ["texts dropped: Author, comment"],
        ".avif": ["texts dropped: Author, comment"],
    }
    for suffix, notes in lost.items():
        assert write_photo(tmp_path / f"a{suffix}", photo) == notes
    assert read_photo(tmp_path / "a.jpg").metadata.texts == {"comment": "ducks"}
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.info["comment"] == b"ducks"
    long = Metadata(xmp=b"x" * 70000)
    assert "XMP dropped" in write_photo(tmp_path / "b.jpg", Photo(pixels, long))[0]
    exif = make_exif()
    exif[EXIF][0x927C] = bytes(70000)
    long = Metadata(exif=exif.tobytes()[6:])
    assert "EXIF dropped" in write_photo(tmp_path / "b.jpg", Photo(pixels, long))[0]
    assert write_photo(tmp_path / "b.tif", Photo(pixels, long)) == []
    kept = load_exif(read_photo(tmp_path / "b.tif").metadata.exif)
    assert len(kept[1][0x927C]) == 70000


def test_damaged_exif_costs_no_pixels(tmp_path, draw_pixels):
    rng = np.random.default_rng(0)
    good, pixels = make_exif().tobytes(), draw_pixels((4, 4), 3, np.uint8)
    blocks = [bytearray(good) for _ in range(30)]
    for block in blocks:
        for _ in range(4):
            block[rng.integers(6, len(block))] = rng.integers(256)
    for block in [*map(bytes, blocks), b"Exif\0\0", b"Exif\0\0II", b"Exif\0\0" + bytes(300)]:
        for source, target in ((".png", ".tif"), (".jpg", ".png"), (".webp", ".jpg")):
            with warnings.catch_warnings(action="ignore"):
                Image.fromarray(pixels).save(tmp_path / f"a{source}", exif=block)
            photo = read_photo(tmp_path / f"a{source}")
            notes = write_photo(tmp_path / f"b{target}", photo)
            assert notes in ([], ["EXIF dropped: it is damaged"])
            assert read_photo(tmp_path / f"b{target}").pixels.size == pixels.size


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_chunks_of_a_png_are_kept_or_noted(tmp_path, draw_pixels, srgb_profile, dtype):
    def find_chunks(path: Path) -> dict[bytes, bytes]:
        with path.open("rb") as file:
            return {name: data for name, data in read_chunks(file) if name in SRGB_CHUNKS}

    photo = Photo(draw_pixels((5, 6), 3, dtype))
    unusual = {b"gAMA": struct.pack(">I", 100000), b"cHRM": P3, b"cICP": bytes([9, 16, 0, 1])}
    write_photo(tmp_path / "a.png", dataclasses.replace(photo, metadata=Metadata(colour=unusual)))
    read = read_photo(tmp_path / "a.png")
    assert read.metadata.colour == unusual and find_chunks(tmp_path / "a.png") == unusual
    assert not any("gAMA" in note for note in write_photo(tmp_path / "b.png", read))
    assert find_chunks(tmp_path / "b.png") == unusual
    for suffix in (".jpg", ".webp", ".tif"):
        (note,) = [n for n in write_photo(tmp_path / f"b{suffix}", read) if "dropped" in n]
        assert note.startswith("gAMA, cHRM, cICP dropped, which only PNG has")
    # Chunks that mean sRGB are not noted, and an ICC profile precedes all but cICP.
    usual = {name: data for name, data in SRGB_CHUNKS.items() if name != b"cICP"}
    both = Metadata(colour={b"gAMA": b"\0\0\0\1"}, icc=srgb_profile)
    for metadata in (Metadata(colour=usual), both):
        write_photo(tmp_path / "c.png", dataclasses.replace(photo, metadata=metadata))
        assert read_photo(tmp_path / "c.png").metadata.colour == {}
