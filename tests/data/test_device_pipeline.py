import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import (
    ImageSource,
    Reconstruction,
    SuperResolution,
    device_pipeline,
    make_resident_batches,
    open_dataset,
)
from hyperfunc.data.augmentation import (
    Disturbance,
    disturb,
    measure_detail,
    permute_channels,
    remove_colors,
    round_to_levels,
    turn,
)
from hyperfunc.data.device_pipeline import (
    SIZES_PER_IMAGE,
    load_resident,
    make_examples,
    make_resampling,
)
from hyperfunc.data.host_operations import Setting, enlarge
from hyperfunc.devices import make_mesh
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment
from hyperfunc.experiment.config import Data
from hyperfunc.images import write_image
from hyperfunc.pixels import crop_margin, degrade_crop, imresize


@pytest.fixture(scope="module")
def source() -> ImageSource:
    return open_dataset("sample").select([0, 3])


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(jax.devices()[:2])


def draw_batch(source, mesh, task, scale, phase, seed=0, count=8):
    batch = jax.jit(functools.partial(make_examples, task, count, scale))(
        load_resident(source, mesh),
        jax.random.key(seed),
        make_resampling(task.crop, Setting(scale, phase)),
        jnp.asarray(phase, jnp.float32),
    )
    return {name: np.asarray(array) for name, array in batch.items()}


def reduce(targets, scale, phase=(0.0, 0.0)):
    """Degrade targets, which have no margin: their border is mirrored."""
    margin = crop_margin(scale)
    margins = [(0, 0), (margin, margin), (margin, margin), (0, 0)]
    return degrade_crop(np.pad(targets, margins, mode="symmetric"), scale, phase=phase)


@pytest.mark.parametrize(
    ("scale", "phase"), [(2, (0.0, 0.0)), (3, (0.7, -1.5)), (4, (-1.9, 0.2)), (1, (0.0, 0.0))]
)
def test_the_observed_crop_is_the_reduced_target(source, mesh, scale, phase):
    """Compared inside, where the reduction does not reach the margins that were cut off."""
    task = SuperResolution(crop=12, permute_colors=0.5)
    batch = draw_batch(source, mesh, task, scale, phase)
    assert batch["observed"].shape == (8, 12, 12, 3)
    assert batch["target"].shape == (8, 12 * scale, 12 * scale, 3)
    np.testing.assert_array_equal(batch["phase"], np.tile(np.float32(phase), (8, 1)))
    expected = reduce(batch["target"], scale, phase)
    inside = slice(3, -3)
    difference = np.abs(expected.astype(int) - batch["observed"])[:, inside, inside]
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_colours_are_removed_as_on_the_host(source, mesh):
    plain, grey = (
        draw_batch(source, mesh, SuperResolution(crop=12, grey=share), 2, (0.0, 0.0))
        for share in (0.0, 1.0)
    )
    expected = remove_colors(np.asarray(plain["target"])).astype(int)
    difference = np.abs(expected - grey["target"])
    assert difference.max() <= 1  # Where the luma lies between two levels.
    assert (difference > 0).mean() < 1e-3
    assert np.ptp(grey["observed"], axis=-1).max() == 0


@pytest.mark.parametrize(("scale", "phase"), [(2, (0.0, 0.0)), (3, (0.7, -1.5))])
def test_examples_are_disturbed_as_on_the_host(source, mesh, scale, phase):
    """The target gets the enlarged difference; noise is grey or coloured, and dithers at times."""
    plain, noisy, some = (
        draw_batch(source, mesh, SuperResolution(crop=12, noise=noise), scale, phase, count=64)
        for noise in (0.0, 1.0, 0.25)
    )
    difference = noisy["observed"] - plain["observed"].astype(np.float32)
    for target, change, disturbed in zip(plain["target"], difference, noisy["target"], strict=True):
        expected = round_to_levels(target + enlarge(change, Setting(scale, phase)))
        assert np.abs(expected.astype(int) - disturbed).max() <= 1
    spread = difference.std(axis=(1, 2, 3))
    assert 5 < spread.min() < 25 and spread.max() > 60
    is_clipped = np.isin(noisy["observed"], (0, 255)).any(axis=3)
    is_grey = (is_clipped | (np.ptp(difference, axis=3) == 0)).all(axis=(1, 2))
    assert 16 < is_grey.sum() < 60
    is_dithered = np.isin(noisy["observed"], (0, 255)).all(axis=(1, 2, 3))
    assert 5 < is_dithered.sum() < 35
    is_changed = (some["observed"] != plain["observed"]).any(axis=(1, 2, 3))
    assert 5 < is_changed.sum() < 35
    np.testing.assert_array_equal(some["target"][~is_changed], plain["target"][~is_changed])


def test_crops_are_parts_of_the_images_in_eight_symmetries(source, mesh):
    task = SuperResolution(crop=8, scales=(2,))
    targets = draw_batch(source, mesh, task, 2, (0.0, 0.0), count=32)["target"]
    turns = set()
    images = [number_colors(image) for image in source]
    for target in targets:
        found = [
            (number, turn)
            for number, image in enumerate(images)
            for turn, turned in enumerate(all_turns(number_colors(target)))
            if contains(image, turned)
        ]
        assert found
        turns.add(found[0])
    assert {number for number, _ in turns} == {0, 1}
    assert {turn for _, turn in turns} == set(range(8))


def test_the_crop_with_the_most_detail_is_taken(mesh, tmp_path):
    """A quarter of the image has detail."""
    image = np.full((400, 400, 3), 128, np.uint8)
    image[:, :100] = np.random.default_rng(0).integers(0, 256, (400, 100, 3))
    write_image(tmp_path / "image.png", image)
    found = {}
    for tries in (1, 4):
        task = SuperResolution(crop=8, tries=tries)
        batch = draw_batch(open_dataset(tmp_path), mesh, task, 2, (0.0, 0.0), count=200)
        found[tries] = np.mean(np.ptp(batch["target"], axis=(1, 2, 3)) > 0)
        # The observed crop is that of the same place as the target.
        difference = np.abs(reduce(batch["target"], 2).astype(int) - batch["observed"])
        assert difference[:, 3:-3, 3:-3].max() <= 1
    assert 0.15 < found[1] < 0.36
    assert 0.6 < found[4] < 0.83


def test_pixels_are_treated_alike_on_host_and_devices(draw):
    """Every function of the augmentation: one NumPy image at a time, or a batch in JAX."""
    images = np.stack([draw(seed, (12, 12)) for seed in range(8)])
    targets = np.stack([draw(seed, (24, 24)) for seed in range(8)])
    on_device = jnp.asarray(images)
    rng = np.random.default_rng(0)

    detail = [measure_detail(image) for image in images]
    np.testing.assert_allclose(measure_detail(on_device), detail, rtol=1e-5)

    flags = np.asarray(list(itertools.product((0, 1), repeat=3)))
    turned = [turn(image, three) for image, three in zip(images, flags, strict=True)]
    batch = turn(on_device, jnp.asarray(flags).T[..., None, None, None])
    np.testing.assert_array_equal(batch, turned)

    order = np.asarray([rng.permutation(3) for _ in images])[:, None, None]
    permuted = [permute_channels(image, three) for image, three in zip(images, order, strict=True)]
    np.testing.assert_array_equal(permute_channels(on_device, jnp.asarray(order)), permuted)

    def enlarge(change):
        return change.repeat(2, axis=-3).repeat(2, axis=-2)

    noise = Disturbance(
        noise=rng.standard_normal(images.shape).astype(np.float32),
        sigma=np.linspace(0, 100, 8, dtype=np.float32)[:, None, None, None],
        is_dithered=(np.arange(8) % 2 == 1)[:, None, None, None],
    )
    batches = disturb(
        on_device, jnp.asarray(targets), Disturbance(*map(jnp.asarray, noise)), enlarge
    )
    for i, (image, target) in enumerate(zip(images, targets, strict=True)):
        one = disturb(image, target, Disturbance(*(part[i] for part in noise)), enlarge)
        for result, expected in zip(batches, one, strict=True):
            assert result.dtype == expected.dtype == np.uint8
            np.testing.assert_array_equal(result[i], expected)


def all_turns(crop):
    for transpose, vertical, horizontal in itertools.product((False, True), (1, -1), (1, -1)):
        turned = crop.swapaxes(0, 1) if transpose else crop
        yield turned[::vertical, ::horizontal]


def contains(image, crop):
    """Whether ``crop`` is a part of ``image``; both are [h, w], a number for each colour."""
    height, width = crop.shape
    corners = (image == crop[0, 0])[: 1 - height, : 1 - width]
    return any(
        np.array_equal(image[y : y + height, x : x + width], crop)
        for y, x in zip(*np.nonzero(corners), strict=True)
    )


def number_colors(image):
    return image.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def test_an_image_smaller_than_the_crop_is_mirrored(mesh, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 17, 3)).astype(np.uint8)
    write_image(tmp_path / "small.png", image)
    task = SuperResolution(crop=16, flips=False, scales=(2,))
    small = open_dataset(tmp_path)
    batch = draw_batch(small, mesh, task, 2, (0.0, 0.0), count=2)
    rng = np.random.default_rng(0)
    expected = task.make_example(image, Setting(2, (0.0, 0.0)), rng)
    np.testing.assert_array_equal(batch["target"][0], expected["target"])
    assert np.abs(batch["observed"][0].astype(int) - expected["observed"]).max() <= 1


# For a single device a thread makes batches ahead.
@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_batch_is_a_function_of_its_number(source, devices):
    mesh = make_mesh(jax.devices()[:devices])
    task = SuperResolution(crop=8, shrink=1.5, noise=0.5)

    def batches(start, seed=0):
        return make_resident_batches(source, task, mesh, batch_size=4, seed=seed, start=start)

    first = list(itertools.islice(batches(0), 5))
    again = list(itertools.islice(batches(3), 2))
    for a, b in zip(first[3:], again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert first[0]["observed"].sharding.num_devices == devices
    assert not np.array_equal(first[0]["observed"], first[1]["observed"])
    assert not np.array_equal(first[0]["observed"], next(batches(0, seed=1))["observed"])


def test_each_image_is_kept_in_several_sizes(source, mesh):
    """All sizes are drawn equally often, and hold the reduced image."""
    plain, images = (load_resident(source, mesh, shrink=shrink) for shrink in (1.0, 2.0))
    sizes = np.asarray(images.size)
    assert len(plain.first) == len(source)
    assert sizes.shape == (SIZES_PER_IMAGE * len(source), 2)
    np.testing.assert_array_equal(sizes[: len(source)], plain.size)
    np.testing.assert_array_equal(sizes[-len(source) :], np.round(np.asarray(plain.size) / 2))
    counts = np.bincount(images.numbers).reshape(SIZES_PER_IMAGE, -1)
    np.testing.assert_array_equal(counts, np.tile(np.bincount(plain.numbers), (SIZES_PER_IMAGE, 1)))
    first, (height, width) = int(images.first[-1]), sizes[-1]
    smallest = np.asarray(images.pixels)[first:].reshape(height, width, 3)
    expected = imresize(source[len(source) - 1], size=(int(height), int(width)))
    assert np.abs(smallest.astype(int) - expected).mean() < 1


def test_batches_come_from_all_sizes(mesh, tmp_path):
    """Reducing stripes of four pixels makes stripes of four to two pixels."""
    stripes = np.tile(np.arange(128)[None, :, None] // 4 % 2 * 255, (128, 1, 3)).astype(np.uint8)
    write_image(tmp_path / "stripes.png", stripes)
    task = SuperResolution(crop=16, scales=(2,), shrink=2.0, flips=False)
    batches = make_resident_batches(open_dataset(tmp_path), task, mesh, batch_size=32, seed=0)
    rows = np.asarray(next(batches)["target"])[:, 0, :, 0] > 127
    changes = (np.diff(rows, axis=1) != 0).sum(axis=1)
    assert changes.min() in (7, 8) and changes.max() in (15, 16)
    assert len({round(count / 2) for count in changes.tolist()}) >= SIZES_PER_IMAGE


def test_too_many_pixels_for_the_devices_are_an_error(source, mesh, monkeypatch):
    pixels = sum(image.size // 3 for image in source)
    for largest, hint in ((pixels, "--task.shrink=1 or "), (pixels - 1, "")):
        monkeypatch.setattr(device_pipeline, "MAX_PIXELS", largest)
        with pytest.raises(UserError, match=f"4 sizes.*train with {hint}--data.resident=False"):
            load_resident(source, mesh, shrink=1.5)


def test_the_devices_make_no_other_task():
    with pytest.raises(ValueError, match="resident"):
        Experiment(task=Reconstruction(), data=Data(resident=True))
