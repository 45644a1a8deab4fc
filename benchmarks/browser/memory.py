"""How much memory the browser takes while the studio saves pictures.

python -m benchmarks.browser.memory --json=docs/results/browser_memory.json

Of all processes of the browser together, by PSS: pages that processes share count once. Memory that
grew with what is saved would show in the quarters of a save, and in a picture of more pixels.
"""

import base64
import dataclasses
import io
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro
from PIL import Image

from benchmarks.browser.chromium import Browser, open_browser
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.experiment import load_model
from hyperfunc.export import export_studio
from hyperfunc.files import save_json


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Save pictures in the studio, and watch the browser's memory.

    Attributes:
        widths: of the pictures, in pixels; heights are three quarters of them.
        scale: at which they are saved, as PNG.
        seconds: after which the peaks so far are reported, with the part that is saved.
        json: file to write.
    """

    widths: tuple[int, ...] = (1000, 2000, 4000)
    scale: float = 2
    seconds: int = 9000
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors(), tempfile.TemporaryDirectory() as temporary:
        export_studio([load_model("sr")], Path(temporary))
        pictures = []
        for width in arguments.widths:
            with open_browser(Path(temporary), arguments.seconds, (1280, 800)) as browser:
                pictures.append(measure(browser, width, arguments))
            print(pictures[-1], flush=True)
    if arguments.json is not None:
        save_json(arguments.json, {"scale": arguments.scale, "pictures": pictures})


def measure(browser: Browser, width: int, arguments: Arguments) -> dict[str, Any]:
    """Open a picture, save it, and return the largest memory of each stage, in gigabytes."""
    scale, height = arguments.scale, width * 3 // 4
    pixels = Image.fromarray(open_dataset("sample")[0]).resize((width, height))
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=95)
    browser.open("index.html")
    driver = browser.driver
    browser.wait("hyperfunc.ready.then(() => 0)")
    empty = read_memory(driver.service.process.pid)
    browser.wait(
        "hyperfunc.open(new Blob([Uint8Array.from(atob(args[0]), x => x.charCodeAt())]), 'photo')",
        base64.b64encode(file.getvalue()).decode(),
    )
    time.sleep(5)
    opened = read_memory(driver.service.process.pid)
    driver.find_element("id", "save").click()
    driver.execute_script(
        "const input = document.getElementById('scale'); input.value = arguments[0];"
        "input.dispatchEvent(new Event('input')); document.getElementById('save-start').click()",
        scale,
    )
    path = browser.downloads / f"photo_x{scale:g}.png"
    quarters, part, began = [0] * 4, 0.0, time.monotonic()
    while not path.exists() and time.monotonic() - began < arguments.seconds:
        now = driver.execute_script("return document.getElementById('save-progress').value")
        part = max(part, now)  # It is 0 again when the file is written.
        quarter = min(int(4 * part), 3)
        quarters[quarter] = max(quarters[quarter], read_memory(driver.service.process.pid))
        print(f"{width}: {part:.3f} saved, {max(quarters) / 1e9:.2f} GB", flush=True)
        time.sleep(2)
    return {
        "picture": [width, height],
        "part that was saved": 1.0 if path.exists() else round(part, 2),
        "file, megabytes": round(path.stat().st_size / 1e6, 1) if path.exists() else None,
        "gigabytes": {
            "page": round(empty / 1e9, 2),
            "picture open": round(opened / 1e9, 2),
            "peak of each quarter": [round(peak / 1e9, 2) for peak in quarters if peak],
            "peak": round(max(empty, opened, *quarters) / 1e9, 2),
        },
    }


def read_memory(parent: int) -> int:
    """Return the bytes (PSS) of all processes below one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # The process has ended.
    total, open_parents = 0, [parent]
    while open_parents:
        parent = open_parents.pop()
        children = [pid for pid, above in parents.items() if above == parent]
        open_parents += children
        for pid in children:
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            found = re.search(r"^Pss:\s+(\d+) kB", text, flags=re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
    return total


if __name__ == "__main__":
    main()
