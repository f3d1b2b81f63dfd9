"""Run lint, types, import rules and tests in one go, as CI does.

``check`` is the fast subset (no stack, no browser); ``all`` is everything but the long runs of recovery;
``recovery`` is those and the short ones, seeded; ``lint`` runs no test.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
CODE = ["libs", "services", "examples"]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def run(title: str, *command: str) -> None:
    """Run one step; a failure ends the run with the step's exit code."""
    print(f"== {title}", flush=True)
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    how = "ok" if code == 0 else f"failed with exit code {code}"
    print(f"== {title}: {how} in {time.monotonic() - started:.0f} s", flush=True)
    if code:
        sys.exit(code)


def ensure_chromium() -> None:
    """Install a browser where that is possible, else say how to.

    Exits with the exact command where the user must run it.
    """
    if any(shutil.which(name) for name in CHROMIUM):
        return
    install = "apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        run("installing Chromium", "sh", "-c", f"export DEBIAN_FRONTEND=noninteractive; {install}")
        return
    sys.exit(
        "the browser tests need Chromium, got none on the PATH; install it, on Debian or Ubuntu: "
        f"sudo sh -c '{install}'"
    )


def lint() -> None:
    """Style, types, import rules."""
    run("ruff", str(BIN / "ruff"), "check", ".")
    run("ruff format", str(BIN / "ruff"), "format", "--check", ".")
    run("mypy", str(BIN / "mypy"), *CODE)
    run("import-linter", str(BIN / "lint-imports"))


def main(what: str) -> None:
    """Run the steps of ``what``."""
    pytest = [sys.executable, "-m", "pytest"]
    if what == "check":
        run("ruff", str(BIN / "ruff"), "check", ".")
        run("mypy", str(BIN / "mypy"), *CODE)
        run("import-linter", str(BIN / "lint-imports"))
        # A worker per core of the smallest machine; a file's tests share fixtures, so they stay together.
        run("fast tests", *pytest, "-n", "2", "--dist", "loadfile", "-m", "not stack and not browser and not slow")
    elif what == "lint":
        lint()
    elif what == "all":
        ensure_chromium()
        lint()
        run("page: types", "npm", "--prefix", "frontend", "run", "typecheck")
        run("page: unit tests", "npm", "--prefix", "frontend", "test")
        run("page: types match the gateway", "npm", "--prefix", "frontend", "run", "gen:api", "--", "--check")
        run("page: size of the first view", "npm", "--prefix", "frontend", "run", "size")
        check = ROOT / "frontend" / "tests" / "browser" / "check_page.py"
        run("page: in a browser", sys.executable, str(check), "--pictures", str(ROOT / "test-artifacts" / "page"))
        run("tests", *pytest)
    elif what == "recovery":
        seed = os.environ.setdefault("TAPELAB_RECOVERY_SEED", str(random.SystemRandom().randrange(1_000_000)))
        print(f"== faults drawn from seed {seed}; make test-recovery SEED={seed} replays them", flush=True)
        run("recovery", *pytest, "tests/recovery", "-m", "recovery or recovery_long", "-v")
    else:
        sys.exit(f"expected check, lint, recovery or all, got {what!r}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
