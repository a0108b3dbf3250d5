"""The console over https, with a certificate of its own."""

from contextlib import closing
from pathlib import Path

import pytest
from httpx2 import ConnectError, RemoteProtocolError

from apps.console.accounts import ADMIN
from tests.apps.console.browser import chromium, collect_errors, log_in, new_context
from tests.apps.console.process import NOWHERE, console, log_in_first
from tests.apps.console.support import Browser
from tests.apps.console.test_command import refused
from tests.certificates import self_signed


@pytest.mark.embedded
def test_a_login_over_https_gets_a_secure_cookie(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    flags = ["--tls-cert", str(made.certificate), "--tls-key", str(made.key)]
    with console(tmp_path / "state", NOWHERE, NOWHERE, *flags) as running:
        assert running.address.startswith("https://127.0.0.1:")
        with closing(log_in_first(running, made.certificate)) as browser:
            page = browser.get("/queue")
            assert page.status_code == 200
            assert page.headers["strict-transport-security"] == "max-age=31536000"
            (cookie,) = (each for each in browser.client.cookies.jar if "session" in each.name)
            assert (cookie.name, cookie.secure, cookie.path) == ("__Host-session", True, "/")
            assert not cookie.domain_specified
        with closing(Browser(running.address)) as stranger, pytest.raises(ConnectError, match="self-signed"):
            stranger.get("/login")
        plain = running.address.replace("https:", "http:")
        with closing(Browser(plain)) as careless, pytest.raises(RemoteProtocolError):
            careless.get("/login")
        with chromium() as started:
            context = new_context(started, ignore_https_errors=True)  # nobody can tell Chromium of a certificate
            tab = context.new_page()
            errors = collect_errors(tab)
            log_in(tab, running.address, ADMIN)
            tab.get_by_text("No alert is open").wait_for()
            (kept,) = (each for each in context.cookies() if "session" in each["name"])
            assert (kept["name"], kept["secure"], kept["httpOnly"]) == ("__Host-session", True, True)
            assert kept["sameSite"] == "Strict"
            assert errors == []


@pytest.mark.parametrize(
    ("certificate", "key", "expected"),
    [
        ("server.pem", "nowhere.pem", "--tls-key nowhere.pem cannot be read: No such file"),
        (".", "server-key.pem", "--tls-cert . cannot be read: Is a directory"),
        ("text.pem", "server-key.pem", "are no certificate and its own key, both in PEM"),
        ("server.pem", "other-key.pem", "server.pem and --tls-key other-key.pem are no certificate and its own key"),
        ("server-key.pem", "server.pem", "both in PEM"),
    ],
)
def test_files_that_are_no_certificate_and_its_key_end_it_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    certificate: str, key: str, expected: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    self_signed(tmp_path)
    self_signed(tmp_path, "other")
    Path("text.pem").write_text("no certificate")
    code, line = refused(capsys, "--data", "state", "--tls-cert", certificate, "--tls-key", key)
    assert code == 3
    assert expected in line
