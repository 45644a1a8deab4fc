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
from hyperfunc.function import encode, render
from hyperfunc.networks import EDSR, RDN, FourierField, PixelHypernetwork

SIZES = [(1, 1), (1, 500), (500, 1), (5, 3), (13, 17), (29, 31)]
SCALES = [2, 3, 4, 8]
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_tiles.py"


@pytest.fixture(scope="module")
def model():
    return load_model("sr")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The graphs of the bundled model."""
    folder = tmp_path_factory.mktemp("onnx") / "graphs"
    export_onnx(model, folder, scales=SCALES)
    return folder


def read(folder, name):
    return (folder / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_graphs_compute_what_render_computes(model, folder, draw, size):
    images = np.stack([draw(0, size), draw(1, size)]).astype(np.float32) / 255
    function, _ = encode(model.network, model.variables, jnp.asarray(images))
    (features,) = run_graph(read(folder, "encoder"), image=images)
    expected = np.asarray(function.theta.features).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)
    for scale in SCALES:
        decoder = read(folder, f"decoder_x{scale}")
        (pixels,) = run_graph(decoder, features=features, image=images)
        expected = render(function, (scale * size[0], scale * size[1]))
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("trunk", "base"),
    [
        (EDSR(width=5, blocks=0), "none"),
        (EDSR(width=6, blocks=2, residual_scale=0.3), "bicubic"),
        (EDSR(width=6, blocks=2, residual_scale=0.3, attention=True), "bicubic"),
        (EDSR(width=6, blocks=2, fusion=True), "none"),
    ],
)
def test_every_kind_of_trunk_and_base(trunk, base, draw):
    network = PixelHypernetwork(trunk, FourierField(frequencies=3), base=base, branch_scale=1.0)
    images = draw(0, (9, 7))[None].astype(np.float32) / 255
    variables = network.init(jax.random.key(0), jnp.asarray(images))
    variables = jax.tree.map(lambda leaf: leaf + 0.01, variables)  # Biases begin as zeros.
    function, _ = encode(network, variables, jnp.asarray(images))
    encoder = make_encoder(trunk, variables["params"]["backbone"], "float32")
    (features,) = run_graph(encoder.to_bytes("encoder", {}), image=images)
    for scale in (1, 2, 3):
        decoder = make_decoder(function, scale, "float32")
        inputs = {"features": features} | ({} if base == "none" else {"image": images})
        assert decoder.input_names == list(inputs)
        (pixels,) = run_graph(decoder.to_bytes("decoder", {}), **inputs)
        expected = render(function, (scale * 9, scale * 7))
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5)


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


def test_the_example_enlarges_in_tiles(model, folder, draw, monkeypatch):
    spec = importlib.util.spec_from_file_location("onnx_tiles", EXAMPLE)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "SIDE", 16)
    pixels = draw(2, (53, 37))
    function, _ = encode(model.network, model.variables, jnp.asarray(pixels[None]))
    expected = np.asarray(render(function, (106, 74)))[0].clip(0, 1) * 255
    result = example.Upscaler(folder, 2)(pixels)
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.51)


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
    with pytest.raises(UserError, match="the trunk RDN, and only EDSR"):
        export_onnx(other, tmp_path / "a")


def test_a_corrected_base_is_refused(tmp_path):
    network = PixelHypernetwork(EDSR(4, 1), FourierField(frequencies=2), base="corrected")
    other = load_model("sr")
    other.__dict__["network"] = network
    with pytest.raises(UserError, match="corrects the image that its fields add to"):
        export_onnx(other, tmp_path / "a")


def test_a_graph_that_computes_other_values_is_not_written(model, tmp_path, monkeypatch):
    def wrong(graph, **inputs):
        return [run_graph(graph, **inputs)[0] + 1e-3]

    monkeypatch.setattr("hyperfunc.export.onnx.folder.run_graph", wrong)
    with pytest.raises(UserError, match=r"ONNX Runtime computes encoder with an error of 0\.001"):
        export_onnx(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
