import itertools

import numpy as np
import pytest

from hyperfunc.data import ImageSource, Reconstruction, SuperResolution, make_batches, pipeline
from hyperfunc.data.pipeline import repeat_by_weight

TASK = SuperResolution(scales=(2, 3), crop=8)


@pytest.fixture(scope="module")
def source(draw):
    return ImageSource("drawn", ["a", "b", "c"], lambda i: draw(i, (40 + 8 * i, 56)))


def take(n: int, source, task=TASK, **options):
    options = {"batch_size": 4, "seed": 7, "threads": 1, **options}
    return list(itertools.islice(make_batches(source, task, **options), n))


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_batch_is_a_function_of_seed_and_number(source):
    batches = take(6, source)
    assert all(map(equal, batches, take(6, source)))
    assert all(map(equal, batches, take(6, source, threads=3)))
    assert not any(map(equal, batches, take(6, source, seed=8)))


def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(source):
    batches = take(6, source)
    assert all(map(equal, batches[2:], take(4, source, start=2)))
    # The same holds after hundreds of epochs.
    assert equal(take(1, source, start=1001)[0], take(2, source, start=1000)[1])


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batches_of_one(source, processes):
    parts = [
        take(3, source, process_index=i, process_count=processes, start=1) for i in range(processes)
    ]
    for number, batch in enumerate(take(3, source, start=1)):
        for i, part in enumerate(parts):
            for name, values in batch.items():
                np.testing.assert_array_equal(part[number][name], values[i::processes])


def test_examples_of_a_batch_share_their_setting_but_not_their_images(source):
    batches = take(12, source)
    scales = [batch["target"].shape[1] // batch["observed"].shape[1] for batch in batches]
    assert set(scales) == {2, 3}
    phases = {tuple(batch["phase"][0].tolist()) for batch in batches}
    assert len(phases) > 3
    pictures = set()
    for batch, scale in zip(batches, scales, strict=True):
        assert batch["observed"].shape == (4, 8, 8, 3)
        assert batch["target"].shape == (4, 8 * scale, 8 * scale, 3)
        assert (batch["phase"] == batch["phase"][:1]).all()
        pictures |= {picture.tobytes() for picture in batch["target"]}
    assert len(pictures) == 48


def flat(levels_and_sides: list[tuple[int, int]]) -> ImageSource:
    """Images of a single grey level each, given as (level, side)."""
    return ImageSource(
        "flat",
        [str(level) for level, _ in levels_and_sides],
        lambda i: np.full((levels_and_sides[i][1],) * 2 + (3,), levels_and_sides[i][0], np.uint8),
    )


def seen(batches) -> list[list[int]]:
    return [batch["observed"][:, 0, 0, 0].tolist() for batch in batches]


def test_every_epoch_has_all_images_in_another_order():
    epochs = seen(take(6, flat([(level, 16) for level in range(4)]), Reconstruction(size=16)))
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_that_the_processes_cannot_share_is_an_error(source):
    with pytest.raises(ValueError, match="4 cannot be divided among 3"):
        take(1, source, process_count=3)


def blank(sizes: dict[str, tuple[int, int]]) -> ImageSource:
    return ImageSource(
        "blank", list(sizes), lambda i: np.zeros((*list(sizes.values())[i], 3), "u1")
    )


def count(source, weights=()):
    return np.bincount(repeat_by_weight(source, weights), minlength=len(source)).tolist()


def test_images_are_drawn_in_proportion_to_their_areas():
    assert count(blank({"a": (20, 30), "b": (60, 30), "c": (50, 30)})) == [2, 6, 5]
    assert count(blank({"a": (20, 30), "b": (30, 20)})) == [1, 1]


def test_a_weight_multiplies_how_often_a_folders_pixels_are_drawn():
    source = blank({"cat": (40, 40), "fine/a": (20, 20), "coarse/b": (40, 40), "coarser": (40, 20)})
    assert count(source, [("coarse", 0.5), ("fine", 3.0)]) == [4, 3, 2, 2]


@pytest.mark.parametrize(("weight", "counts"), [(1.4, [5, 7]), (0.7, [7, 5]), (2.5, [2, 5])])
def test_weights_are_accurate_to_one_per_cent(weight, counts):
    numbers = count(blank({"a/a": (20, 20), "b/b": (20, 20)}), [("b", weight)])
    np.testing.assert_allclose(numbers[1] / sum(numbers), counts[1] / sum(counts), atol=0.01)


def test_batches_follow_the_weights():
    grey = {"light/a": 200, "dark/b": 10}
    source = ImageSource(
        "grey", list(grey), lambda i: np.full((16, 16, 3), list(grey.values())[i], np.uint8)
    )
    batches = take(1, source, Reconstruction(size=16), batch_size=5, weights=[("dark", 4.0)])
    assert sorted(seen(batches)[0]) == [10, 10, 10, 10, 200]


def test_a_tiny_image_does_not_make_an_epoch_endless(monkeypatch):
    monkeypatch.setattr(pipeline, "MAX_EXAMPLES", 100)
    assert count(blank({"a": (16, 16), "b": (1600, 1600)})) == [1, 100]


def test_a_missing_folder_is_named(caplog):
    repeat_by_weight(blank({"bsds/a": (20, 20)}), [("bsd", 2.0)])
    assert "names bsd, which is no folder of blank" in caplog.text
    assert caplog.text.endswith(" one of bsds\n")
    caplog.clear()
    # A dataset without folders may be trained with a preset that names some.
    repeat_by_weight(blank({"a": (20, 20)}), [("bsd", 2.0)])
    assert not caplog.text
