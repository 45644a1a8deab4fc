"""Recognise digits at resolutions for which a network was not trained; docs/results, docs/images.

    python -m benchmarks.continuous_filters

Digits are drawn from the outlines of fourteen fonts, turned, sheared, scaled and moved at random,
at 64 x 64 pixels, so that finer images have finer detail. A network is trained on them reduced to
16 x 16 pixels and asked at other sizes, either by continuous filters at the size's pitch, or with
ordinary filters, on the images as they are or resized to 16 x 16 pixels.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optax
import scipy.stats
import skimage.data
import tyro
from PIL import Image, ImageDraw, ImageFont

import hyperfunc
from hyperfunc.commands import report_errors
from hyperfunc.devices import use_cpu_cores
from hyperfunc.files import save_json
from hyperfunc.filters import ContinuousConv, FourierKernel, Kernel, NetworkKernel, filter_function
from hyperfunc.pixels import imresize, parse_scale

FULL, NATIVE = 64, 16
"""Sides of an image as it is drawn and in training, in pixels."""

SCALES = ("0.5", "0.75", "1", "1.5", "2", "4", "0.5x2", "1x2")
"""Sizes that are asked for, per training size (rows x columns)."""

WIDTHS, SIDES = (8, 8, 16), (5, 3, 3)
"""Channels and kernel sides of the three layers."""

STEPS, BATCH = 800, 32

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif"),
    *("DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol"),
    *("STIXGeneralItalic", "cmb10", "cmr10", "cmss10", "cmtt10"),
)
"""Those of Matplotlib."""

KERNELS: dict[str, tuple[type[Kernel] | None, float]] = {
    "ordinary": (None, 1e-2),
    "series": (FourierKernel, 3e-3),
    "network": (NetworkKernel, 3e-3),
}
"""What is trained, and at which rate."""

METHODS = {
    "resized": "ordinary filters, resized to 16 x 16",
    "not resized": "ordinary filters, not resized",
    "series": "continuous filters, Fourier series",
    "network": "continuous filters, target network",
    "converted": "ordinary filters, made continuous after training",
}
"""The rows of the table."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train, measure, and draw.

    Attributes:
        seeds: how many trainings of each network.
        train_images: how many digits to learn from.
        test_images: how many digits to ask for.
        json: the file of results.
        figure: the picture.
    """

    seeds: int = 5
    train_images: int = 2000
    test_images: int = 200
    json: Path = Path("docs/results/continuous_filters.json")
    figure: Path = Path("docs/images/continuous_filters.png")


class Digits(NamedTuple):
    """Images [n, 64, 64, 1] in [0, 1], the background 0, and their digits."""

    images: np.ndarray
    labels: np.ndarray


class Classifier(nn.Module):
    """Three convolutions at the resolution of the image, a mean over the image, a linear layer."""

    kernel: type[Kernel] | None

    @nn.compact
    def __call__(self, images: jax.Array, pitch: tuple[float, float] = (1.0, 1.0)) -> jax.Array:
        """Compute the logits [b, 10]."""
        for features, side in zip(WIDTHS, SIDES, strict=True):
            if self.kernel is None:
                images = nn.Conv(features, (side, side))(images)
            else:
                images = ContinuousConv(features, make_kernel(self.kernel, side))(images, pitch)
            images = nn.relu(images)
        return nn.Dense(10)(images.mean(axis=(1, 2)))


def make_kernel(kind: type[Kernel], side: int) -> Kernel:
    """Make the kernel that covers ``side`` pixels at the pitch of training."""
    return FourierKernel(side / 2, side // 2) if kind is FourierKernel else NetworkKernel(side / 2)


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        start = time.perf_counter()
        train, test = draw_digits(arguments.train_images, 0), draw_digits(arguments.test_images, 1)
        reduced = resize(train.images, "1")
        tests = {scale: resize(test.images, scale) for scale in SCALES}
        accuracy: dict[str, dict[str, list[float]]] = {m: {s: [] for s in SCALES} for m in METHODS}
        seconds: dict[str, list[float]] = {kind: [] for kind in KERNELS}
        trained: dict[str, Any] = {}
        for seed in range(arguments.seeds):
            for kind, (kernel, rate) in KERNELS.items():
                begin = time.perf_counter()
                model = Classifier(kernel)
                trained[kind] = fit(model, rate, reduced, train.labels, seed)
                seconds[kind].append(time.perf_counter() - begin)
            for scale, images in tests.items():
                for method, found in classify(trained, images).items():
                    accuracy[method][scale].append(float(np.mean(found == test.labels)))
            print(
                seed, {m: [v[-1] for v in row.values()] for m, row in accuracy.items()}, flush=True
            )
        answers = compare_answers(trained["series"])
        about: dict[str, Any] = {"images": [len(train.labels), len(test.labels)]}
        about |= {"steps": STEPS, "batch": BATCH, "seeds": arguments.seeds}
        about |= {"seconds": time.perf_counter() - start}
        means = {k: float(np.mean(v)) for k, v in seconds.items()}
        table = {m: {s: summarize(v) for s, v in row.items()} for m, row in accuracy.items()}
        result = {**about, "training_seconds": means, "accuracy": table, "same_answer": answers}
        save_json(arguments.json, result)
        print_table(table)
        draw(table, answers, arguments.figure)


def draw_digits(count: int, seed: int) -> Digits:
    """Draw digits in random fonts: up to 15 degrees, a shear of 0.2 and 6 pixels from upright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=count)
    images = []
    for label in labels:
        font = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{rng.choice(FONTS)}.ttf")
        canvas = Image.new("L", (FULL, FULL))
        ImageDraw.Draw(canvas).text(
            (FULL / 2, FULL / 2), str(label), 255, ImageFont.truetype(font, FULL), anchor="mm"
        )
        angle, shear = rng.uniform(-1, 1, 2) * (np.pi / 12, 0.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.array([[1, shear], [0, 1]]) * rng.uniform(0.9, 1.5)
        offset = FULL / 2 - matrix @ (FULL / 2 + rng.uniform(-6, 6, 2))
        coefficients = np.column_stack([matrix, offset]).ravel().tolist()
        canvas = canvas.transform(
            (FULL, FULL), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
        )
        images.append(np.asarray(canvas, np.float32)[..., None] / 255)
    return Digits(np.stack(images), labels)


def size_at(scale: str) -> tuple[int, int]:
    """Return the size (rows, columns) of images at a scale, in pixels."""
    rows, cols = parse_scale(scale)
    return round(NATIVE * rows), round(NATIVE * cols)


def resize(images: np.ndarray, scale: str) -> np.ndarray:
    """Resize images to their size at a scale, bicubically, with antialiasing where they shrink."""
    return imresize(images, size_at(scale))


def make_optimizer(rate: float) -> optax.GradientTransformation:
    """Make Adam with clipped gradients, whose rate falls to zero."""
    schedule = optax.cosine_decay_schedule(rate, STEPS)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def fit(model: Classifier, rate: float, images: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """Train on random batches; return the variables."""
    init_key, batch_key = jax.random.split(jax.random.key(seed))
    variables = model.init(init_key, images[:1])
    state = make_optimizer(rate).init(variables)
    data = (jnp.asarray(images), jnp.asarray(labels))
    for key in jax.random.split(batch_key, STEPS):
        variables, state = _step(model, rate, variables, state, data, key)
    return variables


@functools.partial(jax.jit, static_argnames=("model", "rate"))
def _step(
    model: Classifier,
    rate: float,
    variables: Any,
    state: Any,
    data: tuple[jax.Array, jax.Array],
    key: jax.Array,
) -> tuple[Any, Any]:
    batch = jax.random.randint(key, (BATCH,), 0, len(data[0]))
    images, labels = data[0][batch], data[1][batch]

    def loss(variables: Any) -> jax.Array:
        logits = jnp.asarray(model.apply(variables, images))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, state = make_optimizer(rate).update(jax.grad(loss)(variables), state)
    return optax.apply_updates(variables, updates), state


def classify(trained: dict[str, Any], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the digits that each method reads."""
    pitch = (NATIVE / images.shape[1], NATIVE / images.shape[2])
    ordinary, series, network = (Classifier(kernel) for kernel, _ in KERNELS.values())
    native = imresize(images, (NATIVE, NATIVE))
    return {
        "resized": predict(ordinary, trained["ordinary"], native, (1.0, 1.0)),
        "not resized": predict(ordinary, trained["ordinary"], images, (1.0, 1.0)),
        "series": predict(series, trained["series"], images, pitch),
        "network": predict(network, trained["network"], images, pitch),
        "converted": predict(series, make_continuous(trained["ordinary"]), images, pitch),
    }


def predict(
    model: Classifier, variables: Any, images: np.ndarray, pitch: tuple[float, float]
) -> np.ndarray:
    """Return the most probable digit of each image."""
    parts = np.split(images, range(16, len(images), 16))
    return np.concatenate([_predict(model, variables, part, pitch) for part in parts])


@functools.partial(jax.jit, static_argnames=("model", "pitch"))
def _predict(
    model: Classifier, variables: Any, images: np.ndarray, pitch: tuple[float, float]
) -> jax.Array:
    return jnp.asarray(model.apply(variables, images, pitch)).argmax(axis=-1)


def make_continuous(variables: Any) -> Any:
    """Turn the ordinary network into one of Fourier series that is equal at the training size."""
    params = {"Dense_0": variables["params"]["Dense_0"]}
    for i, side in enumerate(SIDES):
        layer = variables["params"][f"Conv_{i}"]
        kernel = FourierKernel(side / 2, side // 2).fit(layer["kernel"])
        params[f"ContinuousConv_{i}"] = {"kernel": kernel, "bias": layer["bias"]}
    return {"params": params}


def compare_answers(variables: Any) -> dict[str, float]:
    """Apply the first layer to pixels of several pitches and to the function that they come from.

    Returns:
        For each scale the root mean square of the difference, relative to that of the answer.
    """
    photograph = skimage.data.astronaut()[64:192, 160:288]
    function = hyperfunc.represent(imresize(photograph, (32, 32)))
    layer = ContinuousConv(WIDTHS[0], make_kernel(FourierKernel, SIDES[0]))
    params = variables["params"]["ContinuousConv_0"]
    to_luma = jnp.array([0.299, 0.587, 0.114]).reshape(1, 1, 3, 1)
    variables = {"params": {"kernel": params["kernel"] * to_luma, "bias": 0 * params["bias"]}}
    result = {}
    for scale in (0.5, 1.0, 2.0, 4.0):
        pixels = function.render(scale=scale, clip=False)[None]
        size = (pixels.shape[1], pixels.shape[2])
        exact = filter_function(layer, variables, function.function, size)
        difference = jnp.asarray(layer.apply(variables, pixels, (1 / scale, 1 / scale))) - exact
        result[f"{scale:g}"] = float(
            jnp.sqrt(jnp.square(difference).mean() / jnp.square(exact).mean())
        )
    return result


def summarize(values: list[float]) -> dict[str, float]:
    """Compute the mean and the half width of its 95 % interval (Student's t over seeds)."""
    error = scipy.stats.sem(values) if len(values) > 1 else 0.0
    half = float(error * scipy.stats.t.ppf(0.975, max(len(values) - 1, 1)))
    return {"mean": float(np.mean(values)), "interval": half}


def print_table(table: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the table of the page, in per cent."""
    print("| | " + " | ".join(SCALES) + " |\n|---" + "|---" * len(SCALES) + "|")
    for method, row in table.items():
        cells = (f"{100 * v['mean']:.1f} ± {100 * v['interval']:.1f}" for v in row.values())
        print(f"| {METHODS[method]} | " + " | ".join(cells) + " |")


def draw(
    table: dict[str, dict[str, dict[str, float]]], answers: dict[str, float], path: Path
) -> None:
    """Draw the accuracy against the scale, and how far pixels are from the function."""
    plt.rcParams.update({"font.size": 9, "savefig.dpi": 130})
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), width_ratios=(3, 2), layout="constrained")
    left, right = axes
    scales = [scale for scale in SCALES if "x" not in scale]
    for method, row in table.items():
        mean, half = ([100 * row[s][key] for s in scales] for key in ("mean", "interval"))
        left.errorbar([float(s) for s in scales], mean, half, label=METHODS[method], capsize=2)
    left.set(xscale="log", xlabel="pixels per pixel of training", ylabel="correct (%)")
    left.set_xticks([float(s) for s in scales], scales, minor=False)
    left.minorticks_off()
    right.loglog([float(s) for s in answers], list(answers.values()), "o-")
    right.set(xlabel="pixels per input pixel", ylabel="difference from the function, relative")
    right.set_xticks([float(s) for s in answers], list(answers), minor=False)
    right.minorticks_off()
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
