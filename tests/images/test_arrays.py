"""Animations, and images in memory; files of one image are tested where datasets are."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_image, write_animation, write_image, write_photo
from hyperfunc.images.deep import png_chunk


def test_an_animation_holds_its_frames_exactly_and_does_not_end(draw, tmp_path):
    frames = [draw(seed, (20, 30)) for seed in range(5)]
    path = tmp_path / "new" / "walk.webp"
    write_animation(path, frames, milliseconds=40)
    assert list(path.parent.iterdir()) == [path]
    with Image.open(path) as file:
        assert (file.format, file.n_frames, file.info["loop"]) == ("WEBP", 5, 0)
        for i, frame in enumerate(frames):
            file.seek(i)
            np.testing.assert_array_equal(np.asarray(file.convert("RGB")), frame)
            assert file.info["duration"] == 40


def test_a_jax_array_is_an_image_as_well(draw, tmp_path):
    pixels = jnp.asarray(draw(0, (5, 7)))
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_one_frame_is_a_picture(draw, tmp_path):
    write_animation(tmp_path / "still.webp", [draw(0, (20, 30))])
    with Image.open(tmp_path / "still.webp") as file:
        np.testing.assert_array_equal(np.asarray(file.convert("RGB")), draw(0, (20, 30)))


def test_an_animation_that_cannot_be_written_leaves_the_old_one(draw, tmp_path, monkeypatch):
    path = tmp_path / "walk.webp"
    write_animation(path, [draw(0, (20, 30))] * 2)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UserError, match="walk.webp: cannot be written .*disk is full"):
        write_animation(path, [draw(1, (20, 30))] * 2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_sixteen_bits_are_rounded_in_every_format(tmp_path):
    """Whatever the file, also one in memory: 0x00FF is nearer to 1 than to 0."""
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
    write_photo(tmp_path / "c.png", Photo(pixels))
    data = (tmp_path / "c.png").read_bytes()
    chunk = png_chunk(b"eXIf", turned.tobytes()[6:])
    (tmp_path / "c.png").write_bytes(data[:33] + chunk + data[33:])
    for name in ("a.png", "a.tif", "a.ppm", "b.png", "c.png"):
        path = tmp_path / name
        wanted = np.rot90(expected, -1) if name == "c.png" else expected
        np.testing.assert_array_equal(read_image(path), wanted, err_msg=name)
        np.testing.assert_array_equal(read_image(io.BytesIO(path.read_bytes())), wanted)
