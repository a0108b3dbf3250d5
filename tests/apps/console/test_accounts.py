"""Accounts under attack: who guesses is slowed down and keeps nobody out, and what was reset stays reset."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from argon2 import PasswordHasher
from httpx2 import Headers
from starlette.testclient import TestClient

from apps.console import accounts as accounts_module
from apps.console import audit as audit_module
from apps.console import command
from apps.console.access import Role
from apps.console.accounts import FREE_FAILURES, LONGEST_WAIT, MOST_SESSIONS, Accounts, RequestRefused, TooManyFailures
from apps.console.codes import Codes
from apps.console.console import Console, Wiring
from tests.apps.console.browser import served
from tests.apps.console.process import NOWHERE
from tests.apps.console.support import PASSWORD, Browser, Clock, officer
from tests.support import wait_until

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


class Meanwhile(PasswordHasher):
    """Does something else between the check of a password and what follows."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.then: Callable[[], object] | None = None

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        verified = super().verify(hash, password)
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return verified


@pytest.fixture
def raced(tmp_path: Path) -> Iterator[tuple[Accounts, Meanwhile]]:
    hasher = Meanwhile()
    made = Console(tmp_path / "raced", Codes({}), Wiring(), accounts=lambda d, c: Accounts(d, c, hasher))
    made.accounts.create("officer", Role.OFFICER)
    made.accounts.create("chief", Role.SUPERVISOR)
    yield made.accounts, hasher
    made.stop()


@pytest.mark.parametrize("how", ["reset", "closed", "logged out"])
def test_a_change_of_password_that_was_under_way_does_not_undo_a_reset(
    raced: tuple[Accounts, Meanwhile], how: str
) -> None:
    accounts, hasher = raced
    stolen = accounts.reset("officer")
    session = accounts.session(accounts.log_in("officer", stolen, HOME))
    assert session is not None
    given: list[str] = []
    doing: dict[str, Callable[[], object]] = {
        "reset": lambda: given.append(accounts.reset("officer")),
        "closed": lambda: accounts.change("officer", Role.OFFICER, active=False),
        "logged out": lambda: accounts.log_out(session),
    }
    hasher.then = doing[how]
    with pytest.raises(RequestRefused, match="changed meanwhile"):
        accounts.change_password(session, stolen, "the thief's own password")
    with pytest.raises(RequestRefused, match="wrong"):
        accounts.log_in("officer", "the thief's own password", HOME)
    if given:
        assert accounts.log_in("officer", given[0], HOME)


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_login_that_was_under_way_gets_no_session_after_a_reset(raced: tuple[Accounts, Meanwhile], how: str) -> None:
    accounts, hasher = raced
    stolen = accounts.reset("officer")
    hasher.then = {
        "reset": lambda: accounts.reset("officer"),
        "closed": lambda: accounts.change("officer", Role.OFFICER, active=False),
    }[how]
    with pytest.raises(RequestRefused, match="wrong"):
        accounts.log_in("officer", stolen, HOME)


def _guess(accounts: Accounts, clock: Clock, address: str, times: int, name: str = "officer") -> None:
    for at in range(times):
        with pytest.raises(RequestRefused):
            accounts.log_in(name, f"guess {at}", address)


def test_guessing_is_slowed_down_for_its_address_only(console: Console, clock: Clock) -> None:
    accounts = console.accounts
    _guess(accounts, clock, ELSEWHERE, FREE_FAILURES)
    waits = []
    for _ in range(9):
        with pytest.raises(TooManyFailures) as refused:
            accounts.log_in("officer", PASSWORD, ELSEWHERE)
        waits.append(refused.value.seconds)
        clock.now += refused.value.seconds
        with pytest.raises(RequestRefused, match="wrong"):
            accounts.log_in("officer", "guess", ELSEWHERE)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert accounts.log_in("officer", PASSWORD, HOME)
    assert accounts.log_in("viewer", PASSWORD, ELSEWHERE)
    clock.now += LONGEST_WAIT
    assert accounts.log_in("officer", PASSWORD, ELSEWHERE)
    assert accounts.log_in("officer", PASSWORD, ELSEWHERE)


def test_the_browser_in_which_an_officer_has_logged_in_is_not_slowed_down_by_others_behind_the_same_proxy(
    console: Console, clock: Clock
) -> None:
    own = officer(console)
    own.post("/queue", "/logout")
    thief = Browser(console)
    for _ in range(FREE_FAILURES):
        assert thief.log_in("officer", "wrong").status_code == 403
    refused = thief.log_in("officer")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "Wait 1 second." in refused.text
    assert own.log_in("officer").url.path == "/queue"
    # The cookie is good for its own account alone, and counts failures too.
    own.post("/queue", "/logout")
    for _ in range(FREE_FAILURES):
        assert own.log_in("supervisor", "wrong").status_code == 403
        assert own.log_in("officer", "wrong").status_code == 403
    assert own.log_in("officer").status_code == 429
    clock.now += 1
    assert own.log_in("officer").url.path == "/queue"


def test_guessing_from_many_addresses_is_slowed_down_and_the_known_address_is_not(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "STRANGERS_FREE_FAILURES", 20)
    console.accounts.remember("officer", HOME)
    for at in range(20):
        _guess(console.accounts, clock, f"198.51.100.{at}", 1)
    with pytest.raises(TooManyFailures):
        console.accounts.log_in("officer", PASSWORD, "203.0.113.9")
    assert console.accounts.log_in("officer", PASSWORD, HOME)


def test_many_guesses_at_once_are_no_way_around_the_limit(console: Console) -> None:
    def guess(at: int) -> type[Exception]:
        try:
            console.accounts.log_in("officer", f"guess {at}", ELSEWHERE)
        except RequestRefused as refused:
            return type(refused)
        raise AssertionError

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(guess, range(40)))
    assert answers.count(TooManyFailures) == 40 - FREE_FAILURES


def test_what_counts_guesses_has_a_bound(console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "_MOST_COUNTED", 30)
    for at in range(40):
        clock.now += 0.01
        _guess(console.accounts, clock, ELSEWHERE, 1, f"n{at}")
        _guess(console.accounts, clock, ELSEWHERE, 1, f"no name {at}" * 100) if at < FREE_FAILURES else None
    assert console.database.number("SELECT count(*) FROM attempts") == 30
    assert console.database.number("SELECT max(length(name)) FROM attempts") < 10


def test_an_account_has_no_more_sessions_than_browsers(console: Console, clock: Clock) -> None:
    tokens = []
    for _ in range(MOST_SESSIONS + 5):
        clock.now += 1
        tokens.append(console.accounts.log_in("officer", PASSWORD, HOME))
    alive = [console.accounts.session(token) is not None for token in tokens]
    assert alive == [False] * 5 + [True] * MOST_SESSIONS


def test_the_old_password_cannot_be_guessed_from_a_session(console: Console, clock: Clock) -> None:
    browser = officer(console)
    form = {"new": "another good one", "again": "another good one"}
    for _ in range(FREE_FAILURES):
        assert browser.post("/password", "/password", old="guess", **form).status_code == 422
    refused = browser.post("/password", "/password", old=PASSWORD, **form)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    other = officer(console)
    assert other.post("/password", "/password", old=PASSWORD, **form).url.path == "/queue"


class Slow(PasswordHasher):
    """Waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.may_go_on.wait(60)
        with self._lock:
            self.at_once -= 1
        return super().verify(hash, password)


@pytest.mark.embedded
def test_pages_and_known_browsers_do_not_wait_for_the_logins_of_strangers(tmp_path: Path) -> None:
    hasher = Slow()
    made = Console(tmp_path / "slow", Codes({}), Wiring(), accounts=lambda d, c: Accounts(d, c, hasher))
    once = made.accounts.create("officer", Role.OFFICER)

    def stranger(at: int) -> int:
        with closing(Browser(address)) as browser:
            return browser.log_in(f"stranger{at}", "x").status_code

    with served(made) as address, closing(Browser(address)) as own, ThreadPoolExecutor(61) as pool:
        own.log_in("officer", once)
        own.post("/password", "/password", old=once, new=PASSWORD, again=PASSWORD)
        own.post("/queue", "/logout")
        hasher.may_go_on.clear()
        logins = [pool.submit(stranger, at) for at in range(60)]
        try:
            wait_until(lambda: hasher.at_once == 1)
            assert own.get("/login").status_code == 200
            assert own.get("/readyz").status_code == 200
            known = pool.submit(own.log_in, "officer")
            wait_until(lambda: hasher.at_once == 2)
        finally:
            hasher.may_go_on.set()
        assert known.result(60).url.path == "/queue"
        assert {login.result(60) for login in logins} == {403}
    assert hasher.most_at_once == 2


PROXIES = ("127.0.0.1/32", "10.0.0.0/8", "2001:db8:aaaa::/48")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ((), "127.0.0.1", (HOME,), "127.0.0.1"),
        (("192.0.2.0/24",), "127.0.0.1", (HOME,), "127.0.0.1"),
        (PROXIES, "127.0.0.1", (HOME,), HOME),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, {HOME}",), HOME),
        (PROXIES, "127.0.0.1", (ELSEWHERE, HOME), HOME),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, {HOME}, 10.1.2.3, 10.4.5.6",), HOME),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, 2001:db8::7, 2001:db8:aaaa::1",), "2001:db8::7"),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, [2001:db8::7]:4711",), "2001:db8::7"),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, {HOME}:4711",), HOME),
        (PROXIES, "2001:db8:aaaa::9", (HOME,), HOME),
        (PROXIES, "2001:db8:bbbb::9", (HOME,), "2001:db8:bbbb::9"),
        (PROXIES, HOME, (ELSEWHERE,), HOME),
        (PROXIES, "127.0.0.1", ("",), None),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, <script>\x1b[2J",), None),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE}, " + "x" * 5_000,), None),
        (PROXIES, "127.0.0.1", (f"{ELSEWHERE},,, ,",), None),
    ],
)
def test_a_forwarded_address_is_accepted_from_a_trusted_proxy_only(
    console: Console, trusted: tuple[str, ...], peer: str, forwarded: tuple[str, ...], address: str | None
) -> None:
    flags = [part for each in trusted for part in ("--trusted-proxy", each)]
    given = command.parser().parse_args(["--alerts", NOWHERE, "--answers", NOWHERE, *flags])
    browser = Browser(console)
    application = command.behind_proxies(console, given.trusted_proxy)
    browser.client = TestClient(application, base_url="http://console.test", client=(peer, 5000))
    for one in forwarded:
        browser.client.headers = Headers([*browser.client.headers.multi_items(), ("X-Forwarded-For", one)])
    browser.log_in("supervisor")
    (line,) = [line for line in console.audit.lines() if line["action"] == "login"]
    if address is not None:
        assert line["address"] == address
    assert line["address"] != ELSEWHERE
    assert len(line["address"]) <= 64
    page = browser.get("/audit")
    assert page.status_code == 200
    assert "<script>\x1b" not in page.text


@pytest.mark.parametrize("proto", ["https", "http", "https, http", "javascript", "https\x00"])
def test_a_forwarded_scheme_is_accepted_from_a_trusted_proxy_only(console: Console, proto: str) -> None:
    for trusted in ([], ["127.0.0.1/32"]):
        application = command.behind_proxies(console, trusted)
        client = TestClient(application, base_url="http://console.test", client=("127.0.0.1", 5000))
        answer = client.get("/login", headers={"X-Forwarded-Proto": proto})
        assert ("strict-transport-security" in answer.headers) == (proto == "https" and bool(trusted))


def test_a_network_of_ipv6_is_one_address(console: Console, clock: Clock) -> None:
    accounts = console.accounts
    for at in range(FREE_FAILURES):
        _guess(accounts, clock, f"2001:db8::{at:x}:1", 1)
    with pytest.raises(TooManyFailures):
        accounts.log_in("officer", PASSWORD, "2001:db8::ffff")
    assert accounts.log_in("officer", PASSWORD, "2001:db8:0:1::1")
    _guess(accounts, clock, ELSEWHERE, FREE_FAILURES)
    with pytest.raises(TooManyFailures):
        accounts.log_in("officer", PASSWORD, f"::ffff:{ELSEWHERE}")


NAMES = (
    *("officer\x00", "offiсer", "\uff4ffficer", "officer\u200b", "OFFICER", "\u202eofficer", "officer\r\nadmin"),
    *("", " ", "'", "officer' OR 1=1 --", "\ud83d\udc6e", "a" * 200, "%00", "\udcff", "../officer", "ﬀicer"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_looks_like_an_account_is_none(console: Console, name: str) -> None:
    browser = Browser(console)
    token = browser.csrf("/login")
    form = f"csrf={token}&password={quote(PASSWORD)}&name={quote(name.encode(errors='surrogatepass'))}"
    answer = browser.client.post("/login", content=form)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text
    with pytest.raises(RequestRefused):
        console.accounts.create(name, Role.VIEWER)
    assert officer(console, "supervisor").get("/audit").status_code == 200


@pytest.mark.parametrize("length", [1_000, 1_001, 15_000, 17_000, 1_000_000])
def test_a_password_of_any_length_is_only_wrong_or_too_much(console: Console, length: int) -> None:
    answer = Browser(console).log_in("officer", "x" * length)
    assert answer.status_code == (403 if length < 16_000 else 413)
    assert Browser(console).log_in("officer").url.path == "/queue"


def test_a_flood_of_failed_logins_drives_out_nothing_that_was_done(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MOST_REFUSALS", 100)
    console.audit.note("officer", HOME, "answer", "40 to a")
    for at in range(1_000):
        console.audit.note("x" * 10_000, "y" * 10_000, "login refused", f"{at}" + "z" * 10_000)
    lines = console.audit.lines(limit=10_000)
    assert next(line["action"] for line in lines if line["action"] != "login refused") == "answer"
    kept = [line for line in lines if line["action"] == "login refused"]
    assert 100 <= len(kept) <= 200
    assert kept[0]["detail"].startswith("999")
    assert len(kept) + console.audit.before()["login refused"] == 1_000
    assert max(sum(len(str(value)) for value in line) for line in lines) < 800
    assert "older lines of “login refused” are only counted" in officer(console, "supervisor").get("/audit").text
