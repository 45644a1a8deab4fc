"""All renderers agree, for any model, scale, phase and part of the image."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.function import (
    encode,
    fourier_grid,
    render,
    render_grid,
    render_phases,
    rendering,
    sample,
)
from hyperfunc.networks import (
    EDSR,
    CosineMLP,
    FactoredTheta,
    FourierField,
    PatchHypernetwork,
    PixelHypernetwork,
    PlainTheta,
)
from hyperfunc.pixels import (
    Axis,
    WindowLayout,
    axis_over,
    imresize,
    interpolate_grid,
    pixel_centres,
)

HEIGHT, WIDTH = 6, 5

MODELS = {
    "field": PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=1.0),
    "pixels": PixelHypernetwork(
        EDSR(8, 1), CosineMLP((4, 5), footprint=True, output="linear"), branch_scale=0.5
    ),
    "patches": PatchHypernetwork(
        EDSR(4, 0),
        CosineMLP((4, 5), normalization="batch"),
        WindowLayout(size=4, stride=2, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        branch_scale=1.0,
    ),
    "field_patches": PatchHypernetwork(
        EDSR(4, 0),
        FourierField(3, bandwidth=2.0),
        WindowLayout(size=3, stride=1, overhang=1.0, profile="box"),
        base="bicubic",
        branch_width=4,
        branch_convs=1,
        branch_scale=1.0,
    ),
    "whole": PatchHypernetwork(
        EDSR(4, 0), CosineMLP((4, 5)), branch_width=4, branch_convs=1, branch_scale=1.0
    ),
}

# Compiled, because these functions would take minutes op by op.
encode_jit = jax.jit(
    lambda model, variables, images, exists=None: encode(model, variables, images, exists=exists)[
        0
    ],
    static_argnums=0,
)
render_jit = jax.jit(render, static_argnames=("size", "window"))
sample_jit = jax.jit(sample, static_argnames="footprint")
phases_jit = jax.jit(render_phases, static_argnames=("scale", "fast_gradients"))


@functools.partial(jax.jit, static_argnames=("steps", "counts", "windows"))
def grid_jit(function, starts, steps, counts, windows=False):
    axes = [Axis(starts[i], steps[i], counts[i]) for i in range(2)]
    if not windows:
        return render_grid(function, *axes)
    image = rendering._render_windows(function, *axes)
    if function.base is None:
        return image
    return function.field_share(steps) * image + interpolate_grid(function.base, *axes)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(2, HEIGHT, WIDTH, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(images):
    cache = {}

    def get(name: str):
        if name not in cache:
            cache[name] = jax.jit(MODELS[name].init)(jax.random.key(1), images)
        return cache[name]

    return get


@pytest.fixture(scope="module")
def functions(images, variables):
    cache = {}

    def get(name: str):
        if name not in cache:
            cache[name] = encode_jit(MODELS[name], variables(name), images)
        return cache[name]

    return get


def close(a, b, tolerance: float = 2e-5) -> None:
    """Compare up to rounding errors; the models here correct the base by about one."""
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=tolerance)


def steps(size) -> tuple[float, float]:
    return HEIGHT / size[0], WIDTH / size[1]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("field", size) for size in [(12, 10), (14, 17), (3, 11)]),
        *(("patches", size) for size in [(14, 17), (3, 11)]),
        *((name, (14, 17)) for name in ("pixels", "field_patches", "whole")),
    ],
    ids=str,
)
def test_all_renderers_agree(functions, name, size):
    """At an integer scale, at real scales that differ between the axes, and when reducing."""
    function = functions(name)
    rendered = render_jit(function, size=size)
    assert rendered.shape == (2, *size, 3)
    coords = pixel_centres(size)
    close(sample_jit(function, coords, footprint=steps(size)), rendered)
    if name == "field":  # The others have only one renderer.
        close(grid_jit(function, jnp.zeros(2), steps(size), size), rendered)
        close(grid_jit(function, jnp.zeros(2), steps(size), size, windows=True), rendered)


@pytest.mark.parametrize("name", ["pixels", "patches"])
def test_rows_of_windows_one_by_one_and_at_once(functions, name, monkeypatch):
    function, size = functions(name), (14, 17)

    def evaluate(few):
        monkeypatch.setattr(rendering, "ROWS_AT_ONCE", few)
        loss = lambda f: jnp.square(render(f, size)).sum()  # noqa: E731
        return jax.jit(lambda f: (render(f, size), jax.grad(loss)(f).theta))(function)

    at_once, in_turn = evaluate(100), evaluate(0)
    assert float(jnp.abs(at_once[0]).max()) > 0.1
    jax.tree.map(lambda a, b: close(a, b, 1e-4), at_once, in_turn)


def test_columns_of_windows_one_by_one_and_together(functions, monkeypatch):
    """Accelerators render several columns of a field together; the last group has fewer."""
    function, size = functions("field"), (14, 17)
    monkeypatch.setattr(fourier_grid, "COLUMNS_AT_ONCE", 2)

    def evaluate(branch):
        monkeypatch.setattr(
            jax.lax, "platform_dependent", lambda *values, **branches: branches[branch](*values)
        )

        def loss(features):
            theta = dataclasses.replace(function.theta, features=features)
            image = render(dataclasses.replace(function, theta=theta), size)
            return jnp.square(image).sum(), image

        return jax.jit(jax.grad(loss, has_aux=True))(function.theta.features)

    in_turn, together = evaluate("cpu"), evaluate("default")
    assert float(jnp.abs(in_turn[0]).max()) > 0.1
    jax.tree.map(functools.partial(close, tolerance=1e-4), in_turn, together)


@pytest.mark.parametrize(
    ("name", "scale"), [("field", 1), ("field", 2), ("field", 3), ("patches", 2), ("patches", 3)]
)
def test_a_phase_shifts_the_grid(functions, name, scale):
    function, size = functions(name), (HEIGHT * scale, WIDTH * scale)
    step = (1 / scale, 1 / scale)
    phases = np.random.default_rng(scale).uniform(-scale / 2, scale / 2, size=(3, 2))
    # The ends of the range, and no shift.
    extremes = [[-scale / 2, scale / 2], [0.0, 0.0]]
    for phase in np.concatenate([phases, extremes]).astype(np.float32):
        shifted = phases_jit(function, scale=scale, phase=phase)
        close(grid_jit(function, -phase / scale, step, size), shifted, 5e-5)
        coords = pixel_centres(size) - (phase / np.array(size)).astype(np.float32)[None, None]
        close(sample_jit(function, coords, footprint=step), shifted, 5e-5)


def test_phases_without_a_factored_theta(functions):
    """A theta that is the result of a computation, such as a blend, is no product."""
    function = functions("field")
    assert isinstance(function.theta, FactoredTheta)
    expanded = dataclasses.replace(function, theta=PlainTheta(function.theta.parameters))
    close(phases_jit(expanded, scale=2), phases_jit(function, scale=2))


@pytest.mark.parametrize("scale", [1, 3])
def test_fast_gradients_are_the_same(functions, scale):
    """Values and gradients do not depend on how they are computed."""
    function, phase = functions("field"), jnp.asarray([0.3, -0.4])
    theta = function.theta

    def loss(given, fast):
        changed = dataclasses.replace(theta, features=given[0], kernel=given[1])
        changed = dataclasses.replace(function, theta=changed)
        image = render_phases(changed, scale, phase=phase, fast_gradients=fast)
        return (image**2).sum(), image

    slope = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    (gradient, image), (expected_gradient, expected) = (
        slope((theta.features, theta.kernel), fast) for fast in (True, False)
    )
    close(image, expected)
    for ours, theirs in zip(gradient, expected_gradient, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["field", "patches"])
def test_a_window_is_a_crop(functions, name):
    whole = render_jit(functions(name), size=(24, 20))
    window = (8 / 24, 4 / 20, 16 / 24, 12 / 20)
    close(render_jit(functions(name), size=(8, 8), window=window), whole[:, 8:16, 4:12])


def test_tiny_images(variables):
    """An image may have a single pixel."""
    for size in ((1, 1), (4, 1)):
        images = np.random.default_rng(0).uniform(size=(1, *size, 3)).astype(np.float32)
        function = encode_jit(MODELS["field"], variables("field"), images)
        out = (2 * size[0], 2 * size[1])
        rendered = render_jit(function, size=out)
        close(sample_jit(function, pixel_centres(out), footprint=(0.5, 0.5)), rendered)


@pytest.mark.parametrize("name", ["field", "patches"])
def test_images_of_a_batch_are_independent(functions, variables, images, name):
    together = render_jit(functions(name), size=(14, 17))
    for i in range(2):
        alone = encode_jit(MODELS[name], variables(name), images[i : i + 1])
        close(render_jit(alone, size=(14, 17))[0], together[i])


def test_the_function_is_continuous(functions):
    """The function is continuous across the edges of windows, where target networks change."""
    rng = np.random.default_rng(0)
    edges = rng.integers(1, 2 * HEIGHT, size=(50, 2)) / 2 / np.array([HEIGHT, WIDTH])
    other = rng.uniform(size=50)
    for axis in range(2):
        before, after = edges.copy(), edges.copy()
        before[:, axis] -= 1e-5
        after[:, axis] += 1e-5
        before[:, 1 - axis] = after[:, 1 - axis] = other
        for name in ("field", "patches"):
            values = [
                sample_jit(functions(name), coords.astype(np.float32)) for coords in (before, after)
            ]
            close(*values, 5e-3)


@pytest.mark.parametrize("size", [(12, 10), (24, 20), (14, 17), (3, 11)], ids=str)
def test_without_target_networks_the_base_is_interpolated(functions, images, size):
    function = functions("field")
    theta = FactoredTheta(function.theta.features, jnp.zeros_like(function.theta.kernel))
    plain = dataclasses.replace(function, theta=theta)
    close(render_jit(plain, size=size), imresize(images, size), 3e-6)


@pytest.mark.parametrize("size", [(12, 10), (14, 17)], ids=str)
@pytest.mark.parametrize("name", ["field", "pixels"])
def test_masked_padding_changes_nothing(functions, variables, images, name, size):
    padded = np.pad(images, ((0, 0), (0, 3), (0, 4), (0, 0)), mode="symmetric")
    exists = tuple((np.arange(n + p) < n).astype(np.float32) for n, p in ((HEIGHT, 3), (WIDTH, 4)))
    function = encode_jit(MODELS[name], variables(name), padded, exists)
    expected = render_jit(functions(name), size=size)
    grid = grid_jit(function, jnp.zeros(2), steps(size), size)
    close(grid, expected)
    positions = pixel_centres(size) * np.float32([[[HEIGHT / 9, WIDTH / 9]]])
    close(sample_jit(function, positions, footprint=steps(size)), expected)
    if size == (12, 10):
        close(phases_jit(function, scale=2)[:, :12, :10], expected)
        close(phases_jit(function, scale=2, fast_gradients=True)[:, :12, :10], expected)


@pytest.mark.parametrize(
    ("name", "size"), [("field", (12, 10)), ("field", (14, 17)), ("patches", (12, 10))], ids=str
)
def test_gradients_through_rendering_are_finite(variables, images, name, size):
    def loss(variables, images):
        return jnp.abs(render(encode(MODELS[name], variables, images)[0], size) - 0.3).mean()

    gradient = jax.jit(jax.grad(loss))(variables(name), images)["params"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": (0, 4)}, r"\(0, 4\)"),
        ({"size": (4, -1)}, r"\(4, -1\)"),
        ({"size": (4, 4), "window": (0.5, 0.0, 0.5, 1.0)}, "empty"),
        ({"size": (4, 4), "window": (0.0, 0.7, 1.0, 0.2)}, "0.7"),
        ({"size": (4, 4), "window": (0.0, 0.0, 1.0, 1.5)}, "1.5"),
    ],
)
def test_impossible_sizes_and_windows_are_refused(functions, arguments, named):
    with pytest.raises(ValueError, match=named):
        render(functions("field"), **arguments)


def test_an_axis_over_the_window_is_what_render_uses(functions):
    window = (0.1, 0.25, 0.8, 0.95)
    rows = axis_over((0.1, 0.8), 9, HEIGHT)
    cols = axis_over((0.25, 0.95), 7, WIDTH)
    function = functions("field")
    starts = jnp.array([rows.start, cols.start])
    close(
        render_jit(function, size=(9, 7), window=window),
        grid_jit(function, starts, (rows.step, cols.step), (9, 7)),
    )


def test_the_base_takes_over_where_pixels_are_large(functions):
    function = functions("field")
    alone = function.replace(base=None)
    assert alone.field_share((3.0, 3.0)) == 1.0  # There is no base.
    assert function.field_share((0.8, 0.5)) == 1.0
    close(function.field_share((1.0, 0.1)), np.exp(-8 * 0.2**2))
    close(function.field_share((1.0, 1.5)), np.exp(-8 * (0.2**2 + 0.7**2)))
    slope = jax.grad(lambda step: function.field_share((step, 0.5)))
    close([slope(0.79), slope(0.8)], [0, 0])  # The fade begins smoothly.

    # At less than half the size only the base is left.
    axes = [axis_over((0.0, 1.0), 2, cells) for cells in (HEIGHT, WIDTH)]
    close(render_jit(function, (2, 2)), interpolate_grid(function.base, *axes))
    assert np.abs(render_jit(alone, (2, 2))).max() > 1e-2
