"""Write the graphs of a model to a folder, after ONNX Runtime has run them."""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np

import hyperfunc
from hyperfunc.errors import REPORT_ADDRESS, UserError
from hyperfunc.experiment import BUNDLED, Model, write_model
from hyperfunc.export.onnx.decoder import make_decoder
from hyperfunc.export.onnx.encoder import make_encoder
from hyperfunc.export.onnx.graph import Precision
from hyperfunc.export.onnx.limiter import limit, make_limiter
from hyperfunc.files import replacing
from hyperfunc.function import FunctionalImage, encode, render
from hyperfunc.networks import EDSR, HalfEDSR, Hypernetwork
from hyperfunc.types import Images, Neighbourhood

MAX_SCALE = 16
LICENCE = "LICENSE-WEIGHTS.md"
TOLERANCE = 1e-4
"""Of a float32 graph, on [0, 1]. The bundled models are within 1e-5."""

PIXELS = (
    "RGB as sRGB encodes it, float32 in [0, 1], [batch, height, width, 3]; pixel i of n lies at "
    "(i + 0.5) / n, so that enlarging shifts nothing; clip the result to [0, 1]"
)


class Written(NamedTuple):
    """A graph in a file."""

    path: Path
    error: float
    """The largest difference from the package's values in a check, on [0, 1]."""


def _check(model: Model, folder: Path, scales: Sequence[int]) -> None:
    """Check that a model can be written as graphs, to this folder."""
    bad = [scale for scale in scales if not 1 <= scale <= MAX_SCALE]
    if bad or not scales:
        raise UserError(f"scales {list(scales)}: give whole numbers from 1 to {MAX_SCALE}")
    if folder.exists() and folder.samefile(model.path):
        raise UserError(f"{folder}: this is the checkpoint's own folder; name another one")
    network = model.hypernetwork
    if not (network.target.is_fourier_series and network.layout.is_per_pixel):
        kind = type(network.target).__name__
        raise UserError(
            f"{model.path} has a {kind} on windows of {network.layout.size} pixels, and ONNX "
            "graphs need a Fourier series for each pixel: give a checkpoint such as sr"
        )
    if not isinstance(network.backbone, EDSR | HalfEDSR):
        kind = type(network.backbone).__name__
        raise UserError(
            f"{model.path} has the trunk {kind}, and only EDSR and HalfEDSR can be written as ONNX "
            "graphs: give a checkpoint such as sr"
        )
    if network.base == "filled":
        raise UserError(
            f"{model.path} fills missing pixels, which no ONNX graph does: give a checkpoint such "
            "as sr"
        )


def export_onnx(
    model: Model,
    folder: Path,
    *,
    scales: Sequence[int] = (2, 3, 4),
    precision: Precision = "float32",
) -> list[Written]:
    """Write ``encoder.onnx``, a ``decoder_xN.onnx`` for each scale, and ``limiter.onnx``.

    The weights lie beside them.

    It needs the extra "onnx", which the caller checks.

    The folder is itself a checkpoint: ``config.json`` and ``model.safetensors`` are those of
    `hyperfunc.experiment.write_model`. Every graph has run in ONNX Runtime before it is written.

    Args:
        model: with a Fourier series per pixel and the trunk `EDSR` or `HalfEDSR`.
        folder: is created if it does not exist.
        scales: of the decoders; one that is given twice is written once.
        precision: the type in which the graphs compute; inputs and outputs are float32.

    Raises:
        UserError: the model or a scale cannot be exported, or the folder is the model's own or
            cannot be written to, or ONNX Runtime computes other values than the package.
    """
    _check(model, folder, scales)
    network = cast(Any, model.hypernetwork)
    about = _describe(model, network, precision)
    image = _draw_picture()
    function = _encode(network, model.variables, image)
    trunk = make_encoder(network.backbone, model.variables["params"], precision)
    encoder = trunk.to_bytes("encoder", about)
    features, *corrected = run_graph(encoder, image=image)
    expected = np.asarray(function.theta.factors()[0]).transpose(0, 3, 1, 2)
    error = _measure_error("encoder", features, expected, precision)
    for base in corrected:
        error = max(error, _measure_error("encoder", base, function.base, precision))
    written = [_write(folder / "encoder.onnx", encoder, error)]
    for scale in dict.fromkeys(scales):
        graph = make_decoder(function, scale, precision)
        decoder = graph.to_bytes(f"decoder_x{scale}", {**about, "scale": str(scale)})
        inputs = {"features": features, "base": corrected[0] if corrected else image}
        (pixels,) = run_graph(decoder, **{name: inputs[name] for name in graph.input_names})
        error = _measure_error(f"decoder_x{scale}", pixels, _render(function, scale), precision)
        written.append(_write(folder / f"decoder_x{scale}.onnx", decoder, error))
    limiter = make_limiter().to_bytes("limiter", {**about, "precision": "float32"})
    (limited,) = run_graph(limiter, image=image, pixels=pixels)
    error = _measure_error("limiter", limited, limit(image, pixels, scale), "float32")
    written.append(_write(folder / "limiter.onnx", limiter, error))
    write_model(model, folder)
    if model.path.parent == BUNDLED:
        shutil.copyfile(BUNDLED / LICENCE, folder / LICENCE)
    return written


def find_halo(reads: Neighbourhood, interpolated: int = 2) -> int:
    """Return how many pixels a tile reads around its own, a multiple of the alignment.

    Args:
        reads: what the network reads around a pixel.
        interpolated: how far the interpolation of the base reads; 2 where nothing is reduced.
    """
    halo = max(reads.radius + 1, reads.base_radius + interpolated)
    return -(-halo // reads.alignment) * reads.alignment


def run_graph(graph: bytes, **inputs: np.ndarray) -> list[np.ndarray]:
    """Run a graph in ONNX Runtime, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # Errors only.
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return cast(list[np.ndarray], session.run(None, inputs))


def _describe(model: Model, network: Any, precision: Precision) -> dict[str, str]:
    """Collect what a user of a graph has to know."""
    is_bundled = model.path.parent == BUNDLED
    return {
        "writer": f"hyperfunc {hyperfunc.__version__}",
        "checkpoint": model.path.name,
        "step": str(model.step),
        "fingerprint": model.fingerprint,
        "licence": f"non-commercial research, see {LICENCE}" if is_bundled else "its trainer's",
        "pixels": PIXELS,
        "halo": str(find_halo(network.reads)),
        "precision": precision,
    }


def _draw_picture() -> np.ndarray:
    """Draw waves with noise, [1, 19, 23, 3], float32 in [0, 1]: whatever a graph can do wrong."""
    y, x = np.meshgrid(np.arange(19), np.arange(23), indexing="ij")
    waves = 0.5 + 0.3 * np.sin(np.stack([0.3 * y + x, 0.7 * y - 0.2 * x, 0.5 * x], axis=-1))
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, waves.shape)
    return (waves + noise)[None].astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _encode(network: Hypernetwork, variables: Any, images: Images) -> FunctionalImage:
    return encode(network, variables, images)[0]


@functools.partial(jax.jit, static_argnums=1)
def _render(function: FunctionalImage, scale: int) -> jax.Array:
    height, width = function.size
    return render(function, (height * scale, width * scale))


def _measure_error(name: str, values: np.ndarray, expected: Any, precision: Precision) -> float:
    error = float(np.abs(values - np.asarray(expected)).max())
    if precision == "float32" and not error < TOLERANCE:
        raise UserError(
            f"ONNX Runtime computes {name} with an error of {error:.2g}, more than {TOLERANCE:g}: "
            f"report it at {REPORT_ADDRESS}, with its version"
        )
    return error


def _write(path: Path, graph: bytes, error: float) -> Written:
    with replacing(path) as temporary:
        temporary.write_bytes(graph)
    return Written(path, error)
