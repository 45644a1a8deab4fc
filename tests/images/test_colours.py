"""ICC profiles, CMYK and Lab; images as they are shown; reductions and their notes."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hyperfunc.api.representing import to_pixels
from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_as_shown, read_header, read_photo, write_photo
from hyperfunc.images.colours import to_srgb
from hyperfunc.images.libvips import from_array, load, to_array
from hyperfunc.images.metadata import Metadata


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_through_a_profile_to_srgb(draw_pixels, make_profile, channels, dtype):
    """The profile's gamma is 1, so the formula of sRGB's curve gives the result."""
    pixels = draw_pixels((16, 20), channels, dtype)
    icc = make_profile(1.0, is_grey=channels < 3)
    converted = to_srgb(Photo(pixels, Metadata(icc=icc)))
    linear = pixels / (1 if dtype is np.float32 else np.iinfo(dtype).max)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    alpha = linear[..., -1:] if channels in (2, 4) else linear[..., :0]
    colour = curve[..., : channels - alpha.shape[2]]
    expected = np.concatenate([np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha], axis=-1)
    assert converted.pixels.dtype == (np.uint8 if dtype is np.uint8 else np.uint16)
    assert converted.pixels.shape == expected.shape
    result = converted.pixels / np.iinfo(converted.pixels.dtype).max
    # The steps of 8 bits, and of LittleCMS' table for grey, are wide where the curve is steep.
    steep = 14 if dtype is np.uint8 or channels < 3 else 1
    tolerance = np.where(expected > 0.2, 2, steep) / 255
    assert (np.abs(result - expected) <= tolerance).all()
    assert converted.metadata.icc and converted.metadata.icc != icc
    assert "converted to sRGB through its ICC profile" in converted.notes[0]


def test_srgb_stays_as_it_is_and_a_broken_profile_is_noted(draw_pixels, srgb_profile):
    pixels = draw_pixels((5, 6), 3, np.uint16)
    for metadata in (Metadata(), Metadata(icc=srgb_profile)):
        photo = Photo(pixels, metadata)
        assert to_srgb(photo) is photo
    for icc in (b"no profile", srgb_profile[:200]):
        photo = to_srgb(Photo(pixels, Metadata(icc=icc)))
        assert photo.pixels is pixels and "cannot be applied" in photo.notes[0]


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_grey_with_a_profile_keeps_its_look_as_rgb(tmp_path, draw_pixels, make_profile, suffix):
    icc = make_profile(1.0, is_grey=True)
    photo, path = Photo(draw_pixels((16, 20), 1, np.uint8), Metadata(icc=icc)), tmp_path / "a.png"
    assert write_photo(path, photo) == [] and read_photo(path).metadata.icc == icc
    notes = write_photo(tmp_path / f"a{suffix}", photo, quality=100)
    assert any("converted to sRGB" in note for note in notes)
    read = read_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.pixels, to_srgb(photo).pixels)
    assert read.metadata.icc is None


def test_a_png_says_which_profile_it_cannot_hold(tmp_path, draw_pixels, srgb_profile):
    """The library for PNG refuses profiles that are damaged or of another colour space."""
    for channels, icc in ((3, b"rubbish"), (1, srgb_profile)):
        photo = Photo(draw_pixels((4, 4), channels, np.uint8), Metadata(icc=icc))
        (note,) = write_photo(tmp_path / "a.png", photo)
        assert "ICC profile dropped" in note


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_without_a_usable_profile(tmp_path, srgb_profile, suffix):
    """libvips converts as a printing press shows the colours, and so not to the purest red."""
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:, 4:] = [0, 255, 255, 0]  # White, and red.
    image, path = Image.fromarray(cmyk, "CMYK"), tmp_path / f"image.{suffix}"
    for icc in (None, srgb_profile, srgb_profile[:100]):
        image.save(path, **({"icc_profile": icc} if icc else {}))
        assert read_header(path).colours == "CMYK"
        photo = read_photo(path)
        assert "without an ICC profile" in photo.notes[0]
        np.testing.assert_allclose(photo.pixels[4, 1], [255, 255, 255], atol=3)
        red, green, blue = photo.pixels[4, 6]
        assert red > 200 and green < 60 and blue < 60
        assert photo.metadata.icc and photo.metadata.icc != icc


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_through_its_profile(tmp_path, suffix):
    """Against LittleCMS in Pillow; the profile is one that libvips brings along."""
    icc = bytes(load().Image.profile_load("cmyk"))
    cmyk = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(cmyk, "CMYK").save(path, icc_profile=icc, **options)
    transform = ImageCms.buildTransform(
        ImageCms.getOpenProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    with Image.open(path) as image:
        expected = np.asarray(ImageCms.applyTransform(image, transform)).astype(int)
    photo = read_photo(path)
    assert photo.notes == ("converted from CMYK to sRGB through its ICC profile",)
    assert abs(photo.pixels - expected).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_lab_becomes_srgb(tmp_path, bits):
    lab = np.array([[[100, 0, 0], [0, 0, 0], [50, 20, -20], [54.29, 80.8, 69.9]]])
    if bits == 8:
        stored = np.concatenate([lab[..., :1] * 2.55, lab[..., 1:] % 256], axis=-1).round()
        Image.fromarray(stored.astype(np.uint8), "LAB").save(tmp_path / "a.tif")
    else:
        stored = np.concatenate([lab[..., :1] * 655.35, lab[..., 1:] * 256 % 65536], axis=-1)
        tifffile.imwrite(tmp_path / "a.tif", stored.astype(np.uint16), photometric="cielab")
    photo = read_photo(tmp_path / "a.tif")
    assert photo.notes == ("converted from Lab to sRGB",) and photo.pixels.dtype == np.uint16
    expected = [[255, 255, 255], [0, 0, 0], [140, 108, 154], [255, 0, 0]]
    np.testing.assert_allclose(photo.pixels[0] / 257, expected, atol=3)
    assert read_header(tmp_path / "a.tif").colours == "Lab"


def test_an_image_is_read_as_it_is_shown(tmp_path, draw_pixels, make_profile):
    """In sRGB and on white; a function of it shows the same."""
    pixels = draw_pixels((16, 20), 4, np.uint8)
    pixels[:8, :, 3], pixels[8:, :, 3] = 0, 255
    icc = make_profile(1.0, is_grey=False)
    write_photo(tmp_path / "a.png", Photo(pixels, Metadata(icc=icc)))
    shown = read_as_shown(tmp_path / "a.png")
    expected = to_srgb(Photo(pixels[..., :3], Metadata(icc=icc))).pixels
    np.testing.assert_array_equal(shown.pixels[8:], expected[8:])
    assert (shown.pixels[:8] == 255).all() and "converted to sRGB" in shown.notes[0]
    np.testing.assert_allclose(to_pixels(tmp_path / "a.png"), shown.pixels / 255, atol=1e-6)
    write_photo(tmp_path / "a.tif", Photo(draw_pixels((16, 20), 3, np.float32) * 3))
    with pytest.raises(UserError, match=r"a\.tif: values from 0 to 2\.\d+; floats have to be in"):
        read_as_shown(tmp_path / "a.tif")


def test_reductions_are_noted(tmp_path, draw_pixels):
    alpha = draw_pixels((8, 8), 4, np.uint8)
    alpha[..., 3] = 0
    assert write_photo(tmp_path / "a.jpg", Photo(alpha)) == ["JPEG has no alpha: laid on white"]
    assert (read_photo(tmp_path / "a.jpg").pixels >= 254).all()
    floats = draw_pixels((8, 8), 3, np.float32)
    (note,) = write_photo(tmp_path / "a.png", Photo(floats))
    assert note == "PNG holds 16 bits per channel: reduced from floats"
    read = read_photo(tmp_path / "a.png").pixels
    np.testing.assert_allclose(read / 65535, floats, atol=1 / 65535)
    wide = np.array([-2, 0.5, 300], np.float32).reshape(1, 3, 1)
    assert write_photo(tmp_path / "a.png", Photo(wide)) == [
        "PNG holds 16 bits per channel: reduced from floats",
        "values from -2 to 300 are limited to [0, 1]; TIFF keeps them",
    ]
    assert write_photo(tmp_path / "a.tif", Photo(wide)) == []
    deep = draw_pixels((8, 8), 1, np.uint16)
    (note,) = write_photo(tmp_path / "a.webp", Photo(deep), quality=100)
    assert note == "WebP holds 8 bits per channel: reduced from 16 bits"
    read = read_photo(tmp_path / "a.webp").pixels
    np.testing.assert_allclose(read, np.repeat(deep / 257, 3, axis=-1), atol=0.51)


def shown(tmp_path, make_png, chunks, samples, *, channels=3):
    """One row of a PNG of 16 bits as it is shown, in [0, 1], and its notes."""
    values = (np.asarray(samples) * 65535 + 0.5).astype(">u2")
    header = values.size // channels, 1, 16, {1: 0, 3: 2}[channels]
    (tmp_path / "a.png").write_bytes(make_png(header, [values.tobytes()], chunks))
    photo = read_as_shown(tmp_path / "a.png")
    assert not photo.metadata.colour and photo.metadata.icc is None
    return photo.pixels[0] / 65535, photo.notes


def test_display_p3_is_shown_as_by_its_profile(tmp_path, make_png):
    """libvips has an ICC profile of Display P3."""
    samples = np.random.default_rng(0).uniform(0.4, 0.6, size=(500, 3))
    result, notes = shown(tmp_path, make_png, [(b"cICP", bytes([12, 13, 0, 1]))], samples)
    assert notes == ("converted to sRGB by its cICP",)
    image = from_array((samples * 65535 + 0.5).astype(np.uint16)[None], "rgb16")
    options = {"input_profile": "p3", "depth": 16, "intent": "relative"}
    expected = to_array(image.icc_transform("srgb", **options))[0] / 65535
    assert np.abs(samples - expected).max() > 10 / 255
    np.testing.assert_allclose(result, expected, atol=1 / 255)


@pytest.mark.parametrize(
    ("transfer", "white", "darker", "share"),
    [(16, 0.580689, 0.508078, 100 / 203), (18, 0.75, 0.5, 1000 / 203 * (1 / 12) ** 1.2)],
    ids=["PQ", "HLG"],
)
def test_hdr_is_shown_with_its_white_as_white(tmp_path, make_png, transfer, white, darker, share):
    """BT.2408: 203 cd/m2 are a PQ value of 58 % and an HLG value of 75 %; BT.2100: 100 are 51 %."""
    chunks = [(b"cICP", bytes([9, transfer, 0, 1]))]
    result, notes = shown(tmp_path, make_png, chunks, [[white] * 3, [darker] * 3, [1.0] * 3])
    assert "brighter light than white (203 cd/m2) is cut" in notes[0]
    expected = 1, 1.055 * share ** (1 / 2.4) - 0.055, 1
    np.testing.assert_allclose(result, np.outer(expected, [1, 1, 1]), atol=0.004)


def test_gamma_and_primaries_of_a_png(tmp_path, make_png):
    gamma = [(b"gAMA", (100_000).to_bytes(4, "big"))]
    expected = [0, 1.055 * 0.25 ** (1 / 2.4) - 0.055, 1]
    result, notes = shown(tmp_path, make_png, gamma, [0, 0.25, 1], channels=1)
    np.testing.assert_allclose(result[:, 0], expected, atol=1e-4)
    assert notes == ("converted to sRGB by its gAMA",)
    # The primaries in another order only permute the channels.
    red, green, blue = (64000, 33000), (30000, 60000), (15000, 6000)
    numbers = [31270, 32900, *green, *blue, *red]
    chunk = (b"cHRM", b"".join(number.to_bytes(4, "big") for number in numbers))
    samples = np.random.default_rng(1).uniform(size=(50, 3))
    result, notes = shown(tmp_path, make_png, [chunk], samples)
    np.testing.assert_allclose(result, samples[:, [2, 0, 1]], atol=1e-3)
    assert notes == ("converted to sRGB by its cHRM",)


def test_a_limited_range_is_widened(tmp_path, make_png):
    chunks = [(b"cICP", bytes([1, 13, 0, 0]))]
    result, _ = shown(tmp_path, make_png, chunks, [16 / 255, 0.5, 235 / 255], channels=1)
    np.testing.assert_allclose(result[:, 0], [0, (127.5 - 16) / 219, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "data"),
    [(b"cICP", bytes([77, 13, 0, 1])), (b"gAMA", bytes(4)), (b"cHRM", bytes(32))],
)
def test_colours_that_a_png_cannot_have_are_noted(tmp_path, make_png, name, data):
    (tmp_path / "a.png").write_bytes(make_png((2, 1, 8, 0), [b"\x05\x06"], [(name, data)]))
    photo = read_as_shown(tmp_path / "a.png")
    assert photo.pixels.ravel().tolist() == [5, 6]
    assert photo.notes[0].startswith(name.decode()) and "colours may be off" in photo.notes[0]
