"""A real browser, where there is one: Debian's Chromium, driven by playwright. Not a test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: root may not have Chromium's sandbox, and a container has little shared memory
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]


def executable() -> str | None:
    """Where the browser is; RAFTX_CHROMIUM names another one."""
    named = os.environ.get("RAFTX_CHROMIUM")
    return named or next((path for path in map(shutil.which, NAMES) if path), None)


def why_none() -> str:
    """Why there is no browser to test with; "" when there is one."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: pip install playwright"
    if executable() is None:
        return f"there is no browser, none of {', '.join(NAMES)}: apt-get install chromium, or set RAFTX_CHROMIUM"
    return ""


class Browser:
    """One that runs."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def page(self, url: str, width: int = 1240, height: int = 1000, theme: str = "light", **more: Any) -> Any:
        """A page at that address, as a person with that screen and those colours sees it."""
        context = self.made.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce", **more
        )
        page = context.new_page()
        page.goto(url)
        return page


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """It ends with the context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            yield Browser(made)
        finally:
            made.close()
