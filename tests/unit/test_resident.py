import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.config import Data, Experiment
from hyperfunc.datasets import ImageSource, open_dataset
from hyperfunc.images import write_image
from hyperfunc.resident import load_resident, make_examples, make_resident_batches, reduction_matrix
from hyperfunc.resize import crop_margin, degrade_crop
from hyperfunc.sharding import make_mesh
from hyperfunc.tasks import Reconstruction, Setting, SuperResolution


@pytest.fixture(scope="module")
def source() -> ImageSource:
    return open_dataset("sample").select([0, 3])


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(jax.devices()[:2])


def draw_batch(source, mesh, task, scale, phase, seed=0, count=8):
    images = load_resident(source, mesh)
    reductions = tuple(jnp.asarray(reduction_matrix(task.crop, scale, p)) for p in phase)
    batch = make_examples(
        task,
        count,
        images,
        jax.random.key(seed),
        reductions,
        jnp.asarray(phase, jnp.float32),
    )
    return {name: np.asarray(array) for name, array in batch.items()}


@pytest.mark.parametrize(
    ("scale", "phase"), [(2, (0.0, 0.0)), (3, (0.7, -1.5)), (4, (-1.9, 0.2)), (1, (0.0, 0.0))]
)
def test_the_observed_crop_is_the_reduced_target(source, mesh, scale, phase):
    """Inside, where the margins that are cut off do not reach."""
    task = SuperResolution(crop=12, permute_colors=0.5)
    batch = draw_batch(source, mesh, task, scale, phase)
    assert batch["observed"].shape == (8, 12, 12, 3)
    assert batch["target"].shape == (8, 12 * scale, 12 * scale, 3)
    np.testing.assert_array_equal(batch["phase"], np.tile(np.float32(phase), (8, 1)))
    expected = degrade_crop(batch["target"], scale, phase=phase, margin=0)
    inside = slice(3, -3)
    difference = np.abs(expected.astype(int) - batch["observed"])[:, inside, inside]
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_crops_come_from_the_images_turned_in_eight_ways(source, mesh):
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


def all_turns(crop):
    for transpose, vertical, horizontal in itertools.product((False, True), (1, -1), (1, -1)):
        turned = crop.swapaxes(0, 1) if transpose else crop
        yield turned[::vertical, ::horizontal]


def contains(image, crop):
    """Whether ``crop`` is a part of ``image``; both have one number for a color."""
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


def test_a_batch_is_a_function_of_its_number(source, mesh):
    task = SuperResolution(crop=8)

    def batches(start, seed=0):
        return make_resident_batches(source, task, mesh, batch_size=4, seed=seed, start=start)

    first = list(itertools.islice(batches(0), 5))
    again = list(itertools.islice(batches(3), 2))
    for a, b in zip(first[3:], again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert first[0]["observed"].sharding.num_devices == 2
    assert not np.array_equal(first[0]["observed"], first[1]["observed"])
    assert not np.array_equal(first[0]["observed"], next(batches(0, seed=1))["observed"])


def test_the_margin_is_what_the_scale_is_told_from():
    for scale in (1, 2, 3, 4):
        assert reduction_matrix(10, scale, 0.0).shape == (10, scale * 10 + 2 * crop_margin(scale))


@pytest.mark.parametrize("task", [Reconstruction(), SuperResolution(shrink=1.5)], ids=str)
def test_other_tasks_are_refused(task):
    with pytest.raises(ValueError, match="resident"):
        Experiment(task=task, data=Data(resident=True))
