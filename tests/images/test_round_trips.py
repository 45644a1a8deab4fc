"""What is written to a file is read back, in every format, depth and size."""

import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

from hyperfunc.images import Photo, read_header, read_image, read_photo, write_image, write_photo


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
def test_png_and_tiff_are_lossless(tmp_path, draw_pixels, suffix, dtype, channels, size):
    pixels = draw_pixels(size, channels, dtype)
    path = tmp_path / f"image{suffix}"
    assert write_photo(path, Photo(pixels)) == []
    photo, header = read_photo(path), read_header(path)
    assert photo.pixels.dtype == dtype and photo.notes == ()
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert (header.size, header.channels, header.dtype) == (size, channels, dtype)
    assert header.bits == 8 * np.dtype(dtype).itemsize
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_webp_and_avif_are_lossless_at_quality_100(tmp_path, draw_pixels, suffix, channels):
    pixels, path = draw_pixels((23, 17), channels, np.uint8), tmp_path / f"image{suffix}"
    assert write_photo(path, Photo(pixels), quality=100) == []
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint16, 3), (np.float32, 4), (np.uint16, 1)])
def test_avif_keeps_12_bits(tmp_path, draw_pixels, dtype, channels):
    pixels, path = draw_pixels((23, 17), channels, dtype), tmp_path / "image.avif"
    pixels[0, 0] = 1 if dtype is np.float32 else 65535
    (note,) = write_photo(path, Photo(pixels), quality=100)
    assert note.startswith("AVIF holds 12 bits per channel: reduced from")
    photo, header = read_photo(path), read_header(path)
    assert photo.pixels.dtype == header.dtype == np.uint16 and header.bits == 12
    assert (photo.pixels[0, 0] == 65535).all()  # White stays white.
    largest = 1 if dtype is np.float32 else 65535
    expected = np.broadcast_to(pixels / largest, photo.pixels.shape)
    np.testing.assert_allclose(photo.pixels / 65535, expected, atol=1 / 4095)


@pytest.mark.parametrize("quality", [50, 95])
@pytest.mark.parametrize("suffix", [".avif", ".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path, suffix, quality):
    y, x = np.mgrid[:64, :48]
    pixels = np.stack([3 * y, 4 * x, 2 * y + 2 * x], axis=-1).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(pixels), quality=quality)
    difference = read_photo(path).pixels.astype(int) - pixels
    assert np.sqrt(np.mean(difference**2)) < (4 if quality == 95 else 10)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_programs_read_16_bit_files(tmp_path, draw_pixels, channels):
    pixels = draw_pixels((19, 11), channels, np.uint16)
    write_photo(tmp_path / "a.tif", Photo(pixels))
    assert (tifffile.imread(tmp_path / "a.tif").reshape(pixels.shape) == pixels).all()
    write_photo(tmp_path / "a.png", Photo(pixels))
    with Image.open(tmp_path / "a.png") as image:
        high = np.asarray(image.convert({1: "I", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    expected = pixels if channels == 1 else pixels >> 8
    np.testing.assert_array_equal(high.reshape(expected.shape), expected)


def test_16_bits_are_rounded_in_every_format(tmp_path, make_chunk):
    """0x00FF is nearer to 1 than to 0, in a file and in memory."""
    values = np.array([0, 0x7F, 0x81, 0xFF, 0x8000, 0xFF7E, 0xFF80, 0xFFFF] * 3, np.uint16)
    pixels = values.reshape(4, 2, 3)
    expected = np.floor(pixels / 257 + 0.5).astype(np.uint8)
    write_photo(tmp_path / "a.png", Photo(pixels))
    write_photo(tmp_path / "a.tif", Photo(pixels))
    (tmp_path / "a.ppm").write_bytes(b"P6 2 4 65535\n" + pixels.astype(">u2").tobytes())
    alpha = np.concatenate([pixels, pixels[..., :1]], axis=-1)
    write_photo(tmp_path / "b.png", Photo(alpha))
    turned = Image.Exif()
    turned[0x0112] = 6
    data = (tmp_path / "a.png").read_bytes()
    chunk = make_chunk(b"eXIf", turned.tobytes()[6:])
    (tmp_path / "c.png").write_bytes(data[:33] + chunk + data[33:])
    for name in ("a.png", "a.tif", "a.ppm", "b.png", "c.png"):
        path = tmp_path / name
        wanted = np.rot90(expected, -1) if name == "c.png" else expected
        np.testing.assert_array_equal(read_image(path), wanted, err_msg=name)
        np.testing.assert_array_equal(read_image(io.BytesIO(path.read_bytes())), wanted)


def test_a_jax_array_is_an_image_as_well(draw, tmp_path):
    pixels = jnp.asarray(draw(0, (5, 7)))
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("suffix", [".bmp", ".jp2", ".ppm", ".tga"])
def test_formats_that_libvips_lacks(tmp_path, draw, suffix):
    pixels, path = draw(0, (20, 24)), tmp_path / f"a{suffix}"
    write_image(path, pixels)
    np.testing.assert_array_equal(read_image(path), pixels)
    header = read_header(path)
    assert (header.size, header.channels, header.bits) == ((20, 24), 3, 8)
    write_image(tmp_path / "grey.bmp", pixels[..., 0])
    np.testing.assert_array_equal(read_photo(tmp_path / "grey.bmp").pixels, pixels[..., :1])


def test_a_gif_has_a_palette(tmp_path):
    index = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(index, "P")
    colours = np.random.default_rng(0).integers(0, 256, (12, 3), dtype=np.uint8)
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.gif").pixels, colours[index])
    assert read_header(tmp_path / "a.gif").colours == "palette"
    others = [picture.rotate(180), picture]
    picture.save(tmp_path / "b.gif", save_all=True, append_images=others, transparency=3)
    photo, header = read_photo(tmp_path / "b.gif"), read_header(tmp_path / "b.gif")
    assert photo.notes == (f"only the first of {header.frames} images",) and header.frames == 3
    np.testing.assert_array_equal(photo.pixels[..., 3], np.where(index == 3, 0, 255))
    assert header.colours == "palette with transparency"


def test_a_long_name(tmp_path, draw_pixels):
    path = tmp_path / ("ü" * 123 + ".png")  # 250 of the 255 bytes that there may be.
    write_photo(path, Photo(draw_pixels((8, 8), 3, np.uint8)))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a[page=2].png", "a b%d.tif", "ü€.jpg"])
def test_names_that_libvips_would_take_for_options(tmp_path, draw_pixels, name):
    write_photo(tmp_path / name, Photo(draw_pixels((8, 8), 3, np.uint8)))
    assert read_photo(tmp_path / name).pixels.shape == (8, 8, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
def test_a_file_that_has_changed_is_read_again(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for level in (10, 200):
        write_photo(path, Photo(np.full((16, 16, 3), level, np.uint8)))
        assert abs(read_photo(path).pixels.astype(int) - level).max() <= 2


def test_libvips_is_loaded_when_it_is_needed(start_python):
    code = (
        "import sys; from pathlib import Path; import hyperfunc.images as images;"
        "print('pyvips' in sys.modules);"
        "images.read_image(Path(sys.argv[1])); print('pyvips' in sys.modules)"
    )
    sample = next((Path(__file__).parents[2] / "docs").rglob("*.png"))
    out, error = start_python(code, str(sample)).communicate()
    assert out.split() == ["False", "True"], error
