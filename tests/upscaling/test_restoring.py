"""A model that corrects its base, on a trunk that folds squares of pixels, in tiles."""

import jax
import numpy as np
import pytest

from hyperfunc.types import Neighbourhood
from hyperfunc.upscaling import Upscaler, alpha, tile_planner
from hyperfunc.upscaling.tile_planner import TilePlanner
from tests.correcting import draw_variables, draw_whole, make_model

MODEL = make_model("corrected")


@pytest.fixture(scope="module")
def variables():
    return draw_variables(MODEL)


@pytest.fixture
def unheld(monkeypatch):
    """Values are not held near those of the input."""
    monkeypatch.setattr(alpha, "_hold", lambda values, *bounds: values)


def assert_same(upscaler, variables, image, size):
    """The image in tiles is the image in one piece, and the model changes it."""
    image = image.astype(np.float32) / 255
    whole = draw_whole(MODEL, variables, image, size)
    np.testing.assert_allclose(upscaler(image, size), whole, atol=2e-5)
    assert np.asarray(whole).std() > 0.01


@pytest.mark.usefixtures("unheld")
@pytest.mark.parametrize(
    "scale",
    [
        (1, 1),
        (3, 2),  # The base is read farther around a tile than theta is.
        (0.4, 0.3),  # And farther still.
    ],
    ids=str,
)
def test_tiles_put_together_equal_the_whole(variables, draw, monkeypatch, scale):
    """Of a picture with an odd and an even side, in tiles that fit closely."""
    monkeypatch.setattr(tile_planner, "FIRST_EXTENT_MULTIPLE", 1)
    shape = (53, 46)
    size = (round(shape[0] * scale[0]), round(shape[1] * scale[1]))
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:1], largest_tile=9)
    assert len(upscaler.plan(shape, size).pieces) >= 25
    assert_same(upscaler, variables, draw(1, shape), size)


@pytest.mark.usefixtures("unheld")
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 29)], ids=str)
def test_tiny_images(variables, draw, shape):
    """They are filled up to the extent of a tile, where the corrected base is mirrored."""
    size = (2 * shape[0] + 1, 2 * shape[1])
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert_same(Upscaler(MODEL, variables), variables, image, size)


@pytest.mark.usefixtures("unheld")
def test_images_that_are_rendered_together(variables, draw):
    """At this scale the odd one is cut into several tiles, whose shape the others cannot use."""
    shapes = [(37, 11), (32, 12), (31, 9), (40, 12)]
    upscaler = Upscaler(MODEL, variables, devices=jax.devices()[:2], largest_tile=8)
    images = [draw(i, shape).astype(np.float32) / 255 for i, shape in enumerate(shapes)]
    sizes = [(3 * height, 3 * width) for height, width in shapes]
    plans = upscaler.plan_together(list(zip(shapes, sizes, strict=True)))
    for plan in {plan.renderer: plan for plan in plans}.values():
        members = [i for i, other in enumerate(plans) if other.renderer == plan.renderer]
        results = upscaler.render_together(
            [images[i] for i in members], [plans[i] for i in members]
        )
        for i, result in zip(members, results, strict=True):
            np.testing.assert_allclose(
                result, draw_whole(MODEL, variables, images[i], sizes[i]), atol=2e-5
            )


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.3, 30.0, 0.6])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("reads", [Neighbourhood(9, 9, 2), Neighbourhood(9, 0, 2)])
def test_tiles_start_at_even_pixels_and_read_the_halo(monkeypatch, scale, together, reads):
    """Whatever images came before, whose tiles are used again."""
    monkeypatch.setattr(tile_planner, "EXTENT_MULTIPLE", 16)
    planner = TilePlanner(reads, devices=1, largest_tile=24)
    sides = np.random.default_rng(0).integers(1, 150, (40, 2)).tolist()
    images = [((h, w), (max(round(scale * h), 1), max(round(scale * w), 1))) for h, w in sides]
    plans = (
        planner.plan_together(images)
        if together
        else [planner.plan(shape, size, 1) for shape, size in images]
    )
    for plan in plans:
        for axis, spans in enumerate((plan.rows, plan.cols)):
            pixels, extent = plan.shape[axis], plan.tile.extents[axis]
            # Each pixel is drawn by the windows beside it, too, and interpolation reads the base.
            interpolated = np.ceil(2 * max(plan.steps[axis], 1))
            reach = max(reads.radius + 1, reads.base_radius + interpolated)
            for span in spans:
                assert span.start % 2 == 0
                assert span.start <= max(span.low - reach, 0)
                assert span.start + extent >= min(span.high + reach, pixels)
                assert span.start == 0 or span.start + extent <= pixels
