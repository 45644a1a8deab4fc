"""The pixels that the page draws agree with those that JAX computes."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.export import load_function, save_function
from hyperfunc.function import FunctionalImage, render, sample
from hyperfunc.pixels import Axis, interpolate_grid

pytestmark = pytest.mark.browser

SIZE = (24, 36)
TOLERANCE = 2 / 255
GROUND = np.array([15, 17, 20]) / 255
PART = (60, 50)
"""Width and height of the views that are compared point by point: one shape compiles once."""
View = dict[str, Any]
render_jit = jax.jit(render, static_argnames=("size", "window"))


@pytest.fixture(scope="module")
def still(exported):
    """The page, for tests that leave its view as it is."""
    exported.open()
    return exported


def sample_positions(view: View) -> tuple[jax.Array, jax.Array]:
    """Return the coordinates (y, x) of the pixels of a view, [h, w, 2], and their footprint."""
    width, height = PART
    across, down = np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2
    dy, dx = np.meshgrid(down, across, indexing="ij")
    cos, sin = np.cos(view.get("rotation", 0.0)), np.sin(view.get("rotation", 0.0))
    x = view["x"] + (cos * dx + sin * dy) / view["zoom"]
    y = view["y"] + (-sin * dx + cos * dy) / view["zoom"]
    coords = jnp.asarray(np.stack([y / SIZE[0], x / SIZE[1]], axis=-1), jnp.float32)
    return coords, jnp.full(2, 1 / view["zoom"])


@jax.jit
def sample_with_slopes(function: FunctionalImage, coords: jax.Array, footprint: jax.Array):
    """Return values [n, c] and derivatives [n, c, 2] per input pixel, at points [n, 2]."""

    def value(coord: jax.Array) -> jax.Array:
        return sample(function, coord[None], footprint=footprint[None], widest=4.0)[0, 0]

    slopes = jax.vmap(jax.jacfwd(value))(coords)
    return jax.vmap(value)(coords), slopes / jnp.asarray(SIZE, jnp.float32)[None, None]


def compute_view(function: FunctionalImage, view: View) -> np.ndarray:
    """Compute a view of PART pixels with JAX, with the ground outside of the image."""
    coords, footprint = sample_positions(view)
    values, slopes = sample_with_slopes(function, coords.reshape(-1, 2), footprint)
    if view.get("gradient"):
        magnitude = jnp.sqrt(jnp.square(slopes).sum(axis=(1, 2)) / 3)
        values = jnp.broadcast_to(1 - jnp.exp(-3 * magnitude)[:, None], values.shape)
    shown = np.clip(np.asarray(values), 0, 1).reshape(*coords.shape[:2], 3)
    is_outside = ((coords < 0) | (coords > 1)).any(axis=-1)
    return np.where(is_outside[..., None], GROUND, shown)


@pytest.mark.parametrize("scale", [2, 3.75, 1, 0.5])
def test_the_whole_image_agrees_with_render(still, function, scale: float) -> None:
    height, width = (round(scale * n) for n in SIZE)
    shown = still.render(width, height, x=SIZE[1] / 2, y=SIZE[0] / 2, zoom=scale, rotation=0)
    reference = render_jit(function, (height, width))[0]
    assert np.abs(shown - np.clip(reference, 0, 1)).max() <= TOLERANCE


def test_a_part_agrees_with_render(still, function) -> None:
    shown = still.render(80, 60, x=11.0, y=7.5, zoom=10, rotation=0)
    window = (4.5 / SIZE[0], 7 / SIZE[1], 10.5 / SIZE[0], 15 / SIZE[1])
    reference = render_jit(function, (60, 80), window=window)[0]
    assert np.abs(shown - np.clip(reference, 0, 1)).max() <= TOLERANCE


def test_the_base_is_left_of_the_line(still, function) -> None:
    view = {"x": 16.0, "y": 12.0, "zoom": 4, "rotation": 0, "compare": True, "split": 0.5}
    shown = still.render(*PART, **view)
    rows, cols = Axis(12.0 - 6.25, 0.25, 50), Axis(16.0 - 7.5, 0.25, 60)
    bicubic = np.clip(interpolate_grid(function.base, rows, cols)[0], 0, 1)
    assert np.abs(shown - bicubic)[:, :30].max() <= TOLERANCE
    assert np.abs(shown - bicubic)[:, 30:].max() > 10 * TOLERANCE
    assert np.abs(shown - compute_view(function, view))[:, 30:].max() <= TOLERANCE


@pytest.mark.parametrize("rotation", [0.6, -2.5])
def test_a_rotated_view_agrees_with_sample(still, function, rotation: float) -> None:
    view = {"x": 15.3, "y": 11.1, "zoom": 5.5, "rotation": rotation}
    shown = still.render(*PART, **view)
    assert np.abs(shown - compute_view(function, view)).max() <= TOLERANCE


# At a zoom of 0.8 the field fades out, and the gradient is smaller.
@pytest.mark.parametrize(("zoom", "smallest_deviation"), [(6.0, 0.05), (0.8, 4 * TOLERANCE)])
def test_the_gradient_agrees_with_the_derivative_of_sample(
    still, function, zoom: float, smallest_deviation: float, tmp_path: Path
) -> None:
    # The gradient shows the rounding of the features to 8 bits, so the reference has it, too.
    save_function(tmp_path / "f.hfn", function)
    function = load_function(tmp_path / "f.hfn")
    view = {"x": 15.3, "y": 11.1, "zoom": zoom, "rotation": 0.4, "gradient": True}
    shown = still.render(*PART, **view)
    reference = compute_view(function, view)
    assert reference.std() > smallest_deviation
    assert np.abs(shown - reference).max() <= TOLERANCE


@pytest.mark.parametrize("gradient", [False, True])
def test_a_grey_function_is_drawn_without_a_tint(export_page, function, gradient: bool) -> None:
    page = export_page(function.average_channels())
    page.open(240, 180)
    for zoom in (0.6, 1, 7.3):
        shown = page.render(60, 50, x=15.3, y=11.1, zoom=zoom, rotation=0.4, gradient=gradient)
        inside = shown[np.abs(shown - GROUND).max(axis=-1) > TOLERANCE]
        assert inside.std() > 4 * TOLERANCE
        np.testing.assert_array_equal(np.ptp(inside, axis=-1), 0)


def test_the_ground_is_outside_of_the_image(still) -> None:
    shown = still.render(20, 10, x=-5, y=-5, zoom=2, rotation=0)
    np.testing.assert_allclose(shown[0, 0], GROUND, atol=0.002)


def test_the_canvas_shows_the_view(page) -> None:
    page.run("hyperfunc.set({ x: 14, y: 12, zoom: 40, rotation: 0.3, split: 0.3 })")
    page.settle()
    view = page.view
    shown = page.canvas()
    assert shown.shape == (360, 480, 3)
    # Draw 100 x 100 pixels around the middle once more, on their own.
    del view["width"], view["height"]
    again = page.render(100, 100, **{**view, "compare": False})
    assert np.abs(again - shown[130:230, 190:290]).max() <= 1 / 255
    bicubic = page.render(100, 100, **{**view, "split": 1.0})
    assert np.abs(bicubic - again).max() > 10 / 255
