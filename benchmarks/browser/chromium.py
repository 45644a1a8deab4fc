"""Chromium without a window, and a folder that it can open."""

import contextlib
import functools
import http.server
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# ANGLE with SwiftShader: WebGL 2 by the processor, where there is no graphics card.
FLAGS = """--headless --no-sandbox --use-gl=angle --use-angle=swiftshader
--enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars""".split()


class Browser:
    """A browser on a folder.

    Attributes:
        driver: of Selenium.
        address: of the folder, with a slash at the end.
        requests: the paths that were asked for.
        downloads: the folder of what the browser saves.
    """

    def __init__(self, driver: Any, address: str, requests: list[str], downloads: Path) -> None:
        self.driver, self.address = driver, address
        self.requests, self.downloads = requests, downloads

    def open(self, path: str) -> None:
        """Open a page as at the first visit: nothing of the address is kept."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.driver.execute_cdp_cmd(
            "Storage.clearDataForOrigin", {"origin": self.address, "storageTypes": "all"}
        )
        self.driver.get(self.address + path)

    def wait(self, promise: str, *arguments: Any) -> Any:
        """Return what a promise in JavaScript resolves to; `args` are the arguments.

        Raises:
            RuntimeError: it was rejected.
        """
        result = self.driver.execute_async_script(
            "const args = arguments, done = args[args.length - 1];"
            f"({promise}).then((value) => done({{ value }}), (e) => done({{ error: String(e) }}))",
            *arguments,
        )
        if "error" in result:
            raise RuntimeError(result["error"])
        return result["value"]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on this machine; the values are its address and the paths asked for so far."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", requests
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def open_browser(
    folder: Path, seconds: float, size: tuple[int, int] = (320, 240)
) -> Iterator[Browser]:
    """Open Chromium on a folder, with a window of (width, height); scripts may take so long."""
    from selenium import webdriver

    with (
        serving(folder) as (address, requests),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own,
    ):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={own}/profile"):
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver: Any = webdriver.Chrome(options=options, service=service)
        driver.command_executor.client_config.timeout = int(seconds) + 60
        driver.set_script_timeout(seconds)
        downloads = Path(own, "downloads")
        downloads.mkdir()
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        try:
            yield Browser(driver, address, requests, downloads)
        finally:
            driver.quit()
