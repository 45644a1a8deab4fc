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
from hyperfunc.export import page as viewer
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


def cuts(config: dict) -> np.ndarray:
    """Where the payload's arrays end, bytes."""
    height, width, quads, layers = (config[n] for n in ("height", "width", "quads", "layers"))
    lengths = [quads * 32 * layers * 4, height * quads * 16, quads * 4 * height * width]
    return np.cumsum(lengths)


@pytest.mark.parametrize("size", [(6, 7), (3, 40)], ids=["few", "a scale for each row"])
def test_the_textures_hold_every_coefficient(size: tuple[int, int]) -> None:
    function = make_function(size)
    config, payload = read_page(viewer.make_page(function))
    height, width, quads, layers = (config[n] for n in ("height", "width", "quads", "layers"))
    parts = iter(np.split(np.frombuffer(payload, np.uint8), cuts(config)))
    kernel = next(parts).view("<f4").reshape(layers, quads, 8, 4)
    scales = next(parts).view("<f4").reshape(height, quads, 4)
    features = next(parts).view(np.int8).reshape(quads, height, width, 4) * 1.0
    features *= scales.transpose(1, 0, 2)[:, :, None]
    # What the page's first shader computes, then in the order of the second.
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


def test_a_title_is_text_and_nothing_else() -> None:
    title = "</title><script>alert('%%config%%')</script>"
    page = viewer.make_page(make_function(), title=title).decode()
    assert title not in page
    assert "&lt;script&gt;alert" in page
    assert "%%title%%" not in page
    read_page(page.encode())


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = viewer.make_page(make_function()).decode()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|https?://""", page)
    assert "default-src 'none'" in page


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    viewer.export_html(make_function(), tmp_path / "new" / "page.html", title="A")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["page.html"]
    assert (tmp_path / "new" / "page.html").read_bytes() == viewer.make_page(
        make_function(), title="A"
    )


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (make_function(batch=2), "2 of 3 and 5: export one RGB image"),
        (make_function(channels=1), "1 of 1 and 5: export one RGB image"),
        (make_function(frequencies=65), "up to 64 frequencies"),
        (make_function((1, 4097)), "4097 x 1 pixels are too large.*crop.*hyperfunc upscale"),
        (make_function().replace(target=CosineMLP()), "this is a CosineMLP"),
    ],
    ids=["batch", "grey", "frequencies", "wide", "mlp"],
)
def test_what_the_page_cannot_show_is_refused(function: FunctionalImage, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        viewer.make_page(function)


def test_a_page_that_nothing_can_be_seen_in_is_refused() -> None:
    function = make_function()
    function = function.replace(shared={**function.shared, "log_kappa": jnp.float32(1e4)})
    with pytest.raises(UserError, match="kappa is inf: the model is damaged"):
        viewer.make_page(function)


def test_a_title_of_any_bytes() -> None:
    page = viewer.make_page(make_function(), title=os.fsdecode(b"\xff.png"))
    assert b"?.png" in page and page.decode()


def test_too_large_functions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "MAX_TEXTURES", 6 * 7 * 7 * 16 - 1)
    with pytest.raises(UserError, match="7 x 6 pixels are too large"):
        viewer.make_page(make_function())
    monkeypatch.setattr(viewer, "MAX_TEXTURES", 6 * 7 * 7 * 16)
    viewer.make_page(make_function())
    monkeypatch.setattr(viewer, "MAX_PAGE", 20_000)
    with pytest.raises(UserError, match="would have 0 MB"):
        viewer.make_page(make_function())
