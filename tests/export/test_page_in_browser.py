"""The page as a document: its layout, accessibility, failures, and independence of other files."""

from typing import Any

import numpy as np
import pytest

from hyperfunc.networks import FactoredTheta

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [320, 360, 800])
def test_all_controls_fit_the_screen(page, width: int) -> None:
    page.open(width, 480, mobile=width < 500)
    assert page.run("return document.documentElement.scrollWidth") <= width
    boxes = page.run(
        "return [...document.querySelectorAll('button, input, header')]"
        ".filter((e) => e.checkVisibility()).map((e) => {"
        "const b = e.getBoundingClientRect(); return [b.left, b.right, b.height, e.id] })"
    )
    assert len(boxes) >= 8
    for left, right, height, name in boxes:
        assert 0 <= left and right <= width, name
        assert height >= 28, name


def test_the_line_does_not_open_over_a_thin_image(export_page, function) -> None:
    height = function.size[0]
    page = export_page(
        function.replace(
            theta=FactoredTheta(function.theta.features[:, :, :2], function.theta.kernel),
            base=function.base[:, :, :2],
            exists=(function.exists[0], function.exists[1][:2]),
            size=(height, 2),
        )
    )
    page.open(240, 180)
    assert not page.view["compare"]
    assert page.run("return document.getElementById('compare').ariaPressed") == "false"
    page.press("c")
    assert page.view["compare"]
    page.press("0")
    assert not page.view["compare"]


def test_every_pixel_of_a_dense_screen_is_drawn(page) -> None:
    page.open(320, 240, 3.0, mobile=True)
    assert (page.view["width"], page.view["height"]) == (960, 720)


def test_everything_that_takes_the_focus_has_a_name(page) -> None:
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]

    def is_focusable(node: dict[str, Any]) -> bool:
        return any(p["name"] == "focusable" for p in node.get("properties", ()))

    focusable = [
        node for node in nodes if is_focusable(node) and node["role"]["value"] != "RootWebArea"
    ]
    assert len(focusable) >= 9
    assert all(node["name"]["value"] for node in focusable), focusable


def test_the_image_returns_after_the_graphics_card_was_lost_once(page, function) -> None:
    before = page.canvas()
    page.run(
        "const gl = document.getElementById('canvas').getContext('webgl2');"
        "window.loss = gl.getExtension('WEBGL_lose_context'); loss.loseContext()"
    )
    page.wait("new Promise((r) => setTimeout(r, 100))")
    message = page.find("message")
    assert "has lost the graphics card" in message.text
    page.run("loss.restoreContext()")
    page.wait("new Promise((r) => setTimeout(r, 300))")
    page.settle()
    assert not message.is_displayed()
    np.testing.assert_array_equal(page.canvas(), before)
    page.run("loss.loseContext()")
    page.wait("new Promise((r) => setTimeout(r, 300))")
    assert "lost the graphics card twice" in message.text
    assert_the_base_is_shown(page, function)


def assert_the_base_is_shown(page, function) -> None:
    assert page.find("plain").is_displayed() and not page.find("canvas").is_displayed()
    levels = page.run(
        "const { width, height } = document.getElementById('plain'); return [...document"
        ".getElementById('plain').getContext('2d').getImageData(0, 0, width, height).data]"
    )
    height, width = function.size
    shown = np.reshape(levels, (height, width, 4))[..., :3]
    np.testing.assert_allclose(shown, np.asarray(function.base)[0] * 255, atol=0.51)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("if (kind === 'webgl2') return null;", "needs WebGL 2"),
        (
            "if (gl && kind === 'webgl2') { const ask = gl.getParameter.bind(gl);"
            "gl.getParameter = (n) => n === gl.MAX_TEXTURE_SIZE ? 16 : ask(n); }",
            "too large for this device's graphics card",
        ),
        (
            "if (gl && kind === 'webgl2') gl.getError = () => gl.OUT_OF_MEMORY;",
            "too large for this device's graphics memory",
        ),
    ],
)
def test_a_page_that_cannot_draw_shows_the_base(
    exported, function, change: str, message: str
) -> None:
    script = exported.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "const get = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            f"const gl = get.call(this, kind, ...rest); {change} return gl; }}"
        },
    )
    try:
        exported.driver.get(exported.path.as_uri())
        exported.wait("hyperfunc.ready.catch(() => 0)")
        assert message in exported.find("message").text
        assert_the_base_is_shown(exported, function)
        assert exported.driver.get_log("browser") == []
    finally:
        exported.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_the_page_requests_nothing(page) -> None:
    assert page.run("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    assert page.driver.title == "A <random> field · hyperfunc"


def test_the_page_is_one_file(exported) -> None:
    assert [path.name for path in exported.path.parent.iterdir()] == ["page.html"]
