import functools
import math

import jax
import numpy as np
import pytest

from hyperfunc.function import encode, render
from hyperfunc.images import to_uint8
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PatchHypernetwork, PixelHypernetwork
from hyperfunc.pixels import WindowLayout
from hyperfunc.upscaling import Upscaler, plan_axis
from hyperfunc.upscaling import tile_plan as tiles
from hyperfunc.upscaling import upscaler as tiling
from hyperfunc.upscaling.tile_plan import plan_strips

MODEL = PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=1.0)


@pytest.fixture(scope="module")
def variables():
    images = np.zeros((1, 8, 8, 3), np.float32)
    return jax.jit(MODEL.init)(jax.random.key(1), images)


def draw_whole(model, variables, image, size):
    """Render an image in one piece."""
    draw = jax.jit(lambda variables, images: render(encode(model, variables, images)[0], size))
    pixels = draw(variables, image[None].astype(np.float32) / 255)
    return to_uint8(np.asarray(pixels)[0])


@pytest.fixture(scope="module")
def whole(variables):
    """Renders an image in one piece."""
    return functools.partial(draw_whole, MODEL, variables)


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal, but for what rounding to uint8 makes of the last bit."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "FIRST_ROUNDING", 1)
    monkeypatch.setattr(tiling, "choose_largest_tile", lambda devices: 8)
    monkeypatch.setattr(tiles, "ROUNDING", 4)


@pytest.mark.parametrize(
    ("scale", "devices"),
    [
        ((2, 2), 1),
        ((2, 2), 4),
        ((3, 3), 4),
        ((1, 1), 4),
        ((3.7, 3.7), 4),
        ((2.5, 1), 1),
        ((0.4, 0.3), 4),
    ],
    ids=str,
)
def test_tiles_put_together_are_the_whole(variables, whole, draw, small_tiles, scale, devices):
    image = draw(1, (27, 22))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:devices])
    assert len(upscaler.plan((27, 22), size).tiles) >= 12
    assert_same(upscaler(image, size), whole(image, size))


@pytest.mark.parametrize("scale", [(2.6, 1.7), (0.7, 0.6)], ids=str)
def test_a_small_network_for_each_pixel_in_tiles(draw, small_tiles, scale):
    """Its pitch is traced where images of many sizes share a compilation."""
    model = PixelHypernetwork(EDSR(4, 0), CosineMLP((4, 5), footprint=True), branch_scale=1.0)
    image = draw(0, (27, 22))
    variables = jax.jit(model.init)(jax.random.key(0), image[None].astype(np.float32))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    whole = draw_whole(model, variables, image, size)
    assert_same(Upscaler(model, variables)(image, size), whole)


@pytest.mark.parametrize("scale", [(4, 4), (3.7, 2.3)], ids=str)
def test_what_is_mostly_halo_is_not_rendered(draw, monkeypatch, scale):
    """As at large scales, whose tiles have few pixels of their own."""
    monkeypatch.setattr(tiling, "choose_largest_tile", lambda devices: 2)
    monkeypatch.setattr(tiling, "FIRST_ROUNDING", 1)
    model = PixelHypernetwork(EDSR(4, 3), FourierField(4, bandwidth=2.0), branch_scale=1.0)
    image = draw(1, (27, 22))
    variables = jax.jit(model.init)(jax.random.key(0), image[None].astype(np.float32))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    upscaler = Upscaler(model, variables)
    plan = upscaler.plan((27, 22), size)
    assert plan.extents == (20, 20) and plan.kept == (10, 10)
    assert_same(upscaler(image, size), draw_whole(model, variables, image, size))


@pytest.mark.parametrize("scale", [(4, 4), (3.7, 2.3)], ids=str)
def test_alpha_where_most_is_halo(draw, monkeypatch, scale):
    """It is clipped to what it is nearby: in the image, not in what is rendered of a tile."""
    model = PixelHypernetwork(EDSR(4, 3), FourierField(4, bandwidth=2.0), branch_scale=1.0)
    colour = draw(1, (27, 22))
    alpha = np.full((27, 22, 1), 250, np.uint8)
    alpha[12:] = 90
    alpha[:, 15:] -= 60
    image = np.concatenate([colour, alpha], axis=-1)
    variables = jax.jit(model.init)(jax.random.key(0), colour[None].astype(np.float32))
    size = (round(27 * scale[0]), round(22 * scale[1]))
    whole = Upscaler(model, variables, devices=jax.devices()[:1])
    assert len(whole.plan((27, 22), size).tiles) == 1
    expected = whole(image, size)
    monkeypatch.setattr(tiling, "choose_largest_tile", lambda devices: 2)
    monkeypatch.setattr(tiling, "FIRST_ROUNDING", 1)
    tiled = Upscaler(model, variables)
    assert tiled.plan((27, 22), size).kept == (10, 10)
    assert_same(tiled(image, size), expected)


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 1), (3, 3)), ((3, 5), (6, 10)), ((1, 40), (4, 71))], ids=str
)
def test_tiny_images(variables, whole, draw, shape, size):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert_same(Upscaler(MODEL, variables)(image, size), whole(image, size))


@pytest.mark.parametrize("scale", [(2, 2), (3.7, 2.3), (0.55, 0.4)], ids=str)
@pytest.mark.parametrize("pixels", [24, 30, 32])
def test_the_border_is_mirrored_wherever_a_tile_ends(variables, whole, pixels, scale):
    """Also where a tile is a pixel or two longer than the image."""
    size = (round(scale[0] * pixels), round(scale[1] * 24))
    image = np.random.default_rng(0).integers(0, 256, (pixels, 24, 3)).astype(np.uint8)
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    assert_same(upscaler(image, size), whole(image, size))
    # And an image that may use what was compiled for another.
    smaller = image[: pixels - 1]
    size = (round(scale[0] * (pixels - 1)), round(scale[1] * 24))
    assert_same(upscaler(smaller, size), whole(smaller, size))


def test_a_reduced_image_does_not_use_tiles_that_end_a_little_beyond_it(variables, whole):
    """Of one pitch, which is compiled in, so that the second image might use the first one's."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    for pixels in (64, 62):
        image = np.random.default_rng(0).integers(0, 256, (pixels, pixels, 3)).astype(np.uint8)
        size = (pixels // 2, pixels // 2)
        assert_same(upscaler(image, size), whole(image, size))


def test_tiles_differ_by_what_is_rendered_of_them(draw, monkeypatch):
    """Those of the second and the third image are of one size and have as many samples."""
    monkeypatch.setattr(tiling, "choose_largest_tile", lambda devices: 32)
    monkeypatch.setattr(tiling, "FIRST_ROUNDING", 4)
    for module in (tiles, tiling):
        monkeypatch.setattr(module, "ROUNDING", 8)
    model = PixelHypernetwork(EDSR(4, 6), FourierField(4, bandwidth=2.0), branch_scale=1.0)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    upscaler = Upscaler(model, variables, devices=jax.devices()[:1])
    plans = []
    for shape, size in (((20, 20), (22, 22)), ((24, 40), (31, 52)), ((24, 50), (25, 52))):
        plans.append(upscaler.plan(shape, size))
        image = draw(1, shape)
        assert_same(upscaler(image, size), draw_whole(model, variables, image, size))
    assert plans[1].kept != plans[2].kept
    assert (plans[1].extents, plans[1].count) == (plans[2].extents, plans[2].count)


def test_a_great_reduction_reads_the_image_once(variables):
    """Its tiles are not made longer for what is mirrored."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    assert upscaler.plan((1023, 255), (1, 2)).extents == (1023, 255)


def test_a_model_without_a_window_per_pixel_renders_whole(draw):
    model = PatchHypernetwork(EDSR(4, 0), CosineMLP((4, 5)), branch_width=4, branch_convs=1, pool=1)
    image = draw(0, (16, 16))
    variables = jax.jit(model.init)(jax.random.key(0), image[None].astype(np.float32))
    result = Upscaler(model, variables)(image, (20, 24))
    assert result.shape == (20, 24, 3) and result.dtype == np.uint8


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize(
    ("height", "layout"),
    [
        (61, WindowLayout(8, 4, overhang=0.0)),
        (58, WindowLayout(8, 4, overhang=2.0)),
        (60, WindowLayout(6, 6, overhang=0.0, profile="box")),
    ],
    ids=str,
)
def test_strips_put_together_are_the_whole(draw, monkeypatch, height, layout, devices):
    """On one device and on several, with an image that no number of strips divides."""
    monkeypatch.setattr(tiles, "STRIP_SAMPLES", 1000)
    model = PatchHypernetwork(
        EDSR(4, 0), CosineMLP((4, 5)), layout, branch_width=4, branch_convs=1, pool=1
    )
    image, size = draw(2, (height, 14)), (round(1.7 * height), 23)
    variables = jax.jit(model.init)(jax.random.key(0), image[None].astype(np.float32))
    upscaler = Upscaler(model, variables, devices=jax.devices()[:devices])
    reports = []
    result = upscaler(image, size, progress=lambda *report: reports.append(report))
    assert_same(result, draw_whole(model, variables, image, size))
    count = upscaler.count_tiles((height, 14), size)
    assert count > 3 and reports[0] == (0, count) and reports[-1] == (count, count)
    assert upscaler.compilations == 1


def test_strips_are_compiled_for_their_pitch(draw, monkeypatch):
    """Two images whose strips have one shape, rendered at one size."""
    monkeypatch.setattr(tiles, "STRIP_SAMPLES", 1000)
    model = PatchHypernetwork(
        EDSR(4, 0),
        CosineMLP((4, 5)),
        WindowLayout(8, 4, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        pool=1,
    )
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    upscaler = Upscaler(model, variables, devices=jax.devices()[:2])
    for height in (60, 64):
        image = draw(height, (height, 14))
        whole = draw_whole(model, variables, image, (100, 23))
        assert_same(upscaler(image, (100, 23)), whole)
    assert upscaler.compilations == 2


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_strips_of_other_kinds_of_images(monkeypatch, dtype, channels):
    """Reduced, so that the base reads far beyond a strip; on several devices as on one."""
    monkeypatch.setattr(tiles, "STRIP_SAMPLES", 10_000)
    model = PatchHypernetwork(
        EDSR(4, 0),
        CosineMLP((4, 5), output="linear"),
        WindowLayout(8, 4, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        pool=1,
        base="bicubic",
    )
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    pixels = np.random.default_rng(channels).uniform(size=(210, 11, channels))
    image = (pixels * (60_000 if dtype == np.uint16 else 1)).astype(dtype)
    several = Upscaler(model, variables, devices=jax.devices()[:3])
    assert several.count_tiles(image.shape[:2], (21, 7)) >= 3
    assert Upscaler(model, variables, devices=jax.devices()[:1]).count_tiles((210, 11), (21, 7)) < 3
    result = several(image, (21, 7))
    monkeypatch.setattr(tiles, "STRIP_SAMPLES", 2**20)
    whole = Upscaler(model, variables, devices=jax.devices()[:1])(image, (21, 7))
    assert result.dtype == dtype and result.shape == (21, 7, channels)
    unit = 1e-5 if dtype == np.float32 else 1
    np.testing.assert_allclose(result.astype(float), whole.astype(float), atol=unit)


def test_strips_are_as_high_as_their_budget_and_the_devices_allow():
    layout, shape, steps = WindowLayout(8, 4, overhang=0.0), (512, 768), (0.25, 0.25)
    assert layout.grid((1, 768))[1] == 191
    # A row of windows has 191 x 8 x 8 x 16 samples; 2 ** 20 are five of them, 20 rows.
    extent, spans = plan_strips(layout, shape, steps)
    assert extent == 20 + 2 * 12 and len(spans) == 26
    narrow = WindowLayout(8, 4, overhang=0.0), (512, 20), (1.0, 1.0)
    assert len(plan_strips(*narrow)[1]) == 1
    assert len(plan_strips(*narrow, parts=4)[1]) == 4


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_strips_read_all_that_reaches_into_them(parts):
    layout = WindowLayout(8, 4, overhang=0.0)
    for height in (1, 9, 40, 41, 203, 1000):
        extent, spans = plan_strips(layout, (height, 500), (0.5, 0.5), parts)
        assert spans[0].low == 0 and spans[-1].high == height
        for before, after in zip(spans, spans[1:], strict=False):
            assert before.high == after.low
        for span in spans:
            assert span.start % layout.stride == 0 and span.start + extent <= height
            assert span.start <= max(span.low - 8, 0)
            assert span.start + extent >= min(span.high + 8, height)


def test_images_of_many_sizes_share_few_compilations(variables, draw):
    """One fits the first image of its kind closely; others share what fits sizes rounded up."""
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1])
    for shape in ((33, 40), (50, 64), (64, 35), (20, 17), (32, 9), (41, 41)):
        assert upscaler(draw(0, shape), (2 * shape[0], 2 * shape[1])).shape[0] == 2 * shape[0]
    assert upscaler.compilations == 3
    upscaler(draw(0, (33, 40)), (66, 80))  # The first again.
    assert upscaler.compilations == 3
    # At a real scale too, and the pitch is not compiled in; reduced it is.
    assert upscaler.plan((33, 40), (50, 61)).extents == (40, 40)
    for shape, size in (((33, 40), (50, 61)), ((50, 64), (72, 91)), ((41, 60), (67, 88))):
        assert upscaler(draw(0, shape), size).shape[:2] == size
    assert upscaler.compilations == 5  # The third fits into the tiles of the second.
    for _ in range(2):
        upscaler(draw(0, (33, 40)), (25, 31))
    assert upscaler.compilations == 6


def test_tiles_divide_an_axis():
    for pixels in (1, 5, 100, 513, 1000):
        for parts in (1, 4):
            extent, spans = plan_axis(pixels, halo=7, parts=parts)
            assert spans[0].low == 0 and spans[-1].high == pixels
            for before, after in zip(spans, spans[1:], strict=False):
                assert before.high == after.low
            assert len(spans) >= min(parts, pixels)
            for span in spans:
                assert 0 < span.high - span.low <= tiles.LARGEST_TILE
                # The halo, as far as there is an image.
                assert span.start <= max(span.low - 7, 0)
                assert span.start + extent >= min(span.high + 7, pixels)
                # None ends beyond an image that it fits into.
                assert span.start == 0 or span.start + extent <= pixels
            assert extent % tiles.ROUNDING == 0


def test_many_devices_have_no_more_memory(variables):
    one, two, four = (
        Upscaler(MODEL, variables, devices=jax.devices()[:n]).plan((2000, 2000), (4000, 4000))
        for n in (1, 2, 4)
    )
    assert one.extents == two.extents
    assert 4 * math.prod(four.extents) <= 1.3 * 2 * math.prod(two.extents)


@pytest.mark.parametrize("size", [(0, 8), (8, -1)], ids=str)
def test_a_size_of_nothing_is_an_error(variables, draw, size):
    with pytest.raises(ValueError, match=str(size[0])):
        Upscaler(MODEL, variables)(draw(0, (8, 8)), size)
