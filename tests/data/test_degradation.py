"""Blur, noise and JPEG, against SciPy, closed forms and Pillow."""

import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from hyperfunc.data import (
    Degradation,
    ImageSource,
    SuperResolution,
    make_batches,
    motion_kernel,
)
from hyperfunc.data.degradation import draw_missing
from hyperfunc.data.host_operations import Setting

ALL = Degradation(blur=0.5, noise=0.5, jpeg=0.5, jpeg_again=0.5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def degrade(degradation, image, seed=0):
    draws = rng(seed)
    kinds = degradation.draw_kinds(draws)
    blurred = degradation.blur_photograph(image, kinds, draws)
    return degradation.degrade_reduced(blurred, kinds, draws)


def test_what_cannot_happen_alone_does_not():
    degradation = Degradation(alone=1.0, missing=1.0)
    assert degradation.draw_kinds(rng()) == (False, False, False, True)


# Noise.


@pytest.mark.parametrize("sigma", [2.55, 25.0, 55.0])
@pytest.mark.parametrize("level", [0, 100, 255])
def test_noise_is_white_and_normal_and_not_clipped(sigma, level):
    """Its moments are those of a normal distribution, at black and white, too."""
    image = np.full((200, 200, 3), level, np.uint8)
    observed = degrade(Degradation(noise=1.0, noise_sigma=(sigma, sigma)), image)
    assert observed.dtype == np.float32
    noise = (255 * observed.astype(float) - level) / sigma
    assert abs(noise.mean()) < 0.015 and abs(noise.std() - 1) < 0.015
    assert abs((noise**3).mean()) < 0.05 and abs((noise**4).mean() - 3) < 0.12
    # Neither neighbours nor channels are correlated.
    pairs = [(noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 0], noise[..., 1])]
    assert all(abs((a * b).mean()) < 0.02 for a, b in pairs)


def test_sigmas_are_uniform_over_their_range():
    image = np.full((32, 32, 3), 128, np.uint8)
    degradation = Degradation(noise=1.0)
    sigmas = [255 * degrade(degradation, image, seed).std() for seed in range(400)]
    assert min(sigmas) < 2 and 52 < max(sigmas) < 58
    assert abs(np.mean(sigmas) - 27.5) < 3 and abs(np.std(sigmas) - 55 / 12**0.5) < 2


# Blur.


@pytest.mark.parametrize("sigma", [0.3, 1.6, 3.0])
def test_blur_is_gaussian(draw, sigma):
    """In double precision, with a kernel that reaches further."""
    image = draw(0, (40, 50))
    blurred = degrade(Degradation(blur=1.0, blur_sigma=(sigma, sigma)), image)
    channels = [
        scipy.ndimage.gaussian_filter(image[..., c].astype(float), sigma, truncate=6.0)
        for c in range(3)
    ]
    assert blurred.dtype == np.uint8
    assert np.abs(blurred - np.stack(channels, axis=-1)).max() < 0.55


@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0, 120.0, 180.0])
@pytest.mark.parametrize("length", [1.0, 7.0, 15.4])
def test_a_motion_blurs_along_its_line_only(length, angle):
    """Its moments: length^2 / 12 along the line, and next to nothing across it."""
    kernel = motion_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    offsets = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    up, right = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    along, across = right * x - up * y, right * y + up * x
    # The interpolation adds up to 1/4, on average 1/6.
    assert 0 <= (kernel * along**2).sum() - length**2 / 12 <= 0.25
    assert 0 <= (kernel * across**2).sum() <= 0.25


def test_a_motion_along_rows_is_a_mean_over_pixels():
    """Exactly: of a path of n pixels, an odd number, the ends lie halfway between two pixels."""
    expected = np.array([1 / 8, 7 / 8, 1, 1, 1, 7 / 8, 1 / 8]) / 5
    kernel = motion_kernel(5.0, 0.0)
    np.testing.assert_allclose(kernel[3], expected, atol=1e-4)
    np.testing.assert_allclose(kernel.sum(axis=1), np.arange(7) == 3, atol=1e-12)
    np.testing.assert_allclose(motion_kernel(5.0, 90.0), kernel.T, atol=1e-12)
    np.testing.assert_array_equal(motion_kernel(0.0, 20.0), [[1.0]])


def test_the_share_of_motions_is_that_of_the_blurs(draw):
    """A motion along the rows leaves vertical means alone, a Gaussian blur doesn't."""
    image = np.repeat(draw(0, (40, 1)), 40, axis=1)
    degradation = Degradation(
        blur=1.0,
        blur_sigma=(2.0, 2.0),
        motion=0.3,
        motion_length=(9.0, 9.0),
        motion_angle=(0.0, 0.0),
    )
    unchanged = [np.array_equal(degrade(degradation, image, seed), image) for seed in range(200)]
    assert 40 < sum(unchanged) < 80
    assert degradation.margin == 8
    motions = dataclasses.replace(degradation, motion=1.0)
    assert motions.margin == 5 and motions.always().motion == 1


def test_blurring_by_zero_changes_nothing(draw):
    image = draw(0, (16, 16))
    np.testing.assert_array_equal(
        degrade(Degradation(blur=1.0, blur_sigma=(0.0, 0.0)), image), image
    )


def test_a_blurred_image_without_other_noise_has_the_noise_of_blurs():
    image = np.full((64, 64, 3), 128, np.uint8)
    certain = Degradation(blur=1.0, blur_noise=(3.0, 3.0), noise=1.0, noise_sigma=(20.0, 20.0))
    rare = dataclasses.replace(certain, noise=0.0)
    kept = dataclasses.replace(rare, blur=0.5)
    assert abs(255 * degrade(certain, image).std() - 20) < 1
    assert abs(255 * degrade(rare, image).std() - 3) < 0.15
    assert {degrade(kept, image, seed).std() > 0 for seed in range(20)} == {False, True}


def test_a_crop_is_blurred_like_the_image_around_it():
    """The blur of a ramp is the ramp, except at its border: the crop must not have one."""
    rows, cols = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
    ramp = np.stack([3 * rows, 2 * cols, rows + cols], axis=-1).astype(np.uint8)
    task = SuperResolution(
        scales=(1,), crop=12, flips=False, degradation=Degradation(blur=1.0, blur_sigma=(3.0, 3.0))
    )
    for seed in range(40):
        example = task.make_example(ramp, Setting(1, (0.0, 0.0)), rng(seed))
        corner = example["target"][0, 0].astype(int)  # [3 y, 2 x, y + x]
        y, x = corner[0] // 3, corner[1] // 2
        if 12 <= y <= 56 and 12 <= x <= 56:
            error = example["observed"].astype(int) - example["target"]
            assert np.abs(error).max() <= 1
            return
    pytest.fail("no crop lay inside")


# JPEG.


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_compression_is_that_of_pillow(draw, quality):
    """Some place of the grid and some chroma give exactly what Pillow writes and reads."""
    image = draw(0, (16, 16))
    degradation = Degradation(jpeg=1.0, jpeg_quality=(quality, quality))
    expected = set()
    for row, col, subsampling in itertools.product(range(16), range(16), (0, 2)):
        pad = [(row, -(row + 16) % 16), (col, -(col + 16) % 16), (0, 0)]
        file = io.BytesIO()
        Image.fromarray(np.pad(image, pad, mode="symmetric")).save(
            file, "JPEG", quality=quality, subsampling=subsampling
        )
        decoded = np.asarray(Image.open(file))[row : row + 16, col : col + 16]
        expected.add(decoded.tobytes())
    found = {degrade(degradation, image, seed).tobytes() for seed in range(60)}
    assert len(found) > 40 and found <= expected


def test_a_second_compression_loses_more(draw):
    image = draw(0, (64, 64)).astype(float)
    errors = [
        [
            np.square(degrade(Degradation(jpeg=1.0, jpeg_again=p), image.astype("u1"), i) - image)
            for i in range(20)
        ]
        for p in (0.0, 1.0)
    ]
    assert np.mean(errors[1]) > 1.05 * np.mean(errors[0])


def test_noise_is_compressed_with_the_image():
    """A JPEG of noise has levels, and less noise than was added."""
    image = np.full((64, 64, 3), 128, np.uint8)
    noise = Degradation(noise=1.0, noise_sigma=(30.0, 30.0))
    levels = 255 * degrade(dataclasses.replace(noise, jpeg=1.0, jpeg_quality=(10, 10)), image)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert 1 < levels.std() < 0.8 * 255 * degrade(noise, image).std()


# Missing pixels.


def test_single_pixels_are_missing_independently(draw):
    """Their share is uniform over its range, and all channels of a pixel are missing."""
    image = draw(0, (64, 64))
    shares = []
    for seed in range(200):
        observed = degrade(Degradation(missing=1.0), image, seed)
        is_missing = np.isnan(observed)
        assert (is_missing == is_missing[..., :1]).all()
        levels = (image / np.float32(255))[~is_missing]
        np.testing.assert_array_equal(observed[~is_missing], levels)
        shares.append(is_missing.mean())
    assert 0.17 < min(shares) < 0.24 and 0.86 < max(shares) < 0.93
    assert abs(np.mean(shares) - 0.55) < 0.05
    gaps = draw_missing((300, 300), "pixels", (0.4, 0.4), rng()) - 0.4
    assert all(abs((a * b).mean()) < 0.01 for a, b in [(gaps[1:], gaps[:-1]), (gaps.T, gaps)])


@pytest.mark.parametrize("gaps", ["strokes", "rectangles", "text"])
def test_what_is_drawn_over_an_image_is_connected(gaps):
    """Neighbours of missing pixels are missing, too, and as many pixels as the range says."""
    shares = []
    for seed in range(30):
        is_missing = draw_missing((150, 200), gaps, (0.9, 0.9), rng(seed))
        shares.append(is_missing.mean())
        beside = is_missing[:, 1:] & is_missing[:, :-1]
        assert beside.mean() > 0.5 * is_missing.mean()
    assert 0.05 <= min(shares) < 0.1 and 0.25 < max(shares) < 0.35


# Together.


def test_nothing_is_degraded_by_default(draw):
    image = draw(0, (64, 64))
    assert not Degradation().is_active and Degradation().margin == 0
    np.testing.assert_array_equal(degrade(Degradation(), image), image)
    zero = Degradation(blur=1.0, blur_sigma=(0.0, 0.0), noise=1.0, noise_sigma=(0.0, 0.0))
    np.testing.assert_array_equal(degrade(zero, image), image / np.float32(255))


def test_kinds_happen_alone_or_independently():
    """Alone in proportion to their probabilities, of which the sum is not 1 here."""
    degradation = Degradation(blur=0.3, noise=0.6, jpeg=0.6)
    draws = rng()

    def share_of(alone: float) -> dict[tuple[bool, ...], float]:
        one = dataclasses.replace(degradation, alone=alone)
        kinds = [tuple(one.draw_kinds(draws))[:3] for _ in range(4000)]
        return {kind: kinds.count(kind) / 4000 for kind in set(kinds)}

    alone = {(True, False, False): 0.2, (False, True, False): 0.4, (False, False, True): 0.4}
    assert share_of(1.0) == pytest.approx(alone, abs=0.03)
    independent = {
        kinds: math.prod(p if k else 1 - p for k, p in zip(kinds, (0.3, 0.6, 0.6), strict=True))
        for kinds in itertools.product((False, True), repeat=3)
    }
    assert share_of(0.0) == pytest.approx(independent, abs=0.03)
    half = {kinds: (alone.get(kinds, 0) + p) / 2 for kinds, p in independent.items()}
    assert share_of(0.5) == pytest.approx(half, abs=0.03)


@pytest.mark.parametrize("what", ["blur", "noise", "jpeg", "missing"])
def test_a_probability_is_the_share_of_degraded_examples(draw, what):
    """The target is never degraded."""
    image, setting = draw(0, (64, 64)), Setting(2, (0.3, -0.8))
    task = SuperResolution(crop=12, degradation=Degradation(**{what: 0.25}))
    always = dataclasses.replace(task, degradation=task.degradation.always())
    clean = SuperResolution(crop=12)
    shares = []
    for one in (task, always):
        changed = 0
        for seed in range(200):
            example, expected = (x.make_example(image, setting, rng(seed)) for x in (one, clean))
            np.testing.assert_array_equal(example["target"], expected["target"])
            levels = expected["observed"].astype(np.float64)
            scale = 255 if example["observed"].dtype == np.float32 else 1
            changed += not np.allclose(scale * example["observed"], levels, atol=1e-3)
        shares.append(changed)
    assert 30 < shares[0] < 70 and shares[1] > 160


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_batches_depend_on_seed_and_number_alone(draw, scale):
    """So a run that starts again at a later batch sees what it would have seen."""
    source = ImageSource("drawn", ["a", "b", "c"], lambda i: draw(i, (40, 36)))
    task = SuperResolution(scales=(scale,), crop=8, degradation=ALL)

    def take(start, seed=3):
        batches = make_batches(source, task, batch_size=4, seed=seed, start=start, threads=1)
        return list(itertools.islice(batches, 4 - start))

    whole, resumed, other = take(0), take(2), take(2, seed=4)
    for a, b, c in zip(whole[2:], resumed, other, strict=True):
        assert a["observed"].dtype == np.float32 and a["observed"].shape == (4, 8, 8, 3)
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert not np.array_equal(a["observed"], c["observed"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"blur": 1.5}, "blur 1.5"),
        ({"noise": -0.1}, "noise -0.1"),
        ({"jpeg_again": 2.0}, "jpeg_again 2.0"),
        ({"missing": 1.2}, "missing 1.2"),
        ({"missing_share": (0.9, 0.2)}, "give the smaller number first"),
        ({"gaps": ()}, "name at least one"),
        ({"blur_sigma": (-1.0, 3.0)}, "blur_sigma"),
        ({"motion": 1.5}, "motion 1.5"),
        ({"motion_length": (9.0, 3.0)}, "motion_length .* smaller number first"),
        ({"noise_sigma": (0.0, float("inf"))}, "noise_sigma"),
        ({"jpeg_quality": (0, 95)}, "jpeg_quality"),
        ({"jpeg_quality": (10, 101)}, "jpeg_quality"),
        ({"noise_sigma": (50.0, 10.0)}, r"\(50.0, 10.0\): .* smaller number first"),
    ],
)
def test_an_impossible_degradation_is_an_error_with_the_value(arguments, named):
    with pytest.raises(ValueError, match=named):
        Degradation(**arguments)
