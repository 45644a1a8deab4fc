"""Models that read windows render an image in strips."""

import jax
import numpy as np
import pytest

from hyperfunc.function import encode, render
from hyperfunc.images import to_uint8
from hyperfunc.networks import EDSR, CosineMLP, InceptionTrunk, PatchHypernetwork
from hyperfunc.pixels import WHOLE_IMAGE, WindowLayout, imresize
from hyperfunc.upscaling import Upscaler, alpha, strips
from hyperfunc.upscaling.strips import StripPlanner
from hyperfunc.values import decode_srgb, encode_srgb

TENTS = WindowLayout(8, 4, overhang=0.0)


def make_model(layout: WindowLayout = TENTS, **options) -> PatchHypernetwork:
    target = CosineMLP((4, 5), output="linear" if options else "sigmoid")
    return PatchHypernetwork(
        EDSR(4, 0), target, layout, branch_width=4, branch_convs=1, pool=1, **options
    )


def initialise(model):
    return jax.jit(model.init)(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))


@pytest.fixture(autouse=True)
def unheld(monkeypatch):
    """Values are not held near those of the input, which test_alpha.py tests."""
    monkeypatch.setattr(alpha, "_hold", lambda values, *bounds: values)


def draw_whole(model, variables, image, size):
    """Render an image in one piece."""
    draw = jax.jit(lambda variables, images: render(encode(model, variables, images)[0], size))
    return to_uint8(np.asarray(draw(variables, image[None].astype(np.float32) / 255))[0])


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal but for the last bit, which rounding to uint8 may change."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("height", "layout", "devices"),
    [
        (61, TENTS, 3),  # The last group of strips does not fill the devices.
        (58, WindowLayout(8, 4, overhang=2.0), 1),  # Windows reach over the border.
        (60, WindowLayout(6, 6, overhang=0.0, profile="box"), 3),  # Windows do not overlap.
    ],
    ids=str,
)
def test_strips_put_together_equal_the_whole(draw, monkeypatch, height, layout, devices):
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 1000)
    model = make_model(layout)
    variables = initialise(model)
    image, size = draw(2, (height, 14)), (round(1.7 * height), 23)
    upscaler = Upscaler(model, variables, devices=jax.devices()[:devices])
    reports = []
    result = upscaler(image, size, progress=lambda *report: reports.append(report))
    assert_same(result, draw_whole(model, variables, image, size))
    count = len(upscaler.plan((height, 14), size).pieces)
    assert count > 3 and reports[0] == (0, count) and reports[-1] == (count, count)
    assert upscaler.compilations == 1


@pytest.mark.slow
def test_light_is_averaged_between_strips(draw, monkeypatch):
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 1000)
    model = make_model()
    variables, image = initialise(model), draw(2, (200, 14)).astype(np.uint16) * 257
    own = Upscaler(model, variables)(image, (200, 14)) / 65535
    upscaler, size = Upscaler(model, variables, linear=True), (66, 5)
    expected = encode_srgb(imresize(decode_srgb(own), size))
    np.testing.assert_allclose(upscaler(image, size) / 65535, expected, atol=1e-3)
    assert len(upscaler.plan((200, 14), size).pieces) > 2


@pytest.mark.slow
@pytest.mark.parametrize("branch_convs", [1, 2])
def test_strips_of_sliding_windows_equal_the_whole(draw, monkeypatch, branch_convs):
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 1000)
    model = PatchHypernetwork(
        InceptionTrunk(stem_width=2, width=4, pool=False),
        CosineMLP((4, 5)),
        WindowLayout(size=4, stride=2, overhang=1.0),
        branch_width=4,
        branch_convs=branch_convs,
        branch_scale=1.0,
        sliding=True,
    )
    image, size = draw(2, (61, 14)), (104, 23)
    variables = initialise(model)
    upscaler = Upscaler(model, variables, devices=jax.devices()[:2])
    assert len(upscaler.plan((61, 14), size).pieces) > 3
    assert_same(upscaler(image, size), draw_whole(model, variables, image, size))


def test_a_model_of_the_whole_image_renders_one_strip(draw):
    model = PatchHypernetwork(EDSR(4, 0), CosineMLP((4, 5)), WHOLE_IMAGE, branch_width=4, pool=1)
    image = draw(0, (16, 16))
    variables = initialise(model)
    upscaler = Upscaler(model, variables)
    assert len(upscaler.plan((16, 16), (20, 24)).pieces) == 1
    assert_same(upscaler(image, (20, 24)), draw_whole(model, variables, image, (20, 24)))


@pytest.mark.slow
def test_images_of_different_pitch_do_not_share_a_compiled_function(draw, monkeypatch):
    """The strips of both images have one shape, and both results have one size."""
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 1000)
    model = make_model()
    variables = initialise(model)
    upscaler = Upscaler(model, variables, devices=jax.devices()[:2])
    for height in (60, 64):
        image = draw(height, (height, 14))
        whole = draw_whole(model, variables, image, (100, 23))
        assert_same(upscaler(image, (100, 23)), whole)
    assert upscaler.compilations == 2


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint16, 1), (np.float32, 4)], ids=str)
def test_strips_of_any_kind_of_image(monkeypatch, dtype, channels):
    """Several devices give what one gives. Reduced, the base reads far beyond a strip."""
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 10_000)
    model = make_model(base="bicubic")
    variables = initialise(model)
    pixels = np.random.default_rng(channels).uniform(size=(210, 11, channels))
    image = (pixels * (60_000 if dtype == np.uint16 else 1)).astype(dtype)
    several = Upscaler(model, variables, devices=jax.devices()[:3])
    assert len(several.plan((210, 11), (21, 7)).pieces) >= 3
    result = several(image, (21, 7))
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 2**20)
    one = Upscaler(model, variables, devices=jax.devices()[:1])
    assert len(one.plan((210, 11), (21, 7)).pieces) == 1
    whole = one(image, (21, 7))
    assert result.dtype == dtype and result.shape == (21, 7, channels)
    unit = 1e-5 if dtype == np.float32 else 1
    np.testing.assert_allclose(result.astype(float), whole.astype(float), atol=unit)


def test_transparent_strips_are_not_rendered_and_opaque_ones_without_alpha(monkeypatch):
    monkeypatch.setattr(strips, "MAX_STRIP_EVALUATIONS", 1000)
    model = make_model()
    image = np.random.default_rng(0).integers(0, 256, (60, 14, 4)).astype(np.uint8)
    image[..., 3] = 255
    upscaler = Upscaler(model, initialise(model), devices=jax.devices()[:1])
    plain = upscaler(image[..., :3], (60, 14))
    result = upscaler(image, (60, 14))
    assert upscaler.compilations == 1 and (result[..., 3] == 255).all()
    np.testing.assert_array_equal(result[..., :3], plain)
    image[..., 3] = 0
    assert not upscaler(image, (60, 14)).any() and upscaler.compilations == 1


def test_a_strip_is_as_high_as_its_budget_and_the_devices_allow():
    shape, size = (512, 768), (2048, 3072)
    assert TENTS.grid((1, 768))[1] == 191
    # A row of windows is evaluated 191 x 8 x 8 x 16 times; 2 ** 20 are five of them, 20 rows.
    plan = StripPlanner(TENTS).plan(shape, size, 1)
    assert plan.extent == 20 + 2 * 12 and len(plan.spans) == 26
    narrow = (512, 20)
    assert len(StripPlanner(TENTS).plan(narrow, narrow, 1).spans) == 1
    assert len(StripPlanner(TENTS).plan(narrow, narrow, 4).spans) == 4


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_a_strip_reads_every_window_that_reaches_into_it(devices):
    for height in (1, 9, 40, 41, 203, 1000):
        plan = StripPlanner(TENTS).plan((height, 500), (2 * height, 1000), devices)
        spans, extent = plan.spans, plan.extent
        assert spans[0].low == 0 and spans[-1].high == height
        for before, after in zip(spans, spans[1:], strict=False):
            assert before.high == after.low
        for span in spans:
            assert span.start % TENTS.stride == 0 and span.start + extent <= height
            assert span.start <= max(span.low - TENTS.size, 0)
            assert span.start + extent >= min(span.high + TENTS.size, height)
