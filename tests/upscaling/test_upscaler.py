"""Images rendered in tiles equal images rendered in one piece, and few functions are compiled."""

import functools
import math

import jax
import numpy as np
import pytest

from hyperfunc.function import encode, render
from hyperfunc.images import to_uint8
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PixelHypernetwork
from hyperfunc.types import Neighbourhood
from hyperfunc.upscaling import Upscaler, alpha, tile_planner
from hyperfunc.upscaling.tile_grid import Span, plan_rendered, round_up
from hyperfunc.upscaling.tile_planner import TilePlanner

MODEL = PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=1.0)
DEEP_MODEL = PixelHypernetwork(EDSR(4, 3), FourierField(4, bandwidth=2.0), branch_scale=1.0)


@pytest.fixture(scope="module")
def variables():
    return initialise(MODEL)


def initialise(model):
    return jax.jit(model.init)(jax.random.key(1), np.zeros((1, 8, 8, 3), np.float32))


@pytest.fixture(autouse=True)
def unheld(monkeypatch):
    """Values are not held near those of the input, which test_alpha.py tests."""
    monkeypatch.setattr(alpha, "_hold", lambda values, *bounds: values)


def draw_whole(model, variables, image, size):
    """Render an image in one piece."""
    draw = jax.jit(lambda variables, images: render(encode(model, variables, images)[0], size))
    return to_uint8(np.asarray(draw(variables, image[None].astype(np.float32) / 255))[0])


@pytest.fixture(scope="module")
def whole(variables):
    """Renders an image in one piece."""
    return functools.partial(draw_whole, MODEL, variables)


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal but for the last bit, which rounding to uint8 may change."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def noise(shape: tuple[int, int], channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, channels)).astype(np.uint8)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles are 8 pixels wide and fit closely."""
    monkeypatch.setattr(tile_planner, "FIRST_EXTENT_MULTIPLE", 1)
    monkeypatch.setattr(tile_planner, "EXTENT_MULTIPLE", 4)
    monkeypatch.setattr(tile_planner, "choose_largest_tile", lambda devices: 8)


@pytest.mark.parametrize(
    ("scale", "devices"),
    [
        ((2, 2), 1),  # An even scale, one tile at a time.
        ((3, 3), 4),  # An odd scale, four at a time.
        ((1, 1), 1),  # The windows count less beside the base.
        ((3.7, 1), 4),  # A real scale, another one for each axis.
        ((0.4, 0.3), 4),  # Reduced: the base is read far beyond a tile.
    ],
    ids=str,
)
def test_tiles_put_together_equal_the_whole(variables, whole, draw, small_tiles, scale, devices):
    image = draw(1, (27, 22))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:devices])
    assert len(upscaler.plan((27, 22), size).pieces) >= 12
    assert_same(upscaler(image, size), whole(image, size))


@pytest.mark.parametrize("scale", [(2.6, 1.7), (0.7, 0.6)], ids=str)
def test_tiles_of_a_network_that_depends_on_the_footprint(draw, small_tiles, scale):
    """The pitch is an argument of what is compiled to enlarge, and constant in what reduces."""
    model = PixelHypernetwork(EDSR(4, 0), CosineMLP((4, 5), footprint=True), branch_scale=1.0)
    variables, image = initialise(model), draw(0, (27, 22))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    whole = draw_whole(model, variables, image, size)
    assert_same(Upscaler(model, variables)(image, size), whole)


@pytest.fixture
def tiles_of_halo(monkeypatch):
    """Tiles have two pixels of their own, as at large scales."""
    monkeypatch.setattr(tile_planner, "choose_largest_tile", lambda devices: 2)
    monkeypatch.setattr(tile_planner, "FIRST_EXTENT_MULTIPLE", 1)


@pytest.mark.parametrize("scale", [(4, 4), (3.7, 2.3)], ids=str)
def test_a_tile_that_is_mostly_halo_is_rendered_in_part(draw, tiles_of_halo, scale):
    variables, image = initialise(DEEP_MODEL), draw(1, (27, 22))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    upscaler = Upscaler(DEEP_MODEL, variables)
    tile = upscaler.plan((27, 22), size).tile
    assert tile.extents == (20, 20) and tile.rendered == (6, 6)
    assert_same(upscaler(image, size), draw_whole(DEEP_MODEL, variables, image, size))


def test_a_tile_of_few_pixels_is_rendered_with_those_that_interpolation_reads():
    """Also of later images: each pixel that is rendered in vain becomes a million."""
    planner = TilePlanner(Neighbourhood(33), devices=1)
    for pixels in (40, 120):
        tile = planner.plan((pixels, pixels), (1000 * pixels, 1000 * pixels), 1).tile
        assert tile.rendered == (6, 6)


@pytest.mark.parametrize("multiple", [8, 32])
def test_no_tile_is_rendered_beyond_the_multiple_of_its_extent(multiple):
    for own in range(1, 100):
        rendered = plan_rendered(1000, [Span(0, own, 0)], multiple)
        assert own + 4 <= rendered <= round_up(own + 4, multiple)
    assert rendered == round_up(own + 4, multiple)


@pytest.mark.parametrize("scale", [(4, 4), (3.7, 2.3)], ids=str)
def test_alpha_is_bounded_by_the_image_where_a_tile_is_rendered_in_part(draw, request, scale):
    """The bounds come from what the tile reads, not only from what is rendered of it."""
    alpha = np.full((27, 22, 1), 250, np.uint8)
    alpha[12:] = 90
    alpha[:, 15:] -= 60
    image = np.concatenate([draw(1, (27, 22)), alpha], axis=-1)
    variables = initialise(DEEP_MODEL)
    size = (round(27 * scale[0]), round(22 * scale[1]))
    whole = Upscaler(DEEP_MODEL, variables, devices=jax.devices()[:1])
    assert len(whole.plan((27, 22), size).pieces) == 1
    expected = whole(image, size)
    request.getfixturevalue("tiles_of_halo")
    tiled = Upscaler(DEEP_MODEL, variables)
    assert tiled.plan((27, 22), size).tile.rendered == (6, 6)
    assert_same(tiled(image, size), expected)


@pytest.mark.parametrize(("shape", "size"), [((1, 1), (3, 3)), ((1, 40), (4, 71))], ids=str)
def test_images_of_one_pixel_or_row(variables, whole, shape, size):
    image = noise(shape)
    assert_same(Upscaler(MODEL, variables)(image, size), whole(image, size))


@pytest.mark.parametrize(
    ("pixels", "scale"),
    [
        (32, (2, 2)),  # The second image ends one pixel before the tiles of the first.
        (30, (3.7, 2.3)),  # It ends two pixels before the end of a tile, the second one three.
        (24, (0.55, 0.4)),  # Reduced, tiles end where the image does.
    ],
    ids=str,
)
def test_the_border_is_mirrored_once_wherever_a_tile_ends(variables, whole, pixels, scale):
    """For an image of its own tiles, and for one that may use those of another image."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    for height in (pixels, pixels - 1):
        image, size = noise((height, 24)), (round(scale[0] * height), round(scale[1] * 24))
        assert_same(upscaler(image, size), whole(image, size))


def test_a_reduced_image_does_not_use_tiles_that_are_longer_than_it(variables, whole):
    """Both images are of one pitch, so nothing else keeps the second from the first one's tiles."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    for pixels in (64, 62):
        image, size = noise((pixels, pixels)), (pixels // 2, pixels // 2)
        assert_same(upscaler(image, size), whole(image, size))


def test_tiles_that_are_rendered_in_different_parts_do_not_share_a_function(monkeypatch):
    """The second and the third image have tiles of one size, with as many output pixels."""
    monkeypatch.setattr(tile_planner, "choose_largest_tile", lambda devices: 32)
    monkeypatch.setattr(tile_planner, "FIRST_EXTENT_MULTIPLE", 4)
    monkeypatch.setattr(tile_planner, "EXTENT_MULTIPLE", 8)
    planner = TilePlanner(Neighbourhood(14), devices=1)
    sizes = ((20, 20), (22, 22)), ((24, 40), (31, 52)), ((24, 50), (25, 52))
    _, second, third = (planner.plan(shape, size, 1) for shape, size in sizes)
    assert second.tile.extents == third.tile.extents and second.tile.count == third.tile.count
    assert second.tile.rendered != third.tile.rendered and second.renderer != third.renderer


def test_images_of_many_sizes_share_few_tile_shapes():
    """The first image of a kind gets tiles that fit closely, later ones such as others can use."""
    planner = TilePlanner(Neighbourhood(4), devices=1)

    def count_shapes(*sizes) -> int:
        return len({planner.plan(shape, size, 1).tile for shape, size in sizes})

    shapes = ((33, 40), (50, 64), (64, 35), (20, 17), (32, 9), (41, 41))
    assert count_shapes(*((shape, (2 * shape[0], 2 * shape[1])) for shape in shapes)) == 3
    # At real scales the pitch is an argument. The third image fits into the tiles of the second.
    real = ((33, 40), (50, 61)), ((50, 64), (72, 91)), ((41, 60), (67, 88))
    assert planner.plan(*real[0], 1).tile.extents == (40, 40)
    assert count_shapes(*real) == 2


def test_small_images_are_planned_together():
    """Few functions are compiled, and not much is computed in vain."""
    planner = TilePlanner(Neighbourhood(4), devices=2)
    shapes = [(64 + 7 * i % 65, 64 + 13 * i % 65) for i in range(20)] * 3
    plans = planner.plan_together([(shape, (2 * shape[0], 2 * shape[1])) for shape in shapes])
    assert [plan.shape for plan in plans] == shapes
    assert all(len(plan.pieces) == 1 for plan in plans)
    assert len({plan.renderer for plan in plans}) <= 4
    computed = sum(plan.tile.pixels for plan in plans)
    assert computed <= 1.4 * sum(math.prod(shape) for shape in shapes)
    # Where images are reduced, a tile is as large as the image.
    reduced = planner.plan_together([((64, 60), (32, 30)), ((60, 64), (30, 32))])
    assert [plan.tile.extents for plan in reduced] == [(64, 60), (60, 64)]


def test_images_that_share_tiles_share_a_compiled_function(variables, draw):
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    for shape in ((33, 40), (31, 37), (33, 40)):
        assert upscaler(draw(0, shape), (2 * shape[0], 2 * shape[1])).shape[0] == 2 * shape[0]
    assert upscaler.compilations == 1
    # Where images are reduced, the pitch is compiled in: another size is another function.
    for size in ((25, 31), (25, 31), (24, 31)):
        upscaler(draw(0, (33, 40)), size)
    assert upscaler.compilations == 3


def test_a_great_reduction_reads_the_image_once():
    """Its tile does not get longer for what is mirrored beyond the image."""
    planner = TilePlanner(Neighbourhood(4), devices=1)
    assert planner.plan((1023, 255), (1, 2), 1).tile.extents == (1023, 255)


def test_many_devices_take_no_more_memory():
    one, two, four = (
        TilePlanner(Neighbourhood(4), devices)
        .plan((2000, 2000), (4000, 4000), devices)
        .tile.extents
        for devices in (1, 2, 4)
    )
    assert one == two
    assert 4 * math.prod(four) <= 1.3 * 2 * math.prod(two)


def test_large_scales_get_small_tiles():
    planner = TilePlanner(Neighbourhood(4), devices=4)
    assert max(planner.plan((4000, 6000), (8000, 12000), 4).tile.count) <= 2 * 320
    # Hardly any of the halo is rendered.
    assert max(planner.plan((4000, 6000), (200000, 300000), 4).tile.count) <= 50 * 40
    reduced = planner.plan((4000, 6000), (400, 600), 4).tile
    assert reduced.extents[0] <= 320 and max(reduced.count) <= 32


def test_a_size_of_no_pixels_is_refused(variables, draw):
    upscaler = Upscaler(MODEL, variables)
    with pytest.raises(ValueError, match=r"at size \(8, -1\): both need at least 1 x 1"):
        upscaler(draw(0, (8, 8)), (8, -1))
    with pytest.raises(ValueError, match="at least 1 x 1"):
        upscaler.plan((0, 8), (8, 8))


def test_an_array_that_is_no_image_is_refused(variables):
    with pytest.raises(ValueError, match="1 to 4 channels"):
        Upscaler(MODEL, variables)(np.zeros((4, 4, 5), np.uint8), (8, 8))


def test_a_plan_for_another_image_is_refused(variables, draw):
    upscaler = Upscaler(MODEL, variables)
    with pytest.raises(ValueError, match=r"plan is for an image of \(8, 8\), not \(8, 9\)"):
        upscaler.render(draw(0, (8, 9)), upscaler.plan((8, 8), (16, 16)))
