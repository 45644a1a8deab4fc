"""Take the pictures of the studio in docs/export.md.

python -m benchmarks.browser.pictures

It needs chromium, chromium-driver and npm, and takes minutes without a graphics card.
"""

import base64
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.browser.chromium import Browser, open_browser
from hyperfunc.commands import report_errors
from hyperfunc.experiment import load_model
from hyperfunc.export import export_studio

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CAT = "samples/chelsea.webp"
"""Of the studio's samples, which may be published: see the README.md beside them."""

NOISE = 25
"""Standard deviation, of 255 levels."""

OPEN = (
    "hyperfunc.ready.then(() => fetch(args[0])).then((r) => r.blob())"
    ".then((blob) => hyperfunc.open(blob, args[1])).then(() => 0)"
)
CHOOSE = (
    "const menu = document.getElementById('model'); menu.selectedIndex = arguments[0];"
    "menu.dispatchEvent(new Event('change'))"
)
LET_GO = "document.activeElement.blur()"
"""The ring of the keyboard's focus is not wanted in a picture."""


def main() -> None:
    """Write docs/images/studio.jpg and docs/images/studio_phone.jpg."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_studio([load_model(name) for name in ("sr", "sr_jpeg", "restore")], folder)
        add_noise(folder / CAT, folder / "noisy.png")
        with open_browser(folder, 600, (1000, 640)) as browser:
            use_colours(browser, "dark")
            show(browser, CAT, "Cat", {"x": 85, "y": 88, "zoom": 6})
            take(browser, IMAGES / "studio.jpg")
        with open_browser(folder, 600, (390, 780)) as browser:
            use_colours(browser, "light")
            view = {"x": 66, "y": 75, "zoom": 2.6}
            show(browser, "noisy.png", "cat.png", view, model=2)
            take(browser, IMAGES / "studio_phone.jpg")


def add_noise(source: Path, target: Path) -> None:
    """Write a noisy picture of an eye."""
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("RGB").crop((23, 43, 223, 193)), np.float64)
    noise = np.random.default_rng(0).normal(scale=NOISE, size=pixels.shape)
    Image.fromarray(np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8)).save(target)


def use_colours(browser: Browser, scheme: str) -> None:
    """Let the browser prefer light or dark colours."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def show(browser: Browser, path: str, name: str, view: dict[str, float], model: int = 0) -> None:
    """Open a picture, and wait until a view of it is sharp."""
    browser.open("index.html")
    browser.wait(OPEN, path, name)
    if model:
        browser.driver.execute_script(CHOOSE, model)
    browser.driver.execute_script(LET_GO)
    browser.driver.execute_script("hyperfunc.set(arguments[0])", view)
    browser.wait(
        "new Promise((done) => { const look = () =>"
        " document.getElementById('cells').textContent.includes(args[0]) ? done()"
        " : setTimeout(look, 200); look(); }).then(hyperfunc.sharp).then(hyperfunc.settled)"
        ".then(() => 0)",
        "restor" if model else "sharp",
    )


def take(browser: Browser, path: Path) -> None:
    """Write what the browser shows."""
    png = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").save(path, quality=88, subsampling=0)


if __name__ == "__main__":
    with report_errors():
        main()
