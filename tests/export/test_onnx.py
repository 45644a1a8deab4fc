"""The ONNX graphs compute what the functions compute, at all sizes and scales."""

import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from hyperfunc.errors import UserError
from hyperfunc.experiment import BUNDLED, load_model
from hyperfunc.export import export_onnx
from hyperfunc.export.onnx.decoder import make_decoder
from hyperfunc.export.onnx.encoder import make_encoder
from hyperfunc.export.onnx.folder import run_graph
from hyperfunc.export.onnx.limiter import limit, make_limiter
from hyperfunc.function import encode, render
from hyperfunc.networks import EDSR, RDN, FourierField, HalfEDSR, PixelHypernetwork
from hyperfunc.upscaling import Upscaler

SIZES = [
    *((1, 1), (1, 2), (2, 1), (2, 2), (1, 500), (500, 1), (2, 211), (3, 3), (5, 3), (4, 7)),
    *((7, 4), (8, 16), (13, 17), (16, 8), (17, 64), (23, 5), (29, 31), (37, 2), (41, 43), (61, 59)),
]
SCALES = [2, 3, 4, 8]
NAMES = ["sr", "restore"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_tiles.py"


@pytest.fixture(scope="module")
def model():
    return load_model("sr")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The graphs of bundled models."""
    root = tmp_path_factory.mktemp("onnx")
    for name in NAMES:
        export_onnx(load_model(name), root / name, scales=SCALES)
    return root


@pytest.fixture(scope="module")
def folder(folders):
    return folders / "sr"


def read(folder, name):
    return (folder / f"{name}.onnx").read_bytes()


def compare_with_render(network, variables, images, encoder, decoders):
    """Compare what graphs compute with features, base and pixels of a function."""

    @jax.jit  # One program for each size.
    def compute(variables, images):
        function, _ = encode(network, variables, images)
        height, width = function.size
        sizes = [(scale * height, scale * width) for scale in decoders]
        return function, [render(function, size) for size in sizes]

    function, rendered = compute(variables, images)
    features, *corrected = run_graph(encoder, image=images)
    expected = np.asarray(function.theta.factors()[0]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)
    for base in corrected:
        np.testing.assert_allclose(base, function.base, rtol=0, atol=1e-5)
    base = {} if function.base is None else {"base": corrected[0] if corrected else images}
    for decoder, expected in zip(decoders.values(), rendered, strict=True):
        (pixels,) = run_graph(decoder, features=features, **base)
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (13, 17)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_bundled_models_compute_what_render_computes(folders, draw, name, size):
    model = load_model(name)
    images = np.stack([draw(0, size), draw(1, size)]).astype(np.float32) / 255
    encoder = read(folders / name, "encoder")
    decoders = {scale: read(folders / name, f"decoder_x{scale}") for scale in SCALES}
    compare_with_render(model.network, model.variables, images, encoder, decoders)


def draw_variables(network, image):
    """Draw variables without zeros: biases and corrections begin as zeros."""
    variables = network.init(jax.random.key(0), image)
    leaves, treedef = jax.tree.flatten(variables)
    rng = np.random.default_rng(0)
    leaves = [leaf + 0.01 * rng.uniform(-1, 1, leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(treedef, leaves)


@pytest.mark.slow  # 40 programs are compiled.
@pytest.mark.parametrize(
    ("trunk", "base"), [(EDSR(6, 2), "bicubic"), (HalfEDSR(6, 2), "corrected")], ids=NAMES
)
def test_small_graphs_compute_what_render_computes_at_all_sizes(trunk, base, draw):
    network = PixelHypernetwork(trunk, FourierField(frequencies=3), base=base, branch_scale=1.0)
    variables = draw_variables(network, jnp.zeros((1, 4, 4, 3)))
    encoder = make_encoder(trunk, variables["params"], "float32").to_bytes("encoder", {})
    function, _ = encode(network, variables, jnp.zeros((1, 1, 1, 3)))
    graphs = {scale: make_decoder(function, scale, "float32") for scale in SCALES}
    decoders = {scale: graph.to_bytes("decoder", {}) for scale, graph in graphs.items()}
    for size in SIZES:
        images = draw(0, size)[None].astype(np.float32) / 255
        compare_with_render(network, variables, images, encoder, decoders)


@pytest.mark.parametrize(
    ("trunk", "base"),
    [
        (EDSR(width=5, blocks=0), "none"),
        (EDSR(width=6, blocks=2, residual_scale=0.3), "corrected"),
        (EDSR(width=6, blocks=2, residual_scale=0.3, attention=True), "bicubic"),
        (EDSR(width=6, blocks=2, fusion=True), "none"),
        (HalfEDSR(width=5, blocks=1, attention=False, fusion=False), "none"),
        (HalfEDSR(width=6, blocks=2, attention=False), "bicubic"),
        (HalfEDSR(width=6, blocks=1, fine_width=4, fine_blocks=2), "corrected"),
    ],
)
def test_every_kind_of_trunk_and_base(trunk, base, draw):
    network = PixelHypernetwork(trunk, FourierField(frequencies=3), base=base, branch_scale=1.0)
    images = draw(0, (9, 7))[None].astype(np.float32) / 255
    variables = draw_variables(network, jnp.asarray(images))
    function, _ = encode(network, variables, jnp.asarray(images))
    encoder = make_encoder(trunk, variables["params"], "float32").to_bytes("encoder", {})
    graphs = {scale: make_decoder(function, scale, "float32") for scale in (1, 2, 3)}
    assert graphs[1].input_names == ["features"] + (["base"] if base != "none" else [])
    decoders = {scale: graph.to_bytes("decoder", {}) for scale, graph in graphs.items()}
    compare_with_render(network, variables, images, encoder, decoders)


def test_half_precision_is_near(model, tmp_path):
    written = export_onnx(model, tmp_path / "half", scales=[2], precision="float16")
    errors = {path.name: error for path, error in written}
    assert 1e-5 < errors["encoder.onnx"] < 1e-2
    assert 1e-5 < errors["decoder_x2.onnx"] < 1 / 255
    assert written[0].path.stat().st_size < 1.1e6


def test_the_folder_says_what_it_holds(model, folder):
    assert load_model(folder).fingerprint == model.fingerprint
    assert (folder / "LICENSE-WEIGHTS.md").read_bytes() == (
        BUNDLED / "LICENSE-WEIGHTS.md"
    ).read_bytes()
    graph = onnx.load(folder / "decoder_x3.onnx")
    about = {entry.key: entry.value for entry in graph.metadata_props}
    radius = json.loads((folder / "config.json").read_text())["receptive_radius"]
    assert (about["scale"], about["checkpoint"]) == ("3", "sr")
    assert int(about["halo"]) == radius + 1 == 23
    assert "non-commercial" in about["licence"] and "sRGB" in about["pixels"]


@pytest.fixture(scope="module")
def example():
    """The module `examples/onnx_tiles.py`."""
    spec = importlib.util.spec_from_file_location("onnx_tiles", EXAMPLE)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.fixture(scope="module", params=NAMES)
def pair(request, example, folders):
    """The example with the graphs of a model, and what `hyperfunc upscale` enlarges with."""
    model = load_model(request.param)
    return example.Upscaler(folders / request.param, 2), Upscaler(model.network, model.variables)


@pytest.mark.parametrize("kind", ["colour", "grey", "flat"])
def test_the_example_makes_what_upscale_makes(example, pair, draw, monkeypatch, kind):
    monkeypatch.setattr(example, "SIDE", 16)
    pixels = draw(2, (53, 37))
    if kind == "grey":
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    if kind == "flat":  # Lines on grounds that are nearly even.
        pixels = 250 + pixels % 3
        pixels[20:22], pixels[30:, 9] = 0, (200, 30, 60)
    ours, expected = (enlarge(pixels) for enlarge in (pair[0], lambda x: pair[1](x, (106, 74))))
    np.testing.assert_allclose(ours.astype(int), expected.astype(int), rtol=0, atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 4)], ids=str)
@pytest.mark.parametrize("scale", [1, 2, 3, 5])
def test_the_limiter_keeps_pixels_near_those_of_the_image(size, scale):
    rng = np.random.default_rng(0)
    image = (200 + rng.integers(0, 9, (2, *size, 3))).astype(np.float32) / 255
    pixels = image.repeat(scale, 1).repeat(scale, 2)
    pixels += rng.uniform(-0.2, 0.2, pixels.shape).astype(np.float32)
    limiter = make_limiter().to_bytes("limiter", {})
    (limited,) = run_graph(limiter, image=image, pixels=pixels)
    np.testing.assert_allclose(limited, limit(image, pixels, scale), rtol=0, atol=1e-6)
    assert 0.1 < (limited == pixels).mean() < 0.9 or size == (1, 1)
    (limited,) = run_graph(limiter, image=np.full_like(image, 0.5), pixels=pixels)
    assert (np.floor(limited * 255 + 0.5) == 128).all()


def test_the_example_says_which_scales_there_are(example, folder):
    with pytest.raises(
        SystemExit, match=r"decoder_x5.onnx: not found; .* has the scales 2, 3, 4, 8"
    ):
        example.Upscaler(folder, 5)


def test_what_is_no_series_per_pixel_is_refused(model, tmp_path):
    with pytest.raises(UserError, match="a CosineMLP on windows of"):
        export_onnx(load_model("sr_paper"), tmp_path / "a")
    with pytest.raises(UserError, match=r"scales \[2, 17\]: give whole numbers from 1 to 16"):
        export_onnx(model, tmp_path / "a", scales=[2, 17])
    with pytest.raises(UserError, match="the checkpoint's own folder"):
        export_onnx(model, model.path)
    assert not (tmp_path / "a").exists()


def test_another_trunk_is_refused(model, tmp_path):
    network = PixelHypernetwork(RDN(width=4, blocks=1), FourierField(frequencies=2))
    other = load_model("sr")
    other.__dict__["network"] = network  # What the property has cached.
    with pytest.raises(UserError, match="the trunk RDN, and only EDSR and HalfEDSR"):
        export_onnx(other, tmp_path / "a")


def test_a_graph_that_computes_other_values_is_not_written(model, tmp_path, monkeypatch):
    def wrong(graph, **inputs):
        return [output + 1e-3 for output in run_graph(graph, **inputs)]

    monkeypatch.setattr("hyperfunc.export.onnx.folder.run_graph", wrong)
    with pytest.raises(UserError, match=r"ONNX Runtime computes encoder with an error of 0\.001"):
        export_onnx(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
