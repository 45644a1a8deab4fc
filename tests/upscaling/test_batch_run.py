"""Images of every kind go through a model of RGB images."""

import time
import types

import jax
import numpy as np
import pytest
from PIL import Image

from hyperfunc.function import encode, render
from hyperfunc.images import photos, write_image
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.pixels import imresize
from hyperfunc.upscaling import batch_plan as jobs
from hyperfunc.upscaling import batch_run as upscale
from hyperfunc.upscaling import upscaler as tiling
from hyperfunc.upscaling.alpha import REACH
from hyperfunc.upscaling.batch_run import format_seconds

MODEL = PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4))


@pytest.fixture(scope="module")
def variables():
    return MODEL.init(jax.random.key(0), jax.numpy.zeros((1, 8, 8, 3)))


@pytest.fixture(scope="module")
def upscaler(variables):
    return tiling.Upscaler(MODEL, variables, devices=jax.devices()[:2], largest_tile=24)


def whole(variables, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3))[None]
    rgb = jax.numpy.asarray(rgb, jax.numpy.float32)
    draw = jax.jit(lambda images: render(encode(MODEL, variables, images)[0], size))
    return np.asarray(draw(rgb))[0]


@pytest.mark.parametrize(
    ("size", "dtype", "channels"),
    [
        ((120, 100), np.uint8, 3),
        ((120, 100), np.uint16, 1),
        ((90, 61), np.uint16, 3),
        ((90, 61), np.float32, 1),
    ],
)
def test_tiles_of_any_depth_are_the_whole(variables, upscaler, draw, size, dtype, channels):
    pixels = draw(0, (60, 50))[..., :channels].astype(np.float32) / 255
    largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
    image = (pixels * largest).astype(dtype)
    calls = []
    result = upscaler(image, size, progress=lambda *args: calls.append(args))
    expected = whole(variables, image / largest, size)
    expected = expected.mean(axis=-1, keepdims=True) if channels == 1 else expected
    assert result.dtype == dtype and result.shape == (*size, channels)
    if largest > 1:
        expected = np.floor(np.clip(expected, 0, 1) * largest + 0.5)
    step = {np.uint8: 1, np.uint16: 2, np.float32: 2e-5}[dtype]  # float32 is no finer
    np.testing.assert_allclose(result.astype(np.float64), expected, atol=step)
    total = calls[-1][1]
    assert calls[0] == (0, total) and calls[-1] == (total, total) and total > 4
    assert upscaler.workspace > 0


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha(variables, upscaler, draw, channels):
    """A disc of one colour on transparent pixels of another: only the disc's colour is seen."""
    y, x = np.mgrid[:100, :100]
    inside = (y - 40) ** 2 + (x - 45) ** 2 < 25**2
    image = np.zeros((100, 100, channels), np.uint8)
    image[..., 0], image[..., -1] = np.where(inside, 200, 0), np.where(inside, 255, 0)
    if channels == 4:
        image[..., 1] = np.where(inside, 0, 255)
    result = upscaler(image, (200, 200)).astype(np.float32)
    alpha = result[..., -1] / 255
    # What is opaque for two pixels around stays opaque, what is clear stays clear.
    near = np.repeat(np.repeat(inside, 2, axis=0), 2, axis=1)
    reach = 2 * REACH + 2
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(near, reach, mode="edge"), (2 * reach + 1, 2 * reach + 1)
    )
    assert (alpha[windows.all(axis=(2, 3))] == 1).all()
    clear = ~windows.any(axis=(2, 3))
    assert (result[clear] == 0).all()
    assert 0 < alpha[~clear & ~windows.all(axis=(2, 3))].mean() < 1
    seen, is_between = alpha > 0.5, (alpha > 0) & (alpha < 1)
    assert abs(result[seen, 0] - 200).max() < 60  # a random model's error
    assert is_between.mean() > 0.02 and (result[is_between, 0] == 200).all()
    if channels == 4:
        assert result[seen, 1].max() < 60 and (result[is_between, 1] == 0).all()
    # What is opaque is what the model makes of it without alpha.
    opaque = windows.all(axis=(2, 3))
    plain = upscaler(image[..., :-1] * (image[..., -1:] > 0), (200, 200))
    assert (result[opaque, :-1] == plain[opaque]).all()
    # Where alpha is not held it is the mask's rendering.
    exact = upscaler(image.astype(np.float32) / 255, (200, 200))[..., -1:]
    expected = whole(variables, image[..., -1:] / 255, (200, 200)).mean(axis=-1, keepdims=True)
    is_between = (exact > 0) & (exact < 1)
    np.testing.assert_allclose(exact[is_between], expected[is_between], atol=3e-5)


@pytest.mark.parametrize("size", [(32, 32), (24, 24), (12, 12), (96, 12)])
def test_reduced_alpha_is_the_average(variables, size):
    """Thin lines on transparent pixels of another colour, much thinner than the pixels drawn."""
    image = np.zeros((192, 192, 4), np.uint8)
    image[..., 2] = 255
    image[:, np.arange(192) % 16 < 3] = (240, 100, 0, 255)
    upscaler = tiling.Upscaler(MODEL, variables, devices=jax.devices()[:1])  # Compiles faster.
    result = upscaler(image, size).astype(np.float64)
    average = imresize(image[..., 3:].repeat(3, axis=-1), size)[..., 0]
    assert abs(result[..., 3] - average).mean() < 1
    assert (result[result[..., 3] > 0][:, :3] == (240, 100, 0)).all()


def test_opaque_alpha_costs_nothing_and_changes_nothing(upscaler, draw):
    image = draw(1, (60, 50))
    rgba = np.concatenate([image, np.full((60, 50, 1), 255, np.uint8)], axis=-1)
    plain = upscaler(image, (120, 100))
    before = upscaler.compilations
    result = upscaler(rgba, (120, 100))
    assert upscaler.compilations == before
    np.testing.assert_array_equal(result[..., :3], plain)
    assert (result[..., 3] == 255).all()
    assert (upscaler(np.zeros_like(rgba), (120, 100)) == 0).all()


def test_large_scales_get_small_tiles(upscaler):
    default = tiling.Upscaler(MODEL, upscaler.variables)
    assert max(default.plan((4000, 6000), (8000, 12000)).count) <= 2 * 320
    # Hardly any of the halo is rendered.
    assert max(default.plan((4000, 6000), (200000, 300000)).count) <= 50 * 40
    reduced = default.plan((4000, 6000), (400, 600))
    assert reduced.extents[0] <= 320 and max(reduced.count) <= 32


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_the_smallest_images(upscaler, size):
    image = np.full((*size, 4), 128, np.uint8)
    result = upscaler(image, (size[0] * 3, size[1] * 2))
    assert result.shape == (size[0] * 3, size[1] * 2, 4)
    assert (result[..., 3] == 128).all()


def test_refuses_what_is_no_image(upscaler):
    with pytest.raises(ValueError, match="1 to 4 channels"):
        upscaler(np.zeros((4, 4, 5), np.uint8), (8, 8))
    with pytest.raises(ValueError, match="at least 1 x 1"):
        upscaler(np.zeros((4, 4, 3), np.uint8), (0, 8))


def test_floats_of_any_range(upscaler, draw):
    image = draw(2, (30, 30)).astype(np.float32) / 255
    expected = upscaler(image, (60, 60))
    np.testing.assert_array_equal(upscale.render(upscaler, image, (60, 60)), expected)
    spread = image * 4000 - 1000
    low, high = spread.min(), spread.max()
    wanted = upscaler((spread - low) / (high - low), (60, 60)) * (high - low) + low
    np.testing.assert_allclose(upscale.render(upscaler, spread, (60, 60)), wanted, atol=0.01)


class PretendedUpscaler(tiling.Upscaler):
    """Takes a second for 10 rows of pixels, and 3 for an image of so few, on a clock of its own."""

    def __init__(self):
        self.workspace, self.seconds = 2**30, 0.0

    def __call__(self, image, size, *, progress):
        rows = max(size[0] // 10, 1)
        for done in range(rows + 1):
            progress(done, rows)
            self.seconds += (3 if rows == 1 else 1) * (done < rows)
        return np.zeros((*size, image.shape[2]), image.dtype)


@pytest.mark.parametrize(("sides", "expected"), [([10, 190], "40 s"), ([900], "90 s")])
def test_expects_from_more_than_a_small_image(tmp_path, monkeypatch, sides, expected):
    for i, side in enumerate(sides):
        write_image(tmp_path / "in" / f"{i}.png", np.zeros((side, 10, 3), np.uint8))
    upscaler, said = PretendedUpscaler(), []
    clock = types.SimpleNamespace(perf_counter=lambda: upscaler.seconds)
    monkeypatch.setattr(upscale, "time", clock)
    monkeypatch.setattr(upscale, "process_memory", lambda: 0)
    batch = jobs.plan(tmp_path / "in", tmp_path / "out", jobs.Request(scale=(1.0, 1.0)))
    upscale.run_batch(batch, upscaler, say=said.append)
    assert batch.count("done") == len(sides)
    assert said == [f"expected: {expected}, 1.0 GiB of memory"]


def test_compiling_again_is_not_expected_of_the_rest(tmp_path, monkeypatch):
    """Each image takes 1 s, before which the model is compiled for 100 s."""

    class Upscaler(PretendedUpscaler):
        def __call__(self, image, size, *, progress):
            self.seconds += 100
            progress(0, 1)
            self.seconds += 1
            progress(1, 1)
            return image

    for i in range(12):
        write_image(tmp_path / "in" / f"{i}.png", np.zeros((10, 10, 3), np.uint8))
    upscaler, said = Upscaler(), []
    clock = types.SimpleNamespace(perf_counter=lambda: upscaler.seconds)
    monkeypatch.setattr(upscale, "time", clock)
    monkeypatch.setattr(upscale, "process_memory", lambda: 2**30)
    batch = jobs.plan(tmp_path / "in", tmp_path / "out", jobs.Request(scale=(1.0, 1.0)))
    upscale.run_batch(batch, upscaler, say=said.append)
    assert said == ["expected: 12 s, 2.0 GiB of memory"]


def test_few_large_images_wait(tmp_path, monkeypatch):
    """While one is worked on, as many others are decoded as memory is set aside for."""
    read, most = [], []

    class Upscaler(PretendedUpscaler):
        def __call__(self, image, size, *, progress):
            time.sleep(0.02)  # In which threads read what they may.
            most.append(len(read) - len(most))
            return image

    def read_photo(path):
        read.append(path)
        return photos.read_photo(path)

    monkeypatch.setattr(upscale, "read_photo", read_photo)
    for i in range(12):
        write_image(tmp_path / "in" / f"{i}.png", np.zeros((10, 10, 3), np.uint8))
    for allowed, waiting in ((2**29, 8), (900, 3), (1, 1)):
        monkeypatch.setattr(upscale, "AHEAD_BYTES", allowed)
        read.clear(), most.clear()
        batch = jobs.plan(tmp_path / "in", tmp_path / str(allowed), jobs.Request(scale=(1.0, 1.0)))
        upscale.run_batch(batch, Upscaler(), threads=8)
        assert batch.count("done") == 12 and max(most) <= waiting + 1
        assert len(read) == 12


def test_advises_a_model_for_poor_jpegs(tmp_path):
    def advise(source):
        return upscale.advise(jobs.plan(source, f"{tmp_path}/out/", jobs.Request(scale=(2.0, 2.0))))

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    (tmp_path / "in").mkdir()
    for name, options in {"a.png": {}, "good.jpg": {"quality": 98}, "poor.jpg": {}}.items():
        picture.save(tmp_path / "in" / name, **options)  # Pillow's default is 75.
    assert advise(tmp_path / "in/a.png") is None and advise(tmp_path / "in/good.jpg") is None
    assert str(advise(tmp_path / "in/poor.jpg")).startswith("a JPEG of quality 75: --checkpoint=")
    assert str(advise(tmp_path / "in")).startswith("1 of these are JPEGs of quality 95 or less: ")


def test_durations():
    assert [format_seconds(s) for s in (8.2, 180.0, 9000.0)] == ["8 s", "3 min", "2.5 h"]
