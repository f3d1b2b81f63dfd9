"""Looking at the page in a real Chromium."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

ROWS = "[data-signal]"
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Seen(NamedTuple):
    """What a visit saw."""

    errors: list[str]
    rows_before: int
    newest_before: str
    newest_after: str


def chromium() -> str:
    """The browser on the PATH."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    raise AssertionError("no Chromium on the PATH; 'make test' installs it on Debian and Ubuntu")


def look(url: str, screenshots: Path) -> Seen:
    """Visit the page in light and dark, wait for a new signal, keep pictures."""
    screenshots.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme="light")
            page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e: errors.append(str(e)))
            page.goto(url)
            page.wait_for_selector(ROWS, timeout=30_000)
            rows, before = page.locator(ROWS).count(), newest(page)
            deadline = time.monotonic() + 60
            while (after := newest(page)) == before and time.monotonic() < deadline:
                page.wait_for_timeout(250)
            page.screenshot(path=screenshots / "ai-lab-light.png", full_page=True)
            page.emulate_media(color_scheme="dark")
            page.wait_for_timeout(500)
            page.screenshot(path=screenshots / "ai-lab-dark.png", full_page=True)
        finally:
            browser.close()
    return Seen(errors, rows, before, after)


def newest(page: Page) -> str:
    """Id of the newest signal on the page."""
    return page.locator(ROWS).first.get_attribute("data-signal") or ""
