"""Which images train the model, and which validate it."""

import dataclasses

import numpy as np
import pytest

from hyperfunc.data import ImageSource
from hyperfunc.devices import make_mesh
from hyperfunc.errors import UserError
from hyperfunc.experiment.config import Data
from hyperfunc.training import split_validation
from hyperfunc.training.batches import open_batches


@pytest.mark.parametrize("resident", [False, True])
def test_images_are_drawn_by_the_weights_of_the_experiment(tiny_experiment, resident):
    grey = {"light/a": 200, "dark/b": 10}
    source = ImageSource(
        "grey", list(grey), lambda i: np.full((32, 32, 3), list(grey.values())[i], np.uint8)
    )
    data = Data(batch_size=40, weights=(("dark", 9.0),), resident=resident)
    weighted = dataclasses.replace(tiny_experiment, data=data)
    batch = next(open_batches(weighted, source, make_mesh(), start=0))
    is_dark = np.asarray(batch["target"]).mean(axis=(1, 2, 3)) < 100
    assert 0.75 < is_dark.mean() < 1.0


def test_images_smaller_than_the_crop_are_named(tiny_experiment, caplog):
    sides = {"a": 24, "b": 23, "c": 64}  # A crop of 8 at scale 3 has 24 pixels.
    shapes = {name: (64, side, 3) for name, side in sides.items()}
    source = ImageSource(
        "mixed", list(sides), lambda i: np.zeros(list(shapes.values())[i], np.uint8)
    )
    open_batches(tiny_experiment, source, make_mesh(), start=0)
    (record,) = caplog.records
    assert "1 of 3 images are smaller than the crop of 24 pixels" in record.getMessage()
    assert record.getMessage().endswith(": b")


def numbered(count):
    images = [np.full((16, 16, 3), i, np.uint8) for i in range(count)]
    return ImageSource("numbered", [str(i) for i in range(count)], lambda i: images[i].copy())


@pytest.mark.parametrize(
    ("count", "part", "held_out"),
    [
        (10, 0.0, 0),
        (10, 0.2, 2),
        (25, 0.04, 1),
        (5, 0.04, 1),
        (100, 0.3, 30),
        (100, 0.35, 35),
        (100, 0.4, 40),
        (7, 1 / 3, 2),
    ],
)
def test_held_out_images_are_not_trained_on(count, part, held_out):
    training_part, validation_part = split_validation(numbered(count), part)
    assert len(validation_part) == held_out
    assert len(training_part) == count - held_out
    assert sorted([*training_part.names, *validation_part.names], key=int) == [
        str(i) for i in range(count)
    ]
    for part in (training_part, validation_part):
        assert all(
            image[0, 0, 0] == int(name) for image, name in zip(part, part.names, strict=True)
        )


@pytest.mark.parametrize("every", [2, 3, 25, 100])
def test_of_every_so_many_images_the_middle_one_is_held_out(every):
    """As ever: numbers of the held-out images can be compared with those of older runs."""
    _, held_out = split_validation(numbered(250), 1 / every)
    assert list(held_out.names) == [str(i) for i in range(250) if i % every == every // 2]


def test_one_image_cannot_be_held_out_of_one():
    with pytest.raises(UserError, match="--data.validation=0"):
        split_validation(numbered(1), 0.5)
