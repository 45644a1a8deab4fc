"""`restore` with a small random model: `upscale` at scale 1 with another checkpoint."""

import json

import jax
import numpy as np
import pytest

import hyperfunc
from hyperfunc.commands import main
from hyperfunc.data import Degradation, SuperResolution
from hyperfunc.experiment import Experiment, exported, init_variables, load_model, to_dict
from hyperfunc.experiment.exported import Exported, write_exported
from hyperfunc.images import Photo, read_image, read_photo, write_image, write_photo
from hyperfunc.networks import FourierField, HalfEDSR, PixelHypernetwork
from hyperfunc.upscaling import Upscaler

TASK = SuperResolution(scales=(1, 2), crop=8, degradation=Degradation(noise=1.0))


def write_model(folder, base, *, seed, correction=0.0):
    """Write a small model with a random correction of this standard deviation."""
    network = PixelHypernetwork(
        HalfEDSR(width=4, blocks=1), FourierField(frequencies=4), base=base, branch_scale=0.1
    )
    experiment = Experiment(model=network, task=TASK)
    variables = jax.device_get(init_variables(experiment, jax.random.key(seed)))
    layer = variables["params"]["correction"]
    drawn = np.random.default_rng(0).normal(0, correction, layer["kernel"].shape)
    layer["kernel"] = drawn.astype(np.float32)
    write_exported(folder, Exported.of(7, to_dict(experiment), network.reads), variables)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that makes a change that can be seen, among the bundled ones."""
    folder = tmp_path_factory.mktemp("bundled")
    write_model(folder / "restore", "corrected", seed=0, correction=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported, "BUNDLED", folder)
        yield load_model("restore")


@pytest.fixture
def noise():
    """Pixels of high contrast: their neighbours do not bound what the model makes of them."""
    return np.random.default_rng(1).integers(64, 192, (21, 24, 3), np.uint8)


@pytest.fixture
def image(tmp_path, noise):
    """A file, and its pixels."""
    write_image(tmp_path / "a.png", noise)
    return tmp_path / "a.png", noise


def test_an_image_is_restored_at_its_size_or_enlarged(model, image, tmp_path):
    path, pixels = image
    report = tmp_path / "report.json"
    main(["restore", str(path), str(tmp_path / "b.png"), f"--report={report}"])
    expected = Upscaler(model.hypernetwork, model.variables)(pixels, (21, 24))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)
    assert np.abs(expected.astype(int) - pixels).mean() > 2
    assert json.loads(report.read_text())["command"] == "restore"
    main(["restore", str(path), str(tmp_path / "c.png"), "--size=48x42"])
    assert read_image(tmp_path / "c.png").shape == (42, 48, 3)


def test_strength_mixes_with_the_input(model, image, tmp_path, capsys):
    path, pixels = image
    results = {}
    for strength in (0, 0.5, 1):
        main(["restore", str(path), str(tmp_path / "b.png"), f"--strength={strength}"])
        results[strength] = read_image(tmp_path / "b.png").astype(int)
    assert capsys.readouterr().out.count("made again") == 2
    np.testing.assert_array_equal(results[0], pixels)
    mixed = np.abs(results[0.5] - 0.5 * (results[0] + results[1]))
    assert mixed[(results[1] > 0) & (results[1] < 255)].max() <= 1.01
    assert np.abs(results[1] - results[0]).max() > 5


def test_represent_restores(model, noise):
    function = hyperfunc.represent(noise, checkpoint=str(model.path))
    restored = np.asarray(function.render(21, 24)).clip(0, 1)
    upscaled = Upscaler(model.hypernetwork, model.variables)(noise, (21, 24))
    assert np.abs(255 * restored - upscaled).max() < 0.6


@pytest.fixture(scope="module")
def filling(model):
    """A model that fills missing pixels, beside the other one."""
    write_model(model.path.parent / "inpaint", "filled", seed=1)
    return load_model("inpaint")


def test_missing_pixels_are_filled_and_others_stay(filling, image, tmp_path):
    path, pixels = image
    gaps = np.random.default_rng(2).uniform(size=pixels.shape[:2]) < 0.3
    write_image(tmp_path / "mask.png", np.repeat(255 * gaps[..., None].astype("u1"), 3, axis=-1))
    out, flag = tmp_path / "b.png", f"--mask={tmp_path / 'mask.png'}"
    main(["restore", str(path), str(out), flag])
    filled = read_image(out)
    np.testing.assert_array_equal(filled[~gaps], pixels[~gaps])
    assert np.abs(filled[gaps].astype(int) - pixels[gaps]).mean() > 10
    # What lies under the mask has no influence, nor has how it is said what is missing.
    coloured = np.where(gaps[..., None], np.array([255, 0, 255], "u1"), pixels)
    write_image(tmp_path / "c.png", coloured)
    alpha = np.where(gaps, 0, 255).astype("u1")[..., None]
    write_photo(tmp_path / "d.png", Photo(np.concatenate([pixels, alpha], axis=-1)))
    for name, mask in (("c", "#ff00ff"), ("d", "alpha")):
        main(["restore", str(tmp_path / f"{name}.png"), str(out), f"--mask={mask}", "--overwrite"])
        np.testing.assert_array_equal(read_image(out), filled)
    main(["restore", str(path), str(out), flag, "--overwrite", "--scale=2"])
    assert read_image(out).shape == (42, 48, 3)
    function = hyperfunc.represent(pixels, checkpoint=str(filling.path), mask=gaps)
    rendered = np.asarray(function.render(21, 24)).clip(0, 1)
    assert np.abs(255 * rendered - filled)[gaps].max() < 0.6


def test_another_mask_makes_another_output(filling, image, tmp_path, capsys):
    path, pixels = image
    for name, column in (("a", 3), ("a", 3), ("b", 4)):
        mask = np.zeros_like(pixels)
        mask[:, column] = 255
        if not (tmp_path / f"{name}_mask.png").exists():
            write_image(tmp_path / f"{name}_mask.png", mask)
        flag = f"--mask={tmp_path / name}_mask.png"
        main(["restore", str(path), str(tmp_path / "out.png"), flag])
    printed = capsys.readouterr().out
    assert printed.count("skipped") == 1 and printed.count("made again") == 1


def test_a_mask_that_names_no_pixel_is_reported(filling, image, tmp_path, capsys):
    path, pixels = image
    main(["restore", str(path), str(tmp_path / "b.png"), "--mask=#ff00fe"])
    assert "--mask #ff00fe names no pixel: nothing was filled" in capsys.readouterr().out
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), pixels)


def write_mask(path, shape, column):
    """Write a mask of one column."""
    mask = np.zeros((*shape, 3), np.uint8)
    mask[:, column] = 255
    write_image(path, mask)


def test_each_image_of_a_folder_has_its_own_mask(filling, noise, tmp_path, capsys):
    """Those that have none, or one that cannot be used, fail alone: also of images of one size."""
    masks, out = tmp_path / "masks", tmp_path / "out"
    columns = {"a.png": 3, "below/b.jpg": 4, "c.v2.png": 5}
    for name in (*columns, "d.png", "e.png", "f.png"):
        write_image(tmp_path / "in" / name, noise)
    for name, mask in (("a.png", "a.png"), ("below/b.jpg", "below/b.PNG"), ("c.v2.png",) * 2):
        write_mask(masks / mask, noise.shape[:2], columns[name])
    write_mask(masks / "d.png", (9, 9), 1)
    (masks / "e.png").write_bytes(b"rubbish")
    report = tmp_path / "report.json"
    words = ["restore", f"{tmp_path}/in", str(out), f"--mask={masks}", f"--report={report}"]
    words += ["--format=png"]
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    assert caught.value.code == 1 and "3 done, 0 skipped, 3 failed" in printed.out
    errors = {name: e for e in printed.err.splitlines() for name in "def" if f"/{name}.png: " in e}
    assert "give a mask of the image's size" in errors["d"]
    assert "e.png: cannot be read" in errors["e"]
    assert f"f.png: has no mask; give an image such as {masks}/f.png" in errors["f"]
    assert json.loads(report.read_text())["checkpoint"] == "inpaint"
    for name, column in columns.items():
        before = read_image(tmp_path / "in" / name)
        changed = (read_image((out / name).with_suffix(".png")) != before).any(axis=-1)
        assert changed[:, column].mean() > 0.8 and not np.delete(changed, column, axis=1).any()
    # Another mask makes one output again.
    write_mask(masks / "a.png", noise.shape[:2], 7)
    with pytest.raises(SystemExit):
        main(words)
    assert "1 done, 2 skipped, 3 failed" in capsys.readouterr().out


@pytest.mark.parametrize("mask", ["alpha", "#ff00ff"])
def test_images_of_a_folder_say_what_they_miss(filling, noise, tmp_path, capsys, mask):
    for name, column in (("a", 3), ("b", 4)):
        pixels = np.concatenate([noise, np.full_like(noise[..., :1], 255)], axis=-1)
        pixels[:, column] = 255, 0, 255, 0 if mask == "alpha" else 255
        write_photo(tmp_path / "in" / f"{name}.png", Photo(pixels))
    main(["restore", f"{tmp_path}/in", f"{tmp_path}/out", f"--mask={mask}"])
    assert "2 done" in capsys.readouterr().out
    for name, column in (("a", 3), ("b", 4)):
        filled = read_photo(tmp_path / "out" / f"{name}.png").pixels
        assert (filled[..., 3] == 255).all() and filled[:, column, 1].mean() > 30
        np.testing.assert_array_equal(
            np.delete(filled[..., :3], column, axis=1), np.delete(noise, column, axis=1)
        )


def test_a_checkpoint_that_is_named_is_used_or_refused(filling, image, tmp_path, refuse):
    """Whether it fills or restores is its own."""
    path, pixels = image
    target = tmp_path / "b.png"
    write_mask(tmp_path / "mask.png", pixels.shape[:2], 2)
    mask = f"--mask={tmp_path / 'mask.png'}"
    message = refuse(main, "restore", path, target, mask, "--checkpoint=restore")
    assert "/restore does not fill missing pixels" in message and "inpaint" in message
    message = refuse(main, "restore", path, target, "--checkpoint=inpaint")
    assert "/inpaint fills missing pixels only" in message and "--mask" in message
    main(["restore", str(path), str(target), mask, "--checkpoint=inpaint"])
    assert target.exists()


def test_enlarging_warns_of_a_checkpoint_that_fills(filling, image, tmp_path, capsys):
    for checkpoint, warns in (("restore", False), ("inpaint", True)):
        words = ["--scale=2", f"--checkpoint={checkpoint}", "--quiet"]
        main(["upscale", str(image[0]), f"{tmp_path}/{checkpoint}.png", *words])
        error = capsys.readouterr().err
        assert ("inpaint fills missing pixels only: use --checkpoint=sr" in error) == warns


def test_masks_that_cannot_be_used(filling, image, tmp_path, refuse):
    path, pixels = image
    target = tmp_path / "b.png"
    assert "has no alpha" in refuse(main, "restore", path, target, "--mask=alpha")
    for mask in ("none.png", "red"):
        message = refuse(main, "restore", path, target, f"--mask={mask}")
        assert f"--mask {mask}: no such file" in message and "#ff00ff" in message
    masks = tmp_path / "in" / "masks"
    write_mask(masks / "a.png", (8, 8), 1)
    for words in ((path, target), (tmp_path / "in", tmp_path / "out"), (tmp_path, masks)):
        message = refuse(main, "restore", *words, f"--mask={masks}")
        is_folder = words[0] != path
        assert ("keep masks and images apart" in message) == is_folder
        assert ("give a mask of the image's size" in message) != is_folder
    message = refuse(main, "restore", path, masks / "a.png", f"--mask={masks}/a.png", "--overwrite")
    assert "a.png: the output would replace the mask" in message
    assert "leave it out" in refuse(main, "restore", path, target, "--mask=alpha", "--linear")
    with pytest.raises(ValueError, match="give .21, 24. of bool"):
        hyperfunc.represent(pixels, checkpoint=str(filling.path), mask=pixels > 100)


def test_what_cannot_be_restored(model, image, tmp_path, refuse, checkpoint):
    path, _ = image
    target = tmp_path / "b.png"
    assert "--strength 2: give a number from 0 to 1" in refuse(
        main, "restore", path, target, "--strength=2"
    )
    assert "a function is rendered as it is" in refuse(main, "restore", "a.hfn", target)
    assert "restores nothing that a strength could weaken" in refuse(
        main, "restore", path, target, "--strength=0.5", f"--checkpoint={checkpoint}"
    )
