"""Functions to save, and the exported page in Chromium for the tests that are marked `browser`."""

import base64
import functools
import io
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks.browser.chromium import FLAGS, serving
from hyperfunc.experiment import load_model
from hyperfunc.export import export_html, export_studio
from hyperfunc.export.studio.studio import WEB
from hyperfunc.function import FunctionalImage
from hyperfunc.networks import FactoredTheta, FourierField, PlainTheta, Target
from hyperfunc.pixels import PER_PIXEL, WindowLayout

SIZE = (24, 36)
"""(height, width) of the function that the page shows."""


@functools.cache  # Drawing parameters compiles.
def draw_function(
    target: Target = FourierField(frequencies=4),  # noqa: B008
    layout: WindowLayout = PER_PIXEL,
    *,
    size: tuple[int, int] = (9, 11),
    features: int = 6,
    batch: int = 1,
    has_base: bool = True,
) -> FunctionalImage:
    """Draw a functional image; theta is factored where the target is linear and features > 0."""
    rng = np.random.default_rng(0)
    mean, shared = target.init(jax.random.key(0))
    grid = layout.grid(size)

    def draw(like: jax.Array) -> jax.Array:
        noise = rng.normal(scale=0.1, size=(batch, *grid, *like.shape))
        return jnp.asarray(np.asarray(like)[None, None, None] + noise, jnp.float32)

    if target.is_linear and features:
        theta = FactoredTheta(
            jnp.asarray(rng.normal(size=(batch, *grid, features)), jnp.float32),
            jnp.asarray(
                rng.normal(scale=0.03, size=(features, target.basis_size, target.channels)),
                jnp.float32,
            ),
        )
    else:
        theta = PlainTheta(jax.tree.map(draw, mean))
    pixels = rng.integers(0, 256, (batch, *size, target.channels)).astype(np.float32) / 255
    return FunctionalImage(
        theta=theta,
        shared=shared,
        base=jnp.asarray(pixels) if has_base else None,
        exists=(jnp.ones(grid[0]), jnp.ones(grid[1])),
        target=target,
        layout=layout,
        size=size,
    )


@pytest.fixture(scope="session")
def make_function() -> Callable[..., FunctionalImage]:
    """`draw_function`, for test modules, which cannot import it."""
    return draw_function


class Page:
    """The page in a browser, and what a user can do to it."""

    def __init__(self, driver: Any, path: Path, address: str | None = None) -> None:
        self.driver, self.path = driver, path
        self.address = address or path.as_uri()
        self.requests: list[str] = []

    def open(self, width: int = 480, height: int = 360, ratio: float = 1.0, *, mobile=False):
        """Open the page anew on a screen of this many CSS pixels."""
        self.set_screen(width, height, ratio, mobile)
        self.driver.get(self.address)
        self.settle()

    def resize(self, width: int, height: int) -> None:
        self.set_screen(width, height)
        self.wait("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        self.settle()

    def set_screen(self, width: int, height: int, ratio: float = 1.0, mobile: bool = False):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile},
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, promise: str, *arguments: Any) -> Any:
        """Return what a promise resolves to."""
        result = self.driver.execute_async_script(
            "const args = arguments, done = args[args.length - 1];"
            f"({promise}).then((value) => done({{ value }}), (e) => done({{ error: String(e) }}))",
            *arguments,
        )
        assert "error" not in result, result["error"]
        return result["value"]

    def settle(self) -> None:
        """Wait until the page has drawn its view at full resolution."""
        self.wait("hyperfunc.settled().then(() => 0)")

    @property
    def view(self) -> dict[str, Any]:
        return self.run("return hyperfunc.view")

    def find(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def render(self, width: int, height: int, **view: Any) -> np.ndarray:
        """Return the pixels of any view, [h, w, 3] in [0, 1]."""
        text = self.wait(
            "hyperfunc.renderView(args[0]).then((bytes) => btoa(String.fromCharCode(...bytes)))",
            {"width": width, "height": height, **view},
        )
        pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
        return pixels[..., :3].astype(np.float32) / 255

    def canvas(self) -> np.ndarray:
        """Return the pixels that the canvas shows, [h, w, 3] in [0, 1]."""
        url = self.run("return document.getElementById('canvas').toDataURL('image/png')")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGB")).astype(np.float32) / 255

    def actions(self) -> Any:
        """Return Selenium's actions of a mouse."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        return ActionChains(self.driver, duration=0, devices=[PointerInput("mouse", "mouse")])

    def scroll(self, name: str, x: int, y: int, distance: int) -> None:
        """Turn the wheel over a point (from the middle) of an element."""
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        origin = ScrollOrigin.from_element(self.find(name), x, y)
        self.actions().scroll_from_origin(origin, 0, distance).perform()
        self.settle()

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def touch(self, *fingers: list[tuple[int, int]]) -> None:
        """Move one or more fingers at once, along paths of equal length."""

        def points(step: int) -> list[dict[str, int]]:
            return [{"x": f[step][0], "y": f[step][1], "id": i} for i, f in enumerate(fingers)]

        send = self.driver.execute_cdp_cmd
        send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points(0)})
        for step in range(1, len(fingers[0])):
            send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points(step)})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.settle()


class Studio(Page):
    """The studio, and what a user can do to it."""

    def open_studio(self, width: int = 320, height: int = 240, *, mobile: bool = False) -> None:
        self.set_screen(width, height, mobile=mobile)
        self.driver.get(self.address)

    def drop(self, pixels: np.ndarray, name: str = "photo.png") -> None:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        self.drop_file(file.getvalue(), name)

    def drop_file(self, data: bytes, *names: str) -> None:
        """Drop files of the same bytes, all at once; those with an image's suffix are images."""
        self.run(
            "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));"
            "const data = new DataTransfer(); for (const name of arguments[1]) data.items.add("
            "new File([bytes], name, { type: name.endsWith('.png') ? 'image/png' : '' }));"
            "const init = { dataTransfer: data, bubbles: true, cancelable: true };"
            "dispatchEvent(new DragEvent('drop', init));",
            base64.b64encode(data).decode(),
            names,
        )

    def wait_until(self, check: Callable[[], Any], seconds: float = 60) -> Any:
        """Return what a check gives as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := check()):
            assert time.monotonic() < end
            time.sleep(0.1)
        return value

    def wait_until_open(self) -> None:
        self.wait_until(lambda: not self.find("welcome").is_displayed())
        self.settle()

    def wait_until_sharp(self) -> None:
        self.wait("hyperfunc.sharp().then(() => 0)")

    def type_into(self, name: str, value: float | str) -> None:
        self.run(
            "const input = document.getElementById(arguments[0]); input.value = arguments[1];"
            "for (const kind of ['input', 'change']) input.dispatchEvent(new Event(kind))",
            name,
            value,
        )

    def choose_model(self, index: int) -> None:
        self.run(
            "const menu = document.getElementById('model'); menu.selectedIndex = arguments[0];"
            "menu.dispatchEvent(new Event('change'))",
            index,
        )

    def save(self, scale: float, folder: Path) -> np.ndarray:
        """Save a PNG through the dialog, and read the file."""
        self.find("save").click()
        self.type_into("scale", scale)
        return self.finish_saving(folder / f"photo_x{scale:g}.png")

    def finish_saving(self, path: Path) -> np.ndarray:
        self.find("save-start").click()
        self.wait_until(lambda: path.exists() and not self.find("save-dialog").is_displayed(), 400)
        with Image.open(path) as image:
            return np.asarray(image)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason='pip install -e ".[dev]"')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(chromedriver, log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def function() -> FunctionalImage:
    """A smooth image and a random field, about as strong as a trained one."""
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


@pytest.fixture
def export_page(driver: Any, tmp_path: Path) -> Callable[[FunctionalImage], Page]:
    """Export the page of a function, for the browser to open."""

    def export(function: FunctionalImage) -> Page:
        export_html(function, tmp_path / "page.html")
        return Page(driver, tmp_path / "page.html")

    return export


@pytest.fixture(scope="session")
def exported(
    driver: Any, function: FunctionalImage, tmp_path_factory: pytest.TempPathFactory
) -> Page:
    """The page of ``function``, which is not open yet."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    export_html(function, path, title="A <random> field")
    return Page(driver, path)


@pytest.fixture
def page(exported: Page) -> Iterator[Page]:
    """The page, freshly opened. Whatever a test does, the console has to stay empty."""
    exported.open()
    yield exported
    assert exported.driver.get_log("browser") == []


@pytest.fixture(scope="session")
def studio(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio on a server of its own; ``page.requests`` lists the paths that were asked for."""
    npm = shutil.which("npm")
    if npm is None or subprocess.run([npm, "ping"], capture_output=True).returncode:
        pytest.skip("needs npm (apt-get install npm) and its registry")
    folder = tmp_path_factory.mktemp("studio")
    export_studio([load_model(name) for name in ("sr", "sr_jpeg", "restore")], folder)
    with serving(folder) as (address, requests):
        page = Studio(driver, folder / "index.html", address)
        page.requests = requests
        yield page


@pytest.fixture
def studio_page(studio: Studio, tmp_path: Path) -> Iterator[Studio]:
    """The studio, freshly opened; its console has to stay empty. It saves to ``tmp_path``."""
    studio.driver.set_script_timeout(400)
    studio.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    studio.open_studio()
    yield studio
    studio.driver.set_script_timeout(60)
    messages = [entry["message"] for entry in studio.driver.get_log("browser")]
    assert not [text for text in messages if "No available adapters" not in text]


@pytest.fixture(scope="session")
def web(studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the studio with its tools, and the script that it becomes."""
    root = tmp_path_factory.mktemp("tools")
    web = root / "studio" / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(WEB.parents[1] / "page" / "parts", root / "page" / "parts")
    shutil.copy(studio.path.parent / "studio.js", web)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    process = subprocess.run(words, cwd=web, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return web
