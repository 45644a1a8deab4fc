"""Restoration: the damage, the classical methods, and the table."""

import io
import json

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import evaluate
from hyperfunc.data import ImageSource, motion_kernel
from hyperfunc.errors import UserError
from hyperfunc.evaluation import LEVELS, evaluate_restoration, load_restorers
from hyperfunc.evaluation.classical import DEBLURRING, DENOISING, INPAINTING
from hyperfunc.evaluation.damage import observe
from hyperfunc.evaluation.restoration import then_enlarge
from hyperfunc.pixels import degrade, imresize, luma, psnr_rgb
from hyperfunc.values import to_integers, to_unit_range


@pytest.fixture
def source(draw):
    images = [draw(seed, size) for seed, size in enumerate([(40, 48), (37, 50)])]
    return ImageSource("two", ["a", "b"], lambda i: images[i].copy())


def test_noise_is_that_of_the_level_and_the_same_each_time(draw):
    image = draw(0, (128, 160))
    seen, original = observe(image, "denoise", 25)
    noise = seen.pixels - to_unit_range(image)
    assert original is not None and (original == image).all()
    assert noise.std() == pytest.approx(25 / 255, rel=0.01) == seen.error
    assert abs(noise.mean()) < 0.002
    assert seen.pixels.min() < 0 or seen.pixels.max() > 1  # It is not clipped.
    assert (observe(image, "denoise", 25)[0].pixels == seen.pixels).all()


def test_jpegs_are_of_the_grey_image_or_of_the_luma(draw):
    image = draw(1, (48, 56))
    grey = np.repeat(image[..., :1], 3, axis=2)
    for colours, plane in ((grey, image[..., 0]), (image, np.round(luma(image)).astype(np.uint8))):
        seen, original = observe(colours, "deblock", 20)
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=20)
        np.testing.assert_array_equal(original[..., 0], plane)
        np.testing.assert_allclose(255 * seen.pixels[..., 0], np.asarray(Image.open(file)))
        difference = seen.pixels[..., 0] - plane / np.float32(255)
        assert seen.error == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-4)


def test_a_blurred_image_has_noise_and_lost_detail(draw):
    image = draw(2, (96, 96))
    seen, _ = observe(image, "deblur", "gaussian:1.6")
    assert seen.error == pytest.approx(0.01)
    offsets = np.arange(seen.kernel.shape[0]) - seen.kernel.shape[0] // 2
    assert seen.kernel.sum(axis=0) @ offsets**2 == pytest.approx(1.6**2, rel=0.01)
    flat = np.full((96, 96, 3), 128, np.uint8)
    assert observe(flat, "deblur", "gaussian:1.6")[0].pixels.std() == pytest.approx(0.01, rel=0.03)
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 255
    profile = observe(step, "deblur", "gaussian:1.6")[0].pixels.mean(axis=(0, 2))
    slope = np.diff(profile).max()
    assert slope == pytest.approx(1 / (1.6 * np.sqrt(2 * np.pi)), rel=0.05)


def test_methods_are_told_the_kernel_of_a_motion(draw):
    """The image that it makes is the one that they see, but for noise and rounding."""
    image = draw(2, (64, 70))
    seen, _ = observe(image, "deblur", "motion:9:30")
    blurred = scipy.ndimage.convolve(to_unit_range(image), seen.kernel[..., None], mode="reflect")
    assert np.std(seen.pixels - blurred) == pytest.approx(0.01, rel=0.05)
    half, _ = observe(image, "deblur", "motion:9:30", 2.0)
    np.testing.assert_allclose(half.kernel, motion_kernel(4.5, 30.0))


@pytest.mark.parametrize("task", ["denoise", "deblock", "deblur"])
def test_at_a_scale_the_reduced_image_is_damaged(draw, task):
    image = draw(3, (61, 64))
    small, original = degrade(image, (2.0, 2.0))
    level = {"denoise": 5, "deblock": 95, "deblur": "gaussian:0.3"}[task]
    seen, truth = observe(image, task, level, 2.0)
    np.testing.assert_array_equal(truth, original)
    assert seen.pixels.shape == small.shape
    assert 0 < np.abs(seen.pixels - to_unit_range(small)).mean() < 0.05


@pytest.mark.parametrize(
    ("task", "level", "name"),
    [("denoise", 25, name) for name in DENOISING]
    + [("deblock", 10, "variation")]
    + [("deblur", level, name) for level in LEVELS["deblur"] for name in DEBLURRING],
)
def test_a_classical_method_improves_the_image(draw, task, level, name):
    image = draw(4, (96, 80))
    seen, original = observe(image, task, level)
    result = {**DENOISING, **DEBLURRING}[name](seen)
    assert result.shape == seen.pixels.shape
    errors = [
        np.mean(np.square(pixels.clip(0, 1) - to_unit_range(original)))
        for pixels in (seen.pixels, result)
    ]
    assert errors[1] < 0.85 * errors[0]


@pytest.mark.parametrize("name", DENOISING)
def test_a_grey_image_keeps_its_channel(draw, name):
    seen, original = observe(draw(6, (40, 44)), "deblock", 20)
    assert DENOISING[name](seen).shape == original.shape == (40, 44, 1)


@pytest.mark.parametrize("name", DENOISING)
def test_an_image_without_noise_is_left_as_it_is(draw, name):
    image = draw(5, (40, 44))
    seen, original = observe(image, "denoise", 0)
    assert np.abs(DENOISING[name](seen) - to_unit_range(original)).max() < 1 / 255


def test_as_many_pixels_are_missing_as_the_level_says(draw):
    image = draw(3, (120, 100))
    seen, original = observe(image, "inpaint", 80)
    is_missing = np.isnan(seen.pixels)
    assert is_missing.mean() == pytest.approx(0.8, abs=0.02)
    assert (is_missing == is_missing[..., :1]).all()
    np.testing.assert_array_equal(seen.pixels[~is_missing], to_unit_range(image)[~is_missing])
    np.testing.assert_array_equal(original, image)


def test_missing_pixels_of_a_plane_are_filled_exactly():
    """A plane is biharmonic, and known pixels stay."""
    rows, cols = np.meshgrid(np.arange(30), np.arange(34), indexing="ij")
    plane = np.stack([rows + 3 * cols, 2 * rows, 200 - cols], axis=-1).astype(np.uint8)
    seen, _ = observe(plane, "inpaint", 50)
    filled = INPAINTING["biharmonic"](seen)
    inside = (slice(4, -4), slice(4, -4))  # At the border the method chooses how to continue.
    np.testing.assert_allclose(filled[inside], to_unit_range(plane)[inside], atol=2e-3)
    known = ~np.isnan(seen.pixels)
    np.testing.assert_array_equal(filled[known], seen.pixels[known])


def test_rows_are_means_over_the_images(source, tmp_path):
    restorers = {
        "observed": then_enlarge(lambda seen: seen.pixels),
        "half": then_enlarge(lambda seen: 0.5 * seen.pixels),
    }
    table = evaluate_restoration(
        source, restorers, "denoise", (10, 30), scale=2.0, save_dir=tmp_path / "pictures"
    )
    assert [(row.level, row.method) for row in table.rows] == [
        (level, method) for level in (10, 30) for method in restorers
    ]
    for row in table.rows:
        factor = {"observed": 1.0, "half": 0.5}[row.method]
        scores = []
        for image in source:
            seen, original = observe(image, "denoise", row.level, 2.0)
            enlarged = imresize((factor * seen.pixels).clip(0, 1), original.shape[:2])
            scores.append(psnr_rgb(original, to_integers(enlarged, np.uint8), (2, 2)))
        assert row.psnr == pytest.approx(np.mean(scores)) and row.images == 2
    assert table.per_image[1]["image"] == "b" and len(table.per_image) == 4
    assert f"{table.rows[0].psnr:.2f}" in str(table).splitlines()[2]
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_methods_are_named():
    restorers, model = load_restorers(["observed", "wiener"], "deblur", 1.0, checkpoint="nowhere")
    assert list(restorers) == ["observed", "wiener"] and model is None
    with pytest.raises(UserError, match="--task=denoise at scale 1 has no 'wiener'"):
        load_restorers(["wiener"], "denoise", 1.0, checkpoint="nowhere")
    with pytest.raises(UserError, match="has no 'hyperfunc-sr'"):
        load_restorers(["hyperfunc-sr"], "denoise", 1.0, checkpoint="nowhere")
    with pytest.raises(UserError, match="no 'sr-hyperfunc'"):  # `sr` reads no missing pixels.
        load_restorers(["sr-hyperfunc"], "inpaint", 2.0, checkpoint="nowhere")


@pytest.mark.slow
def test_the_command(trained, photos, tmp_path, capsys):
    """In one step and in two, of which the second has another model."""
    file = tmp_path / "out.json"
    flags = ["--task=denoise", f"--dataset={photos}", f"--workdir={trained}", f"--json={file}"]
    names = ["observed", "hyperfunc-bicubic", "hyperfunc"]
    evaluate.main([*flags, "--scale=2", "--level=20,20.0", f"--methods={','.join(names)}"])
    table = json.loads(file.read_text())
    assert [(row["method"], row["level"]) for row in table["rows"]] == [(x, 20) for x in names]
    assert table["model"]["step"] == 4 and table["scale"] == 2
    assert len({row["psnr"] for row in table["rows"]}) == 3
    assert f"{table['rows'][2]['psnr']:.2f}" in capsys.readouterr().out
    evaluate.main([f"--dataset={photos}", "--task=deblock", "--methods=observed", f"--json={file}"])
    table = json.loads(file.read_text())
    assert [row["level"] for row in table["rows"]] == list(LEVELS["deblock"])
    assert table["model"] is None
    level, folder = "--level=motion:5.0:90,gaussian:1,motion:5:90", tmp_path / "pictures"
    flags = [f"--dataset={photos}", "--task=deblur", "--methods=observed", level]
    evaluate.main([*flags, f"--json={file}", f"--save_dir={folder}"])
    table = json.loads(file.read_text())
    assert [row["level"] for row in table["rows"]] == ["motion:5:90", "gaussian:1"]
    assert "level               motion:5:90  gaussian:1" in capsys.readouterr().out
    assert (folder / "photo_0_deblurmotion_5_90_x1.png").exists()


def test_flags_that_cannot_be_used(refuse, photos):
    flags = ("--task=denoise", f"--dataset={photos}", "--methods=observed")
    assert "--level 'x'" in refuse(evaluate.main, *flags, "--level=x")
    for level in ("0,10", "10.5"):
        assert "whole numbers from 1 to 100" in refuse(
            evaluate.main, "--task=deblock", f"--level={level}"
        )
    for level in ("1.6", "motion:15", "gaussian:0", "motion:15:200", "defocus:3", "gaussian"):
        assert "takes gaussian:SIGMA" in refuse(evaluate.main, "--task=deblur", f"--level={level}")
    assert "numbers from 0 to 99" in refuse(evaluate.main, "--task=inpaint", "--level=100")
    assert "does not fill missing pixels" in refuse(evaluate.main, "--task=inpaint", "--workdir=sr")
    assert "one scale of both axes" in refuse(evaluate.main, *flags, "--scale=2x1")
    assert "--pairs means nothing to --task=denoise" in refuse(evaluate.main, *flags, "--pairs=3")
    assert "--level means nothing" in refuse(evaluate.main, f"--dataset={photos}", "--level=3")
