"""Figures of the evaluation of weight space, after Figures 1, 6 and 7 of Klocek et al. 2019."""

from pathlib import Path

import numpy as np

from hyperfunc.evaluation.panels import mosaic
from hyperfunc.evaluation.statistics import gradient_energy
from hyperfunc.evaluation.weight_space import ImageBatch, WeightSpace, cross_fade, select
from hyperfunc.images import write_animation, write_image
from hyperfunc.networks import choose_layers, mix, order_layers
from hyperfunc.types import HostImage, Theta

ROWS, COLUMNS = 5, 9
"""Pairs of images that a figure shows, and images of a row."""

PAIRS_TO_SEARCH = 200
"""Number of pairs among which failures are looked for."""


def draw_figures(
    space: WeightSpace,
    images: ImageBatch,
    theta: Theta,
    rebuilt: ImageBatch,
    pairs: tuple[np.ndarray, np.ndarray],
    folder: Path,
) -> None:
    """Draw the figures and an animation."""
    times = np.linspace(0, 1, COLUMNS)
    rows = min(ROWS, len(pairs[0]))

    def interpolate_weights(
        k: int, scale: int = 1, times: np.ndarray = times, layers: list[str] | None = None
    ) -> list[HostImage]:
        start, end = (select(theta, index[k : k + 1]) for index in pairs)
        return [space.render(mix(start, end, t, layers), scale)[0] for t in times]

    def interpolate_pixels(k: int) -> list[HostImage]:
        start, end = (rebuilt[index[k : k + 1]] for index in pairs)
        return [cross_fade(start, end, t)[0] for t in times]

    failures = find_failures(space, theta, rebuilt, pairs)[:rows]
    figures = {
        "figure1_weights_and_pixels": [interpolate_weights(0), interpolate_pixels(0)],
        "figure6a_weights": [interpolate_weights(k) for k in range(rows)],
        "figure6b_pixels": [interpolate_pixels(k) for k in range(rows)],
        "figure7_layerwise": [
            interpolate_weights(0, layers=choose_layers(order_layers(theta), count))
            for count in range(1, len(theta) + 1)
        ],
        "failures": [interpolate_weights(int(k)) for k in failures],
        "reconstruction": [list(images[:COLUMNS]), list(rebuilt[:COLUMNS])],
    }
    for name, figure in figures.items():
        write_image(folder / f"{name}.png", mosaic(figure))
    # From the first image to the second, a pause, and back.
    frames = interpolate_weights(0, 2, np.concatenate([np.linspace(0, 1, 24), np.ones(6)]))
    write_animation(folder / "walk.webp", frames + frames[::-1])


def find_failures(
    space: WeightSpace, theta: Theta, rebuilt: ImageBatch, pairs: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Sort pairs by how much the gradient energy halfway differs from that of the two images."""
    first, second = (index[:PAIRS_TO_SEARCH] for index in pairs)
    halfway = gradient_energy(space.render(mix(select(theta, first), select(theta, second), 0.5)))
    of_ends = (gradient_energy(rebuilt[first]) + gradient_energy(rebuilt[second])) / 2
    return np.argsort(-np.abs(np.log(halfway / of_ends)))
