"""A real Chromium for the tests of the status page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"
)


class Browser:
    """`driver` is selenium's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.width(1280)

    def open(self, url: str) -> None:
        self.driver.get(url)

    def width(self, pixels: int, height: int = 900) -> None:
        self._tell("Emulation.setDeviceMetricsOverride", width=pixels, height=height, deviceScaleFactor=1, mobile=False)

    def dark(self, dark: bool) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # a picture is not to be taken halfway
        ]
        self._tell("Emulation.setEmulatedMedia", features=features)

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def follow(self, selector: str) -> None:
        """Click what leads to another page, and wait for that."""
        self.leave(self.one(selector).click)

    def leave(self, deed: Callable[[], None]) -> None:
        """Do what leads to another page, and wait for that."""
        from selenium.webdriver.support.wait import WebDriverWait

        self.run("window.before = true")
        deed()
        there = "return window.before === undefined && document.readyState === 'complete'"
        WebDriverWait(self.driver, 15).until(lambda driver: driver.execute_script(there))

    def one(self, selector: str) -> Any:
        """The first element, which is waited for."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 15).until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    @property
    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    @property
    def path(self) -> str:
        return str(self.run("return location.pathname + location.search"))

    def complaints(self) -> list[str]:
        """What the browser has logged since it was last asked: scripts that failed, what the policy kept from running.
        An answer that is no 200 is logged as well, and no complaint."""
        return [
            line["message"]
            for line in self.driver.get_log("browser")
            if "Failed to load resource" not in line["message"]
        ]

    def picture(self, file: Path) -> None:
        """The whole page."""
        shot = self._tell("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _tell(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)


@contextmanager
def chromium(profile: Path, proxy: str = "", arguments: tuple[str, ...] = ()) -> Iterator[Browser]:
    """`proxy`: all its traffic goes there, that to this machine as well. `arguments`: more for its command line."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--disable-component-update", "--no-first-run", "--hide-scrollbars",
        "--force-color-profile=srgb", f"--user-data-dir={profile}", *arguments,
    ):  # fmt: skip
        options.add_argument(argument)
    if proxy:
        options.add_argument(f"--proxy-server={proxy}")
        options.add_argument("--proxy-bypass-list=<-loopback>")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
