"""The protocol agrees with published numbers on the test sets; skipped where these are missing."""

import os
from pathlib import Path

import numpy as np
import pytest

from hyperfunc.data import open_dataset
from hyperfunc.evaluation.damage import observe
from hyperfunc.pixels import border_for, degrade, imresize, psnr_y, ssim_y

DATA = Path(os.environ.get("HYPERFUNC_DATA_DIR", "."))
pytestmark = pytest.mark.skipif(
    not (DATA / "benchmarks").is_dir(), reason="no folder benchmarks/ in HYPERFUNC_DATA_DIR"
)


@pytest.fixture(scope="module")
def set5():
    """Set5, decoded once."""
    return open_dataset("set5", data_dir=DATA)


@pytest.mark.parametrize("name_and_count", [("set5", 5), ("set14", 14), ("b100", 100)])
def test_the_sets_are_complete(name_and_count):
    name, count = name_and_count
    assert len(open_dataset(name, data_dir=DATA)) == count


# PSNR is that of a protocol in which published checkpoints reach their published numbers. SSIM is
# the row "bicubic" of published tables, which resize luma alone; hence the wider tolerance.
@pytest.mark.parametrize(
    ("scale", "psnr", "ssim"), [(2, 33.68, 0.9299), (3, 30.40, 0.8682), (4, 28.43, 0.8104)]
)
def test_bicubic_on_set5(set5, scale, psnr, ssim):
    rows = []
    for image in set5:
        lr, hr = degrade(image, (float(scale), float(scale)))
        output = imresize(lr, hr.shape[:2])
        border = border_for((float(scale), float(scale)))
        rows.append((psnr_y(output, hr, border), ssim_y(output, hr, border)))
    mean = np.mean(rows, axis=0)
    assert mean[0] == pytest.approx(psnr, abs=0.03)
    assert mean[1] == pytest.approx(ssim, abs=0.002)


def test_bicubic_on_set5_at_large_scales(set5):
    for scale, psnr in ((6.0, 25.93), (8.0, 24.40)):
        pairs = [degrade(image, (scale, scale)) for image in set5]
        border = border_for((float(scale), float(scale)))
        mean = np.mean([psnr_y(imresize(lr, hr.shape[:2]), hr, border) for lr, hr in pairs])
        assert mean == pytest.approx(psnr, abs=0.03)


@pytest.mark.parametrize(
    ("name", "published"),
    [("classic5", (27.82, 30.12, 31.48, 32.43)), ("live1", (27.77, 30.07, 31.41, 32.35))],
)
@pytest.mark.slow
def test_jpegs_of_the_restoration_sets(name, published):
    """The row "JPEG" of published tables (Dong et al. 2015)."""
    for quality, psnr in zip((10, 20, 30, 40), published, strict=True):
        scores = []
        for image in open_dataset(name, data_dir=DATA):
            seen, original = observe(image, "deblock", quality)
            error = 255 * seen.pixels - original
            scores.append(10 * np.log10(255**2 / np.mean(np.square(error))))
        assert np.mean(scores) == pytest.approx(psnr, abs=0.02)


def test_cbsd68_is_a_part_of_b100():
    assert len(open_dataset("cbsd68", data_dir=DATA)) == 68
