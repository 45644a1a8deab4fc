"""The studio in Chromium: a picture comes in, becomes a function, and is saved."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hyperfunc
from benchmarks.browser.chromium import serving
from hyperfunc.commands import main
from tests.export.studio_pictures import enlarge

pytestmark = pytest.mark.browser


@pytest.fixture
def page(studio_page):
    return studio_page


@pytest.fixture
def new_page(page):
    """The studio at an address of its own, from which the browser keeps nothing."""
    with serving(page.path.parent) as (address, requests):
        studio = type(page)(page.driver, page.path, address)
        studio.requests = requests
        studio.open_studio()
        yield studio


def test_what_is_saved_is_what_the_command_line_makes(new_page, draw, tmp_path: Path) -> None:
    page = new_page
    pixels = draw(0, (256, 256))
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    main(["upscale", str(tmp_path / "photo.png"), str(tmp_path / "expected.png"), "--scale=2"])
    with Image.open(tmp_path / "expected.png") as image:
        expected = np.asarray(image).astype(int)
    page.drop(pixels)
    page.wait_until_open()
    assert "zoom in to sharpen" in page.find("cells").text
    page.run("hyperfunc.set({ zoom: 1 })")
    page.wait_until_sharp()
    assert "sharp · on the processor" in page.find("cells").text
    saved = page.save(2, tmp_path)
    assert saved.shape == expected.shape
    difference = np.abs(saved - expected)
    assert (difference <= 1).mean() >= 0.999 and difference.max() <= 2
    bicubic = np.asarray(Image.fromarray(pixels).resize((512, 512), Image.Resampling.BICUBIC))
    assert (np.abs(bicubic - expected) > 1).mean() > 0.05

    origin = page.address
    loaded = page.run("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert loaded and all(name.startswith(origin) for name in loaded)
    root = page.path.parent
    asked = {path.lstrip("/").partition("?")[0] or "index.html" for path in page.requests}
    assert {"runtime/ort-wasm-simd-threaded.wasm", "model/sr/encoder.onnx", "sw.js"} <= asked
    assert not [name for name in asked if "restore" in name]
    size = sum(len(gzip.compress((root / name).read_bytes())) for name in asked)
    assert size < 8e6


@pytest.mark.parametrize("kind", ["colour", "grey", "flat"])
def test_any_scale_across_tiles(page, draw, tmp_path: Path, kind: str) -> None:
    pixels = draw(1, (30, 150))
    if kind == "grey":
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    if kind == "flat":  # Lines on grounds that are nearly even.
        pixels = 250 + pixels % 3
        pixels[10:12], pixels[16:, 125] = 0, (200, 30, 60)
    page.drop(pixels)
    page.wait_until_open()
    saved, expected = page.save(1.37, tmp_path), enlarge(pixels, 1.37)
    assert saved.shape == expected.shape
    assert np.abs(saved - expected).max() <= 1


def test_a_size_is_chosen_and_saved_as_webp(page, draw, tmp_path: Path) -> None:
    pixels = draw(1, (24, 36))
    page.drop(pixels)
    page.wait_until_open()
    page.find("save").click()
    page.type_into("width", 90)
    assert page.find("scale").get_property("value") == "2.5"
    assert page.find("height").get_property("value") == "60"
    page.type_into("format", "webp")
    saved = page.finish_saving(tmp_path / "photo_90x60.webp")
    expected = np.clip(np.asarray(hyperfunc.represent(pixels).render(scale=2.5)), 0, 1) * 255
    assert saved.shape == expected.shape
    assert np.sqrt(((saved - expected) ** 2).mean()) < 8  # It is compressed.


def test_sizes_that_cannot_be_saved_are_refused(page, draw) -> None:
    page.drop(draw(1, (8, 1100)))
    page.wait_until_open()
    page.find("save").click()
    start, problem = page.find("save-start"), page.find("result-size")
    page.type_into("scale", 16)
    assert start.is_enabled() and problem.text == "17600 × 128 pixels"
    page.type_into("format", "webp")
    assert not start.is_enabled() and "at most 16383 pixels on a side" in problem.text
    page.type_into("scale", 17)
    assert not start.is_enabled() and problem.text == "Give a scale from 0.1 to 16."
    page.find("save-cancel").click()


def test_a_model_that_restores_is_chosen(page, draw, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=20, size=(31, 150, 3))
    pixels = np.clip(draw(1, (31, 150)) + noise, 0, 255).astype(np.uint8)
    page.drop(pixels)
    page.wait_until_open()
    page.choose_model(2)
    page.wait_until(lambda: "restor" in page.find("cells").text)
    page.wait_until_sharp()
    assert "restored" in page.find("cells").text
    assert page.find("split").text.split("\n") == ["original", "restored"]
    page.run("hyperfunc.set({ zoom: 1, x: 75, y: 15, compare: true, split: 1 })")
    page.settle()
    shown = page.canvas()[120 - 15 : 120 + 16, 160 - 75 : 160 + 75] * 255
    np.testing.assert_allclose(shown, pixels, atol=1)  # Left of the line is the picture itself.
    for scale in (0.5, 1, 2):
        saved, expected = page.save(scale, tmp_path), enlarge(pixels, scale, "restore")
        assert saved.shape == expected.shape
        assert np.abs(saved - expected).max() <= 1
    page.choose_model(0)
    page.wait_until(lambda: "sharp" in page.find("cells").text)


def test_a_sample_opens_by_keys_and_without_a_network(page) -> None:
    page.wait("navigator.serviceWorker.ready.then(() => 0)")
    page.driver.get(page.address)
    page.requests.clear()
    page.run("document.querySelector('#samples button').focus()")
    page.driver.switch_to.active_element.send_keys("\ue007")  # Enter
    page.wait_until_open()
    page.wait_until_sharp()
    assert page.find("legend").text.startswith("Cat")
    assert page.driver.switch_to.active_element.accessible_name.startswith(
        "Cat: a continuous image"
    )
    assert page.find("status").get_property("textContent")
    assert {path.lstrip("/") for path in page.requests} <= {"sw.js"}


@pytest.mark.parametrize("width", [320, 390])
def test_all_controls_fit_a_phone(page, draw, width: int) -> None:
    page.open_studio(width, 640, mobile=True)
    assert page.run("return document.documentElement.scrollWidth") <= width
    page.drop(draw(2, (20, 24)))
    page.wait_until_open()
    assert page.run("return document.documentElement.scrollWidth") <= width
    boxes = page.run(
        "return [...document.querySelectorAll('button, input, header')]"
        ".filter((e) => e.checkVisibility()).map((e) => {"
        "const b = e.getBoundingClientRect(); return [b.left, b.right, b.height, e.id] })"
    )
    assert len(boxes) >= 10
    for left, right, height, name in boxes:
        assert 0 <= left and right <= width and height >= 28, name
    tops = page.run("return [...document.querySelectorAll('#tools .tool')].map((e) => e.offsetTop)")
    assert len(set(tops)) == 1  # One row.
    legend, picture = page.find("legend").rect, 320 - page.view["y"] * page.view["zoom"]
    assert legend["y"] + legend["height"] <= picture


def test_a_window_may_be_tiny(page) -> None:
    page.open_studio(60, 40)
    page.drop(np.full((1000, 1500, 3), 200, np.uint8))
    page.wait_until_open()
    assert page.view["zoom"] * 1500 == pytest.approx(32, abs=0.1)


def test_keys_open_the_dialog_and_names_are_spoken(page, draw) -> None:
    page.drop(draw(2, (20, 24)))
    page.wait_until_open()
    page.press("s")
    dialog, size = page.find("save-dialog"), page.find("result-size")
    assert dialog.is_displayed() and size.text == "48 × 40 pixels"
    view = page.view
    page.press("3")  # It replaces the scale.
    page.press("0")  # It does not reset the view.
    assert page.find("scale").get_property("value") == "30" and page.view == view
    page.find("save-cancel").click()
    assert not dialog.is_displayed()
    unnamed = page.run(
        "return [...document.querySelectorAll('button, input')].filter((e) => e.checkVisibility()"
        " && !e.ariaLabel && !e.textContent.trim() && !e.labels?.length).map((e) => e.id)"
    )
    assert unnamed == []


def test_a_file_that_is_no_picture_is_refused(page) -> None:
    page.drop_file(b"text", "text.png")
    problem = page.find("problem")
    page.wait_until(lambda: "cannot read this file as a picture" in problem.text)
    assert page.find("welcome").is_displayed()


def test_a_warning_stays_until_a_picture_opens(page, draw) -> None:
    page.drop(draw(2, (20, 24)))
    page.wait_until_open()
    page.wait_until_sharp()
    page.drop_file(b"text", "text.txt")
    warning = page.find("warning")
    page.wait_until(lambda: "cannot read this file as a picture" in warning.text)
    page.press("+")
    page.wait_until_sharp()
    assert "sharp" in page.find("cells").text and warning.is_displayed()
    page.drop(draw(2, (30, 20)))
    page.wait_until(lambda: "20 × 30" in page.find("cells").text)
    assert not warning.is_displayed()


@pytest.mark.parametrize("width", [320, 1000])
def test_no_letter_of_a_name_is_alone_in_its_line(page, draw, width: int) -> None:
    page.open_studio(width, 640)
    name = "IMG_" + "a_long_name_" * 20 + "2.jpeg"
    page.drop(draw(2, (20, 24)), name)
    page.wait_until_open()
    heading = page.driver.find_element("css selector", "#legend h1")
    assert heading.text.startswith("IMG_a") and heading.text.endswith("name_2.jpeg")
    assert heading.get_attribute("title") == heading.accessible_name == name
    shares = page.run(
        "const heading = document.querySelector('#legend h1'), range = new Range(), shares = [];"
        "for (let n = 20; n <= 72; n++) { heading.textContent = arguments[0].slice(0, n);"
        "range.selectNodeContents(heading);"
        "const lines = [...range.getClientRects()].map((line) => line.width);"
        "shares.push(lines.at(-1) / Math.max(...lines)); } return shares",
        name,
    )
    assert min(shares) < 1 and min(shares) > 0.3, shares
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_a_graphics_card_that_is_lost_twice_leaves_the_picture(page, draw) -> None:
    page.drop(draw(2, (20, 24)))
    page.wait_until_open()
    page.run(
        "const gl = document.getElementById('canvas').getContext('webgl2');"
        "window.loss = gl.getExtension('WEBGL_lose_context'); loss.loseContext()"
    )
    message = page.find("message")
    page.wait_until(lambda: "has lost the graphics card. Waiting" in message.text)
    page.run("loss.restoreContext()")
    page.wait_until(lambda: not message.is_displayed())
    page.settle()
    page.run("loss.loseContext()")
    page.wait_until(lambda: "lost the graphics card twice" in message.text)
    assert is_picture_shown(page)


def is_picture_shown(page) -> bool:
    page.wait("document.getElementById('plain').decode().then(() => 0)")
    return page.find("plain").is_displayed() and not page.find("canvas").is_displayed()


def test_without_webgl_the_picture_itself_is_shown(page, draw) -> None:
    script = page.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "const get = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest)"
            " { return kind === 'webgl2' ? null : get.call(this, kind, ...rest); }"
        },
    )
    try:
        page.open_studio()
        assert "needs WebGL 2" in page.find("problem").text
        page.drop(draw(2, (20, 24)))
        page.wait_until(lambda: "needs WebGL 2" in page.find("message").text)
        assert is_picture_shown(page)
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_from_a_file_the_page_says_how_to_serve_it(page) -> None:
    page.driver.get(page.path.as_uri())
    assert "python -m http.server" in page.find("problem").text
    page.driver.get_log("browser")  # Chromium tells of the manifest.


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_barriers(page, web: Path, draw, scheme: str, width: int) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        page.open_studio(width, 800, mobile=width < 500)
        page.run((web / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
        found = {"first screen": find_barriers(page)}
        page.drop(draw(2, (20, 24)))
        page.wait_until_open()
        page.wait_until_sharp()
        found["picture"] = find_barriers(page)
        page.find("help-button").click()
        found["help"] = find_barriers(page)
        page.run("document.getElementById('help').close()")
        page.find("save").click()
        found["saving"] = find_barriers(page)
        page.find("save-cancel").click()
        assert not any(found.values()), found
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def find_barriers(page) -> list[str]:
    """Return what axe-core reports, and what it cannot decide except colours on pictures."""
    return page.wait(
        "axe.run(document, { resultTypes: ['violations', 'incomplete'] }).then((found) =>"
        " [...found.violations, ...found.incomplete.filter((x) => x.id !== 'color-contrast')]"
        ".flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`)))"
    )
