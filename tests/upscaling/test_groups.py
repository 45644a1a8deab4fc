"""Small images of a folder are rendered together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.images import read_photo, write_image
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.upscaling import Request, Upscaler, batch_groups
from tests.batches import plan_batch, run_batch


def make_upscaler(devices: int) -> Upscaler:
    network = PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4))
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return Upscaler(network, variables, devices=jax.devices()[:devices])


def test_small_images_of_one_kind_are_rendered_together(tmp_path, draw):
    """Each device renders one; what a device renders does not depend on the others."""
    sizes = [(40, 30), (33, 30), (300, 20), (40, 28), (40, 30), (12, 9)]
    for i, size in enumerate(sizes):
        write_image(tmp_path / "in" / f"{i}.png", draw(i, size))
    batch = plan_batch(tmp_path / "in", tmp_path / "out", Request(scale=(2.0, 2.0)))
    upscaler = make_upscaler(2)
    groups = batch_groups.plan_groups(batch.jobs, upscaler)
    assert sorted(job.source.stem for group in groups for job in group.jobs) == list("012345")
    pairs = [group for group in groups if len(group.jobs) == 2]
    assert len(pairs) >= 2 and all(group.is_small for group in pairs)
    assert [len(x.jobs) for x in groups if x.jobs[0].source.stem == "2"] == [1]
    run_batch(batch, upscaler)
    assert batch.count("done") == 6
    alone = make_upscaler(1)
    for i, (height, width) in enumerate(sizes):
        expected = alone(draw(i, (height, width)), (2 * height, 2 * width))
        result = read_photo(tmp_path / "out" / f"{i}.png").pixels
        assert np.abs(result.astype(int) - expected).max() <= 1


def test_what_cannot_be_rendered_together_is_refused(draw):
    upscaler = make_upscaler(2)
    plans = [upscaler.plan((8, 8), (8, 8))] * 2
    with pytest.raises(ValueError, match="cannot be rendered together"):
        upscaler.render_together([draw(0, (8, 8)), draw(0, (8, 8)).astype(np.uint16)], plans)
