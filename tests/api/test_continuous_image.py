"""The Python API: from a picture to its function, to pixels of any size, and to a file."""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import hyperfunc
from hyperfunc.api import ContinuousImage, interpolate, represent, representing
from hyperfunc.api.representing import to_pixels
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Model
from hyperfunc.function import FunctionalImage, encode, in_strips
from hyperfunc.images import to_uint8
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PixelHypernetwork, PlainTheta
from hyperfunc.pixels import WindowLayout, imresize
from hyperfunc.upscaling import tile_grid
from hyperfunc.values import decode_srgb, encode_srgb

SIZE = (20, 28)


@pytest.fixture(scope="module")
def model() -> Model:
    network = PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=0.3)
    variables = network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    return Model.of_experiment(Experiment(model=network), variables, step=0, path=Path("nowhere"))


@pytest.fixture(scope="module")
def f(model: Model, draw) -> ContinuousImage:
    return represent(draw(0, SIZE), checkpoint=model)


@pytest.fixture(scope="module")
def layered() -> list[ContinuousImage]:
    """Make two images in overlapping patches, with three emitted layers and no base."""
    target, layout, size = CosineMLP(hidden=(4, 6)), WindowLayout(8, 4, 0.0), (16, 12)
    keys = jax.random.split(jax.random.key(0), (2, 1, *layout.grid(size)))
    draw = jax.jit(jax.vmap(jax.vmap(jax.vmap(jax.vmap(lambda key: target.init(key)[0])))))
    thetas = draw(keys)
    exists = (jnp.ones(layout.grid(size)[0]), jnp.ones(layout.grid(size)[1]))
    return [
        ContinuousImage(
            FunctionalImage(
                theta=PlainTheta(jax.tree.map(lambda leaf, i=i: leaf[i], thetas)),
                shared={},
                base=None,
                exists=exists,
                target=target,
                layout=layout,
                size=size,
            )
        )
        for i in range(2)
    ]


def leaves_close(one: object, two: object, tolerance: float = 1e-6) -> bool:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.allclose(a, b, atol=tolerance) for a, b in pairs)


class TestRepresent:
    def test_is_what_encode_gives(self, model: Model, f: ContinuousImage, draw) -> None:
        images = jnp.asarray(draw(0, SIZE), jnp.float32)[None] / 255
        whole = jax.jit(lambda x: encode(model.experiment.model, model.variables, x)[0])(images)
        assert f.size == SIZE
        assert leaves_close(f.function.theta, whole.theta, 2e-6)
        assert leaves_close(f.function.base, whole.base)

    def test_tiles_equal_the_whole(
        self, model: Model, f: ContinuousImage, draw, monkeypatch
    ) -> None:
        monkeypatch.setattr(tile_grid, "LARGEST_TILE", 18)
        monkeypatch.setattr(tile_grid, "EXTENT_MULTIPLE", 1)
        tiled = represent(draw(0, SIZE), checkpoint=model)
        assert leaves_close(f.function.theta, tiled.function.theta, 2e-6)

    def test_reads_pictures_in_any_form(self, draw, tmp_path: Path) -> None:
        pixels = draw(3, (9, 7))
        grey = pixels[..., 0]
        path = tmp_path / "picture.png"
        Image.fromarray(pixels).save(path)
        rgba = Image.fromarray(np.dstack([pixels, grey]))
        expected = pixels.astype(np.float32) / 255
        deep = pixels.astype(np.uint16) * 257
        for form in (path, str(path), rgba, pixels, deep, expected, jnp.asarray(expected)):
            np.testing.assert_allclose(to_pixels(form), expected, atol=1e-6)
        greys = (grey, grey[..., None], Image.fromarray(grey), grey.astype(np.uint16) * 257)
        for form in (*greys, Image.fromarray(grey.astype(np.uint16) * 257)):
            np.testing.assert_allclose(to_pixels(form), expected[..., [0, 0, 0]], atol=1e-6)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4, 4), np.uint8), "alpha"),
            (np.zeros(4, np.uint8), "no picture"),
            (np.zeros((0, 4, 3), np.uint8), "no picture"),
            (np.zeros((4, 4), np.int64), "int64"),
            (np.full((4, 4), 255.0), r"\[0, 1\]"),
            (np.full((4, 4), np.nan), "not finite"),
        ],
    )
    def test_refuses_other_arrays(self, image: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            to_pixels(image)

    def test_refuses_huge_pictures(self, model: Model, draw, monkeypatch) -> None:
        monkeypatch.setattr(representing, "MAX_THETA_BYTES", 2**10)
        with pytest.raises(UserError, match="hyperfunc upscale.*Upscaler"):
            represent(draw(0, SIZE), checkpoint=model)

    def test_names_missing_checkpoints(self, draw) -> None:
        with pytest.raises(UserError, match="no checkpoint"):
            represent(draw(0, SIZE), checkpoint="missing")

    @pytest.mark.parametrize("name", ["sr", "sr_paper"])
    def test_bundled_checkpoint_beats_bicubic(self, name: str) -> None:
        from skimage.data import astronaut
        from skimage.metrics import peak_signal_noise_ratio

        high = astronaut()[:192, 120:312]
        low = imresize(high, (64, 64))
        ours = to_uint8(np.asarray(represent(low, checkpoint=name).render(scale=3)))
        ours, bicubic = (
            peak_signal_noise_ratio(high, picture) for picture in (ours, imresize(low, (192, 192)))
        )
        assert ours > bicubic + 0.5


class TestRender:
    def test_sizes(self, f: ContinuousImage) -> None:
        whole = f.render(50, 70)
        assert whole.shape == (50, 70, 3)
        assert whole.min() >= 0 and whole.max() <= 1
        np.testing.assert_array_equal(f.render(scale=2.5), whole)
        assert f.render(scale=(2.5, 1)).shape == (50, 28, 3)

    def test_is_the_function_at_pixel_centres(self, f: ContinuousImage) -> None:
        values = f(hyperfunc.pixel_centres((50, 70)), footprint=1 / 2.5)
        np.testing.assert_allclose(f.render(50, 70, clip=False), values, atol=1e-5)

    def test_a_crop_is_a_part(self, f: ContinuousImage) -> None:
        whole = f.render(40, 56, clip=False)
        crop = f.crop(0.25, 0.5, 0.75, 1.0, scale=2, clip=False)
        np.testing.assert_allclose(crop, whole[10:30, 28:], atol=1e-5)
        compiled = in_strips._render_window._cache_size()
        moved = f.crop(0.5, 0.0, 1.0, 0.5, 20, 28, clip=False)
        np.testing.assert_allclose(moved, whole[20:, :28], atol=1e-5)
        assert in_strips._render_window._cache_size() == compiled

    def test_strips_equal_the_whole(self, f: ContinuousImage, monkeypatch) -> None:
        rows, cols = 37, 44
        whole = f.render(rows, cols, clip=False)
        monkeypatch.setattr(in_strips, "STRIP_SIZE", 8 * cols)
        in_strips._render_whole.clear_cache()
        np.testing.assert_allclose(f.render(rows, cols, clip=False), whole, atol=1e-5)
        in_strips._render_whole.clear_cache()

    def test_batches_of_points_equal_the_whole(self, f: ContinuousImage, monkeypatch) -> None:
        coords = jax.random.uniform(jax.random.key(0), (45, 2))
        whole = f(coords)
        monkeypatch.setattr(in_strips, "points_at_once", lambda *_: 16)
        in_strips.evaluate_points.clear_cache()
        np.testing.assert_allclose(f(coords), whole, atol=1e-6)
        in_strips.evaluate_points.clear_cache()

    def test_light_is_averaged_on_request(self, f: ContinuousImage) -> None:
        own = decode_srgb(np.asarray(f.render(scale=1), float))
        expected = encode_srgb(imresize(own, (9, 8)))
        np.testing.assert_allclose(f.render(9, 8, linear=True), expected, atol=1e-5)
        part = f.crop(0.5, 0.25, 1.0, 0.5, 5, 3, linear=True)
        expected = encode_srgb(imresize(own, (10, 12)))[5:, 3:6]
        np.testing.assert_allclose(part, expected, atol=1e-5)
        for size in ((40, 20), (9, 28)):  # Nothing is reduced on both axes.
            np.testing.assert_array_equal(f.render(*size, linear=True), f.render(*size))
        total = jax.jit(jax.grad(lambda f: f.render(9, 8, linear=True).sum(), allow_int=True))(f)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(total))

    def test_a_scale_may_be_a_numpy_number(self, f: ContinuousImage) -> None:
        for scale in (np.int64(2), np.float32(2)):
            np.testing.assert_array_equal(f.render(scale=scale), f.render(scale=2))

    @pytest.mark.parametrize(
        "arguments",
        [{}, {"height": 3}, {"height": 0, "width": 3}, {"scale": 0}],
    )
    def test_refuses_sizes(self, f: ContinuousImage, arguments: dict) -> None:
        with pytest.raises(ValueError, match=r"scale|give"):
            f.render(**arguments)
        with pytest.raises(ValueError, match="cannot crop"):
            f.crop(0.5, 0, 0.5, 1, scale=1)


class TestDeepZoom:
    def test_a_part_may_be_tiny(self, f: ContinuousImage) -> None:
        """The pitch keeps its digits, however small it is."""
        for side in (1e-6, 1e-9):
            part = f.crop(0.5, 0.5, 0.5 + side, 0.5 + side, 8, 8)
            expected = np.broadcast_to(f(np.array([[0.5, 0.5]]), footprint=0.0), part.shape)
            np.testing.assert_allclose(part, expected, atol=1e-3)


class TestPytree:
    def test_mirrors_beyond_the_border(self, f: ContinuousImage) -> None:
        outside = jnp.array([[-0.1, 0.3], [1.2, 0.3], [0.4, -0.25], [2.3, 0.5]])
        inside = jnp.array([[0.1, 0.3], [0.8, 0.3], [0.4, 0.25], [0.3, 0.5]])
        np.testing.assert_allclose(f(outside), f(inside), atol=1e-5)

    @pytest.mark.slow
    def test_mirrors_a_blurred_grid_beyond_the_border(self, f: ContinuousImage) -> None:
        lines = jnp.array([-1.2, -0.3, 0.0, 0.4, 1.0, 1.3, 2.1])
        grid = jnp.stack(jnp.meshgrid(lines, lines[::-1], indexing="ij"), axis=-1)
        points, blurred = grid.reshape(-1, 2), f.gaussian(1.5)
        np.testing.assert_allclose(
            blurred(grid).reshape(-1, 3), blurred(points), atol=1e-5, rtol=1e-5
        )
        # On the border there are two slopes.
        inside = ~jnp.isin(points, jnp.array([0.0, 1.0])).any(axis=1)
        for name in ("gradient", "laplacian"):
            whole, single = getattr(blurred, name)(grid), getattr(blurred, name)(points)
            whole = whole.reshape(single.shape)[inside]
            scale = float(jnp.abs(single).max())
            np.testing.assert_allclose(whole / scale, single[inside] / scale, atol=1e-4)

    def test_warp_refuses_empty_sizes(self, f: ContinuousImage) -> None:
        for size in ((0, 5), (5, 0), (0, 0)):
            with pytest.raises(ValueError, match="at least 1 x 1"):
                f.warp(np.eye(3), *size)

    @pytest.mark.parametrize("footprint", [math.nan, math.inf, -1.0, (1.0, -0.5)])
    def test_refuses_other_footprints(self, f: ContinuousImage, footprint) -> None:
        wrong = footprint[1] if isinstance(footprint, tuple) else footprint
        for evaluate in (f, f.gradient):
            with pytest.raises(ValueError, match=f"a footprint of {wrong}: give finite numbers"):
                evaluate(jnp.full((1, 2), 0.5), footprint=footprint)

    def test_refuses_other_points(self, f: ContinuousImage) -> None:
        with pytest.raises(ValueError, match="shape"):
            f(np.zeros((4, 3)))

    def test_refuses_two_arrays(self, f: ContinuousImage) -> None:
        ys, xs = np.array([0.2, 0.8]), np.array([0.1, 0.9])
        for method in (f, f.gradient, f.laplacian, f.disagreement):
            with pytest.raises(TypeError, match="positional"):
                method(ys, xs)

    def test_jit_of_an_image_and_of_its_methods(self, f: ContinuousImage) -> None:
        points = jnp.array([[0.2, 0.3], [0.7, 0.9]])
        for method in (f, f.laplacian):
            np.testing.assert_allclose(jax.jit(method)(points), method(points), rtol=1e-4)

    def test_jit_vmap_and_grad(self, f: ContinuousImage) -> None:
        coords = jax.random.uniform(jax.random.key(0), (5, 2))
        scaled = lambda t: interpolate(f, f, t)(coords)  # noqa: E731
        values = jax.jit(jax.vmap(scaled))(jnp.array([0.0, 1.0]))
        np.testing.assert_allclose(values[1], f(coords), atol=1e-6)
        loss = lambda one: jnp.square(one.render(scale=2, clip=False)).mean()  # noqa: E731
        gradient = jax.jit(jax.grad(loss))(f)
        moved = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, f, gradient)
        assert loss(moved) < loss(f)

    def test_repr(self, f: ContinuousImage) -> None:
        assert repr(f.gaussian(2.0)).startswith("ContinuousImage(20 x 28, FourierField")


class TestDisagreement:
    def test_a_grid_is_its_points(self, f: ContinuousImage, layered: list[ContinuousImage]) -> None:
        grid = hyperfunc.pixel_centres((9, 7))
        for image in (f, layered[0]):
            whole = image.disagreement(grid, footprint=1)
            assert whole.shape == (9, 7) and float(whole.min()) >= 0 and float(whole.max()) > 1e-3
            points = image.disagreement(grid.reshape(-1, 2), footprint=jnp.ones((63, 2)))
            np.testing.assert_allclose(whole.reshape(-1), points, atol=1e-6)

    def test_refuses_a_blur_and_windows_that_stand_alone(self, f: ContinuousImage) -> None:
        with pytest.raises(ValueError, match=r"sigma 2\.0: compare.*unblurred"):
            f.gaussian(2.0).disagreement([[0.5, 0.5]])
        one = f.function.replace(layout=WindowLayout(1, 1, 0.0, "box"))
        with pytest.raises(ValueError, match="no two windows"):
            dataclasses.replace(f, function=one).disagreement([[0.5, 0.5]])


class TestInterpolate:
    def test_ends_and_middle(self, model: Model, f: ContinuousImage, draw) -> None:
        g = represent(draw(1, SIZE), checkpoint=model)
        coords = jax.random.uniform(jax.random.key(0), (5, 2))
        for t, expected in ((0.0, f(coords)), (1.0, g(coords)), (0.5, (f(coords) + g(coords)) / 2)):
            np.testing.assert_allclose(interpolate(f, g, t)(coords), expected, atol=1e-5)
        theta = PlainTheta(g.function.theta.parameters)
        plain = dataclasses.replace(g, function=g.function.replace(theta=theta))
        np.testing.assert_allclose(interpolate(f, plain, 1.0)(coords), g(coords), atol=1e-5)
        slope = jax.grad(lambda t: interpolate(f, g, t)(coords).sum())(0.3)
        np.testing.assert_allclose(slope, (g(coords) - f(coords)).sum(), atol=1e-3)

    def test_layers(self, layered: list[ContinuousImage]) -> None:
        f, g = layered
        first = interpolate(f, g, 1.0, layers=2).function.theta
        named = interpolate(f, g, 1.0, layers=["layer_0", "layer_1"]).function.theta
        assert leaves_close(first, named)
        assert leaves_close(first.parameters["layer_1"], g.function.expanded()["layer_1"])
        assert leaves_close(first.parameters["layer_2"], f.function.expanded()["layer_2"])
        assert leaves_close(interpolate(f, g, 1.0, layers=0), f)

    def test_refuses_what_does_not_match(
        self, model: Model, f: ContinuousImage, layered: list[ContinuousImage], draw
    ) -> None:
        other = represent(draw(0, (22, 24)), checkpoint=model)
        with pytest.raises(ValueError, match="sizes"):
            interpolate(f, other, 0.5)
        with pytest.raises(ValueError, match="blurred"):
            interpolate(f, f.gaussian(1.0), 0.5)
        changed = f.function.replace(shared=jax.tree.map(lambda x: 2 * x, f.function.shared))
        with pytest.raises(ValueError, match="different models"):
            interpolate(f, dataclasses.replace(f, function=changed), 0.5)
        with pytest.raises(ValueError, match="layer_7"):
            interpolate(*layered, 0.5, layers=["layer_7"])
        with pytest.raises(ValueError, match="first 9"):
            interpolate(*layered, 0.5, layers=9)


class TestOtherModels:
    def test_patches_render_crop_and_evaluate(self, layered: list[ContinuousImage]) -> None:
        f = layered[0]
        whole = f.render(32, 24, clip=False)
        np.testing.assert_allclose(
            f(hyperfunc.pixel_centres((32, 24)), footprint=0.5), whole, atol=1e-5
        )
        crop = f.crop(0.5, 0.0, 1.0, 0.5, scale=2, clip=False)
        np.testing.assert_allclose(crop, whole[16:, :12], atol=1e-5)


class TestFile:
    def test_saves_and_loads(self, f: ContinuousImage, tmp_path: Path) -> None:
        path = tmp_path / "picture.hyf"
        f.save(path)
        coords = jax.random.uniform(jax.random.key(0), (5, 2))
        np.testing.assert_allclose(hyperfunc.load(path)(coords), f(coords), atol=1e-2)

    def test_refuses_to_save_an_exact_blur(self, f: ContinuousImage, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="exact=False"):
            f.gaussian(1.0).save(tmp_path / "picture.hyf")
