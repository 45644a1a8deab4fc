"""PPM of 16 bits, PFM, and the quality of a JPEG: formats with code of their own."""

import numpy as np
import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_header, read_image, read_photo, write_photo


@pytest.mark.parametrize("largest", [65535, 1023])
def test_a_ppm_of_16_bits_keeps_them(tmp_path, draw_pixels, largest):
    values = draw_pixels((5, 7), 3, np.uint16)
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
    data = (tmp_path / "a.ppm").read_bytes()
    (tmp_path / "a.ppm").write_bytes(data[:-3])
    with pytest.raises(UserError, match="a.ppm.*truncated"):
        read_photo(tmp_path / "a.ppm")


def test_a_pfm_holds_floats(tmp_path, draw_pixels):
    values = draw_pixels((5, 7), 1, np.float32) * 1.5 - 0.1
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


@pytest.mark.parametrize("quality", [30, 75, 90, 97])
def test_the_quality_of_a_jpeg_is_estimated(tmp_path, draw_pixels, quality):
    write_photo(tmp_path / "a.jpg", Photo(draw_pixels((16, 16), 3, np.uint8)), quality=quality)
    estimate = read_header(tmp_path / "a.jpg").quality
    assert estimate is not None and abs(estimate - quality) <= 1
    write_photo(tmp_path / "a.png", Photo(draw_pixels((16, 16), 3, np.uint8)))
    assert read_header(tmp_path / "a.png").quality is None


@pytest.mark.parametrize("quality", [30, 95])
def test_a_jpeg_is_quantised_as_libjpeg_does_it(tmp_path, draw, quality):
    pixels = draw(0, (40, 56))
    write_photo(tmp_path / "a.jpg", Photo(pixels), quality=quality)
    Image.fromarray(pixels).save(tmp_path / "b.jpg", quality=quality, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as ours, Image.open(tmp_path / "b.jpg") as other:
        assert ours.quantization == other.quantization and ours.layer == other.layer
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(other))
    np.testing.assert_array_equal(
        read_photo(tmp_path / "a.jpg").pixels, read_photo(tmp_path / "b.jpg").pixels
    )
