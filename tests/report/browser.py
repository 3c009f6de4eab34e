"""A headless Chromium, driven by Playwright: the one of this machine, for none is fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Skips where there is none; where one is required (``.ci/run``) that is a failure.

    Of a module: while Playwright is there, its event loop is, which other tests would find running.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        absent("playwright is not installed")
    if found is None:
        absent("no chromium, chromium-browser or google-chrome on PATH")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield launched
        launched.close()


def absent(why: str) -> None:
    (pytest.fail if os.environ.get("CONTINUAL_BROWSER") == "required" else pytest.skip)(why)


class Opened:
    """A page in a tab of its own: what it said on the console, and what it asked for."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_page(accept_downloads=True, **options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    @property
    def drawn(self) -> set[str]:
        """Names of the figures that are there, once all are drawn."""
        self.page.wait_for_selector("html[data-drawn]", state="attached")
        return {
            element.get_attribute("id").removeprefix("fig-")
            for element in self.page.query_selector_all(".js-plotly-plot")
        }

    def saved(self, button: str) -> bytes:
        """What a click on the button of this name saves."""
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=button, exact=True).click()
        return Path(download.value.path()).read_bytes()

    def picked(self, **values: str) -> None:
        """Pick options of the selects with these ids."""
        for name, value in values.items():
            self.page.select_option(f"#{name}", value)


def opened(browser: Any, html: str, folder: Path, **options: Any) -> Opened:
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    return Opened(browser, path.as_uri(), **options)
