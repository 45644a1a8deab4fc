"""Resampling through transforms: geometry, antialiasing, and fitting a transform by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from skimage.transform import warp as warp_pixels

from hyperfunc.api import ContinuousImage
from hyperfunc.function import encode, from_pixel_matrix
from hyperfunc.function.warping import coverage, look_up, project
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.pixels import mirrored, pixel_centres

SIZE = (32, 40)
NETWORK = PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=0.2)
VARIABLES = NETWORK.init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
ENCODE = jax.jit(lambda images: encode(NETWORK, VARIABLES, images)[0])


def make(image: np.ndarray, *, only_base: bool = False) -> ContinuousImage:
    function = ENCODE(jnp.asarray(image, jnp.float32)[None])
    if only_base:
        function = function.replace(theta=jax.tree.map(jnp.zeros_like, function.theta))
    return ContinuousImage(function)


@pytest.fixture(scope="module")
def f(draw) -> ContinuousImage:
    return make(draw(0, SIZE) / 255)


def rotation(degrees: float, zoom: float = 1.0) -> jnp.ndarray:
    """Rotate and scale about the centre; an output pixel covers ``zoom`` input pixels."""
    angle = np.deg2rad(degrees)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    centre = np.array([SIZE[1] / 2 - 0.5, SIZE[0] / 2 - 0.5])
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, centre - turn @ centre
    return from_pixel_matrix(matrix, SIZE, SIZE)


class TestGeometry:
    def test_mirrored(self) -> None:
        points = np.linspace(-3, 3, 50)
        folded = np.abs((points + 1) % 2 - 1)
        np.testing.assert_allclose(mirrored(jnp.asarray(points)), folded, atol=1e-6)
        np.testing.assert_allclose(mirrored(5 * jnp.asarray(points), 5), 5 * folded, atol=1e-5)
        np.testing.assert_array_equal(jax.vmap(jax.grad(mirrored))(jnp.array([0.0, 0.5, 1.0])), 1)

    def test_pixel_matrix(self) -> None:
        matrix = np.array([[1.1, 0.2, 3.0], [-0.1, 0.9, 2.0], [1e-3, 2e-3, 1.0]])
        x, y, output, given = 7.0, 4.0, (20, 30), (32, 40)
        lifted = matrix @ [x, y, 1]
        expected = (
            (lifted[1] / lifted[2] + 0.5) / given[0],
            (lifted[0] / lifted[2] + 0.5) / given[1],
        )
        coord = jnp.array([[(y + 0.5) / output[0], (x + 0.5) / output[1]]])
        mapped = project(from_pixel_matrix(matrix, output, given), coord)
        np.testing.assert_allclose(mapped[0], expected, rtol=1e-5)

    def test_footprints_contain_every_output_pixel(self) -> None:
        for seed in range(20):
            jacobian = np.random.default_rng(seed).normal(size=(2, 2))
            _, footprint = look_up(
                lambda x, j=jacobian: x @ jnp.asarray(j.T, x.dtype), (2, 2), (2, 2)
            )
            excess = np.diag(np.square(footprint[0, 0])) - jacobian @ jacobian.T
            assert np.linalg.eigvalsh(excess).min() > -1e-5
            assert np.linalg.det(excess) < 1e-4  # No smaller footprint contains it.

    def test_footprints_of_rotations_and_scalings(self) -> None:
        _, footprint = look_up(rotation(33.0, 1.7), SIZE, SIZE)
        np.testing.assert_allclose(footprint, 1.7, rtol=1e-4)
        _, footprint = look_up(jnp.diag(jnp.array([0.5, 0.25, 1.0])), (8, 20), SIZE)
        np.testing.assert_allclose(footprint, np.broadcast_to([2.0, 0.5], (8, 20, 2)), rtol=1e-5)

    def test_coverage(self) -> None:
        coords = jnp.array([[0.5, 0.5], [0.0, 0.5], [0.0, 1.0], [-0.1, 0.5]])
        part = coverage(coords, jnp.ones((4, 2)), SIZE)
        np.testing.assert_allclose(part, [1.0, 0.5, 0.25, 0.0])
        wide = jnp.array([4.0, 1.0]) * jnp.array(SIZE)  # Boxes larger than the image.
        coords = jnp.array([[0.5, 0.5], [0.0, 0.5], [2.5, 0.5], [3.5, 0.5]])
        part = coverage(coords, jnp.broadcast_to(wide, (4, 2)), SIZE)
        np.testing.assert_allclose(part, [0.25, 0.25, 0.125, 0.0])

    def test_refuses_other_transforms(self, f: ContinuousImage) -> None:
        with pytest.raises(ValueError, match="3 x 3"):
            f.warp(np.eye(2))
        with pytest.raises(ValueError, match="maps points"):
            f.warp(lambda x: x[..., :1])
        with pytest.raises(ValueError, match="samples"):
            f.warp(np.eye(3), samples=0)


class TestWarp:
    @pytest.mark.parametrize("size", [(50, 40), (9, 13)])
    def test_identity_is_render(self, f: ContinuousImage, size: tuple[int, int]) -> None:
        warped = f.warp(jnp.eye(3), *size, clip=False)
        np.testing.assert_allclose(warped, f.render(*size, clip=False), atol=2e-5)

    def test_functions_and_matrices_agree(self, f: ContinuousImage) -> None:
        turn = rotation(20.0)
        np.testing.assert_allclose(
            f.warp(turn), f.warp(lambda coords: project(turn, coords)), atol=1e-5
        )

    def test_agrees_with_another_library(self, draw) -> None:
        # A smooth image, so that the interpolation does not matter.
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        image = 0.5 + 0.4 * np.stack([np.cos(0.3 * y), np.sin(0.2 * x), np.cos(0.2 * (x + y))], -1)
        matrix = np.array([[0.9, 0.2, 3.0], [-0.1, 0.8, 4.0], [1e-3, 2e-3, 1.0]])
        expected = warp_pixels(image, matrix, order=3, mode="edge")
        warped = make(image, only_base=True).warp(from_pixel_matrix(matrix, SIZE, SIZE))
        np.testing.assert_allclose(warped[3:-3, 3:-3], expected[3:-3, 3:-3], atol=4e-3)

    @pytest.mark.parametrize("degrees", [0.0, 30.0])
    def test_minification_does_not_alias(self, degrees: float) -> None:
        stripes = np.zeros((*SIZE, 3))
        stripes[:, ::3] = 1  # Coarser than three input pixels, everything is grey.
        f = make(stripes, only_base=True)
        size = (SIZE[0] // 4, SIZE[1] // 4)
        small = f.warp(rotation(degrees, 0.7) @ jnp.eye(3), *size)[2:-2, 2:-2]
        sampled = f(look_up(rotation(degrees, 0.7), size, SIZE)[0])[2:-2, 2:-2]
        assert jnp.abs(small - 1 / 3).max() < 0.02
        assert jnp.abs(sampled - 1 / 3).max() > 0.3

    def test_samples_average(self, f: ContinuousImage) -> None:
        fine = f.warp(rotation(20.0), 16, 20, clip=False)
        double = f.warp(rotation(20.0), 8, 10, samples=2, clip=False)
        np.testing.assert_allclose(
            double, fine.reshape(8, 2, 10, 2, 3).mean(axis=(1, 3)), atol=1e-5
        )

    def test_fill(self, f: ContinuousImage) -> None:
        shift = jnp.eye(3).at[0, 2].set(0.5)
        filled = f.warp(shift, fill=(1.0, 0.5, 0.0), clip=False)
        half = SIZE[0] // 2
        np.testing.assert_allclose(filled[half + 1, 7], [1.0, 0.5, 0.0], atol=1e-6)
        mirror = f.warp(shift, clip=False)
        np.testing.assert_allclose(filled[: half - 1], mirror[: half - 1], atol=1e-6)
        np.testing.assert_allclose(mirror[half:], mirror[:half][::-1], atol=1e-4)
        nowhere = f.warp(lambda coords: coords / 0.0, fill=0.25)
        np.testing.assert_allclose(nowhere, 0.25)


@pytest.mark.slow
def test_a_homography_is_found_by_gradient_descent(f: ContinuousImage) -> None:
    """Sixteen corners agree to a tenth of a pixel."""
    offset = jnp.array([[0.02, -0.015, 0.02], [0.01, -0.02, -0.015], [0.02, -0.03, 0.0]])
    size = (24, 30)
    target = f.warp(jnp.eye(3) + offset, *size, clip=False)

    def loss(offset: jax.Array) -> jax.Array:
        # A blur of two input pixels makes the gradient reach further than an edge is wide.
        picture = f.warp(jnp.eye(3) + offset, *size, clip=False, widest=2.0)
        return jnp.square(picture - target).mean()

    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, 300))

    @jax.jit
    def fit(offset: jax.Array) -> jax.Array:
        def step(state, _):
            offset, moments = state
            slope = jax.grad(loss)(offset).at[2, 2].set(0.0)
            updates, moments = optimizer.update(slope, moments)
            return (optax.apply_updates(offset, updates), moments), None

        return jax.lax.scan(step, (offset, optimizer.init(offset)), length=300)[0][0]

    found = fit(jnp.zeros((3, 3)))
    corners = pixel_centres((4, 4))
    pixels = jnp.array(SIZE, jnp.float32)
    error = (project(jnp.eye(3) + found, corners) - project(jnp.eye(3) + offset, corners)) * pixels[
        None, None
    ]
    start = (corners - project(jnp.eye(3) + offset, corners)) * pixels[None, None]
    assert jnp.abs(start).max() > 1.0
    assert jnp.abs(error).max() < 0.1
