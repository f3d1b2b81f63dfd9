"""The page in a real Chromium against the stand-in gateway: what only a browser can show.

    .venv/bin/python frontend/tests/browser/check_page.py [--port 18500] [--pictures DIR]

Exits non-zero at the first thing that does not hold. Needs a built page (``npm run build``) and Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
AXE = HERE.parents[1] / "node_modules/axe-core/axe.min.js"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What the browser itself writes while a gateway is away.
OUTAGE = ("WebSocket connection to", "Failed to load resource")


class Gateway:
    """A stand-in gateway that runs as long as the context."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    @property
    def page(self) -> str:
        return f"{self.address}/dashboard/ai-lab/"

    def faults(self, **faults: Any) -> None:
        request = urllib.request.Request(
            f"{self.address}/mock/faults", json.dumps(faults).encode(), {"content-type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).read()


@contextlib.contextmanager
def gateway(port: int, scenario: str) -> Iterator[Gateway]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "mock_gateway.py"), "--port", str(port), "--scenario", scenario]
    )
    try:
        up = Gateway(port)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{up.address}/ml/data/status", timeout=1).read()
                break
            except OSError:
                time.sleep(0.2)
        yield up
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def visit(browser: Browser, url: str, *, width: int = 1440, scheme: str = "light") -> Iterator[tuple[Page, list[str]]]:
    """A page with the gateway's content security policy in force, and what it writes on the console."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    logs: list[str] = []
    page.on("console", lambda message: logs.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: logs.append(str(error)))
    page.goto(url)
    page.wait_for_selector("[data-connection=live]", timeout=20_000)
    page.wait_for_timeout(1_500)
    try:
        yield page, logs
    finally:
        context.close()


def check(holds: bool, what: str, seen: object = "") -> None:
    print(f"{'ok  ' if holds else 'FAIL'} {what}" + (f": {seen}" if seen != "" else ""), flush=True)
    if not holds:
        raise SystemExit(1)


def numbers(page: Page) -> list[int]:
    """Numbers of the signals on the page, newest first; the stand-in counts them without a hole."""
    ids = page.locator("tr[data-signal]").evaluate_all("rows => rows.map(row => row.dataset.signal)")
    return [int(id.split("-")[2], 16) for id in ids]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold in time. The page's policy forbids to wait by text inside it."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def contiguous(found: list[int]) -> bool:
    return len(found) > 1 and all(a - b == 1 for a, b in itertools.pairwise(found))


def statuses(page: Page) -> list[str]:
    return page.locator("section[data-status]").evaluate_all("all => all.map(one => one.dataset.status)")


def accessible(page: Page, where: str) -> None:
    # Evaluated by the debugger, which the page's policy does not bind.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    found = [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in result["violations"]]
    check(not found, f"no accessibility violation {where}", found or "")


def looks(browser: Browser, up: Gateway, scenario: str, pictures: Path) -> None:
    for width, scheme, query in (
        (1440, "light", ""),
        (1440, "dark", "?lang=pt-BR&view=table"),
        (320, "dark", ""),
        (320, "light", "?lang=pt-BR"),
    ):
        where = f"{scenario}, {scheme}, {width} px {query}"
        with visit(browser, up.page + query, width=width, scheme=scheme) as (page, logs):
            accessible(page, where)
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            check(over == 0, f"nothing overflows sideways {where}")
            small = page.evaluate(
                """[...document.querySelectorAll('button,select,summary,a,input')].filter(e => {
                     const r = e.getBoundingClientRect();
                     return r.width > 0 && (r.width < 24 || r.height < 24) && !e.closest('label')
                   }).map(e => e.outerHTML.slice(0, 80))"""
            )
            check(not small, f"targets of 24 px {where}", small or "")
            check(not logs, f"nothing on the console {where}", logs or "")
            page.screenshot(path=pictures / f"{scenario}-{scheme}-{width}.png", full_page=True)


def behaves(browser: Browser, up: Gateway, pictures: Path) -> None:
    with visit(browser, up.page, scheme="dark") as (page, logs):
        before = numbers(page)[0]
        check(within(30, lambda: numbers(page)[0] > before), "signals appear live")
        up.faults(skip=1)
        page.wait_for_timeout(9_000)
        check(contiguous(numbers(page)), "a lost message is asked for again")
        check(not logs, "nothing on the console", logs or "")

        page.locator("[role=application]").focus()
        page.keyboard.press("Home")
        first = page.locator("[data-readout]").inner_text()
        page.keyboard.press("Shift+ArrowRight")
        check(page.locator("[data-readout]").inner_text() != first, "arrow keys read the chart")
        page.keyboard.press("Escape")

        began = time.monotonic()
        up.faults(ws=True)
        page.wait_for_selector("[data-connection=polling]", timeout=5_000)
        check(True, "polls when the socket is lost", f"{time.monotonic() - began:.1f} s")
        began = time.monotonic()
        up.faults(http=True)
        check(
            within(10, lambda: set(statuses(page)) == {"stale"}),
            "says that everything is stale",
            f"{time.monotonic() - began:.1f} s",
        )
        check(len(numbers(page)) > 1, "and keeps what it has")
        accessible(page, "while stale")
        page.screenshot(path=pictures / "stale.png", full_page=True)
        began = time.monotonic()
        up.faults(ws=False, http=False)
        page.wait_for_selector("[data-connection=live]", timeout=20_000)
        page.wait_for_timeout(1_000)
        check(set(statuses(page)) == {"live"}, "is live again", f"{time.monotonic() - began:.1f} s")
        check(contiguous(numbers(page)), "with nothing lost and nothing twice")
        rest = [log for log in logs if not log.startswith(OUTAGE)]
        check(not rest, "nothing on the console but the outage", rest or "")

        page.get_by_role("button", name="Run experiment").click()
        page.get_by_label("Name").fill("bad")
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("[aria-invalid=true]")
        check(True, "a refused field is marked")
        accessible(page, "in the form")
        page.get_by_label("Name").fill("elsewhere")
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("[role=alert]:has-text('config.symbols[0]')")
        check(page.locator("[aria-invalid=true]").count() == 0, "what is wrong beside the form's fields is told")
        page.get_by_label("Name").fill("from-the-page")
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("[data-experiment-status=queued]")
        check(page.locator("dialog[open]").count() == 0, "an experiment is started and listed")
        page.get_by_role("button", name="Stop from-the-page").click()
        accessible(page, "before a stop")
        page.get_by_role("button", name="Stop", exact=True).click()
        page.wait_for_selector("[data-experiment-status=stopped]")
        check(page.locator("dialog[open]").count() == 0, "an experiment is stopped after being asked")

        toggle = page.locator("button[aria-label^='Theme']")
        toggle.click()
        check(page.evaluate("document.documentElement.dataset.theme") == "light", "the theme is chosen")
        page.get_by_role("button", name="PT, Português").click()
        page.wait_for_selector("text=Sinais ao vivo")
        page.reload()
        page.wait_for_selector("text=Sinais ao vivo")
        check(
            page.evaluate("[document.documentElement.dataset.theme, document.documentElement.lang].join()")
            == "light,pt-BR",
            "theme and language are kept",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18510)
    parser.add_argument("--pictures", type=Path, default=Path("test-artifacts/page"))
    given = parser.parse_args()
    given.pictures.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("the page needs a browser to be checked: expected chromium on the PATH, got none; install it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for n, scenario in enumerate(("live", "shadow", "empty")):
            with gateway(given.port + n, scenario) as up:
                looks(browser, up, scenario, given.pictures)
                if scenario == "live":
                    behaves(browser, up, given.pictures)
        browser.close()


if __name__ == "__main__":
    main()
