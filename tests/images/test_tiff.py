"""TIFF: byte orders, compressions, layouts, floats, alpha, and turned pixels."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from hyperfunc.api.representing import to_pixels
from hyperfunc.errors import UserError
from hyperfunc.images import read_header, read_image, read_photo


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib", "predictor": True}, {"bigtiff": True}, {"tile": (16, 16)}],
)
def test_16_bits(tmp_path, draw_pixels, byteorder, options):
    pixels, path = draw_pixels((20, 30), 3, np.uint16), tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", byteorder=byteorder, **options)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compressions_and_white_as_zero(tmp_path, draw_pixels, compression):
    pixels, path = draw_pixels((20, 30), 1, np.uint16), tmp_path / "image.tif"
    Image.fromarray(pixels[..., 0]).save(path, compression=compression)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)
    # The same with white as zero: a tag of two bytes, which stands in the file once.
    entry = struct.pack("<HHII", 262, 3, 1, 1)
    data = path.read_bytes()
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<HHII", 262, 3, 1, 0)))
    np.testing.assert_array_equal(read_photo(path).pixels, 65535 - pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_are_turned_upright(tmp_path, draw_pixels, dtype):
    stored = draw_pixels((12, 20), 3, dtype)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: np.rot90(stored.swapaxes(0, 1), 2),
        8: np.rot90(stored),
    }
    for orientation, expected in turned.items():
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=[tag])
        np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, expected)
        header = read_header(tmp_path / "a.tif")
        assert header.size == expected.shape[:2] and header.orientation == orientation


@pytest.mark.parametrize(("photometric", "channels"), [("minisblack", 1), ("rgb", 4)])
def test_turned_without_compression(tmp_path, draw_pixels, photometric, channels):
    stored = draw_pixels((12, 20), channels, np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored[..., 0] if channels == 1 else stored,
        photometric=photometric,
        extrasamples=["unassalpha"] if channels == 4 else None,
        extratags=[(274, 3, 1, 6, True)],
    )
    upright = np.rot90(stored, 3)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, upright)
    colour = np.broadcast_to(upright[..., :3], (*upright.shape[:2], 3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colour)


def test_one_large_strip(tmp_path):
    """Some programs store the whole image as one compressed strip."""
    pixels = np.zeros((5300, 5000), np.uint16)
    options = {"compression": "zlib", "compressionargs": {"level": 1}, "rowsperstrip": 5300}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **options)
    assert not read_photo(tmp_path / "a.tif").pixels.any()


def test_pages_are_noted(tmp_path, draw_pixels):
    path, pixels = tmp_path / "image.tif", draw_pixels((3, 12), 10, np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels[..., 0], pixels[0])
    assert photo.notes == ("only the first of 3 images",)


@pytest.mark.parametrize(
    ("channels", "dtype", "options"),
    [
        (1, np.float32, {"photometric": "minisblack"}),
        (1, np.float32, {"photometric": "miniswhite"}),
        (1, np.uint16, {"photometric": "miniswhite"}),
        (3, np.uint16, {"photometric": "rgb", "planarconfig": "separate"}),
        (3, np.float32, {"photometric": "rgb", "planarconfig": "separate"}),
        (2, np.uint16, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    ],
)
def test_every_way_to_read_agrees(tmp_path, draw_pixels, channels, dtype, options):
    path, pixels = tmp_path / "image.tif", draw_pixels((12, 10), channels, dtype)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(path, stored[..., 0] if channels == 1 else stored, **options)
    expected = pixels / (1 if dtype is np.float32 else 65535)
    expected = 1 - expected if options["photometric"] == "miniswhite" else expected
    alpha = expected[..., 1:] if channels == 2 else 1.0
    expected = np.broadcast_to(expected[..., : 3 if channels == 3 else 1], (12, 10, 3))
    shown = expected * alpha + 1 - alpha  # On white; images for training have no alpha.
    shown = np.round(shown * 65535) / 65535 if channels == 2 else shown
    np.testing.assert_allclose(to_pixels(path), shown, atol=1e-6)
    for image in (read_image(path), read_image(io.BytesIO(path.read_bytes()))):
        np.testing.assert_allclose(image / 255, expected, atol=0.501 / 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_other_widths(tmp_path, draw_pixels, dtype):
    pixels = draw_pixels((12, 10), 3, np.float32).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(274, 3, 1, 3, True)]
    )
    photo = read_photo(tmp_path / "a.tif")
    assert photo.pixels.dtype == np.float32
    np.testing.assert_array_equal(photo.pixels, pixels[::-1, ::-1].astype(np.float32))


def test_kinds_that_are_refused(tmp_path, draw_pixels):
    path, pixels = tmp_path / "a.tif", draw_pixels((12, 10), 3, np.uint16)
    for dtype, message in ((np.uint32, "integers of 32 bits"), (np.int16, "signed integers of 16")):
        tifffile.imwrite(path, pixels.astype(dtype), photometric="rgb")
        with pytest.raises(UserError, match=f"a.tif: .*its samples are {message}"):
            read_photo(path)
    tifffile.imwrite(path, np.full((4, 4, 3), np.nan, np.float32), photometric="rgb")
    with pytest.raises(UserError, match="not finite"):
        read_photo(path)


@pytest.mark.parametrize(("channels", "dtype"), [(4, np.uint16), (2, np.uint8), (4, np.float32)])
def test_premultiplied_alpha_becomes_straight(tmp_path, draw_pixels, channels, dtype):
    largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
    straight = draw_pixels((12, 10), channels, dtype)
    straight[..., -1] = largest * 0.5
    stored = straight.copy()
    stored[..., :-1] = np.round(straight[..., :-1] * 0.5, 6 if largest == 1 else 0)
    photometric = "rgb" if channels == 4 else "minisblack"
    options = {"photometric": photometric, "extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    pixels = read_photo(tmp_path / "a.tif").pixels
    assert pixels.dtype == dtype
    np.testing.assert_allclose(pixels, straight, atol=1e-5 if largest == 1 else 3)
    assert read_header(tmp_path / "a.tif").colours == (
        "RGBA" if channels == 4 else "grey with alpha"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_channel_without_a_meaning_is_left_out_and_noted(tmp_path, draw_pixels, dtype):
    pixels = draw_pixels((5, 6), 4, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
    assert any("left out: what it means is not stated" in note for note in photo.notes)
