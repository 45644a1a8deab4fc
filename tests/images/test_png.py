"""PNG: few bits, palettes, transparent colours, texts and metadata behind the pixels."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hyperfunc.images import Photo, read_header, read_photo, write_photo


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_with_a_transparent_level(tmp_path, make_png, bits):
    samples, key = np.arange(8) % 2**bits, 1
    row = sum(int(sample) << bits * (7 - i) for i, sample in enumerate(samples))
    data = make_png(
        (8, 1, bits, 0), [row.to_bytes(bits, "big")], [(b"tRNS", struct.pack(">H", key))]
    )
    (tmp_path / "a.png").write_bytes(data)
    pixels, header = read_photo(tmp_path / "a.png").pixels, read_header(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels[0, :, 0], samples * 255 // (2**bits - 1))
    np.testing.assert_array_equal(pixels[0, :, 1], np.where(samples == key, 0, 255))
    assert (header.bits, header.channels) == (bits, 2)


def test_palettes(tmp_path):
    path, rng = tmp_path / "image.png", np.random.default_rng(0)
    colours = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    index = rng.integers(0, 7, (13, 11), dtype=np.uint8)
    palette = Image.fromarray(index, "P")
    palette.putpalette(colours.tobytes())
    palette.save(path)
    np.testing.assert_array_equal(read_photo(path).pixels, colours[index])
    assert read_header(path).colours == "palette"
    palette.save(path, transparency=bytes([0, 128, 255, 255, 255, 255, 255]))
    alpha = np.array([0, 128, 255, 255, 255, 255, 255], np.uint8)
    np.testing.assert_array_equal(read_photo(path).pixels[..., 3], alpha[index])
    header = read_header(path)
    assert (header.channels, header.colours) == (4, "palette with transparency")


def test_one_bit(tmp_path):
    is_white = np.random.default_rng(0).integers(0, 2, (13, 11)).astype(bool)
    Image.fromarray(is_white).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels[..., 0], is_white * 255)
    header = read_header(tmp_path / "a.png")
    assert (header.bits, header.channels, header.colours) == (1, 1, "black and white")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_16_bits(tmp_path, make_png, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (13, 11, channels)).astype(">u2")
    key = [(b"tRNS", pixels[4, 5].tobytes())]
    rows = [row.tobytes() for row in pixels]
    data = make_png((11, 13, 16, 0 if channels == 1 else 2), rows, key)
    (tmp_path / "a.png").write_bytes(data)
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels[..., :-1], pixels)
    is_clear = (pixels == pixels[4, 5]).all(axis=-1)
    np.testing.assert_array_equal(photo.pixels[..., -1], np.where(is_clear, 0, 65535))
    assert read_header(tmp_path / "a.png").channels == channels + 1


def test_metadata_behind_the_pixels(tmp_path, make_png, xmp):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    after = [
        (b"iTXt", b"XML:com.adobe.xmp" + b"\0" * 5 + xmp),
        (b"tEXt", b"Title\0Fl\xfcsse"),
        (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
    ]
    data = make_png((2, 1, 8, 0), [b"\x05\x06"], after=after)
    (tmp_path / "a.png").write_bytes(data)
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels[..., 0], [[5], [6]])  # Upright.
    assert photo.metadata.xmp and b"ducks" in photo.metadata.xmp
    assert b"Orientation" not in photo.metadata.xmp
    assert photo.metadata.texts == {"Title": "Flüsse"}
    assert photo.metadata.exif and b"Maker" in photo.metadata.exif


def test_texts_in_every_encoding(tmp_path, make_png):
    before = [
        (b"tEXt", b"Author\0Jos\xe9"),
        (b"zTXt", b"Comment\0\0" + zlib.compress("Zwölf".encode("latin-1"))),
        (b"iTXt", b"Title\0\0\0de\0Titel\0" + "Fluß 川".encode()),
        (b"iTXt", b"Place\0\1\0\0\0" + zlib.compress("Zürich".encode())),
        (b"zTXt", b"Broken\0\0" + b"no compressed text"),
    ]
    (tmp_path / "a.png").write_bytes(make_png((2, 1, 8, 0), [b"\x05\x06"], before))
    wanted = {"Author": "José", "Comment": "Zwölf", "Title": "Fluß 川", "Place": "Zürich"}
    photo = read_photo(tmp_path / "a.png")
    assert photo.metadata.texts == wanted
    write_photo(tmp_path / "b.png", photo)
    assert read_photo(tmp_path / "b.png").metadata.texts == wanted
    with Image.open(tmp_path / "b.png") as image:
        assert image.text == wanted


def test_texts_never_decide_whether_a_picture_is_read(tmp_path, make_png):
    """Large ones are kept, repeated ones are joined, and a note counts the others."""
    large = b"prompt " * 500_000
    before = [
        (b"zTXt", b"large\0\0" + zlib.compress(large)),
        (b"iTXt", b"also\0\1\0\0\0" + zlib.compress(large)),
        *((b"tEXt", b"Comment\0line %d" % i) for i in range(2000)),
        (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(2**25))),
        (b"zTXt", b"cut\0\0" + zlib.compress(large)[:-9]),
        (b"tEXt", b"\0no keyword"),
        (b"tEXt", b"huge\0" + bytes(2**24)),
    ]
    for place in ("before", "after"):
        (tmp_path / "a.png").write_bytes(make_png((2, 1, 8, 0), [b"\x05\x06"], **{place: before}))
        photo = read_photo(tmp_path / "a.png")
        assert photo.pixels.ravel().tolist() == [5, 6]
        assert photo.metadata.texts["large"] == photo.metadata.texts["also"] == large.decode()
        assert photo.metadata.texts["Comment"].split("\n") == [f"line {i}" for i in range(2000)]
        assert photo.notes == ("texts dropped, which are damaged or of more than 16 MiB: 4",)
        write_photo(tmp_path / "b.png", photo)
        assert read_photo(tmp_path / "b.png").metadata.texts == photo.metadata.texts


def test_damaged_and_large_chunks_never_decide_whether_a_picture_is_read(tmp_path, make_png):
    before = [
        (b"gAMA", b"1"),
        (b"cHRM", b"12"),
        (b"cICP", b"1"),
        (b"pHYs", b"1"),
        (b"tIME", b"1"),
        (b"iCCP", b"name\0\0rubbish"),
        (b"eXIf", b"II*\0" + bytes(10)),
        (b"eXIf", b"rubbish"),
        (b"prVt", bytes(2**24 + 1)),
    ]
    data = make_png((2, 1, 8, 0), [b"\x05\x06"], before)
    wrong = data.replace(b"rubbish", b"RUBBISH")  # Their checksums do not fit.
    for content in (data, wrong):
        (tmp_path / "a.png").write_bytes(content)
        photo = read_photo(tmp_path / "a.png")
        assert photo.pixels.ravel().tolist() == [5, 6] and not photo.metadata.colour
        notes = (*photo.notes, *write_photo(tmp_path / "b.png", photo))
        for name in ("cICP", "ICC profile", "EXIF"):
            assert f"{name} dropped: it is damaged" in notes


def test_exif_as_old_versions_of_imagemagick_write_it(tmp_path, make_png):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    block = exif.tobytes()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    before = [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))]
    (tmp_path / "a.png").write_bytes(make_png((2, 1, 8, 0), [b"\x05\x06"], before))
    photo = read_photo(tmp_path / "a.png")
    assert b"Maker" in (photo.metadata.exif or b"") and photo.pixels.shape == (2, 1, 1)
    assert photo.metadata.texts == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photographs_are_filtered(tmp_path, draw, dtype):
    """Without PNG's filters, the file of a smooth image would be much larger."""
    y, x = np.mgrid[:128, :128]
    ramp = np.stack([x + y, 2 * x, 2 * y], axis=-1) * (1 if dtype is np.uint8 else 257)
    write_photo(tmp_path / "a.png", Photo(ramp.astype(dtype)))
    assert (tmp_path / "a.png").stat().st_size < ramp.size * np.dtype(dtype).itemsize / 20


def test_a_note_says_that_an_animation_has_more_images(tmp_path, draw):
    first, *others = (Image.fromarray(draw(seed, (9, 8))) for seed in range(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    photo = read_photo(tmp_path / "a.png")
    assert photo.notes == ("only the first of 3 images",)
    np.testing.assert_array_equal(photo.pixels, np.asarray(first))
