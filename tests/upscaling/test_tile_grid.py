"""How an axis is cut into tiles: no image is rendered."""

import pytest

from hyperfunc.pixels import Axis
from hyperfunc.upscaling import plan_encoding, tile_grid
from hyperfunc.upscaling.tile_grid import (
    EXTENT_MULTIPLE,
    LARGEST_TILE,
    extend_to_border,
    find_samples,
    place,
    plan_axis,
)


def assert_covers(spans, extent: int, pixels: int, halo: int) -> None:
    """The tiles own every pixel once, and read the halo as far as there is an image."""
    assert spans[0].low == 0 and spans[-1].high == pixels
    for before, after in zip(spans, spans[1:], strict=False):
        assert before.high == after.low
    for span in spans:
        assert span.start <= max(span.low - halo, 0)
        assert span.start + extent >= min(span.high + halo, pixels)
        # No tile ends beyond an image that it fits into.
        assert span.start == 0 or span.start + extent <= pixels


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("pixels", [1, 5, 100, 513, 1000])
def test_tiles_cover_an_axis(pixels, parts):
    extent, spans = plan_axis(
        pixels, 7, largest=LARGEST_TILE, multiple=EXTENT_MULTIPLE, parts=parts
    )
    spans = place(spans, extent, 7, alignment=1)
    assert_covers(spans, extent, pixels, halo=7)
    assert extent % EXTENT_MULTIPLE == 0
    assert len(spans) >= min(parts, pixels)
    assert all(0 < span.high - span.low <= LARGEST_TILE for span in spans)


def test_images_are_encoded_in_tiles_of_few_extents():
    grids = {shape: plan_encoding(shape, halo=7) for shape in ((40, 300), (61, 290), (700, 30))}
    for shape, grid in grids.items():
        for extent, pixels, spans in zip(grid.extents, shape, (grid.rows, grid.cols), strict=True):
            assert_covers(spans, extent, pixels, halo=7)
            for span in spans:
                own = range(extent)[span.own]
                assert [span.start + i for i in (own[0], own[-1])] == [span.low, span.high - 1]
    assert grids[40, 300].extents == grids[61, 290].extents == (64, 160)


def test_images_are_encoded_in_tiles_that_start_at_even_pixels(monkeypatch):
    monkeypatch.setattr(tile_grid, "LARGEST_TILE", 32)
    monkeypatch.setattr(tile_grid, "EXTENT_MULTIPLE", 4)
    for pixels in range(1, 120):
        grid = plan_encoding((pixels, 40), halo=7, alignment=2)
        assert_covers(grid.rows, grid.extents[0], pixels, halo=7)
        assert not any(span.start % 2 for span in grid.rows)


@pytest.mark.parametrize("step", [0.25, 1 / 2.7, 1.0, 2.5])
def test_each_output_pixel_belongs_to_one_tile(step):
    pixels = 60
    _, spans = plan_axis(pixels, 3, largest=7, multiple=1)
    samples = [find_samples(span, step) for span in spans]
    assert samples[0].start == 0 and samples[-1].stop == round(pixels / step)
    for before, after in zip(samples, samples[1:], strict=False):
        assert before.stop == after.start
    centres = Axis(0.0, step, samples[-1].stop).positions()
    for span, part in zip(spans, samples, strict=True):
        own = centres[part]
        assert (own >= span.low - 1e-4).all() and (own <= span.high + 1e-4).all()


@pytest.mark.parametrize("step", [0.25, 1.0])
def test_a_tile_ends_at_the_border_or_beyond_what_interpolation_mirrors(step):
    for pixels in range(1, 40):
        extent = extend_to_border(8, pixels, step, multiple=8)
        assert extent % 8 == 0
        assert extent <= pixels or extent - pixels >= 2
        assert extent - pixels < 8 + 2


def test_a_reduced_image_is_not_read_beyond_its_border():
    assert [extend_to_border(32, pixels, 1.5, multiple=8) for pixels in (30, 31, 40)] == [
        30,
        31,
        32,
    ]
