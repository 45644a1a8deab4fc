"""Draw the figures of README.md, docs/how-it-works.md and docs/your-own-images.md.

pip install -e ".[dev,docs]" && python -m benchmarks.figures

The picture of the exported page needs chromium and chromium-driver, and stays as it is without.

Everything is computed by the package itself, from the bundled checkpoint and photographs inside
scikit-image; a minute on two cores.
"""

import dataclasses
import io
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import skimage.data
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import hyperfunc
from benchmarks.browser.chromium import open_browser
from benchmarks.minification import draw_zone_plate
from hyperfunc.commands import report_errors
from hyperfunc.data import Degradation, open_dataset
from hyperfunc.evaluation import bicubic, compare
from hyperfunc.export import export_html
from hyperfunc.pixels import (
    PER_PIXEL,
    WHOLE_IMAGE,
    WindowLayout,
    axis_over,
    border_for,
    degrade,
    interpolate_grid,
    pixel_centres,
    psnr_rgb,
    psnr_y,
)
from hyperfunc.types import HostImage
from hyperfunc.upscaling import Upscaler
from hyperfunc.values import to_integers

LARGEST = 200_000
"""Bytes that one figure may take."""

DETAIL = (slice(92, 116), slice(196, 220))
"""Rows and columns of the astronaut: an eye."""

CELL = (8, 13)
"""The pixel of the detail whose target network is shown."""

DAMAGES = (
    Degradation(noise=1.0, noise_sigma=(25.0, 25.0)),
    Degradation(jpeg=1.0, jpeg_quality=(15, 15)),
    Degradation(blur=1.0, blur_sigma=(1.6, 1.6), blur_noise=(2.55, 2.55)),
    Degradation(missing=1.0, missing_share=(0.7, 0.7)),
)
"""What is restored: noise, a JPEG, a blur, and missing pixels."""

FACE = (slice(66, 160), slice(76, 170))
"""Rows and columns of the damaged part of the astronaut."""

FINEST = 0.25
"""Footprint of the points of a patch, in pixels: the finest that the checkpoint was trained on."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the figures.

    Attributes:
        out: the folder they are written to.
        checkpoint: a training run with a window per pixel, or the name of a bundled checkpoint.
    """

    out: Path = Path("docs/images")
    checkpoint: str = "sr"


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9, "savefig.dpi": 130})
    model = hyperfunc.load_model(arguments.checkpoint)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save(draw_windows(), arguments.out / "windows.png")
    save(draw_cell(model), arguments.out / "cell.png")
    save(draw_footprint(model), arguments.out / "footprint.png")
    save_pixels(draw_detail(model, skimage.data.astronaut()), arguments.out / "sample_x4.png")
    save_pixels(draw_comparison(model), arguments.out / "comparison_x4.jpg")
    save_pixels(draw_restoration(), arguments.out / "restoration.jpg")
    if shutil.which("chromium") and shutil.which("chromedriver"):
        save_pixels(photograph_page(model), arguments.out / "viewer.png")


def draw_detail(
    model: hyperfunc.Model, photo: HostImage, *, scale: int = 4, side: int = 160
) -> HostImage:
    """The detail of a photograph that gains most, beside bicubic and the original."""
    small, original = degrade(photo, (scale, scale))
    images = {
        "bicubic": bicubic(small, original.shape[:2]),
        "hyperfunc": Upscaler(model.hypernetwork, model.variables)(small, original.shape[:2]),
    }
    border = border_for((scale, scale))
    psnr = {name: psnr_y(image, original, border) for name, image in images.items()}
    return compare({**images, "original": original}, psnr, side=side)


def draw_comparison(model: hyperfunc.Model) -> HostImage:
    """Such a detail of each of the five photographs inside scikit-image, one below the other."""
    return np.concatenate([draw_detail(model, photo, side=96) for photo in open_dataset("sample")])


def draw_restoration() -> HostImage:
    """The astronaut's face, damaged in four ways and restored, one below the other."""
    photo, rng, rows = skimage.data.astronaut()[:256, 96:352], np.random.default_rng(0), []
    for damage in DAMAGES:
        kinds = damage.draw_kinds(rng)
        damaged = damage.degrade_reduced(damage.blur_photograph(photo, kinds, rng), kinds, rng)
        is_missing = np.isnan(damaged).any(axis=-1)
        if damaged.dtype != np.uint8:
            damaged = to_integers(np.nan_to_num(damaged), np.uint8)
        restored = (
            hyperfunc.represent(damaged, mask=is_missing)
            if is_missing.any()
            else hyperfunc.represent(damaged, checkpoint="restore")
        )
        rendered = to_integers(np.asarray(restored.render(scale=1)), np.uint8)
        whole = {"damaged": damaged, "restored": rendered, "original": photo}
        images = {name: image[FACE] for name, image in whole.items()}
        psnr = {name: psnr_rgb(images[name], photo[FACE]) for name in ("damaged", "restored")}
        rows.append(compare(images, psnr, side=FACE[0].stop - FACE[0].start))
    return np.concatenate(rows)


def photograph_page(model: hyperfunc.Model, size: tuple[int, int] = (480, 760)) -> HostImage:
    """The exported page of the astronaut's face, in Chromium."""
    face = hyperfunc.represent(skimage.data.astronaut()[:192, 128:320], checkpoint=model)
    with tempfile.TemporaryDirectory() as folder:
        export_html(face.function, Path(folder) / "page.html", title="Astronaut")
        with open_browser(Path(folder), 60, (size[1], size[0])) as browser:
            browser.open("page.html")
            browser.driver.execute_script(
                "hyperfunc.set({x: 92, y: 88, zoom: 4.6, compare: true, split: 0.47})"
            )
            browser.wait("hyperfunc.settled()")
            with Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())) as image:
                return np.asarray(image.convert("RGB"))


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    with Image.open(buffer) as image:
        save_pixels(np.asarray(image.convert("RGB")), path)


def save_pixels(pixels: HostImage, path: Path) -> None:
    """Write a JPEG, or a PNG with a palette of 256 colours, and refuse a large one."""
    image = Image.fromarray(pixels)
    if path.suffix == ".jpg":
        image.save(path, quality=88, subsampling=0)
    else:
        image.quantize(256, kmeans=2).save(path, optimize=True)
    size = path.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{path}: {size} bytes, more than {LARGEST}")
    print(f"{path}: {size / 1000:.0f} kB")


def draw_windows() -> Figure:
    """Weights of the windows of three layouts along one axis, and their sum."""
    layouts = (
        ("sr: one window per pixel", PER_PIXEL, 8),
        ("sr_paper: patches of 4, stride 2", WindowLayout(size=4, stride=2, overhang=1.0), 16),
        ("faces: one window", WHOLE_IMAGE, 64),
    )
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.3), sharey=True, layout="constrained")
    for plot, (title, layout, pixels) in zip(axes, layouts, strict=True):
        windows = layout.axis(pixels)
        positions = jnp.linspace(0, pixels, 961)
        cover = windows.cover(positions)
        weights = np.zeros((windows.count, positions.size))
        for slot in range(cover.index.shape[1]):
            # A window outside of the image has weight zero, and some other's index.
            np.add.at(
                weights, (cover.index[:, slot], np.arange(positions.size)), cover.weight[:, slot]
            )
        for window, weight in enumerate(weights):
            colour = f"C{window % 8}"
            plot.fill_between(positions, weight, color=colour, alpha=0.25, lw=0)
            plot.plot(positions, weight, color=colour, lw=1)
        plot.plot(positions, weights.sum(axis=0), "k--", lw=1.2, label="sum")
        plot.set(title=title, xlabel="position in input pixels", xlim=(0, pixels), ylim=(0, 1.15))
        plot.set_xticks(np.linspace(0, pixels, 9 if pixels == 8 else 5))
    axes[0].set_ylabel("weight $w_k$")
    axes[0].legend(loc="lower left", framealpha=0.9)
    return figure


def draw_cell(model: hyperfunc.Model) -> Figure:
    """One target network, the sum of all, and the function at several scales."""
    photo = skimage.data.astronaut()
    image = hyperfunc.represent(np.ascontiguousarray(photo[DETAIL]), checkpoint=model)
    function, side = image.function, image.size[0]

    ticks = jnp.linspace(-1, 1, 97)
    local = jnp.stack(jnp.meshgrid(ticks, ticks, indexing="ij"), axis=-1)
    theta = jax.tree.map(lambda leaf: leaf[0, CELL[0], CELL[1]], function.expanded())
    pitch = jnp.full(2, FINEST)  # Of a window two pixels wide: the half is one pixel.
    at_point = lambda x: function.target.apply(theta, function.shared, x, pitch)  # noqa: E731
    patch = jax.vmap(jax.vmap(at_point))(local).mean(axis=-1)
    tent = jnp.prod(1 - jnp.abs(local), axis=-1)

    points = pixel_centres((side * 12, side * 12))
    whole = image(points, footprint=FINEST)
    added = image_without_base(image)(points, footprint=FINEST)
    base, correction = whole - added, added.mean(axis=-1)
    limit = float(jnp.abs(patch).max())
    limit_of_sum = float(jnp.abs(correction).max())

    figure, axes = plt.subplots(2, 5, figsize=(9, 4.0), layout="constrained")
    top, bottom = axes
    show(top[0], photo[DETAIL], f"input, {side} x {side} pixels")
    row, col = CELL
    top[0].add_patch(Rectangle((col - 0.5 - 0.5, row - 0.5 - 0.5), 2, 2, fill=False, ec="C3"))
    show_signed(top[1], patch, limit, "$T(x; \\theta_k)$, one window")
    show_signed(top[2], patch * tent, limit, "$w_k(x)\\,T(x; \\theta_k)$")
    show_signed(top[3], correction, limit_of_sum, "sum over all windows")
    show(top[4], base, "base: bicubic")
    show(bottom[0], whole, "f = base + sum")
    for plot, scale in zip(bottom[1:], (1.5, 2.5, 4, 10), strict=True):
        pixels = image.render(scale=scale)
        show(plot, pixels, f"f, x{scale:g}: {pixels.shape[0]} x {pixels.shape[1]}")
    return figure


def image_without_base(image: hyperfunc.ContinuousImage) -> hyperfunc.ContinuousImage:
    """Only the sum over windows."""
    return dataclasses.replace(image, function=dataclasses.replace(image.function, base=None))


def draw_footprint(model: hyperfunc.Model, side: int = 256, small: int = 88) -> Figure:
    """A zone plate made smaller: point samples, only the base averaged, and both."""
    image = hyperfunc.represent(draw_zone_plate(side), checkpoint=model)
    function = image.function
    axis = axis_over((0.0, 1.0), small, side)

    averaged_base = interpolate_grid(jnp.asarray(function.base), axis, axis)[0]
    points = pixel_centres((small, small))
    pictures = {
        f"f at x1, {side} x {side}": image.render(scale=1),
        f"{small} x {small}: point samples of f": image(points, footprint=FINEST),
        "only the base averaged": averaged_base
        + image_without_base(image)(points, footprint=FINEST),
        "f(x, a), a = pixel pitch": image.render(small, small),
    }
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained")
    for plot, (title, pixels) in zip(axes, pictures.items(), strict=True):
        show(plot, pixels, title)
    return figure


def show(plot: Axes, pixels: np.ndarray | jax.Array, title: str) -> None:
    """Show pixels as they are."""
    pixels = np.asarray(pixels)
    values = pixels if pixels.dtype == np.uint8 else np.clip(pixels, 0, 1)
    plot.imshow(values, interpolation="nearest")
    plot.set(title=title, xticks=[], yticks=[])


def show_signed(plot: Axes, values: jax.Array, limit: float, title: str) -> None:
    """Show values of either sign: blue, white, red."""
    plot.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    plot.set(title=title, xticks=[], yticks=[])


if __name__ == "__main__":
    with report_errors():
        main()
