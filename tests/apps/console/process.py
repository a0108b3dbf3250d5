"""The console as a process, and an officer who uses it without a browser."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.console.accounts import ADMIN
from runners.services import free_port
from tests.apps.console.support import PASSWORD, Browser
from tests.support import wait_until

NOWHERE = "kafka://127.0.0.1:1/drones"


class Running:
    """A console that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def printed(self) -> str:
        """What it prints."""
        return self._log.read_text()

    def is_there(self) -> bool:
        """Whether it answers. Fails where it has ended."""
        assert self._process.poll() is None, self.printed()
        return "console: http" in self.printed()

    @property
    def address(self) -> str:
        """As it says."""
        found = re.search(r"console: (\S+)", self.printed())
        assert found is not None, self.printed()
        return found[1]

    def password(self) -> str:
        """The one-time password."""
        found = re.search(rf"one-time password of {ADMIN}: (\S+)", self.printed())
        assert found is not None, self.printed()
        return found[1]

    def end(self, how: signal.Signals) -> int:
        """End it; gives its exit code."""
        self._process.send_signal(how)
        return self._process.wait(300)


@contextmanager
def console(state: Path, alerts: str, answers: str, *flags: str) -> Iterator[Running]:
    """Start the command; it is there when it says so."""
    with started(state, alerts, answers, "--port", str(free_port()), *flags) as running:
        wait_until(running.is_there)
        yield running


@contextmanager
def started(state: Path, alerts: str, answers: str, *flags: str, sabotage: str = "") -> Iterator[Running]:
    """The same without waiting for it.

    Args:
        sabotage: code that its process executes first.
    """
    log = state.with_suffix(".log")
    code = f"{sabotage}\nfrom prestacop.main import run; run()"
    where = ["--alerts", alerts, "--answers", answers, "--data", str(state)]
    command = [sys.executable, "-c", code, "console", *where, *flags]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


def log_in_first(running: Running, trusted: Path | None = None) -> Browser:
    """As admin, with the one-time password and then another; over https a certificate is trusted."""
    browser = Browser(running.address, trusted)
    once = running.password()
    assert browser.log_in(ADMIN, once).url.path == "/password"
    assert browser.post("/password", "/password", old=once, new=PASSWORD, again=PASSWORD).url.path == "/queue"
    return browser


def answer_next(browser: Browser, code: str) -> str:
    """Take the oldest alert and answer it; what the page says."""
    wait_until(lambda: "Take alert" in browser.get("/queue").text or browser.get("/desk").url.path == "/desk")
    page = browser.post("/queue", "/desk/pick", order="oldest")
    lease = re.search(r'name="lease" value="([^"]+)"', page.text)
    assert lease is not None
    printed = browser.post("/desk", "/desk/answer", lease=lease[1], code=code, order="oldest").text
    note = re.search(r'role="status">([^<]*)<', printed)
    assert note is not None
    return note[1]
