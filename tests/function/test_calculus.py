"""Derivatives and Gaussian blur: differentiation, closed forms and brute force agree."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import hyperfunc
from hyperfunc.api import ContinuousImage
from hyperfunc.function import FunctionalImage, encode
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PixelHypernetwork, PlainTheta
from hyperfunc.pixels import WHOLE_IMAGE, pixel_centres

SIZE = (10, 14)
FOOTPRINT = (0.5, 0.25)


def make(network, seed: int = 0) -> ContinuousImage:
    images = jax.random.uniform(jax.random.key(seed), (1, *SIZE, 3))
    variables = network.init(jax.random.key(1), images)
    return ContinuousImage(jax.jit(lambda x: encode(network, variables, x)[0])(images))


@pytest.fixture(scope="module")
def f() -> ContinuousImage:
    return make(PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=3.0), branch_scale=0.3))


@pytest.fixture(scope="module")
def trained() -> ContinuousImage:
    """Represent an eye with the bundled network."""
    return hyperfunc.represent(skimage.data.astronaut()[90:122, 200:240])


@pytest.fixture(scope="module")
def smooth() -> ContinuousImage:
    """Make one cosine network for the whole image."""
    target = CosineMLP(hidden=(8, 8), frequency=2.0)
    theta, shared = target.init(jax.random.key(2))
    return ContinuousImage(
        FunctionalImage(
            theta=PlainTheta(jax.tree.map(lambda leaf: leaf[None, None, None], theta)),
            shared=shared,
            base=None,
            exists=(jnp.ones(1), jnp.ones(1)),
            target=target,
            layout=WHOLE_IMAGE,
            size=SIZE,
        )
    )


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Draw positions in input pixels, also at the border, but not on the kinks at half-integers."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, [2 * n for n in SIZE], size=(40, 2)) / 2
    return cells + rng.uniform(0.05, 0.45, size=(40, 2))


def closed_form(f: ContinuousImage, point: np.ndarray) -> list[np.ndarray]:
    """Compute f, its gradient [c, 2] and second derivatives [c, 2] per input pixel, in NumPy.

    The product rule by hand: windows (w, w', 0) times waves i w times the wave; Keys' cubic.
    """
    function = f.function
    coefficients = np.asarray(function.expanded()["coefficients"], np.float64)[0]
    omega = np.asarray(function.shared["frequencies"], np.float64)
    kappa = np.exp(float(function.shared["log_kappa"]))
    decay = np.exp(-kappa * np.square(omega * FOOTPRINT).sum(axis=1))
    count = len(omega)
    total = np.zeros((3, 3, 3), complex)  # [order in y, order in x, channel]
    axes = []
    for axis in range(2):
        centre = np.clip(point[axis], 0.5, SIZE[axis] - 0.5)
        low = min(int(np.floor(centre - 0.5)), SIZE[axis] - 2)
        part = centre - 0.5 - low
        slope = 1.0 if centre == point[axis] else 0.0
        axes.append([(low, 1 - part, -slope), (low + 1, part, slope)])
    for row, row_weight, row_slope in axes[0]:
        for col, col_weight, col_slope in axes[1]:
            theta = coefficients[row, col]
            waves = np.exp(1j * (omega @ (point - [row + 0.5, col + 0.5])))
            factors = []
            for axis, weight, slope in ((0, row_weight, row_slope), (1, col_weight, col_slope)):
                rate = 1j * np.append(omega[:, axis], 0)
                factors.append(
                    [
                        weight + 0 * rate,
                        slope + weight * rate,
                        2 * slope * rate + weight * rate**2,
                    ]
                )
            amplitude = theta[:count] + 1j * theta[count:-1]
            terms = np.concatenate([amplitude * (waves * decay)[:, None], theta[-1:]])
            total += np.einsum("afc,bf->abc", np.asarray(factors[0])[..., None] * terms, factors[1])
    result = total.real
    base = np.asarray(function.base, np.float64)[0]
    taps = []
    for axis in range(2):
        first = int(np.floor(point[axis] - 0.5)) - 1
        index = first + np.arange(4)
        distance = point[axis] - 0.5 - index
        x, sign = np.abs(distance), np.sign(distance)
        near = x <= 1
        orders = [
            np.where(near, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2),
            sign * np.where(near, 4.5 * x**2 - 5 * x, -1.5 * x**2 + 5 * x - 4),
            np.where(near, 9 * x - 5, -3 * x + 5),
        ]
        index = np.mod(index, 2 * SIZE[axis])
        taps.append((np.minimum(index, 2 * SIZE[axis] - 1 - index), np.asarray(orders)))
    pixels = base[taps[0][0][:, None], taps[1][0]]
    result = result + np.einsum("ai,bj,ijc->abc", taps[0][1], taps[1][1], pixels)
    first = np.stack([result[1, 0], result[0, 1]], axis=-1)
    return [result[0, 0], first, np.stack([result[2, 0], result[0, 2]], axis=-1)]


class TestDerivatives:
    def test_closed_form(self, f: ContinuousImage, points: np.ndarray) -> None:
        coords = points / SIZE
        value, first, second = (
            np.stack(parts) for parts in zip(*(closed_form(f, p) for p in points), strict=True)
        )
        np.testing.assert_allclose(f(coords, footprint=FOOTPRINT), value, atol=1e-5)
        scale = np.array(SIZE)
        gradient = f.gradient(coords, footprint=FOOTPRINT)
        np.testing.assert_allclose(gradient, first * scale, atol=1e-4 * np.abs(first * scale).max())
        per_pixel = f.gradient(coords, footprint=FOOTPRINT, per="pixel")
        np.testing.assert_allclose(per_pixel, first, atol=1e-4 * np.abs(first).max())
        laplacian = f.laplacian(coords, footprint=FOOTPRINT, per="pixel")
        tolerance = 2e-4 * np.abs(second).max()
        np.testing.assert_allclose(laplacian, second.sum(-1), atol=tolerance)
        np.testing.assert_allclose(
            f.laplacian(coords, footprint=FOOTPRINT),
            (second * scale**2).sum(-1),
            atol=tolerance * 200,
        )

    @pytest.mark.parametrize("name", ["f", "smooth"])
    def test_finite_differences(self, name: str, points: np.ndarray, request) -> None:
        f = request.getfixturevalue(name)
        step = 0.02  # Pixels; rounding and the fourth order leave an error of about 1e-4.
        gradient = f.gradient(points / SIZE, footprint=FOOTPRINT, per="pixel")
        for axis in range(2):
            shift = np.zeros(2)
            shift[axis] = step
            near, far = (
                f((points + k * shift) / SIZE, footprint=FOOTPRINT)
                - f((points - k * shift) / SIZE, footprint=FOOTPRINT)
                for k in (1, 2)
            )
            slope = (8 * near - far) / (12 * step)
            np.testing.assert_allclose(gradient[..., axis], slope, atol=2e-3)

    def test_laplacian_is_the_divergence_of_the_gradient(
        self, smooth: ContinuousImage, points: np.ndarray
    ) -> None:
        coords = jnp.asarray(points / SIZE, jnp.float32)

        def one(coord: jax.Array) -> jax.Array:
            return jnp.trace(jax.jacfwd(smooth.gradient)(coord), axis1=-2, axis2=-1)

        divergence = jax.jit(jax.vmap(one))(coords)
        np.testing.assert_allclose(smooth.laplacian(coords), divergence, rtol=1e-3, atol=1e-2)


def brute_force(f: ContinuousImage, coords: np.ndarray, sigma: float, nodes: int) -> np.ndarray:
    """Integrate over the plane by the midpoint rule."""
    step = np.linspace(-4.6, 4.6, nodes)
    weight = np.exp(-0.5 * step**2)
    weight /= weight.sum()
    steps = sigma * np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1) / np.array(SIZE)
    values = f(coords[:, None, None] + steps, footprint=FOOTPRINT)
    return np.einsum("nijc,i,j->nc", values, weight, weight)


class TestGaussian:
    @pytest.mark.parametrize("sigma", [0.2, 1.3])
    def test_quadrature_is_the_integral(self, f: ContinuousImage, sigma: float) -> None:
        coords = np.array([[0.31, 0.42], [0.01, 0.97]])
        expected = brute_force(f, coords, sigma, 321)
        blurred = f.gaussian(sigma)
        np.testing.assert_allclose(blurred(coords, footprint=FOOTPRINT), expected, atol=5e-5)
        assert np.abs(f(coords, footprint=FOOTPRINT) - expected).max() > 1e-2

    def test_grids_and_points_agree(self, f: ContinuousImage) -> None:
        blurred = f.gaussian(0.8)
        values = blurred(pixel_centres((15, 21)).reshape(-1, 2), footprint=2 / 3).reshape(15, 21, 3)
        np.testing.assert_allclose(blurred.render(scale=1.5, clip=False), values, atol=1e-5)
        crop = blurred.crop(0.2, 0.0, 1.0, 1 / 3, scale=1.5, clip=False)
        np.testing.assert_allclose(crop, values[3:, :7], atol=1e-5)

    @pytest.mark.slow
    def test_the_points_of_a_grid_share_integrals(self, f: ContinuousImage) -> None:
        """Every row and column of a grid is integrated once; a list of points is not a grid."""
        blurred, grid = f.gaussian(0.4), pixel_centres((3, 4)) * 1.1 - 0.03
        for method in (blurred.gradient, blurred.laplacian):
            on_grid, scattered = (
                method(grid, footprint=FOOTPRINT),
                method(grid.reshape(-1, 2), footprint=FOOTPRINT),
            )
            assert on_grid.shape[:2] == (3, 4)
            scattered = scattered.reshape(on_grid.shape)
            np.testing.assert_allclose(on_grid, scattered, atol=1e-4 * np.abs(scattered).max())
        # The function may be traced while the grid is not.
        known = np.asarray(grid)
        traced = jax.jit(lambda f: f.gradient(known, footprint=FOOTPRINT))(blurred)
        expected = blurred.gradient(grid, footprint=FOOTPRINT)
        np.testing.assert_allclose(traced, expected, atol=1e-4 * np.abs(expected).max())
        assert blurred.gradient(np.zeros((0, 4, 2)), footprint=FOOTPRINT).shape == (0, 4, 3, 2)
        with pytest.raises(ValueError, match="points have shape"):
            blurred.laplacian(np.zeros((2, 2, 3)), footprint=FOOTPRINT)

    @pytest.mark.slow
    def test_a_wide_blur_reads_no_more_than_the_image(self, f: ContinuousImage) -> None:
        """A band is no wider than the image, and the mirrored image repeats far beyond it."""
        grid = pixel_centres((2, 3))
        expected = brute_force(f, np.asarray(grid).reshape(-1, 2), 12.0, 601).reshape(2, 3, 3)
        np.testing.assert_allclose(f.gaussian(12.0)(grid, footprint=FOOTPRINT), expected, atol=2e-3)

    def test_variances_add_up(self, f: ContinuousImage) -> None:
        assert f.gaussian(3.0).gaussian(4.0).sigma == 5.0
        assert f.gaussian(0.0) is f

    def test_laplacian_is_that_of_the_blur(self, f: ContinuousImage) -> None:
        coords = np.array([[0.31, 0.42], [0.52, 0.17]])
        blurred, step = f.gaussian(0.5), 0.05
        around = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]]) * step / SIZE
        values = blurred(coords[:, None] + around)
        second = (values[:, :4].sum(axis=1) - 4 * values[:, 4]) / step**2
        np.testing.assert_allclose(blurred.laplacian(coords, per="pixel"), second, atol=2e-2)

    @pytest.mark.parametrize("sigma", [0.3, pytest.param(0.7, marks=pytest.mark.slow), 2.0])
    def test_closed_form_is_near(self, trained: ContinuousImage, sigma: float) -> None:
        """The blur must not leave what changes from window to window."""
        exact, near = (
            trained.gaussian(sigma, exact=e).render(scale=2, clip=False) for e in (True, False)
        )
        difference = np.sqrt(np.square(near - exact).mean())
        assert difference < 0.005
        assert difference < 0.3 * np.sqrt(np.square(trained.render(scale=2) - exact).mean())

    @pytest.mark.parametrize("has_base", [True, False])
    def test_closed_form_blurs_each_target_network(
        self, f: ContinuousImage, has_base: bool
    ) -> None:
        sigma, function = 0.7, f.function
        if not has_base:
            f = ContinuousImage(function.replace(base=None))
        fade = math.exp(-3 * sigma**2) if has_base else 1.0
        blurred = f.gaussian(sigma, exact=False)
        assert blurred.sigma == 0
        theta = jax.tree.map(lambda leaf: leaf[0, 3, 4], function.expanded())
        after = jax.tree.map(lambda leaf: leaf[0, 3, 4], blurred.function.expanded())
        step = jnp.linspace(-4.6, 4.6, 81)
        weight = jnp.exp(-0.5 * step**2) / jnp.exp(-0.5 * step**2).sum()
        local = jnp.array([0.2, -0.3])
        points = local[None, None] + sigma * jnp.stack(
            jnp.meshgrid(step, step, indexing="ij"), axis=-1
        )
        apply = lambda theta, x: function.target.apply(theta, function.shared, x, jnp.ones(2))  # noqa: E731
        values = jax.jit(jax.vmap(jax.vmap(lambda x: apply(theta, x))))(points)
        expected = jnp.einsum("ijc,i,j->c", values, weight, weight)
        np.testing.assert_allclose(apply(after, local), fade * expected, atol=1e-5)

    def test_closed_form_of_a_base_alone(self, f: ContinuousImage, points: np.ndarray) -> None:
        nothing = jax.tree.map(jnp.zeros_like, f.function.theta)
        base = ContinuousImage(f.function.replace(theta=nothing))
        exact, approximate = (base.gaussian(1.0, exact=e)(points / SIZE) for e in (True, False))
        np.testing.assert_allclose(approximate, exact, atol=2e-2)

    def test_other_target_networks(self, smooth: ContinuousImage) -> None:
        coords = np.array([[0.31, 0.42], [0.5, 0.6]])
        expected = brute_force(smooth, coords, 0.6, 41)
        np.testing.assert_allclose(
            smooth.gaussian(0.6)(coords, footprint=FOOTPRINT), expected, atol=1e-4
        )
        with pytest.raises(ValueError, match="CosineMLP has no closed form"):
            smooth.gaussian(0.6, exact=False)

    @pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
    def test_refuses_other_widths(self, f: ContinuousImage, sigma: float) -> None:
        with pytest.raises(ValueError, match="sigma"):
            f.gaussian(sigma)
