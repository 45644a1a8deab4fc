"""The exported page in headless Chromium, on a software WebGL 2, against JAX."""

import base64
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from hyperfunc.export import export_html, load_function, save_function
from hyperfunc.function import FunctionalImage, render, sample
from hyperfunc.networks import FactoredTheta, FourierField
from hyperfunc.pixels import PER_PIXEL, Axis, interpolate_grid

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="needs chromium and chromedriver: apt-get install chromium chromium-driver",
)

FLAGS = """--headless --no-sandbox --use-gl=angle --use-angle=swiftshader
--enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars""".split()

SIZE = (24, 36)
TOLERANCE = 2 / 255
GROUND = np.array([15, 17, 20]) / 255
View = dict[str, Any]
draw = jax.jit(render, static_argnames=("size", "window"))


@pytest.fixture(scope="module")
def function() -> FunctionalImage:
    """A smooth picture and a random field, about as strong as a trained one."""
    rng = np.random.default_rng(0)
    target = FourierField(frequencies=6, bandwidth=4.0)
    y, x = np.meshgrid(np.linspace(0, 5, SIZE[0]), np.linspace(0, 7, SIZE[1]), indexing="ij")
    base = 0.5 + 0.25 * np.stack([np.sin(x + y), np.cos(x - y), np.sin(2 * x)], axis=-1)
    features = rng.normal(size=(1, *SIZE, 10))
    kernel = rng.normal(scale=0.02, size=(10, target.basis_size, 3))
    return FunctionalImage(
        theta=FactoredTheta(jnp.asarray(features, jnp.float32), jnp.asarray(kernel, jnp.float32)),
        shared=target.init(jax.random.key(1))[1],
        base=jnp.asarray(np.round(base[None] * 255) / 255, jnp.float32),
        exists=(jnp.ones(SIZE[0]), jnp.ones(SIZE[1])),
        target=target,
        layout=PER_PIXEL,
        size=SIZE,
    )


class Page:
    """The page in a browser, and what a user can do to it."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, width: int = 480, height: int = 360, ratio: float = 1.0, *, mobile=False):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile},
        )
        self.driver.get(self.url)
        self.settle()

    def resize(self, width: int, height: int) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1.0, "mobile": False},
        )
        self.wait("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        self.settle()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, promise: str, *arguments: Any) -> Any:
        result = self.driver.execute_async_script(
            "const args = arguments, done = args[args.length - 1];"
            f"({promise}).then((value) => done({{ value }}), (e) => done({{ error: String(e) }}))",
            *arguments,
        )
        assert "error" not in result, result["error"]
        return result["value"]

    def settle(self) -> None:
        self.wait("hyperfunc.settled().then(() => 0)")

    @property
    def view(self) -> View:
        return self.run("return hyperfunc.view")

    def render(self, width: int, height: int, **view: Any) -> np.ndarray:
        """Pixels of any view, [h, w, 3] in [0, 1]."""
        text = self.wait(
            "hyperfunc.renderView(args[0]).then((bytes) => btoa(String.fromCharCode(...bytes)))",
            {"width": width, "height": height, **view},
        )
        pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
        return pixels[..., :3].astype(np.float32) / 255

    def canvas(self) -> np.ndarray:
        """Pixels that the canvas shows, [h, w, 3] in [0, 1]."""
        url = self.run("return document.getElementById('canvas').toDataURL('image/png')")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGB")).astype(np.float32) / 255

    def actions(self, kind: str = "mouse") -> Any:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        return ActionChains(self.driver, duration=0, devices=[PointerInput(kind, kind)])

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def touch(self, *fingers: list[tuple[int, int]]) -> None:
        """Move one or more fingers along paths of equal length, at once."""

        def points(step: int) -> list[dict[str, int]]:
            return [{"x": f[step][0], "y": f[step][1], "id": i} for i, f in enumerate(fingers)]

        send = self.driver.execute_cdp_cmd
        send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points(0)})
        for step in range(1, len(fingers[0])):
            send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points(step)})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.settle()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason='pip install -e ".[dev]"')
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(CHROMEDRIVER, log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def opened(driver, function, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "page.html"
    export_html(function, path, title="A <random> field")
    return Page(driver, path.as_uri())


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """The page, freshly opened; whatever a test does, the console stays empty."""
    opened.open()
    yield opened
    assert opened.driver.get_log("browser") == []


@pytest.fixture(scope="module")
def still(opened: Page) -> Page:
    """The page for tests that leave its view as it is."""
    opened.open()
    return opened


def at_view(view: View, width: int, height: int) -> tuple[jax.Array, tuple[float, float]]:
    """Coordinates (y, x) of a view's pixels, [h, w, 2], and its footprint."""
    across, down = np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2
    dy, dx = np.meshgrid(down, across, indexing="ij")
    cos, sin = np.cos(view.get("rotation", 0.0)), np.sin(view.get("rotation", 0.0))
    x = view["x"] + (cos * dx + sin * dy) / view["zoom"]
    y = view["y"] + (-sin * dx + cos * dy) / view["zoom"]
    coords = jnp.asarray(np.stack([y / SIZE[0], x / SIZE[1]], axis=-1), jnp.float32)
    return coords, (1 / view["zoom"],) * 2


@jax.jit
def values_and_slopes(function: FunctionalImage, coords: jax.Array, footprint: jax.Array):
    """Values [n, c] and derivatives [n, c, 2] per input pixel, at points [n, 2]."""

    def value(coord: jax.Array) -> jax.Array:
        return sample(function, coord[None], footprint=footprint[None], widest=4.0)[0, 0]

    slopes = jax.vmap(jax.jacfwd(value))(coords)
    return jax.vmap(value)(coords), slopes / jnp.asarray(SIZE, jnp.float32)[None, None]


PART = (60, 50)
"""Width and height of the views that are compared point by point: one shape compiles once."""


def expected(function: FunctionalImage, view: View) -> np.ndarray:
    """What JAX says of a view of PART pixels; the ground where it reaches out of the image."""
    coords, footprint = at_view(view, *PART)
    values, slopes = values_and_slopes(function, coords.reshape(-1, 2), jnp.asarray(footprint))
    if view.get("gradient"):
        magnitude = jnp.sqrt(jnp.square(slopes).sum(axis=(1, 2)) / 3)
        values = jnp.broadcast_to(1 - jnp.exp(-3 * magnitude)[:, None], values.shape)
    shown = np.clip(np.asarray(values), 0, 1).reshape(*coords.shape[:2], 3)
    is_outside = ((coords < 0) | (coords > 1)).any(axis=-1)
    return np.where(is_outside[..., None], GROUND, shown)


class TestPixels:
    @pytest.mark.parametrize("scale", [2, 3.75, 1, 0.5])
    def test_the_whole_image_agrees_with_render(self, still: Page, function, scale: float) -> None:
        height, width = (round(scale * n) for n in SIZE)
        shown = still.render(width, height, x=SIZE[1] / 2, y=SIZE[0] / 2, zoom=scale, rotation=0)
        reference = draw(function, (height, width))[0]
        assert np.abs(shown - np.clip(reference, 0, 1)).max() <= TOLERANCE

    def test_a_part_agrees_with_render(self, still: Page, function) -> None:
        shown = still.render(80, 60, x=11.0, y=7.5, zoom=10, rotation=0)
        window = (4.5 / SIZE[0], 7 / SIZE[1], 10.5 / SIZE[0], 15 / SIZE[1])
        reference = draw(function, (60, 80), window=window)[0]
        assert np.abs(shown - np.clip(reference, 0, 1)).max() <= TOLERANCE

    def test_the_left_of_the_line_is_bicubic(self, still: Page, function) -> None:
        view = {"x": 16.0, "y": 12.0, "zoom": 4, "rotation": 0, "compare": True, "split": 0.5}
        shown = still.render(*PART, **view)
        rows, cols = Axis(12.0 - 6.25, 0.25, 50), Axis(16.0 - 7.5, 0.25, 60)
        bicubic = np.clip(interpolate_grid(function.base, rows, cols)[0], 0, 1)
        assert np.abs(shown - bicubic)[:, :30].max() <= TOLERANCE
        assert np.abs(shown - bicubic)[:, 30:].max() > 10 * TOLERANCE
        assert np.abs(shown - expected(function, view))[:, 30:].max() <= TOLERANCE

    @pytest.mark.parametrize("rotation", [0.6, -2.5])
    def test_rotation_agrees_with_sample(self, still: Page, function, rotation: float) -> None:
        view = {"x": 15.3, "y": 11.1, "zoom": 5.5, "rotation": rotation}
        shown = still.render(*PART, **view)
        assert np.abs(shown - expected(function, view)).max() <= TOLERANCE

    # At 0.8 the base takes over, and slopes are smaller.
    @pytest.mark.parametrize(("zoom", "least"), [(6.0, 0.05), (0.8, 4 * TOLERANCE)])
    def test_the_gradient_agrees_with_its_derivative(
        self, still: Page, function, zoom: float, least: float, tmp_path: Path
    ) -> None:
        save_function(tmp_path / "f.hfn", function)  # A slope shows the rounding to 8 bits as well.
        function = load_function(tmp_path / "f.hfn")
        view = {"x": 15.3, "y": 11.1, "zoom": zoom, "rotation": 0.4, "gradient": True}
        shown = still.render(*PART, **view)
        reference = expected(function, view)
        assert reference.std() > least
        assert np.abs(shown - reference).max() <= TOLERANCE

    def test_outside_of_the_image_is_the_ground(self, still: Page) -> None:
        shown = still.render(20, 10, x=-5, y=-5, zoom=2, rotation=0)
        np.testing.assert_allclose(shown[0, 0], GROUND, atol=0.002)

    def test_the_canvas_shows_the_view(self, page: Page) -> None:
        page.run("hyperfunc.set({ x: 14, y: 12, zoom: 40, rotation: 0.3, split: 0.3 })")
        page.settle()
        view = page.view
        shown = page.canvas()
        assert shown.shape == (360, 480, 3)
        # A hundred pixels around the middle, drawn again on their own.
        del view["width"], view["height"]
        again = page.render(100, 100, **{**view, "compare": False})
        assert np.abs(again - shown[130:230, 190:290]).max() <= 1 / 255
        bicubic = page.render(100, 100, **{**view, "split": 1.0})
        assert np.abs(bicubic - again).max() > 10 / 255


class TestInput:
    def test_dragging_moves_the_image_with_the_mouse(self, page: Page) -> None:
        before = page.view
        canvas = page.driver.find_element("id", "canvas")
        page.actions().move_to_element_with_offset(
            canvas, -150, 20
        ).click_and_hold().move_by_offset(47, -30).release().perform()
        page.settle()
        after = page.view
        assert after["x"] == pytest.approx(before["x"] - 47 / before["zoom"], abs=0.01)
        assert after["y"] == pytest.approx(before["y"] + 30 / before["zoom"], abs=0.01)
        assert after["zoom"] == before["zoom"]

    def test_the_wheel_zooms_about_the_pointer(self, page: Page) -> None:
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        canvas = page.driver.find_element("id", "canvas")
        before = page.view
        page.actions().scroll_from_origin(
            ScrollOrigin.from_element(canvas, 100, 50), 0, -200
        ).perform()
        page.settle()
        after = page.view
        assert after["zoom"] > 1.2 * before["zoom"]
        for axis, offset in (("x", 100), ("y", 50)):  # The point under the pointer stayed.
            assert after[axis] + offset / after["zoom"] == pytest.approx(
                before[axis] + offset / before["zoom"], abs=0.02
            )

    def test_shift_and_drag_rotates(self, page: Page) -> None:
        from selenium.webdriver.common.keys import Keys

        canvas = page.driver.find_element("id", "canvas")
        page.actions().key_down(Keys.SHIFT).move_to_element_with_offset(
            canvas, 120, 0
        ).click_and_hold().move_by_offset(0, 100).release().key_up(Keys.SHIFT).perform()
        page.settle()
        assert page.view["rotation"] == pytest.approx(np.arctan2(100, 120), abs=0.03)

    def test_keys(self, page: Page) -> None:
        from selenium.webdriver.common.keys import Keys

        start = page.view
        page.press("+", "+")
        assert page.view["zoom"] == pytest.approx(start["zoom"] * 1.25**2)
        page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
        assert page.view["x"] > start["x"] and page.view["y"] > start["y"]
        page.press("]", "]", "[")
        assert page.view["rotation"] == pytest.approx(np.pi / 36)
        page.press("g", "c")
        assert page.view["gradient"] and not page.view["compare"]
        assert page.run("return document.getElementById('gradient').ariaPressed") == "true"
        page.press("-", "0")
        assert page.view == start

    def test_one_finger_moves_and_two_pinch_and_turn(self, page: Page) -> None:
        page.open(360, 420, 2.0, mobile=True)
        start = page.view
        page.touch([(100, 200), (120, 220), (140, 240)])
        moved = page.view
        assert moved["x"] == pytest.approx(start["x"] - 2 * 40 / start["zoom"], abs=0.1)
        page.touch([(140, 200), (120, 200), (100, 200)], [(220, 200), (240, 200), (260, 200)])
        pinched = page.view
        assert pinched["zoom"] == pytest.approx(2 * moved["zoom"], rel=0.02)
        assert pinched["rotation"] == 0
        turned = [(180 + 80 * np.cos(a), 200 + 80 * np.sin(a)) for a in np.linspace(0, 1, 9)]
        page.touch(
            [(round(360 - x), round(400 - y)) for x, y in turned],
            [(round(x), round(y)) for x, y in turned],
        )
        assert page.view["rotation"] == pytest.approx(1, abs=0.2)
        assert page.view["zoom"] == pytest.approx(pinched["zoom"], rel=0.05)

    def test_the_line_follows_pointer_and_keys(self, page: Page) -> None:
        from selenium.webdriver.common.keys import Keys

        line = page.driver.find_element("id", "split")
        before = page.view
        page.actions().click_and_hold(line).move_by_offset(-96, 0).release().perform()
        page.settle()
        assert page.view["split"] == pytest.approx(0.3, abs=0.01)
        page.press(Keys.ARROW_RIGHT)
        assert page.view["split"] == pytest.approx(0.32, abs=0.01)
        assert line.get_attribute("aria-valuenow") == "32"
        assert {**page.view, "split": 0.5} == before

    def test_the_line_is_no_obstacle(self, page: Page) -> None:
        """Wheel, double click and pinch do on it what they do beside it, and it stays."""
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        line = page.driver.find_element("id", "split")
        before = page.view
        page.actions().scroll_from_origin(ScrollOrigin.from_element(line, 0, 60), 0, -200).perform()
        page.settle()
        scrolled = page.view
        assert scrolled["zoom"] > 1.2 * before["zoom"]
        page.actions().move_to_element_with_offset(line, 0, 60).double_click().perform()
        page.settle()
        assert page.view["zoom"] == pytest.approx(2 * scrolled["zoom"], rel=0.01)
        page.open(360, 420, 2.0, mobile=True)
        before = page.view
        page.touch([(180, 170), (180, 150), (180, 130)], [(180, 250), (180, 270), (180, 290)])
        assert page.view["zoom"] == pytest.approx(2 * before["zoom"], rel=0.02)
        assert page.view["split"] == before["split"]
        page.touch([(180, 200), (160, 200), (150, 200)])  # One finger takes it along, as before.
        assert page.view["split"] < before["split"] - 0.05

    def test_what_is_shown_does_not_change_what_fits(self, page: Page) -> None:
        """A phone that is turned: the picture fits again, unless one has zoomed."""
        page.open(400, 300)
        page.press("c", "g")
        page.resize(300, 500)
        shown = page.view["zoom"]
        page.press("0")
        assert shown == pytest.approx(page.view["zoom"])
        page.press("+")
        zoomed = page.view["zoom"]
        page.resize(400, 300)
        assert page.view["zoom"] == pytest.approx(zoomed) != pytest.approx(shown)

    def test_brackets_may_need_alt(self, page: Page) -> None:
        """Where they are typed with AltGr or Option; what Ctrl does is the browser's."""
        script = (
            "const event = new KeyboardEvent('keydown', {key: arguments[0], ...arguments[1]});"
            "dispatchEvent(event); return event.defaultPrevented"
        )
        for modifiers in ({"altKey": True}, {"altKey": True, "ctrlKey": True}):
            before = page.view["rotation"]
            page.run(script, "]", modifiers)
            page.settle()
            assert page.view["rotation"] == pytest.approx(before + np.pi / 36)
        for key, modifiers in (("]", {"ctrlKey": True}), ("+", {"altKey": True})):
            before = page.view
            page.run(script, key, modifiers)
            page.settle()
            assert page.view == before

    def test_buttons_and_slider(self, page: Page) -> None:
        start = page.view

        def click(name: str) -> View:
            page.driver.find_element("id", name).click()
            page.settle()
            return page.view

        assert click("zoom-in")["zoom"] > start["zoom"]
        assert click("zoom-out")["zoom"] == pytest.approx(start["zoom"])
        assert click("gradient")["gradient"]
        assert not click("compare")["compare"]
        assert not page.driver.find_element("id", "split").is_displayed()
        page.run(
            "const a = document.getElementById('angle'); a.value = 30;"
            "a.dispatchEvent(new Event('input'))"
        )
        page.settle()
        assert page.view["rotation"] == pytest.approx(np.pi / 6)
        assert click("reset") == start

    def test_help_opens_and_closes(self, page: Page) -> None:
        from selenium.webdriver.common.keys import Keys

        page.press("?")
        assert page.driver.find_element("id", "help").is_displayed()
        page.press(Keys.ESCAPE)
        assert not page.driver.find_element("id", "help").is_displayed()


class TestPage:
    @pytest.mark.parametrize("width", [320, 360, 800])
    def test_everything_fits_the_screen(self, page: Page, width: int) -> None:
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

    def test_a_thin_picture_does_not_hide_behind_the_line(self, driver, function, tmp_path):
        thin = function.replace(
            theta=FactoredTheta(function.theta.features[:, :, :2], function.theta.kernel),
            base=function.base[:, :, :2],
            exists=(function.exists[0], function.exists[1][:2]),
            size=(SIZE[0], 2),
        )
        export_html(thin, tmp_path / "thin.html")
        page = Page(driver, (tmp_path / "thin.html").as_uri())
        page.open(240, 180)
        assert not page.view["compare"]
        page.press("c")
        assert page.view["compare"]
        page.press("0")
        assert not page.view["compare"]

    def test_it_draws_every_pixel_of_a_dense_screen(self, page: Page) -> None:
        page.open(320, 240, 3.0, mobile=True)
        assert (page.view["width"], page.view["height"]) == (960, 720)

    def test_everything_that_takes_the_focus_has_a_name(self, page: Page) -> None:
        page.driver.execute_cdp_cmd("Accessibility.enable", {})
        nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        focusable = [
            node
            for node in nodes
            if any(p["name"] == "focusable" for p in node.get("properties", ()))
            and node["role"]["value"] != "RootWebArea"
        ]
        assert len(focusable) >= 9
        assert all(node["name"]["value"] for node in focusable), focusable

    def test_it_is_restored_after_the_context_is_lost(self, page: Page) -> None:
        before = page.canvas()
        page.run(
            "const gl = document.getElementById('canvas').getContext('webgl2');"
            "window.loss = gl.getExtension('WEBGL_lose_context'); loss.loseContext()"
        )
        page.wait("new Promise((r) => setTimeout(r, 100))")
        message = page.driver.find_element("id", "message")
        assert "taken away" in message.text
        page.run("loss.restoreContext()")
        page.wait("new Promise((r) => setTimeout(r, 300))")
        page.settle()
        assert not message.is_displayed()
        np.testing.assert_array_equal(page.canvas(), before)

    def test_without_webgl_it_says_so(self, opened: Page) -> None:
        script = opened.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument",
            {"source": "HTMLCanvasElement.prototype.getContext = () => null"},
        )
        try:
            opened.driver.get(opened.url)
            text = opened.driver.find_element("id", "message").text
            assert "needs WebGL 2" in text
            assert opened.driver.get_log("browser") == []
        finally:
            opened.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)

    def test_it_asks_for_nothing(self, page: Page) -> None:
        assert page.run("return performance.getEntriesByType('resource').map((e) => e.name)") == []
        assert page.driver.title == "A <random> field · hyperfunc"

    def test_the_page_is_one_file(self, opened: Page) -> None:
        folder = Path(opened.url.removeprefix("file://")).parent
        assert [p.name for p in folder.iterdir()] == ["page.html"]
