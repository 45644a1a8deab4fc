"""Compare renderings at about an image's own size, and smaller, with the truth.

    python -m benchmarks.minification --data_dir=DATA

For scales below 1, reduce an original by 2, represent it, and render it smaller; the truth is the
original reduced to that size directly. For scales above 1, reduce an original by the scale and
render it at its own size. The originals are training images. The zone plate's truth is grey where
its rings are finer than the pixels. The rows of the table are several forms of
`FunctionalImage.field_share`, and the base without target networks.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import tyro

import hyperfunc
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.function import Fade
from hyperfunc.pixels import degrade, imresize

SCALES = (1.5, 1.2, 1.05, 1.0, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 3)
FADES = tuple(
    Fade(start, rate)
    for start, rate in ((0, 0), (1, 4), (0.8, 4), (0.8, 8), (0.8, 16), (0.7, 8), (0.6, 4))
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a table: mean PSNR (RGB, dB) of photographs, RMS error (of 255) of a zone plate.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        images: how many originals.
        side: of the originals, in pixels.
    """

    data_dir: Path | None = None
    images: int = 4
    side: int = 160


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    source = open_dataset("train", data_dir=arguments.data_dir, split="train", strict=False)
    chosen = np.linspace(0, len(source) - 1, arguments.images).astype(int)
    side = arguments.side
    cases = [make_cases(source[int(i)][:side, :side]) for i in chosen]
    plate = draw_zone_plate(256)
    small_plate = imresize(plate, (88, 88))

    print("| start, rate | " + " | ".join(f"{scale:.3g}" for scale in SCALES) + " | plate, 0.34 |")
    print("|---" * (len(SCALES) + 2) + "|")
    for fade in (*FADES, None):
        change = without_fields if fade is None else functools.partial(with_fade, fade=fade)
        rows = [[psnr(change(f), truth) for f, truth in case] for case in cases]
        f = change(hyperfunc.represent(plate))
        rms = 255 * np.sqrt(np.square(np.asarray(f.render(88, 88)) - small_plate).mean())
        values = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
        name = "base alone" if fade is None else f"{fade.start:g}, {fade.rate:g}"
        print(f"| {name} | {values} | {rms:.1f} |", flush=True)


def make_cases(original: np.ndarray) -> list[tuple[hyperfunc.ContinuousImage, np.ndarray]]:
    """For each scale what is rendered, and what should come out."""
    small, truth = degrade(original, (2.0, 2.0))
    f = hyperfunc.represent(small)
    cases = []
    for scale in SCALES:
        if scale > 1:
            reduced, wanted = degrade(original, (scale, scale))
            cases.append((hyperfunc.represent(reduced), wanted / 255.0))
        else:
            size = (round(f.size[0] * scale), round(f.size[1] * scale))
            cases.append((f, np.clip(imresize(truth / 255.0, size), 0, 1)))
    return cases


def psnr(f: hyperfunc.ContinuousImage, truth: np.ndarray, border: int = 4) -> float:
    """Of all channels, without the border."""
    error = np.asarray(f.render(*truth.shape[:2])) - truth
    return float(-10 * np.log10(np.square(error[border:-border, border:-border]).mean()))


def with_fade(f: hyperfunc.ContinuousImage, fade: Fade) -> hyperfunc.ContinuousImage:
    """Let the target networks fade out in another way."""
    return dataclasses.replace(f, function=dataclasses.replace(f.function, fade=fade))


def without_fields(f: hyperfunc.ContinuousImage) -> hyperfunc.ContinuousImage:
    """Leave only the base."""
    zero = jax.tree.map(lambda leaf: leaf * 0, f.function.theta)
    return dataclasses.replace(f, function=dataclasses.replace(f.function, theta=zero))


def draw_zone_plate(side: int) -> np.ndarray:
    """Rings, finer outwards, up to half a cycle per pixel at the sides. [side, side, 3]."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    rings = 0.5 + 0.5 * np.cos(np.pi * side / 2 * ((y - 0.5) ** 2 + (x - 0.5) ** 2) * 2)
    return np.repeat(rings[..., None], 3, axis=-1)


if __name__ == "__main__":
    with report_errors():
        main()
