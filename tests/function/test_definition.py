"""f(x), written out with loops in NumPy, against what the package renders.

f(x, a) = base(x) + sum over windows k that cover x of  w_k(x) T(local_k(x), a; theta_k)
"""

import jax
import numpy as np
import pytest

from hyperfunc.function import encode, render, sample
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PatchHypernetwork, PixelHypernetwork
from hyperfunc.pixels import WindowLayout, pixel_centres

HEIGHT, WIDTH = 4, 5
SIZES = [(8, 10), (9, 7), (3, 12)]


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def interpolate(image: np.ndarray, position, footprint) -> np.ndarray:
    """Interpolate the mirrored image with a cubic kernel as wide as the footprint."""
    value, total = np.zeros(3), 0.0
    for i in range(-30, 30):
        for j in range(-30, 30):
            weight = 1.0
            for k, x, a in zip((i, j), position, footprint, strict=True):
                weight *= keys((x - 0.5 - k) / max(a, 1.0))
            if weight:
                row, col = (
                    k % (2 * n) if k % (2 * n) < n else 2 * n - 1 - k % (2 * n)
                    for k, n in zip((i, j), image.shape[:2], strict=True)
                )
                value, total = value + weight * image[row, col], total + weight
    return value / total


def positions_of(size):
    for y in range(size[0]):
        for x in range(size[1]):
            yield (y, x), ((y + 0.5) * HEIGHT / size[0], (x + 0.5) * WIDTH / size[1])


def draw_field(image, coefficients, shared, size) -> np.ndarray:
    """Draw a Fourier field per pixel, with tents two pixels wide and a bicubic base."""
    footprint = (HEIGHT / size[0], WIDTH / size[1])
    omega, kappa = shared["frequencies"], np.exp(shared["log_kappa"])
    result = np.zeros((*size, 3))
    for pixel, position in positions_of(size):
        result[pixel] = interpolate(image, position, footprint)
        # Beyond the outermost centres there is only the outermost field.
        clipped = [
            min(max(p, 0.5), n - 0.5) for p, n in zip(position, (HEIGHT, WIDTH), strict=True)
        ]
        for i in range(HEIGHT):
            for j in range(WIDTH):
                weight = max(0.0, 1 - abs(clipped[0] - i - 0.5))
                weight *= max(0.0, 1 - abs(clipped[1] - j - 0.5))
                if weight == 0:
                    continue
                local = (position[0] - i - 0.5, position[1] - j - 0.5)
                value = coefficients[i, j, -1].copy()
                for h, (wy, wx) in enumerate(omega):
                    angle = wy * local[0] + wx * local[1]
                    decay = np.exp(-kappa * ((wy * footprint[0]) ** 2 + (wx * footprint[1]) ** 2))
                    value += decay * np.cos(angle) * coefficients[i, j, h]
                    value -= decay * np.sin(angle) * coefficients[i, j, len(omega) + h]
                for a in footprint:  # The base takes over where pixels are large.
                    value *= np.exp(-8 * max(a - 0.8, 0) ** 2)
                result[pixel] += weight * value
    return result


def draw_patches(theta, size) -> np.ndarray:
    """Draw a cosine MLP for each patch of 2 x 2 pixels, with stride 1 and tents."""
    footprint = (HEIGHT / size[0], WIDTH / size[1])
    alpha = np.sqrt(footprint[0] * footprint[1])  # Half a patch is one pixel.
    first, second, last = (theta[f"layer_{i}"] for i in range(3))
    result = np.zeros((*size, 3))
    for pixel, position in positions_of(size):
        total = 0.0
        for i in range(HEIGHT - 1):
            for j in range(WIDTH - 1):
                weight, local = 1.0, []
                for k, p, count in zip((i, j), position, (HEIGHT - 1, WIDTH - 1), strict=True):
                    local.append(p - k - 1)
                    beyond = (k == 0 and local[-1] < 0) or (k == count - 1 and local[-1] > 0)
                    weight *= 1.0 if beyond else max(0.0, 1 - abs(local[-1]))
                if weight == 0:
                    continue
                hidden = np.array([*local, alpha])
                for layer in (first, second):
                    hidden = np.cos(hidden @ layer["kernel"][i, j] + layer["bias"][i, j])
                value = hidden @ last["kernel"][i, j] + last["bias"][i, j]
                result[pixel] += weight / (1 + np.exp(-value))
                total += weight
        result[pixel] /= total
    return result


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(3).uniform(size=(1, HEIGHT, WIDTH, 3)).astype(np.float32)


def encode_with(model, image):
    variables = jax.jit(model.init)(jax.random.key(0), image)
    return jax.jit(lambda variables, image: encode(model, variables, image)[0])(variables, image)


@pytest.fixture(scope="module")
def field(image):
    target = FourierField(frequencies=3, bandwidth=2.0)
    return encode_with(PixelHypernetwork(EDSR(8, 1), target, branch_scale=1.0), image)


@pytest.fixture(scope="module")
def patches(image):
    model = PatchHypernetwork(
        EDSR(4, 0),
        CosineMLP((4, 5), footprint=True),
        WindowLayout(size=2, stride=1, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        branch_scale=1.0,
    )
    return encode_with(model, image)


def check(function, expected, size) -> None:
    rendered = jax.jit(render, static_argnames="size")(function, size=size)
    np.testing.assert_allclose(rendered[0], expected, atol=3e-5)
    footprint = (HEIGHT / size[0], WIDTH / size[1])
    sampled = jax.jit(sample, static_argnames="footprint")
    values = sampled(function, pixel_centres(size), footprint=footprint)
    np.testing.assert_allclose(values[0], expected, atol=3e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_field_for_each_pixel(field, image, size):
    coefficients, shared = jax.device_get((field.expanded()["coefficients"][0], field.shared))
    assert np.abs(coefficients).mean() > 0.1
    check(field, draw_field(image[0].astype(float), coefficients, shared, size), size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_network_for_each_patch(patches, size):
    theta = jax.tree.map(lambda leaf: np.asarray(leaf[0]), patches.expanded())
    check(patches, draw_patches(theta, size), size)
