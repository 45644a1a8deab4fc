"""The evaluation of weight space: what is measured, with known results and with bad input."""

import json
import re

import jax
import numpy as np
import pytest

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.evaluation import (
    FeatureSpace,
    evaluate_weight_space,
    frechet_distance,
    gradient_energy,
    summarize,
    weight_space_evaluation,
)
from hyperfunc.evaluation.weight_space import WeightSpace, cross_fade, select
from hyperfunc.evaluation.weight_space_evaluation import ImageSets
from hyperfunc.evaluation.weight_space_measures import measure_layer_effects
from hyperfunc.files import to_json
from hyperfunc.images import to_uint8
from hyperfunc.networks import mix
from hyperfunc.pixels import imresize, psnr_rgb, ssim_rgb

SIDE = 16


def as_source(images, name="faces (test)") -> ImageSource:
    return ImageSource(name, [str(i) for i in range(len(images))], lambda i: images[i].copy())


class PixelSpace(WeightSpace):
    """Weights that are pixels: interpolating them is a cross-fade, so all results are known."""

    def __init__(self, model, size):
        self.size = size

    def encode(self, images):
        half = self.size[0] // 2  # Two layers: the upper and the lower half of the image.
        pixels = images.astype(np.float32)
        return {"layer_0": {"kernel": pixels[:, :half]}, "layer_1": {"kernel": pixels[:, half:]}}

    def render(self, theta, scale=1):
        pixels = np.concatenate([theta[name]["kernel"] for name in sorted(theta)], axis=1)
        return to_uint8(pixels / np.float32(255)).repeat(scale, axis=1).repeat(scale, axis=2)


@pytest.fixture
def pixels(monkeypatch):
    """Evaluate a perfect reconstruction."""
    monkeypatch.setattr(weight_space_evaluation, "WeightSpace", PixelSpace)


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of `draw_figures`, which does nothing."""
    names = ("space", "images", "theta", "rebuilt", "pairs", "folder")
    arguments: dict = {}
    record = lambda *args: arguments.update(zip(names, args, strict=True))  # noqa: E731
    monkeypatch.setattr(weight_space_evaluation, "draw_figures", record)
    return arguments


@pytest.fixture
def sources(faces, draw):
    """Eight test images, the same at twice the size, and sixteen other images."""
    large = np.stack([imresize(face, (2 * SIDE, 2 * SIDE)) for face in faces])
    others = np.stack([draw(seed, (SIDE, SIDE)) for seed in range(20, 36)])
    return ImageSets(as_source(faces), as_source(large), as_source(others, "faces (train)"))


def is_within(value, bounds):
    return bounds[0] <= value <= bounds[1]


@pytest.mark.slow
def test_everything_is_measured(model, sources, faces, drawn, tmp_path):
    """Numbers agree with those computed from the arguments of `draw_figures`."""
    result = evaluate_weight_space(model, sources, pairs=8, out=tmp_path)
    restored = json.loads(to_json(result))
    assert restored["reconstruction"].keys() >= {"psnr", "ssim", "images"}
    compared = {"real", "reconstruction", "weights_t50", "pixels_t50"}
    assert restored["frechet"].keys() >= compared
    assert restored["frechet"].keys() == restored["frechet_interval"].keys()
    assert restored["gradient_energy"].keys() >= {"weights_t50", "pixels_t50"}
    assert result["step"] == 7 and result["pairs"] == 8
    assert result["theta"] == (2 + 1) * 6 + (6 + 1) * 5 + (5 + 1) * 3
    leaves = jax.tree.leaves(model.variables["params"])
    assert result["parameters"] == sum(leaf.size for leaf in leaves)

    # Every image is the first one of a pair, and no image is paired with itself.
    first, second = drawn["pairs"]
    assert sorted(first) == list(range(8)) and (first != second).all()
    assert drawn["folder"] == tmp_path
    np.testing.assert_array_equal(drawn["images"], faces)

    space, theta, rebuilt = drawn["space"], drawn["theta"], drawn["rebuilt"]
    np.testing.assert_array_equal(rebuilt, space.render(theta))
    assert result["reconstruction"]["images"] == 8
    for name, measure in (("psnr", psnr_rgb), ("ssim", ssim_rgb)):
        scores = [measure(a, b) for a, b in zip(faces, rebuilt, strict=True)]
        assert result["reconstruction"][name] == pytest.approx(np.mean(scores))
    truth = list(sources[1])
    scores = [psnr_rgb(a, b) for a, b in zip(truth, space.render(theta, 2), strict=True)]
    assert result["reconstruction"]["psnr_at_128"] == pytest.approx(np.mean(scores))

    ends = gradient_energy(rebuilt)[first], gradient_energy(rebuilt)[second]
    faded = cross_fade(rebuilt[first], rebuilt[second], 0.5)
    halfway = space.render(mix(select(theta, first), select(theta, second), 0.5))
    for name, images in (("pixels_t50", faded), ("weights_t50", halfway)):
        ratio = gradient_energy(images) / np.mean(ends, axis=0)
        assert result["gradient_energy"][name] == pytest.approx(ratio.mean())
        assert is_within(ratio.mean(), result["gradient_energy_interval"][name])
    assert result["roughness"]["weights"] > 0.1  # The path is no straight line in pixel space.


def test_the_results_of_a_space_of_pixels_are_known(model, sources, pixels):
    result = evaluate_weight_space(model, sources, pairs=8)
    rebuilt, frechet, energy = (
        result[name] for name in ("reconstruction", "frechet", "gradient_energy")
    )
    assert (rebuilt["psnr"], rebuilt["ssim"], rebuilt["images"]) == (np.inf, 1.0, 8)
    # Larger renderings repeat pixels, so that means over 2 x 2 of them change nothing.
    assert rebuilt["psnr_at_128"] == rebuilt["psnr_at_256_averaged"] < np.inf
    assert rebuilt["psnr_bicubic_at_128"] == np.inf
    assert frechet["reconstruction"] == pytest.approx(frechet["real"])
    for t in (25, 50, 75):
        assert frechet[f"weights_t{t}"] == pytest.approx(frechet[f"pixels_t{t}"])
        assert energy[f"weights_t{t}"] == pytest.approx(energy[f"pixels_t{t}"])
        assert frechet[f"pixels_t{t}"] == pytest.approx(frechet[f"original_pixels_t{t}"])
    assert energy["pixels_t50"] < energy["pixels_t25"] < 1
    assert 0 < frechet["blurred"]
    assert result["roughness"]["weights"] < 0.15  # The rest is rounding.

    weights = result["similarity"]["weights"]
    assert weights["rank_correlation_with_pixels"] == pytest.approx(1)
    assert weights["nearest_is_nearest_in_pixels"] == 1
    same = "rank_correlation_with_features"
    assert weights[same] == pytest.approx(result["similarity"]["pixels"][same])
    shifted = weights["rank_of_shifted_2_pixels"]
    assert shifted == result["similarity"]["pixels"]["rank_of_shifted_2_pixels"]
    assert 1 <= shifted["median"] <= 8 and 0 <= shifted["first"] <= 1


@pytest.mark.slow
def test_every_image_has_as_many_pairs(model, sources, pixels, drawn, tmp_path):
    evaluate_weight_space(model, sources, pairs=100, out=tmp_path)
    first, second = drawn["pairs"]
    assert len(first) == len(second) == 100 and (first != second).all()
    assert set(np.bincount(first)) == {12, 13} and set(second) == set(range(8))


def test_features_are_fitted_to_other_images_than_those_of_the_reference(
    model, sources, faces, pixels
):
    result = evaluate_weight_space(model, sources, pairs=8)
    others = np.stack(list(sources[2]))
    features = FeatureSpace.fit(others[:8])
    expected = frechet_distance(features(others[8:]), features(faces))
    assert result["frechet"]["real"] == pytest.approx(expected)


def test_layer_effects_of_known_layers(model):
    """One layer darkens the upper half of a grey image, the other one reddens the lower half."""
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    other = grey.copy()
    other[:8] = 28
    other[8:, :, 0] = 228
    space = PixelSpace(model, (SIDE, SIDE))
    theta = space.encode(np.stack([grey, other]))
    effects = measure_layer_effects(space, theta, (np.array([0]), np.array([1])))
    darker = -100 * 219 / 255
    upper, lower = effects["layer_0"], effects["layer_1"]
    # Half of the image changes: the mean by half of that, and the rest by plus or minus as much.
    assert upper["brightness"] == pytest.approx(-darker / 2, rel=1e-4)
    assert upper["structure"] == pytest.approx(-darker / 2, rel=1e-4)
    assert upper["chroma"] == pytest.approx(0, abs=1e-4)
    blue, red = 100 * -37.797 / 255, 100 * 112 / 255
    assert lower["chroma"] == pytest.approx(np.sqrt((blue**2 + red**2) / 4), rel=1e-4)
    assert lower["brightness"] == pytest.approx(100 * 65.481 / 255 / 2, rel=1e-4)
    assert effects["all"]["chroma"] == pytest.approx(lower["chroma"])
    assert list(effects) == ["layer_0", "layer_1", "all"]


def test_the_summary_shows_the_numbers(model, sources, pixels):
    result = evaluate_weight_space(model, sources, pairs=8)
    text = summarize(result)
    assert "8 images, 8 pairs" in text and "PSNR inf dB   SSIM 1.0000" in text
    _, frechet, energy = re.split("^Frechet.*$|^gradient energy.*$", text, flags=re.MULTILINE)
    lines = {line.split()[0]: line for line in frechet.splitlines() if line}
    assert list(lines) == list(result["frechet"])
    for name, value in result["frechet"].items():
        low, high = result["frechet_interval"][name]
        assert lines[name].split() == [name, f"{value:.3f}", f"[{low:.3f},", f"{high:.3f}]"]
    for name in ("weights_t50", "pixels_t50"):
        assert f"{name} {result['gradient_energy'][name]:.3f}" in " ".join(energy.split())


def test_too_few_images_are_refused(model, sources):
    test, large, real = sources
    for few in ((test.select([0]), large, real), (test, large, real.select([0]))):
        with pytest.raises(UserError, match="too few"):
            evaluate_weight_space(model, ImageSets(*few))


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ({"real": 2}, "too few"),
        ({"pairs": 0}, "too few"),
        ({"pairs": 13}, None),
        ({"pairs": 3, "draws": True}, None),
        ({"mixed": True}, "must have one size"),
        ({"side": 24}, "multiples of 16"),
    ],
)
def test_every_input_is_evaluated_or_refused(
    model, sources, pixels, draw, tmp_path, arguments, refused
):
    if "side" in arguments:
        size = (arguments["side"],) * 2
        sources = [as_source([draw(i, size) for i in range(n)]) for n in (8, 8, 16)]
    test, large, real = sources
    if "mixed" in arguments:
        test = as_source([*test, draw(0, (SIDE, 2 * SIDE))])
    real = real.select(range(arguments.get("real", 16)))
    out, pairs = tmp_path if "draws" in arguments else None, arguments.get("pairs", 8)
    try:
        result = evaluate_weight_space(model, ImageSets(test, large, real), pairs=pairs, out=out)
    except UserError as error:
        assert refused and refused in str(error) and "\n" not in str(error)
    else:
        assert not refused
        assert np.isfinite(list(result["frechet"].values())).all()
