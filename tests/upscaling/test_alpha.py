"""Images of every kind go through a model of RGB images."""

import jax
import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from hyperfunc.function import encode, render
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.pixels import OVERSHOOT, imresize
from hyperfunc.upscaling import Upscaler
from hyperfunc.values import largest_value, to_integers

MODEL = PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4))


@pytest.fixture(scope="module")
def variables():
    return MODEL.init(jax.random.key(0), jax.numpy.zeros((1, 8, 8, 3)))


@pytest.fixture(scope="module")
def upscaler(variables):
    return Upscaler(MODEL, variables, devices=jax.devices()[:2], largest_tile=24)


def draw_whole(variables, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Render a grey or RGB image in [0, 1] in one piece: RGB in [0, 1]."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3))[None].astype(np.float32)
    draw = jax.jit(lambda images: render(encode(MODEL, variables, images)[0], size))
    return np.asarray(draw(rgb))[0]


def hold(values: np.ndarray, image: np.ndarray, rounding: float) -> np.ndarray:
    """Clip an enlargement to what lies near the range of the input around."""
    window = (2 * OVERSHOOT.radius + 1, 2 * OVERSHOOT.radius + 1, 1)
    nearest = np.ix_(
        *(
            (2 * np.arange(n) + 1) * m // (2 * n)
            for n, m in zip(values.shape[:2], image.shape[:2], strict=True)
        )
    )
    low, high = (
        f(image, size=window, mode="nearest")[nearest] for f in (minimum_filter, maximum_filter)
    )
    spread = high - low
    margin = OVERSHOOT.share * spread + OVERSHOOT.at_edges * np.maximum(spread - OVERSHOOT.flat, 0)
    return np.clip(values, low - margin - rounding, high + margin + rounding)


@pytest.mark.parametrize(
    ("size", "dtype", "channels"),
    [((120, 100), np.uint16, 1), ((90, 61), np.float32, 3)],
    ids=str,
)
def test_images_of_any_depth(variables, upscaler, draw, size, dtype, channels):
    largest = largest_value(dtype)
    image = (draw(0, (60, 50))[..., :channels] / np.float32(255) * largest).astype(dtype)
    reports = []
    result = upscaler(image, size, progress=lambda *report: reports.append(report))
    expected = draw_whole(variables, image / largest, size)
    if channels == 1:
        expected = expected.mean(axis=-1, keepdims=True)
    assert (hold(expected, image / largest, 0.0) != expected).mean() > 0.001
    expected = hold(expected, image / np.float32(largest), 0.499 / largest * (largest > 1))
    assert result.dtype == dtype and result.shape == (*size, channels)
    if largest > 1:
        expected = to_integers(expected, dtype)
    step = 2 if largest > 1 else 2e-5  # The last bit of float32 is worth more than one in 65535.
    np.testing.assert_allclose(result.astype(float), expected.astype(float), atol=step)
    total = reports[-1][1]
    assert reports[0] == (0, total) and reports[-1] == (total, total) and total > 4
    assert upscaler.workspace > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("shape", "size"), [((20, 30), (59, 88)), ((1, 90), (3, 200))])
def test_constant_images_stay_constant(upscaler, dtype, shape, size):
    """The random model would add texture, also to the darkest of 16 bits."""
    dark = 0.004 if dtype == np.float32 else 3
    colour = [0, dark, largest_value(dtype)]
    result = upscaler(np.full((*shape, 3), colour, dtype), size)
    np.testing.assert_array_equal(result, np.full((*size, 3), colour, dtype))


def test_values_are_held_alike_in_tiles(variables, upscaler):
    """Tiles of at most 24 pixels, and one tile."""
    image = np.random.default_rng(0).integers(300, 501, (70, 60, 3), np.uint16)
    whole = Upscaler(MODEL, variables, devices=jax.devices()[:1], largest_tile=512)
    assert len(whole.plan((70, 60), (100, 95)).pieces) == 1
    difference = upscaler(image, (100, 95)).astype(int) - whole(image, (100, 95))
    assert abs(difference).max() <= 1


def test_dark_texture_stays_within_reach_of_its_range(upscaler):
    """In 16 bits, values of 300 to 500 leave this range by half of it at most."""
    image = np.random.default_rng(0).integers(300, 501, (24, 24, 3), np.uint16)
    result = upscaler(image, (70, 70)).astype(int)
    assert result.min() >= 200 and result.max() <= 600 and result.std() > 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_in_grey_out(upscaler, dtype, alpha):
    rng = np.random.default_rng(0)
    grey, opacity = (rng.uniform(size=(24, 20, 1)) * largest_value(dtype) for _ in range(2))
    image = np.concatenate([grey, opacity], axis=2).astype(dtype)[..., : 1 + alpha]
    expected = upscaler(image, (60, 50))
    result = upscaler(np.repeat(image, [3, 1][: 1 + alpha], axis=2), (60, 50))
    np.testing.assert_array_equal(result[..., :3], np.repeat(expected[..., :1], 3, axis=2))
    np.testing.assert_array_equal(result[..., 3:], expected[..., 1:])
    image = np.repeat(grey.astype(dtype), 3, axis=2)
    image[0, 0, 0] = 0 if image[0, 0, 0] else 1  # One coloured pixel makes a coloured image.
    assert (upscaler(image, (60, 50))[..., 0] != upscaler(image, (60, 50))[..., 2]).any()


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_pixels_leave_no_fringe(variables, upscaler, channels):
    """A disc of one colour on transparent pixels of another: only the disc's colour is visible."""
    y, x = np.mgrid[:100, :100]
    inside = (y - 40) ** 2 + (x - 45) ** 2 < 25**2
    image = np.zeros((100, 100, channels), np.uint8)
    image[..., 0], image[..., -1] = np.where(inside, 200, 0), np.where(inside, 255, 0)
    if channels == 4:
        image[..., 1] = np.where(inside, 0, 255)
    result = upscaler(image, (200, 200)).astype(np.float32)
    alpha = result[..., -1] / 255
    # Pixels stay opaque, or transparent, if all their neighbours are.
    reach = 2 * OVERSHOOT.radius + 2
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.repeat(np.repeat(inside, 2, axis=0), 2, axis=1), reach, mode="edge"),
        (2 * reach + 1, 2 * reach + 1),
    )
    opaque, transparent = windows.all(axis=(2, 3)), ~windows.any(axis=(2, 3))
    assert (alpha[opaque] == 1).all() and (result[transparent] == 0).all()
    assert 0 < alpha[~opaque & ~transparent].mean() < 1
    is_visible, is_between = alpha > 0.5, (alpha > 0) & (alpha < 1)
    assert abs(result[is_visible, 0] - 200).max() < 60  # The error of a random model.
    assert is_between.mean() > 0.02 and (result[is_between, 0] == 200).all()
    if channels == 4:
        assert result[is_visible, 1].max() < 60 and (result[is_between, 1] == 0).all()
    # Opaque pixels are what the model makes of them without alpha.
    plain = upscaler(image[..., :-1] * (image[..., -1:] > 0), (200, 200))
    assert (result[opaque, :-1] == plain[opaque]).all()
    # Where alpha is not clipped it is the rendered mask.
    exact = upscaler(image.astype(np.float32) / 255, (200, 200))[..., -1:]
    mask = draw_whole(variables, image[..., -1:] / 255, (200, 200)).mean(axis=-1, keepdims=True)
    is_between = (exact > 0) & (exact < 1)
    np.testing.assert_allclose(exact[is_between], mask[is_between], atol=3e-5)


@pytest.mark.parametrize("size", [(24, 24), (96, 12)], ids=str)
def test_reduced_alpha_is_the_average(variables, size):
    """Lines on transparent pixels of another colour, much thinner than an output pixel."""
    image = np.zeros((192, 192, 4), np.uint8)
    image[..., 2] = 255
    image[:, np.arange(192) % 16 < 3] = (240, 100, 0, 255)
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    result = upscaler(image, size).astype(np.float64)
    average = imresize(image[..., 3:].repeat(3, axis=-1), size)[..., 0]
    assert abs(result[..., 3] - average).mean() < 1
    assert (result[result[..., 3] > 0][:, :3] == (240, 100, 0)).all()


def test_opaque_alpha_costs_nothing_and_changes_nothing(upscaler, draw):
    image = draw(1, (60, 50))
    rgba = np.concatenate([image, np.full((60, 50, 1), 255, np.uint8)], axis=-1)
    plain = upscaler(image, (120, 100))
    before = upscaler.compilations
    result = upscaler(rgba, (120, 100))
    assert upscaler.compilations == before
    np.testing.assert_array_equal(result[..., :3], plain)
    assert (result[..., 3] == 255).all()


def test_transparent_images_are_not_rendered(variables):
    upscaler = Upscaler(MODEL, variables)
    image = np.full((60, 50, 4), [200, 100, 0, 0], np.uint8)
    reports = []
    assert not upscaler(image, (120, 100), progress=lambda *x: reports.append(x)).any()
    assert upscaler.compilations == 0
    total = reports[-1][1]
    assert reports == [(0, total), (total, total)]


@pytest.mark.parametrize("size", [(1, 7), (7, 1)])
def test_the_smallest_images(upscaler, size):
    image = np.full((*size, 4), 128, np.uint8)
    result = upscaler(image, (size[0] * 3, size[1] * 2))
    assert result.shape == (size[0] * 3, size[1] * 2, 4)
    assert (result[..., 3] == 128).all()


def test_the_memory_of_translucent_tiles_is_known_before_opaque_ones_are_rendered(variables, draw):
    """One with alpha takes twice as much, as an image of its colour and one of its alpha."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1], largest_tile=24)
    image = np.concatenate([draw(0, (60, 50)), np.full((60, 50, 1), 255, np.uint8)], axis=-1)
    image[50:, 40:, 3] = 90
    known = []
    upscaler(image, (120, 100), progress=lambda *report: known.append(upscaler.workspace))
    assert upscaler.compilations == 2 and known[0] == known[-1]
