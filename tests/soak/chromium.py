"""Chromium as all tests start it, with or without pytest: which program, with which flags."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = os.environ.get("CONSENT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP *.test 127.0.0.1",
]


class NoChromium(Exception):  # noqa: N818 - says what is so, nothing went wrong
    """The machine has no Chromium, or nothing to drive it with."""


@contextmanager
def launched() -> Iterator[Any]:
    """A headless Chromium, to which all hosts below .localhost and .test are this machine."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoChromium("Playwright is not installed") from error
    with sync_playwright() as playwright:
        program = PROGRAM or playwright.chromium.executable_path
        if not Path(program).exists():
            raise NoChromium(f"there is no Chromium at {program}: set CONSENT_TEST_CHROMIUM")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
