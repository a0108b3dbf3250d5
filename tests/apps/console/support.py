"""A console without topics, alerts for it, and clients that log in."""

import base64
import re
import ssl
import time
from pathlib import Path
from typing import Any

import msgspec
from argon2 import PasswordHasher
from httpx2 import Client, Response
from starlette.testclient import TestClient

from apps.console.access import Role
from apps.console.accounts import Accounts
from apps.console.app import build
from apps.console.codes import Codes
from apps.console.console import Console, Wiring
from schemas.alerts import Alert, encode
from schemas.messages import ImageMessage

CODES = {14: "NO STANDING-DAY/TIME LIMITS", 21: "NO PARKING-STREET CLEANING", 40: "FIRE HYDRANT", 45: "TRAFFIC LANE"}
PASSWORD = "a good long one"
JPEG = bytes.fromhex("ffd8ffc0000b080010002001011100ffda")
"""The smallest that counts as one: 32 by 16 pixels, and no scan."""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def quick(database: Any, clock: Any) -> Accounts:
    """Accounts whose hashes cost next to nothing."""
    return Accounts(database, clock, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def make_console(folder: Path, clock: Any = time.time, **wiring: Any) -> Console:
    """A console with one account of each role, all with PASSWORD."""
    console = Console(folder, Codes(CODES), Wiring(**wiring), clock, quick)
    for role in Role:
        add_account(console, role.value, role)
    return console


def make_again(folder: Path) -> Console:
    """A console of that folder, which has the accounts already, as after a restart."""
    return Console(folder, Codes(CODES), Wiring(), accounts=quick)


def add_account(console: Console, name: str, role: Role) -> None:
    """An account that has chosen PASSWORD."""
    once = console.accounts.create(name, role)
    session = console.accounts.session(console.accounts.log_in(name, once, "127.0.0.1"))
    assert session is not None
    console.accounts.change_password(session, once, PASSWORD)


def alert(name: str, at: float, **fields: Any) -> Alert:
    """An alert, raised then."""
    when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{round(at % 1 * 1e6) % 1_000_000:06d}Z"
    usual: dict[str, Any] = {
        "schema_version": 1, "message_id": name, "drone_id": "drone-0001", "sequence": 7, "event_time": when,
        "latitude": 40.758, "longitude": -73.9855, "altitude_m": 55.5, "battery_pct": 81.2, "kind": "violation",
        "status": "raw", "violation_code": 0, "plate_id": "ABC1234", "image_id": f"image of {name}", "alert_time": when,
    }  # fmt: skip
    return Alert(**(usual | fields))


def picture(name: str, jpeg: bytes) -> bytes:
    """The message with the picture of that name."""
    data = base64.b64encode(jpeg).decode()
    when = "2026-01-15T12:00:00Z"
    return msgspec.json.encode(ImageMessage(schema_version=1, image_id=name, event_time=when, data=data))


def raise_alerts(console: Console, *alerts: Alert) -> None:
    """They come by the topic."""
    console.desk.take([encode(each) for each in alerts], {})


def outbox(console: Console, topic: str = "answers") -> list[dict[str, Any]]:
    """What is to be published."""
    rows = console.database.rows("SELECT payload FROM outbox WHERE topic = ? ORDER BY number", topic)
    return [msgspec.json.decode(row["payload"]) for row in rows]


class Browser:
    """A client of a console, or of an address, that fills in forms, without scripts."""

    def __init__(self, console: Console | str, trusted: Path | None = None) -> None:
        self.client: Client
        if isinstance(console, str):
            # Loading what the system trusts takes long.
            trust = ssl.create_default_context(cafile=trusted) if console.startswith("https:") else False
            self.client = Client(base_url=console, follow_redirects=True, verify=trust, timeout=60)
        else:
            self.client = TestClient(build(console), base_url="http://console.test", follow_redirects=True)

    def log_in(self, name: str, password: str = PASSWORD) -> Response:
        """By the form."""
        return self.post("/login", "/login", name=name, password=password)

    def get(self, path: str) -> Response:
        """A page."""
        return self.client.get(path)

    def close(self) -> None:
        """Let go of the connection."""
        self.client.close()

    def csrf(self, page: str) -> str:
        """The token of the forms of a page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(page).text)
        return found[1] if found else ""

    def post(self, page: str, path: str, **form: str) -> Response:
        """Send a form that stands on a page."""
        return self.client.post(path, data={"csrf": self.csrf(page), **form})


def officer(console: Console, name: str = "officer") -> Browser:
    """Someone who is logged in."""
    browser = Browser(console)
    assert browser.log_in(name).url.path == "/queue"
    return browser
