"""The protocol against published numbers, on the real test sets; skipped where they are absent."""

import os
from pathlib import Path

import numpy as np
import pytest

from hyperfunc.data import open_dataset
from hyperfunc.pixels import border_for, degrade, imresize, psnr_y, ssim_y

DATA = Path(os.environ.get("HYPERFUNC_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "benchmarks").is_dir(), reason=f"no test sets in {DATA}/benchmarks"
)


@pytest.fixture(scope="module")
def set5():
    """Set5, decoded once."""
    return open_dataset("set5", data_dir=DATA)


@pytest.mark.parametrize("name_and_count", [("set5", 5), ("set14", 14), ("b100", 100)])
def test_the_sets_are_complete(name_and_count):
    name, count = name_and_count
    assert len(open_dataset(name, data_dir=DATA)) == count


# PSNR: DESIGN.md, calibrated against published checkpoints. SSIM: the row "bicubic" that papers
# print (.9299/.8682/.8104); theirs is of luma resized alone, hence the wider margin.
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


def test_a_sixth_of_the_size_on_set5(set5):
    """DESIGN.md gives 25.93 and 24.40 for bicubic at x6 and x8."""
    for scale, psnr in ((6.0, 25.93), (8.0, 24.40)):
        pairs = [degrade(image, (scale, scale)) for image in set5]
        border = border_for((float(scale), float(scale)))
        mean = np.mean([psnr_y(imresize(lr, hr.shape[:2]), hr, border) for lr, hr in pairs])
        assert mean == pytest.approx(psnr, abs=0.03)
