"""`read_image` and `write_image`: RGB images in 8 bits, whatever their file holds."""

import io

import numpy as np
import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import read_image, to_uint8, write_image
from hyperfunc.values import to_unit_range
from tests.drawing import draw, encode


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_an_image_survives_a_lossless_file(tmp_path, suffix):
    path = tmp_path / f"new/folder/image{suffix}"
    write_image(path, draw())
    np.testing.assert_array_equal(read_image(path), draw())
    assert list(path.parent.iterdir()) == [path]


def test_grey_alpha_palette_and_sixteen_bits_become_rgb(tmp_path):
    rgb, grey = draw(), draw()[..., 0]
    write_image(tmp_path / "grey.png", grey)
    Image.fromarray(np.dstack([rgb, 255 - grey])).save(tmp_path / "rgba.png")
    few = (rgb // 128) * 255
    palette = Image.fromarray(few).quantize(8)
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "transparent.png", transparency=bytes([0, 255] * 4))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")

    repeated = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), repeated)
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), few)
    np.testing.assert_array_equal(read_image(tmp_path / "transparent.png"), few)
    np.testing.assert_array_equal(read_image(tmp_path / "sixteen.png"), repeated)


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = io.BytesIO(encode(draw(), exif=exif))
    np.testing.assert_array_equal(read_image(file), np.rot90(draw(), -1))


def damaged_files():
    png = encode(draw())
    return {
        "text.png": b"this is text, whatever its name says",
        "empty.png": b"",
        "truncated.png": png[: len(png) // 2],
        "flipped.png": png[:60] + bytes(200) + png[260:],
        "truncated.jpg": encode(draw(64, 64), "jpeg")[:900],
    }


@pytest.mark.parametrize(("name", "data"), damaged_files().items())
def test_a_damaged_file_is_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=name) as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="from memory"):
        read_image(io.BytesIO(data), name="from memory")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    write_image(path, draw())

    def fail(image, file, saver, **options):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hyperfunc.images.write.save_target", fail)
    with pytest.raises(UserError, match="No space left"):
        write_image(path, draw(seed=1))
    np.testing.assert_array_equal(read_image(path), draw())
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_suffix_is_refused(tmp_path):
    for name in ("image.docx", "image"):
        with pytest.raises(UserError, match=name):
            write_image(tmp_path / name, draw())
    assert list(tmp_path.iterdir()) == []


def test_floats_round_half_up_and_clip():
    values = np.array([-0.1, 0.0, 0.5 / 255, 0.49 / 255, 1.5 / 255, 1.0, 1.2])
    assert to_uint8(values).tolist() == [0, 0, 1, 0, 2, 255, 255]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_unit_range(every)), every)
    assert to_unit_range(every).dtype == np.float32
