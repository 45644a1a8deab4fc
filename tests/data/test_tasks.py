"""Tasks: examples for super-resolution and for reconstruction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import Reconstruction, SuperResolution
from hyperfunc.data.augmentation import round_to_levels
from hyperfunc.data.host_operations import Setting, crop_at_random, enlarge
from hyperfunc.function import FunctionalImage, render_phases
from hyperfunc.networks import FactoredTheta, FourierField
from hyperfunc.pixels import PER_PIXEL, crop_margin, degrade

PLAIN = {"flips": False, "protocol_phase": 1.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Super-resolution.


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_phase_zero_is_the_degradation_of_the_protocol(draw, scale):
    """An image of exactly the size of the crop is degraded as in evaluation."""
    task = SuperResolution(scales=(scale,), crop=8, **PLAIN)
    image = draw(0, (8 * scale, 8 * scale))
    example = task.make_example(image, Setting(scale, (0.0, 0.0)), rng())
    np.testing.assert_array_equal(example["target"], image)
    np.testing.assert_array_equal(
        example["observed"], degrade(image, (float(scale), float(scale)))[0]
    )


def test_a_crop_is_degraded_like_the_image_around_it(draw):
    task, image = SuperResolution(scales=(3,), crop=8, **PLAIN), draw(1, (90, 96))
    example = task.make_example(image, Setting(3, (0.0, 0.0)), rng())
    margin = crop_margin(3)
    region = crop_at_random(image, 24 + 2 * margin, rng(), margin=margin)
    np.testing.assert_array_equal(example["target"], region[margin:-margin, margin:-margin])
    np.testing.assert_array_equal(example["observed"], degrade(region, (3.0, 3.0))[0][2:-2, 2:-2])


@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.9, 0.3), (-0.4, 1.0)])
def test_observed_and_target_are_aligned_at_every_phase(phase):
    """Interpolating the observed ramp at the phase gives the ramp of the target."""
    rows, cols = np.meshgrid(np.arange(48), np.arange(48), indexing="ij")
    # The slopes are no integers, so that rounding errors average out.
    ramp = np.repeat(np.round(1.37 * rows + 3.71 * cols)[..., None], 3, axis=-1).astype(np.uint8)
    task = SuperResolution(scales=(2,), crop=12, **PLAIN)
    example = task.make_example(ramp, Setting(2, phase), rng())
    target = FourierField(frequencies=1)
    function = FunctionalImage(
        theta=FactoredTheta(jnp.zeros((1, 12, 12, 1)), jnp.zeros((1, target.basis_size, 3))),
        shared=target.init(jax.random.key(0))[1],
        base=jnp.asarray(example["observed"][None], jnp.float32),
        exists=(jnp.ones(12), jnp.ones(12)),
        target=target,
        layout=PER_PIXEL,
        size=(12, 12),
    )
    rendered = jax.jit(render_phases, static_argnums=1)(
        function, 2, phase=jnp.asarray(example["phase"])
    )
    error = (np.asarray(rendered[0]) - example["target"])[8:16, 8:16]
    assert abs(error.mean()) < 0.25  # In levels; a phase of the wrong sign makes it 4.
    assert np.abs(error).max() < 1.5


def test_settings_cover_scales_and_phases():
    task = SuperResolution(scales=(2, 3, 4), protocol_phase=0.5)
    settings = [task.draw_setting(rng(i)) for i in range(300)]
    assert {setting.scale for setting in settings} == {2, 3, 4}
    exact = np.mean([setting.phase == (0.0, 0.0) for setting in settings])
    assert 0.4 < exact < 0.6
    relative = np.array([s.phase for s in settings if s.phase != (0.0, 0.0)])
    relative /= np.array([s.scale for s in settings if s.phase != (0.0, 0.0)])[:, None]
    assert np.abs(relative).max() <= 0.5
    assert np.abs(relative).max() > 0.45 and abs(relative.mean()) < 0.1
    # At scale 1 a phase would blur what is observed.
    at_one = SuperResolution(scales=(1,), protocol_phase=0.5)
    assert {at_one.draw_setting(rng(i)) for i in range(20)} == {Setting(1, (0.0, 0.0))}


@pytest.mark.parametrize("phase", [(0.0, 0.0), (1.5, -1.5)])
@pytest.mark.parametrize("size", [(9, 40), (23, 24), (100, 70)])
def test_small_images_can_be_shrunk(draw, size, phase):
    task = SuperResolution(scales=(3,), crop=8, shrink=2.0, permute_colors=1.0)
    for seed in range(4):
        example = task.make_example(draw(0, size), Setting(3, phase), rng(seed))
        assert example["observed"].shape == (8, 8, 3)
        assert example["target"].shape == (24, 24, 3)


def test_shrinking_keeps_observed_and_target_aligned():
    """A ramp stays a ramp; the factor multiplies the slopes of its rows and columns alike."""
    rows, cols = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    ramp = np.stack([3 * rows, 2 * cols, rows + cols], axis=-1).astype(np.uint8)
    task = SuperResolution(scales=(2,), crop=8, shrink=2.0, **PLAIN)
    factors = set()
    for seed in (1, 4, 9, 10, 13):  # With other seeds two roundings may add up to exactly 1.
        example = task.make_example(ramp, Setting(2, (0.0, 0.0)), rng(seed))
        target = example["target"].astype(float)
        down, across = np.gradient(target[..., 0], axis=0), np.gradient(target[..., 1], axis=1)
        factor = down.mean() / 3
        assert 1.0 <= factor <= 2.0
        np.testing.assert_allclose(across.mean() / 2, factor, atol=0.1)
        assert np.ptp(target[..., 0], axis=1).max() == np.ptp(target[..., 1], axis=0).max() == 0
        halves = target.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
        assert np.abs(example["observed"] - halves).max() < 1.0
        factors.add(round(factor, 1))
    assert len(factors) > 1


def test_noise_is_the_share_of_examples_that_are_disturbed(draw):
    """Undisturbed examples are those of a task without noise."""
    image, setting = draw(0, (64, 64)), Setting(2, (0.3, -0.8))
    task = SuperResolution(crop=12, noise=0.25)
    plain = SuperResolution(crop=12)
    disturbed = 0
    for seed in range(200):
        example, expected = (each.make_example(image, setting, rng(seed)) for each in (task, plain))
        if np.array_equal(example["observed"], expected["observed"]):
            np.testing.assert_array_equal(example["target"], expected["target"])
        else:
            disturbed += 1
            difference = example["observed"] - expected["observed"].astype(np.float32)
            np.testing.assert_array_equal(
                example["target"],
                round_to_levels(expected["target"] + enlarge(difference, setting)),
            )
    assert 30 < disturbed < 70


def test_the_crop_with_the_most_detail_is_taken(draw):
    """A quarter of the image has detail: one crop in four shows it, or 7 of 10 with four tries."""
    image = np.full((400, 400, 3), 128, np.uint8)
    image[:100] = draw(0, (100, 400))
    found = {}
    for tries in (1, 4):
        task = SuperResolution(scales=(2,), crop=4, tries=tries)
        targets = [
            task.make_example(image, Setting(2, (0.0, 0.0)), rng(seed))["target"]
            for seed in range(200)
        ]
        found[tries] = np.mean([np.ptp(target) > 0 for target in targets])
    assert 0.15 < found[1] < 0.36
    assert 0.58 < found[4] < 0.8


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"scales": ()}, r"\(\)"),
        ({"scales": (2, 0)}, r"\(2, 0\)"),
        ({"crop": 3}, "crop of 3"),
        ({"shrink": 0.5}, "0.5"),
        ({"tries": 0}, "tries 0"),
        ({"noise": -0.1}, "-0.1"),
        ({"noise": 1.5}, "1.5"),
        ({"shrink": float("inf")}, "shrink inf"),
        ({"protocol_phase": 5.0}, "protocol_phase 5.0"),
        ({"permute_colors": -1.0}, "permute_colors -1.0"),
    ],
)
def test_an_impossible_task_is_an_error_with_the_value(arguments, named):
    with pytest.raises(ValueError, match=named):
        SuperResolution(**arguments)


# Reconstruction.


def test_a_reconstruction_observes_its_target(draw):
    task = Reconstruction(size=16)
    image, seen = draw(0, (16, 16)), set()
    for seed in range(8):
        example = task.make_example(image, task.draw_setting(rng()), rng(seed))
        np.testing.assert_array_equal(example["observed"], example["target"])
        seen.add(example["observed"].tobytes())
    assert seen == {image.tobytes(), image[:, ::-1].tobytes()}


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_stride_compares_every_so_many_rows_and_columns(draw, stride):
    task, image = Reconstruction(size=16, stride=stride), draw(0, (40, 30))
    seen = set()
    for seed in range(100):
        setting = task.draw_setting(rng(seed))
        example = task.make_example(image, setting, rng(seed))
        assert setting.scale == 1 and example["observed"].shape == (16, 16, 3)
        top, left = (int(first) for first in setting.phase)
        # The first row and column that are compared are where the phase says that they are.
        positions = (0.5 - example["phase"]) * stride
        np.testing.assert_array_equal(positions, [top + 0.5, left + 0.5])
        rows, cols = range(top, 16, stride), range(left, 16, stride)
        np.testing.assert_array_equal(example["target"], example["observed"][np.ix_(rows, cols)])
        seen.add((top, left))
        # The observed image does not depend on the stride.
        whole = Reconstruction(size=16).make_example(image, Setting(1, (0.0, 0.0)), rng(seed))
        np.testing.assert_array_equal(example["observed"], whole["observed"])
    assert seen == {(y, x) for y in range(stride) for x in range(stride)}


@pytest.mark.parametrize("stride", [0, -2, 3, 32])
def test_a_stride_that_does_not_divide_the_size_is_an_error(stride):
    with pytest.raises(ValueError, match=f"stride {stride}: .* divisor of the size 16"):
        Reconstruction(size=16, stride=stride)


@pytest.mark.parametrize(
    "task",
    [SuperResolution(scales=(2, 3, 3), crop=8), Reconstruction(size=12, stride=3)],
    ids=lambda task: type(task).__name__,
)
def test_target_sides_are_those_of_the_targets(task):
    image = np.zeros((64, 64, 3), np.uint8)
    draws = rng()
    examples = (task.make_example(image, task.draw_setting(draws), draws) for _ in range(30))
    shapes = {example["target"].shape for example in examples}
    assert shapes == {(side, side, 3) for side in task.target_sides}
