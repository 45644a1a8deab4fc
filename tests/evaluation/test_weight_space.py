"""Weight space: encoding, rendering, interpolation, and the figures."""

import jax
import numpy as np
import pytest
from PIL import Image

from hyperfunc.api import ContinuousImage, interpolate
from hyperfunc.errors import UserError
from hyperfunc.evaluation import weight_space
from hyperfunc.evaluation.weight_space import WeightSpace, cross_fade, select
from hyperfunc.evaluation.weight_space_figures import draw_figures
from hyperfunc.function import encode, render
from hyperfunc.images import read_image, to_uint8
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork, mix
from hyperfunc.values import to_unit_range

SIDE = 16


def represent(model, image) -> ContinuousImage:
    one = jax.jit(lambda images: encode(model.hypernetwork, model.variables, images)[0])
    return ContinuousImage(one(to_unit_range(image)[None]))


# Encoding and rendering.


def assert_renders(space, model, faces, scale):
    """Each image is encoded and rendered as it is alone."""
    rendered = space.render(space.encode(faces), scale)
    size = (SIDE * scale, SIDE * scale)

    @jax.jit
    def alone(image):
        return render(encode(model.hypernetwork, model.variables, image[None])[0], size)[0]

    assert rendered.shape == (len(faces), *size, 3) and rendered.dtype == np.uint8
    for face, image in zip(faces, rendered, strict=True):
        expected = to_uint8(np.asarray(alone(to_unit_range(face))))
        # A value near a tie may be rounded the other way.
        assert np.abs(image.astype(int) - expected).max() <= 1
    assert len(np.unique(rendered, axis=0)) == len(faces)


@pytest.mark.parametrize(("batch", "scale"), [(50, 1), (3, 2)])
def test_images_are_encoded_and_rendered_as_each_alone(
    space, model, faces, monkeypatch, batch, scale
):
    monkeypatch.setattr(weight_space, "BATCH_SIZE", batch)  # One by one, or by three.
    assert_renders(space, model, faces, scale)


def test_theta_has_a_leading_axis_of_images(space, faces):
    theta = space.encode(faces)
    assert set(theta) == {"layer_0", "layer_1", "layer_2"}
    leaves = jax.tree.leaves(theta)
    assert all(isinstance(leaf, np.ndarray) and leaf.shape[:3] == (8, 1, 1) for leaf in leaves)


def test_vectors_hold_theta(space, faces):
    theta = space.encode(faces)
    vectors = weight_space.to_vectors(theta)
    assert vectors.shape == (8, sum(leaf[0].size for leaf in jax.tree.leaves(theta)))
    again = weight_space.to_theta(vectors[2:5], theta)
    jax.tree.map(np.testing.assert_array_equal, again, select(theta, np.s_[2:5]))


def test_a_model_with_a_base_is_refused(make_model):
    target = FourierField(frequencies=2)
    model = make_model(PixelHypernetwork(EDSR(width=4, blocks=0), target, base="bicubic"))
    with pytest.raises(UserError, match="--model.base=none"):
        WeightSpace(model, (SIDE, SIDE))


# Interpolation.


def test_mixing_is_a_line_through_both(space, faces):
    theta = space.encode(faces[:4])
    a, b = select(theta, np.s_[:2]), select(theta, np.s_[2:])
    jax.tree.map(np.testing.assert_array_equal, mix(a, b, 0.0), a)
    close = lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6)  # noqa: E731
    jax.tree.map(close, mix(a, b, 1.0), b)
    jax.tree.map(lambda m, x, y: close(m, 0.7 * x + 0.3 * y), mix(a, b, 0.3), a, b)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(mix(a, b, 0.3)))
    some = mix(a, b, 0.5, ["layer_1"])
    jax.tree.map(np.testing.assert_array_equal, some["layer_0"], a["layer_0"])
    jax.tree.map(np.testing.assert_array_equal, some["layer_1"], mix(a, b, 0.5)["layer_1"])
    jax.tree.map(np.testing.assert_array_equal, mix(a, b, 0.5, []), a)


@pytest.mark.parametrize("layers", [None, ["layer_0"], ["layer_1", "layer_2"]])
def test_mixing_is_what_the_library_calls_interpolation(space, model, faces, layers):
    theta = space.encode(faces[:2])
    a, b = (select(theta, np.s_[i : i + 1]) for i in range(2))
    walk = interpolate(*(represent(model, face) for face in faces[:2]), 0.4, layers=layers)
    expected = to_uint8(np.asarray(jax.jit(render, static_argnums=1)(walk.function, (SIDE, SIDE))))
    difference = space.render(mix(a, b, 0.4, layers)).astype(int) - expected
    assert np.abs(difference).max() <= 1


def test_a_cross_fade_is_rounded_once_and_half_up(faces):
    a, b = faces[:4], faces[4:]
    for t in (0.0, 0.25, 0.5, 1.0):
        exact = (1 - t) * a.astype(np.float64) + t * b
        np.testing.assert_array_equal(cross_fade(a, b, t), np.floor(exact + 0.5))
    assert cross_fade(a, b, 0.5).dtype == np.uint8


# Figures.


def test_figures_show_images_in_their_places(space, faces, tmp_path):
    theta = space.encode(faces)
    rebuilt = space.render(theta)
    ends = np.array([0, 1, 2, 3, 4, 5]), np.array([6, 7, 0, 1, 2, 3])
    draw_figures(space, faces, theta, rebuilt, ends, tmp_path)
    panel = SIDE + 4
    shapes = {
        "figure1_weights_and_pixels": (2, 9),
        "figure6a_weights": (5, 9),
        "figure6b_pixels": (5, 9),
        "figure7_layerwise": (3, 9),
        "failures": (5, 9),
        "reconstruction": (2, 8),
    }
    assert {path.stem for path in tmp_path.iterdir()} == {*shapes, "walk"}
    figures = {name: read_image(tmp_path / f"{name}.png") for name in shapes}
    for name, (rows, cols) in shapes.items():
        assert figures[name].shape == (rows * panel, cols * panel, 3)

    def cell(name, i, j):
        return figures[name][i * panel :, j * panel :][2 : 2 + SIDE, 2 : 2 + SIDE]

    # Every row begins and ends with the two reconstructions.
    for k in range(5):
        for name in ("figure6a_weights", "figure6b_pixels"):
            for column, end in ((0, ends[0][k]), (8, ends[1][k])):
                difference = cell(name, k, column).astype(int) - rebuilt[end]
                assert np.abs(difference).max() <= 1
    faded = cross_fade(rebuilt[:1], rebuilt[6:7], 0.5)[0]
    np.testing.assert_array_equal(cell("figure1_weights_and_pixels", 1, 4), faded)
    # With all layers a row is that of figure 1; with the first layer only, it ends elsewhere.
    np.testing.assert_array_equal(
        cell("figure7_layerwise", 2, 4), cell("figure1_weights_and_pixels", 0, 4)
    )
    assert np.any(cell("figure7_layerwise", 0, 8) != cell("figure7_layerwise", 2, 8))
    np.testing.assert_array_equal(cell("reconstruction", 0, 3), faces[3])
    np.testing.assert_array_equal(cell("reconstruction", 1, 3), rebuilt[3])

    with Image.open(tmp_path / "walk.webp") as file:
        assert file.size == (2 * SIDE, 2 * SIDE) and file.n_frames > 20
        difference = np.asarray(file.convert("RGB")).astype(int)
        difference -= space.render(select(theta, np.s_[:1]), 2)[0]
        assert np.abs(difference).max() <= 1
