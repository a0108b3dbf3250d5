"""Who may do what: every route for every role, sessions, passwords, tokens, headers."""

import re

import pytest

from apps.console.access import ACCESS, Role
from apps.console.accounts import ADMIN, SESSION_SECONDS
from apps.console.app import EVENTS, PAGES
from apps.console.console import Console
from tests.apps.console.support import PASSWORD, Browser, Clock, alert, officer, raise_alerts

# Said again, so that a change of the table is a change here.
EVERYONE = {
    *("GET /", "GET /queue", "GET /queue/list", "GET /queue/events", "GET /pictures/{alert}", "GET /live"),
    *("GET /live/figures", "GET /live/events", "GET /password", "POST /password", "POST /logout"),
}
OFFICERS = EVERYONE | {
    *(
        "GET /desk",
        "GET /desk/events",
        "GET /desk/picture",
        "POST /desk/pick",
        "POST /desk/answer",
        "POST /desk/back",
        "POST /desk/suggestions",
    ),
}
SUPERVISORS = OFFICERS | {
    *("GET /drones", "GET /drones/list", "GET /drones/fleet", "POST /drones", "GET /accounts", "POST /accounts"),
    *("POST /accounts/change", "POST /accounts/reset", "GET /audit"),
}
ALLOWED = {"viewer": EVERYONE, "officer": OFFICERS, "supervisor": SUPERVISORS, "": set[str]()}
OPEN = {"GET /healthz", "GET /readyz", "GET /login", "POST /login"}
ROUTES = sorted(f"{method} {path}" for method, path in ACCESS)


@pytest.fixture(autouse=True)
def an_alert(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now))


def test_the_table_has_every_route_and_nothing_else() -> None:
    assert set(ACCESS) == set(PAGES) | {("GET", path) for path in EVENTS}
    assert set(ROUTES) == SUPERVISORS | OPEN


@pytest.mark.parametrize("role", ALLOWED)
def test_every_route_admits_exactly_its_roles(console: Console, role: str) -> None:
    browser = officer(console, role) if role else Browser(console)
    browser.client.follow_redirects = False
    token = browser.csrf("/password")
    for route in sorted(set(ROUTES) - OPEN - {"POST /logout"}):
        method, path = route.split(" ")
        if path in EVENTS and route in ALLOWED[role]:
            continue  # a stream has no end; the browser's tests read them
        url = path.replace("{alert}", "1")
        answer = browser.client.request(method, url, data={"csrf": token} if method == "POST" else None)
        if route in ALLOWED[role]:
            assert answer.status_code in {200, 204, 303, 422}, route
            assert answer.headers.get("location") != "/login", route
        elif role:
            assert answer.status_code == 403, route
        else:
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), route
    if role and role != "supervisor":
        actions = {line["action"] for line in console.audit.lines()}
        assert "refused" in actions


@pytest.mark.parametrize("route", sorted(route for route in ROUTES if route.startswith("POST")))
def test_no_form_is_taken_without_its_token(console: Console, route: str) -> None:
    browser = officer(console, "supervisor")
    browser.client.follow_redirects = False
    path = route.removeprefix("POST ")
    form = {"name": "supervisor", "password": PASSWORD, "drone": "d", "order": "hold", "role": "officer"}
    others = officer(console, "officer").csrf("/password")
    for token in ({}, {"csrf": ""}, {"csrf": "é"}, {"csrf": others}):
        assert browser.client.post(path, data=form | token).status_code == 403
    assert console.desk.held("supervisor") is None
    assert console.drones.newest_commands() == []


def test_sessions_end_with_the_shift_with_logout_and_with_another_role(console: Console, clock: Clock) -> None:
    browser = officer(console)
    clock.now += SESSION_SECONDS + 1
    assert browser.get("/queue").url.path == "/login"
    browser = officer(console)
    console.accounts.change("officer", Role.VIEWER, active=True)
    assert browser.get("/queue").url.path == "/login"
    console.accounts.change("officer", Role.OFFICER, active=False)
    assert "wrong" in browser.log_in("officer").text
    browser = officer(console, "viewer")
    cookie = browser.client.cookies["session"]
    browser.post("/queue", "/logout")
    browser.client.cookies.set("session", cookie)
    assert browser.get("/queue").url.path == "/login"


def test_an_alert_goes_back_at_logout(console: Console) -> None:
    browser = officer(console)
    browser.post("/queue", "/desk/pick")
    assert console.desk.held("officer") is not None
    browser.post("/desk", "/logout")
    assert console.desk.held("officer") is None
    assert console.desk.pick("supervisor") is not None


def test_cookies_are_same_site_and_secure_over_https(console: Console) -> None:
    browser = Browser(console)
    token = browser.csrf("/login")
    browser.client.follow_redirects = False
    form = {"csrf": token, "name": "officer", "password": PASSWORD}
    (cookie,) = [c for c in browser.client.post("/login", data=form).headers.get_list("set-cookie") if "session" in c]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    browser.client.base_url = "https://console.test"
    form["csrf"] = browser.csrf("/login")
    answer = browser.client.post("/login", data=form)
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if "session" in c]
    assert cookie.startswith("__Host-session=")
    assert "Secure" in cookie
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize("path", ["/login", "/queue", "/nowhere", "/static/console.css", "/pictures/1", "/readyz"])
def test_every_answer_has_the_headers_that_keep_a_browser_safe(console: Console, path: str) -> None:
    answer = officer(console).get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"]


def test_what_fails_has_the_headers_and_says_nothing_of_the_inside(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = officer(console)
    browser.client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    monkeypatch.setattr(console.pictures, "of", lambda alert: 1 // 0)
    answer = browser.get("/pictures/1")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_page_that_is_not_there_shows_the_way_on(console: Console) -> None:
    missing = officer(console).get("/nowhere/<b>")
    assert missing.status_code == 404
    assert 'href="/live"' in missing.text
    assert "<b>" not in missing.text
    assert 'href="/live"' not in Browser(console).get("/nowhere").text


def test_no_page_has_a_script_or_a_style_of_its_own(console: Console) -> None:
    browser = officer(console, "supervisor")
    for path in ("/login", "/queue", "/live", "/drones", "/accounts", "/audit", "/password"):
        text = browser.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://", text), path


def test_an_unknown_name_is_answered_as_a_wrong_password(console: Console) -> None:
    known, unknown = Browser(console).log_in("officer", "x"), Browser(console).log_in("nobody", "x")
    assert known.status_code == unknown.status_code
    assert "Name or password is wrong." in known.text
    assert "Name or password is wrong." in unknown.text


def test_the_first_password_is_for_one_time_and_opens_nothing_but_its_change(console: Console) -> None:
    first = console.accounts.first_password()
    assert first is None  # there are accounts
    console.accounts.create(ADMIN, Role.SUPERVISOR)
    once, again = console.accounts.first_password(), console.accounts.first_password()
    assert once is not None
    assert again is not None
    assert len(again) >= 16
    browser = Browser(console)
    assert "wrong" in browser.log_in(ADMIN, once).text
    assert browser.log_in(ADMIN, again).url.path == "/password"
    for path in ("/queue", "/accounts", "/live", "/audit"):
        assert browser.get(path).url.path == "/password"
    for new in ("short", again, "the admin of this", PASSWORD + "!"):
        form = {"old": again, "new": new, "again": PASSWORD if new == PASSWORD + "!" else new}
        assert browser.post("/password", "/password", **form).status_code == 422
    assert browser.post("/password", "/password", old=again, new=PASSWORD, again=PASSWORD).url.path == "/queue"
    assert console.accounts.first_password() is None
    assert "wrong" in Browser(console).log_in(ADMIN, again).text


def test_a_supervisor_creates_accounts_and_reads_the_audit_log(console: Console) -> None:
    browser = officer(console, "supervisor")
    page = browser.post("/accounts", "/accounts", name="k.byrne", role="officer").text
    found = re.search(r"<code>([^<]+)</code>", page)
    assert found is not None
    assert found[1] not in browser.get("/accounts").text
    assert Browser(console).log_in("k.byrne", found[1]).url.path == "/password"
    for name, role in (("k.byrne", "officer"), ("K Byrne", "officer"), ("x.y", "chief")):
        assert browser.post("/accounts", "/accounts", name=name, role=role).status_code == 422
    answer = browser.post("/accounts", "/accounts/change", name="supervisor", role="viewer", active="on")
    assert "no supervisor" in answer.text
    page = browser.get("/audit").text
    assert "account made" in page
    assert found[1] not in page
    assert "k.byrne, officer" in page


def test_a_form_that_is_too_large_is_refused(console: Console) -> None:
    assert Browser(console).client.post("/login", data={"name": "x" * 20_000}).status_code == 413


def test_passwords_are_hashed_with_argon2id_and_tokens_are_not_kept(console: Console) -> None:
    browser = officer(console)
    hashes = [row["hash"] for row in console.database.rows("SELECT hash FROM accounts")]
    assert all(each.startswith("$argon2id$") for each in hashes)
    kept = [row["token_hash"] for row in console.database.rows("SELECT token_hash FROM sessions")]
    assert browser.client.cookies["session"] not in kept
