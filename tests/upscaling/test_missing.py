"""Images with missing pixels, in tiles and out of them."""

import jax
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.images import write_image
from hyperfunc.upscaling import Mask, Upscaler, tile_planner
from tests.correcting import draw_variables, draw_whole, make_model

MODEL = make_model("filled")


@pytest.fixture(scope="module")
def variables():
    return draw_variables(MODEL)


def make_gaps(shape, share=0.5):
    return np.random.default_rng(3).uniform(size=shape) < share


def mark(image, gaps):
    return np.where(gaps[..., None], np.nan, image / np.float32(255)).astype(np.float32)


@pytest.mark.parametrize("scale", [(1, 1), (3, 2), (0.4, 0.3)], ids=str)
def test_tiles_put_together_equal_the_whole(variables, draw, monkeypatch, scale):
    """Where known pixels may change, too. The contrast is high: nothing bounds the values."""
    monkeypatch.setattr(tile_planner, "FIRST_EXTENT_MULTIPLE", 1)
    shape = (53, 46)
    size = (round(shape[0] * scale[0]), round(shape[1] * scale[1]))
    gaps = make_gaps(shape)
    image = mark(np.random.default_rng(0).integers(256, size=(*shape, 3)), gaps)
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1], largest_tile=9)
    assert len(upscaler.plan(shape, size).pieces) >= 25
    filled, whole = upscaler(image, size), np.asarray(draw_whole(MODEL, variables, image, size))
    if scale == (1, 1):
        np.testing.assert_array_equal(filled[~gaps], image[~gaps])
        filled, whole = filled[gaps], whole[gaps]
    np.testing.assert_allclose(filled, whole, atol=2e-5)
    assert whole.std() > 0.01


def test_known_pixels_stay_where_sides_meet(variables, draw):
    shape, gaps = (24, 21), make_gaps((24, 21), 0.3)
    gaps[5, 0] = True
    image = mark(draw(1, shape), gaps)
    filled = Upscaler(MODEL, variables, wrap="x")(image, shape)
    np.testing.assert_array_equal(filled[~gaps], image[~gaps])
    assert np.abs(filled[5, 0] - Upscaler(MODEL, variables)(image, shape)[5, 0]).max() > 1e-3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_constant_image_stays_constant(variables, channels):
    """Also where alpha is 0 or 1, in single gaps and in a hole of 10 pixels."""
    gaps = make_gaps((30, 40))
    gaps[8:18, 8:18] = True
    image = mark(np.full((30, 40, channels), 80), gaps)
    if channels == 4:
        image[..., 3] = 1
        image[:, 34:][~gaps[:, 34:]] = 0
    filled = Upscaler(MODEL, variables)(image, (30, 40))
    is_visible = filled[..., -1] > 0
    np.testing.assert_allclose(filled[is_visible][:, :3], 80 / np.float32(255), rtol=1e-6)
    assert is_visible.mean() > 0.7 and np.isfinite(filled).all()


@pytest.mark.parametrize("kind", ["grey", "grey rgb", "alpha"])
def test_channels_stay(variables, draw, kind):
    """Grey stays grey, and alpha stays as it is."""
    shape, gaps = (24, 21), make_gaps((24, 21), 0.3)
    image = mark(draw(1, shape), gaps)
    if kind == "alpha":
        alpha = np.random.default_rng(0).uniform(0.2, 1, (*shape, 1)).astype(np.float32)
        image = np.concatenate([image, alpha], axis=-1)
    else:
        image = image[..., :1] if kind == "grey" else np.repeat(image[..., :1], 3, axis=-1)
    filled = Upscaler(MODEL, variables)(image, shape)
    assert filled.shape == image.shape and np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~gaps], image[~gaps])
    if kind == "grey rgb":
        assert (filled == filled[..., :1]).all()
    if kind == "alpha":
        np.testing.assert_array_equal(filled[..., 3], image[..., 3])


def test_masks(tmp_path, draw):
    image, gaps = draw(1, (12, 10)), make_gaps((12, 10))
    write_image(tmp_path / "mask.png", np.repeat(255 * gaps[..., None].astype("u1"), 3, axis=-1))
    by_file = Mask(str(tmp_path / "mask.png"))
    np.testing.assert_array_equal(by_file.find(image, name="a"), gaps)
    alpha = np.where(gaps, 0, 1).astype("u1")[..., None]  # Nearly transparent pixels are there.
    with_alpha = np.concatenate([image, alpha], axis=-1)
    np.testing.assert_array_equal(Mask("alpha").find(with_alpha, name="a"), gaps)
    coloured = np.where(gaps[..., None], np.array([1, 200, 3], "u1"), image | 4)
    for pixels in (coloured, coloured.astype("u2") * 257, coloured / np.float32(255)):
        np.testing.assert_array_equal(Mask("#01c803").find(pixels, name="a"), gaps)


def test_masks_that_cannot_be_used(tmp_path, draw):
    image = draw(1, (12, 10))
    write_image(tmp_path / "mask.png", image[:, 1:])
    with pytest.raises(UserError, match="has 10 x 12 pixels, and the mask .* 9 x 12"):
        Mask(str(tmp_path / "mask.png")).find(image, name="a.png")
    with pytest.raises(UserError, match=r"a.png: has no alpha"):
        Mask("alpha").find(image, name="a.png")
    with pytest.raises(UserError, match="all pixels are missing by --mask #000000"):
        Mask("#000000").find(0 * image, name="a.png")


def test_a_mask_is_found_by_the_name_of_its_image(tmp_path):
    """The same name precedes another suffix."""
    mask, root = Mask(str(tmp_path)), tmp_path / "photos"
    for name in ("a.jpg", "a.png", "b.webp", "below/c.d.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {
        "a.jpg": "a.jpg",
        "a.tif": "a.png",
        "b.png": "b.webp",
        "below/c.d.jpg": "below/c.d.PNG",
    }
    for image, name in found.items():
        assert mask.choose(root / image, root) == Mask(str(tmp_path / name))
    for image in ("below/a.jpg", "below/c.png", "c.d.png"):
        with pytest.raises(UserError, match=f"{image}: has no mask"):
            mask.choose(root / image, root)
    for source in (str(tmp_path / "a.png"), "alpha", "#ff00ff"):
        assert Mask(source).choose(root / "c.png", root) == Mask(source)
