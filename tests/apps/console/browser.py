"""A console on a port of its own, and a real Chromium."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from apps.console.accounts import ADMIN
from apps.console.app import build
from apps.console.console import Console
from tests.apps.console.support import PASSWORD

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 120_000
"""How long a page may take for anything: a machine with much else to do is slow."""
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's, which no network is needed for; without one the test is skipped, in CI it fails."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A browser that knows nothing of the others, and is patient."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    return context


def new_page(browser: Browser, **options: Any) -> Page:
    """The only page of such a browser, which ends with it."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE_MS)
    return page


@contextmanager
def served(console: Console, port: int = 0) -> Iterator[str]:
    """The console's address, as long as it is served."""
    server = uvicorn.Server(
        uvicorn.Config(build(console), port=port, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    console.start()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        console.ending = True
        server.should_exit = True
        thread.join()
        console.stop()


def log_in(page: Page, address: str, name: str, password: str = PASSWORD) -> None:
    """By the form, with the keys."""
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")


def take(page: Page, key: str = "o") -> None:
    """Take an alert by the key of its button, once there is one to take; the desk is there, and takes keys."""
    page.locator(f"button[data-key={key}]:enabled").wait_for()
    page.keyboard.press(key)
    page.wait_for_url("**/desk*")  # htmx gives the page its address last
    takes_keys(page)


def takes_keys(page: Page) -> None:
    """Wait until what is typed goes into the field for the code, and the script is there that reads it."""
    page.wait_for_selector("#code:focus")
    page.wait_for_load_state()


def log_in_first(page: Page, address: str, once: str) -> None:
    """As admin with the one-time password, for which another is chosen."""
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(ADMIN)
    page.get_by_label("Password").fill(once)
    page.keyboard.press("Enter")
    page.get_by_label("Current password").fill(once)
    page.get_by_label("New password, 12 characters or more").fill(PASSWORD)
    page.get_by_label("Repeat the new one").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")


def keys(page: Page, text: str) -> None:
    """Type it, as an officer does."""
    page.keyboard.type(text)


def collect_errors(page: Page) -> list[str]:
    """What the browser complains about from now on: errors of scripts, of the content security policy, dialogs."""
    errors: list[str] = []

    def on_dialog(dialog: Any) -> None:
        errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("pageerror", lambda error: errors.append(f"script: {error}"))

    def on_console(message: ConsoleMessage) -> None:
        # This is how htmx reports a stream that ends with its page.
        if message.type == "error" and message.text != "[object Event]":
            errors.append(message.text)

    page.on("console", on_console)
    page.on("dialog", on_dialog)
    return errors
