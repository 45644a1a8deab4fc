"""Animations are lossless WebP files that repeat forever."""

import numpy as np
import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import write_animation


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
