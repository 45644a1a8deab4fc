import base64
import json
import os
import re
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.export import export_html, make_page
from hyperfunc.export.page import page as page_module
from hyperfunc.function import FunctionalImage
from hyperfunc.networks import CosineMLP, FactoredTheta, FourierField
from hyperfunc.pixels import PER_PIXEL


def make_function(
    size: tuple[int, int] = (6, 7), *, frequencies: int = 5, channels: int = 3, batch: int = 1
) -> FunctionalImage:
    rng = np.random.default_rng(0)
    target = FourierField(frequencies=frequencies, channels=channels)
    return FunctionalImage(
        theta=FactoredTheta(
            jnp.asarray(rng.normal(size=(batch, *size, 6)), jnp.float32),
            jnp.asarray(rng.normal(size=(6, target.basis_size, channels)), jnp.float32),
        ),
        shared=target.init(jax.random.key(0))[1],
        base=jnp.asarray(rng.random((batch, *size, channels)), jnp.float32),
        exists=(jnp.ones(size[0]), jnp.ones(size[1])),
        target=target,
        layout=PER_PIXEL,
        size=size,
    )


def read_page(page: bytes) -> tuple[dict, bytes]:
    text = page.decode()
    config = re.search(r'id="config">(.*?)</script>', text, re.S)
    data = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert config and data
    return json.loads(config[1]), zlib.decompress(base64.b64decode(data[1]))


def find_ends(config: dict) -> np.ndarray:
    """Return where the arrays of the payload end, in bytes."""
    height, width, quads, layers = (config[n] for n in ("height", "width", "quads", "layers"))
    lengths = [quads * 32 * layers * 4, height * quads * 16, quads * 4 * height * width]
    return np.cumsum(lengths)


@pytest.mark.parametrize(
    "size", [(6, 7), (3, 40)], ids=["a scale for all rows", "a scale for each row"]
)
def test_the_textures_hold_every_coefficient(size: tuple[int, int]) -> None:
    function = make_function(size)
    config, payload = read_page(make_page(function))
    height, width, quads, layers = (config[n] for n in ("height", "width", "quads", "layers"))
    parts = iter(np.split(np.frombuffer(payload, np.uint8), find_ends(config)))
    kernel = next(parts).view("<f4").reshape(layers, quads, 8, 4)
    scales = next(parts).view("<f4").reshape(height, quads, 4)
    features = next(parts).view(np.int8).reshape(quads, height, width, 4) * 1.0
    features *= scales.transpose(1, 0, 2)[:, :, None]
    # What expand.glsl computes, in the order in which field.glsl reads it.
    cells = np.einsum("qhwi,lqji->hwlj", features, kernel).reshape(height, width, -1)
    waves = cells[..., : 6 * len(config["waves"])].reshape(height, width, -1, 2, 3)
    coefficients = np.asarray(function.expanded()["coefficients"])[0]
    omega = np.asarray(function.shared["frequencies"])
    order = np.argsort((omega**2).sum(axis=1))
    np.testing.assert_allclose(np.array(config["waves"])[:5], omega[order, ::-1], rtol=1e-6)
    np.testing.assert_allclose(waves[:, :, :5, 0], coefficients[:, :, :5][:, :, order], atol=0.2)
    np.testing.assert_allclose(waves[:, :, :5, 1], coefficients[:, :, 5:10][:, :, order], atol=0.2)
    np.testing.assert_array_equal(waves[:, :, 5:], 0)
    np.testing.assert_allclose(cells[..., -8:-5], coefficients[:, :, 10], atol=0.2)
    base = next(parts)
    np.testing.assert_allclose(
        base.reshape(height, width, 3) / 255, np.asarray(function.base)[0], atol=0.51 / 255
    )


def test_a_title_is_plain_text() -> None:
    title = "</title><script>alert('%%config%%')</script>"
    page = make_page(make_function(), title=title).decode()
    assert title not in page
    assert "&lt;script&gt;alert" in page
    assert "%%title%%" not in page
    read_page(page.encode())


def test_the_page_refers_to_no_other_file() -> None:
    page = make_page(make_function()).decode()
    assert "%%" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|https?://""", page)
    assert "default-src 'none'" in page


def test_only_the_page_is_written(tmp_path: Path) -> None:
    export_html(make_function(), tmp_path / "new" / "page.html", title="A")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["page.html"]
    assert (tmp_path / "new" / "page.html").read_bytes() == make_page(make_function(), title="A")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (make_function(batch=2), "are 2, 3 and 5: export one RGB image"),
        (make_function(channels=1), "are 1, 1 and 5: export one RGB image"),
        (make_function(frequencies=65), "at most 64 frequencies"),
        (make_function((1, 4097)), "4097 x 1 pixels are too large.*crop.*hyperfunc upscale"),
        (make_function().replace(target=CosineMLP()), "this function has a CosineMLP"),
    ],
    ids=["batch", "grey", "frequencies", "wide", "mlp"],
)
def test_what_the_page_cannot_show_is_refused(function: FunctionalImage, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        make_page(function)


def test_an_infinite_kappa_is_refused() -> None:
    function = make_function()
    function = function.replace(shared={**function.shared, "log_kappa": jnp.float32(1e4)})
    with pytest.raises(UserError, match="kappa is inf: the model is damaged"):
        make_page(function)


def test_a_title_may_be_invalid_utf8() -> None:
    page = make_page(make_function(), title=os.fsdecode(b"\xff.png"))
    assert b"?.png" in page and page.decode()


def test_too_large_functions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MAX_TEXTURE_BYTES", 6 * 7 * 7 * 16 - 1)
    with pytest.raises(UserError, match="7 x 6 pixels are too large"):
        make_page(make_function())
    monkeypatch.setattr(page_module, "MAX_TEXTURE_BYTES", 6 * 7 * 7 * 16)
    make_page(make_function())
    monkeypatch.setattr(page_module, "MAX_PAGE_BYTES", 20_000)
    with pytest.raises(UserError, match="would take 0 MB, more than the limit of 0 MB"):
        make_page(make_function())
