import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.pixels import (
    Axis,
    axis_over,
    cubic_taps,
    imresize,
    interpolate_grid,
    interpolate_points,
)

grid = jax.jit(interpolate_grid, static_argnums=(1, 2))
points = jax.jit(interpolate_points, static_argnums=3)


def over(size, output):
    return [axis_over((0.0, 1.0), out, pixels) for out, pixels in zip(output, size, strict=True)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "output"),
    [
        ((8, 9), (16, 27)),
        ((7, 6), (26, 15)),  # real scales
        ((12, 10), (5, 3)),  # smaller: the kernel widens
        ((9, 6), (4, 17)),  # smaller along one axis only
        ((1, 1), (3, 2)),
        ((1, 5), (1, 2)),
        ((2, 3), (1, 1)),
    ],
)
def test_resizing_agrees_with_imresize(size, output):
    images = noise(2, *size, 3)
    resized = grid(images, *over(size, output))
    np.testing.assert_allclose(resized, imresize(images.astype(np.float64), output), atol=2e-6)


@pytest.mark.parametrize("output", [(10, 12), (20, 36), (37, 29)])
def test_a_ramp_stays_a_ramp_away_from_the_border(output):
    size = (10, 12)
    y, x = np.meshgrid(np.arange(10) + 0.5, np.arange(12) + 0.5, indexing="ij")
    ramp = (0.2 * y - 0.1 * x + 0.3)[None, :, :, None].astype(np.float32)
    rows, cols = over(size, output)
    resized = grid(ramp, rows, cols)[0, :, :, 0]
    ys, xs = np.meshgrid(rows.positions(), cols.positions(), indexing="ij")
    inner = (ys > 2) & (ys < 8) & (xs > 2) & (xs < 10)
    assert inner.any()
    np.testing.assert_allclose(resized[inner], (0.2 * ys - 0.1 * xs + 0.3)[inner], atol=1e-5)


def test_pixels_keep_their_values():
    images = noise(1, 5, 4, 3)
    np.testing.assert_allclose(grid(images, *over((5, 4), (5, 4))), images, atol=1e-6)


@pytest.mark.parametrize("output", [(11, 8), (3, 9)])
def test_scattered_points_equal_the_grid(output):
    images = noise(2, 6, 5, 3)
    rows, cols = over((6, 5), output)
    positions = np.stack(np.meshgrid(rows.positions(), cols.positions(), indexing="ij"), axis=-1)
    steps = rows.step, cols.step
    scattered = points(images, positions.reshape(-1, 2), np.array([steps]), max(steps))
    np.testing.assert_allclose(
        scattered.reshape(2, *output, 3), grid(images, rows, cols), atol=1e-6
    )


@pytest.mark.parametrize("footprint", [0.3, 1.0, 1.7, 4.0])
def test_weights_sum_to_one_and_read_inside_the_image(footprint):
    taps = jax.jit(cubic_taps, static_argnums=(2, 3, 4))
    for pixels in (1, 2, 30):
        positions = np.linspace(-0.5, pixels + 0.5, 77, dtype=np.float32)
        cell = np.floor(positions)
        index, weight = taps(cell.astype(np.int32), positions - cell, pixels, footprint, footprint)
        np.testing.assert_allclose(weight.sum(axis=1), 1.0, atol=1e-6)
        assert (index >= 0).all() and (index < pixels).all()


def test_gradients_are_finite():
    def energy(start, images):
        axis = Axis(start, 0.5, 6)
        return jnp.square(interpolate_grid(images, axis, axis)).sum()

    # Start where samples lie on the kernel's knots.
    by_start, by_image = jax.jit(jax.grad(energy, argnums=(0, 1)))(0.25, noise(1, 4, 4, 1))
    assert np.isfinite(by_start) and np.isfinite(by_image).all()
    assert np.abs(by_image).max() > 0


def test_a_great_reduction_compiles_to_no_larger_program():
    """Unrolled, the gradient of 161 taps took five minutes to compile."""

    def count_gathers(step):
        axis = Axis(step / 2, step, 5)
        energy = jax.grad(lambda images: jnp.square(interpolate_grid(images, axis, axis)).sum())
        return str(jax.make_jaxpr(energy)(noise(1, 200, 200, 1))).count("gather")

    assert count_gathers(40.0) == count_gathers(2.0)


def test_the_gradient_of_a_reduction_is_its_transpose():
    axes = over((9, 8), (3, 2))
    images, seen = noise(1, 9, 8, 2), noise(1, 3, 2, 2)
    drawn, pull = jax.vjp(lambda x: interpolate_grid(x, *axes), images)
    np.testing.assert_allclose((drawn * seen).sum(), (images * pull(seen)[0]).sum(), rtol=1e-5)
