import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hyperfunc.pixels import PER_PIXEL, WHOLE_IMAGE, Axis, WindowLayout
from hyperfunc.pixels.windows import WindowAxis

LAYOUTS = [
    PER_PIXEL,
    WHOLE_IMAGE,
    WindowLayout(size=0, overhang=0.0, profile="tent"),
    WindowLayout(size=4, stride=2, overhang=0.0),
    WindowLayout(size=4, stride=1, overhang=0.0),
    WindowLayout(size=3, stride=2, overhang=1.0),
    WindowLayout(size=5, stride=2, overhang=1.5, profile="box"),
    WindowLayout(size=4, stride=4, overhang=0.0, profile="box"),
    WindowLayout(size=16, stride=8, overhang=0.0),
]
SAMPLES = 601


def dense(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, SAMPLES).astype(np.float32)


def per_window(axis: WindowAxis, positions: np.ndarray) -> np.ndarray:
    """Return the weight of every window at every position, [positions, windows]."""
    cover = axis.cover(jnp.asarray(positions))
    weights = np.zeros((positions.size, axis.count))
    for index, weight in zip(cover.index.T, cover.weight.T, strict=True):
        np.add.at(weights, (np.arange(positions.size), np.asarray(index)), np.asarray(weight))
    return weights


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_windows_cover_everything_and_their_weights_sum_to_one(layout):
    for pixels in (1, 5, 12, 17):
        axis = layout.axis(pixels)
        # The grid of a training phase reaches half a pixel beyond the image.
        weights = per_window(axis, dense(-0.5, pixels + 0.5))
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
        assert (weights >= 0).all()

        # A window has no weight outside its extent.
        positions = dense(0, pixels)
        centres = axis.first + np.arange(axis.count) * axis.stride
        reached = np.abs(positions[:, None] - centres) <= axis.half_width * (1 + 1e-3)
        assert (per_window(axis, positions)[~reached] == 0).all()


@pytest.mark.parametrize("layout", [x for x in LAYOUTS if x.profile == "tent"], ids=str)
def test_tents_are_continuous(layout):
    """There are no seams between windows, and none at the border."""
    for pixels in (5, 17):
        axis = layout.axis(pixels)
        weights = per_window(axis, dense(-0.5, pixels + 0.5))
        # Before they are normalised, the weights at a point sum to at least ``least``.
        least = 1 - axis.stride / 2 / axis.half_width if axis.count > 1 else 1.0
        step = (pixels + 1) / (SAMPLES - 1)
        assert np.abs(np.diff(weights, axis=0)).max() <= 2 * step / axis.half_width / least + 1e-5


@pytest.mark.parametrize("layout", [PER_PIXEL, WindowLayout(size=4, stride=1, overhang=0.0)])
def test_windows_that_do_not_exist_have_no_weight(layout):
    axis = layout.axis(9)
    exists = (jnp.arange(axis.count) < 5).astype(jnp.float32)
    cover = axis.cover(jnp.asarray(dense(0, 5)), exists)
    np.testing.assert_allclose(cover.weight.sum(axis=1), 1.0, atol=1e-6)
    assert (cover.index[cover.weight > 0] < 5).all()
    nowhere = axis.cover(jnp.asarray(dense(0, 9)), jnp.zeros(axis.count))
    assert (nowhere.weight == 0).all()  # Not NaN.


def test_a_window_per_pixel_is_linear_interpolation():
    positions = np.array([0.0, 0.5, 0.75, 1.0, 3.9, 6.5, 7.0], np.float32)
    cover = PER_PIXEL.axis(7).cover(jnp.asarray(positions))
    values = np.arange(7.0) ** 2
    blended = (values[cover.index] * cover.weight).sum(axis=1)
    np.testing.assert_allclose(blended, np.interp(positions, np.arange(7) + 0.5, values), rtol=1e-5)


def test_a_box_is_a_plain_average():
    axis = WindowLayout(size=4, stride=2, overhang=0.0, profile="box").axis(12)
    weights = per_window(axis, np.array([1.0, 3.0, 5.5, 11.0], np.float32))
    half = 0.5
    np.testing.assert_allclose(
        weights,
        [[1, 0, 0, 0, 0], [half, half, 0, 0, 0], [0, half, half, 0, 0], [0, 0, 0, 0, 1]],
    )


@pytest.mark.slow
def test_adjacent_boxes_share_no_sample():
    axis = WindowLayout(size=3, stride=3, overhang=0.0, profile="box").axis(300)
    for scale in (1.5, 2.0, 3.7):  # Also with samples on the edges.
        weights = per_window(axis, (np.arange(300 * scale, dtype=np.float32) + 0.5) / scale)
        assert (weights.max(axis=1) == 1).all()


@pytest.mark.slow
@settings(  # Most of the drawn layouts are impossible, and refused.
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
@given(
    size=st.integers(1, 6),
    stride=st.integers(1, 6),
    overhang=st.integers(0, 10).map(lambda n: n / 2),
    profile=st.sampled_from(["tent", "box"]),
    pixels=st.integers(1, 40),
)
def test_every_accepted_layout_covers_everything(size, stride, overhang, profile, pixels):
    try:
        layout = WindowLayout(size, stride, overhang, profile)
    except ValueError:
        assume(False)
        raise
    weights = per_window(layout.axis(pixels), dense(0, pixels))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 3, "stride": 4}, "stride 4"),
        ({"size": 3, "stride": 0}, "stride 0"),
        ({"size": -2}, "size -2"),
        ({"size": 4, "stride": 4, "overhang": 0.0}, "size 4"),
        ({"size": 4, "stride": 2, "overhang": 2.5}, "2.5"),
        ({"size": 4, "stride": 2, "overhang": -0.5}, "-0.5"),
    ],
)
def test_an_impossible_layout_says_what_is_wrong(arguments, named):
    with pytest.raises(ValueError, match=named):
        WindowLayout(**arguments)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_slots_hold_every_sample_of_a_window(layout):
    for pixels, samples in ((7, 7), (12, 30), (12, 44), (17, 5)):
        axis = layout.axis(pixels)
        grid = Axis(0.0, pixels / samples, samples)
        positions = np.asarray(grid.positions())
        centres = axis.first + np.arange(axis.count) * axis.stride
        held = np.abs(positions - centres[:, None]) < axis.half_width
        assert held.sum(axis=1).max() <= axis.slots(grid)


def test_layouts_are_values():
    assert WindowLayout() == PER_PIXEL and hash(WindowLayout()) == hash(PER_PIXEL)
    assert PER_PIXEL.is_per_pixel and not WHOLE_IMAGE.is_per_pixel
    assert PER_PIXEL.grid((5, 7)) == (5, 7) and WHOLE_IMAGE.grid((5, 7)) == (1, 1)
    assert WindowLayout(size=4, stride=2, overhang=0.0).grid((8, 9)) == (3, 4)


@pytest.mark.slow
def test_covers_have_finite_gradients():
    """Gradients are finite at the tip and the ends of a tent, too."""
    weight = lambda p: PER_PIXEL.axis(4).cover(p[None]).weight[0, 0]  # noqa: E731
    for position in (0.0, 0.5, 1.0, 1.5, 4.0):
        assert jnp.isfinite(jax.grad(weight)(jnp.asarray(position)))
