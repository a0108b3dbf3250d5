"""Alerts reach a real web service and a real mail server on this machine, also when they fail at first."""

import gzip
import smtplib
import socket
import ssl
import threading
import time
import tracemalloc
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from runners.services import free_port
from schemas.alerts import decode
from schemas.errors import InputUnusable, ServiceUnavailable
from tests.certificates import self_signed
from tests.schemas.test_answers import alert
from transforms.alerts.mail import Mail, MailAddress, mail_address
from transforms.alerts.webhook import ATTEMPTS, SECRET, SHORT_ANSWER_BYTES, Webhook, sign_webhook, webhook_url

KEY = b"k" * 32
HOSTILE = 'x"\r\nBcc: all@example.org\r\n\r\n<script>'


class WebService(ThreadingHTTPServer):
    """Answers with each of some codes, and then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[tuple[str, str]] = []
        """webhook-id and message_id of what it answered 204."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: WebService

    def do_POST(self) -> None:  # the name that the server calls
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        code = self.server.codes.pop(0) if self.server.codes else 204
        if code == 204:
            self.server.taken.append((self.headers["webhook-id"], decode(body).message_id))
        self.send_response(code)
        self.send_header("content-length", "0")
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebService]:
    monkeypatch.setenv(SECRET, "whsec_" + b64encode(KEY).decode())
    with WebService() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hook(service: WebService) -> Iterator[Webhook]:
    opened = Webhook(webhook_url(service.url), backoff_seconds=0.01)
    yield opened
    opened.close()


@pytest.mark.embedded
def test_a_webhook_gets_the_alert_signed(service: WebService, hook: Webhook) -> None:
    hook.send([alert(), alert(message_id=HOSTILE)])
    for (headers, body), name in zip(service.got, ("m1", HOSTILE), strict=True):
        assert decode(body) == alert(message_id=name)
        signed = sign_webhook(KEY, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == signed
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign_webhook(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.embedded
def test_a_webhook_that_fails_for_a_while_gets_it_all_the_same(service: WebService, hook: Webhook) -> None:
    service.codes = [503, 500, 429]
    hook.send([alert()])
    assert len(service.got) == 4
    assert len({headers["webhook-id"] for headers, _ in service.got}) == 1


@pytest.mark.embedded
@pytest.mark.parametrize(("code", "attempts"), [(503, ATTEMPTS), (401, 1), (302, 1)])
def test_a_webhook_that_does_not_take_it_is_an_error(
    service: WebService, hook: Webhook, code: int, attempts: int
) -> None:
    service.codes = [code] * 20
    with pytest.raises(ServiceUnavailable, match=f"did not accept an alert: {code}"):
        hook.send([alert()])
    assert len(service.got) == attempts


@pytest.mark.embedded
def test_a_webhook_that_is_not_there_is_an_error(service: WebService) -> None:
    hook = Webhook(webhook_url(f"http://127.0.0.1:{free_port()}/token"), backoff_seconds=0.001)
    with pytest.raises(ServiceUnavailable, match="did not answer") as raised:
        hook.send([alert()])
    assert "token" not in str(raised.value)
    hook.close()


class _Stream(Thread):
    """A server that sends bytes to one client after another until it goes away."""

    def __init__(self, head: bytes, more: bytes, pause: float) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sends = head, more, pause
        self.sent = 0
        self.port = self._listener.getsockname()[1]
        self.gone = Event()
        self._closed = False

    def run(self) -> None:
        head, more, pause = self._sends
        with self._listener, suppress(OSError):
            while not self._closed:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    client.sendall(head)
                    client.settimeout(0.5)
                    while not self._closed:
                        self.sent += client.send(more)
                        time.sleep(pause)
                self.gone.set()

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.join()


@pytest.fixture
def stream() -> Iterator[Callable[..., _Stream]]:
    opened: list[_Stream] = []

    def start(head: bytes, more: bytes, pause: float = 0.0) -> _Stream:
        opened.append(_Stream(head, more, pause))
        opened[-1].start()
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"", b"H"),  # a status that never ends
        (b"HTTP/1.1 200 OK\r\n", b"x"),  # a header that never ends
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x"),  # a body that never ends
        (b"HTTP/1.1 503 later\r\ncontent-encoding: gzip\r\ncontent-length: 9999\r\n\r\n", b"\x1f\x8b"),
        (b"HTTP/1.1 503 later\r\nretry-after: 99999\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
def test_a_webhook_that_answers_byte_by_byte_ends_in_time(
    service: WebService, stream: Callable[..., _Stream], head: bytes, more: bytes
) -> None:
    server = stream(head, more, 0.02)
    hook = Webhook(webhook_url(f"http://127.0.0.1:{server.port}/"), 0.01, total_seconds=0.4)
    with pytest.raises(ServiceUnavailable, match=r"did not answer within 0\.4 s|did not accept an alert: (503|103)"):
        hook.send([alert()])
    assert not more or server.gone.wait(300)  # it is hung up, not left to go on for ever
    hook.close()


@pytest.mark.embedded
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "flood", [b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, b"x" * 65_536, b"\x16\x03\x03\x40\x00\x02"]
)
def test_no_thread_outlives_the_deadline_of_a_webhook(
    service: WebService, stream: Callable[..., _Stream], scheme: str, flood: bytes
) -> None:
    server = stream(b"", flood, 0.0 if len(flood) > 10 else 0.02)
    before = set(threading.enumerate())
    hook = Webhook(webhook_url(f"{scheme}://127.0.0.1:{server.port}/"), 0.01, total_seconds=0.3)
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="did not answer"):
            hook.send([alert()])
    for left in set(threading.enumerate()) - before:
        left.join(120)
        assert not left.is_alive()
    hook.close()


@pytest.mark.embedded
def test_a_compressed_answer_is_never_unpacked(service: WebService, stream: Callable[..., _Stream]) -> None:
    bomb = gzip.compress(bytes(60_000_000), 9)
    assert len(bomb) < SHORT_ANSWER_BYTES
    head = b"HTTP/1.1 503 later\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    server = stream(head + bomb, b"")
    hook = Webhook(webhook_url(f"http://127.0.0.1:{server.port}/"), 0.001, total_seconds=1)
    tracemalloc.start()
    with pytest.raises(ServiceUnavailable):
        hook.send([alert()])
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    hook.close()


@pytest.mark.embedded
def test_the_deadline_closes_a_reused_connection_too(service: WebService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gone = Event()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                while not client.recv(65_536).endswith(b"}"):
                    pass
                client.sendall(b"HTTP/1.1 204 thanks\r\n\r\n")
                while client.recv(65_536):
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            gone.set()

        thread = Thread(target=serve)
        thread.start()
        hook = Webhook(webhook_url(f"http://127.0.0.1:{listening.getsockname()[1]}/"))
        hook.send([alert()])
        hook._total_seconds = 0.4
        with pytest.raises(ServiceUnavailable, match="within 0"):
            hook.send([alert()])
        assert gone.wait(300)
        thread.join()
        hook.close()


@pytest.mark.embedded
@pytest.mark.parametrize("code", [b"200 OK", b"503 later", b"403 no"])
@pytest.mark.parametrize("length", [b"content-length: 4000000000", b"transfer-encoding: chunked", b"x: y"])
def test_a_large_answer_is_not_read(
    service: WebService, stream: Callable[..., _Stream], code: bytes, length: bytes
) -> None:
    server = stream(b"HTTP/1.1 %s\r\n%s\r\n\r\n" % (code, length), b"10000\r\n" + b"x" * 65_536 + b"\r\n")
    hook = Webhook(webhook_url(f"http://127.0.0.1:{server.port}/"), backoff_seconds=0.001, total_seconds=20)
    with nullcontext() if code == b"200 OK" else pytest.raises(ServiceUnavailable):
        hook.send([alert()])
    assert server.gone.wait(300)
    assert server.sent < ATTEMPTS * 20_000_000  # what the sockets hold
    hook.close()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "secret", "whsec_" + b64encode(b"short").decode()])
def test_a_webhook_without_a_good_secret_is_not_opened(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv(SECRET, secret)
    with pytest.raises(InputUnusable, match="openssl rand"):
        Webhook(webhook_url("https://example.org/hook"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "example.org",
        "https://",
        "",
        "http://evil.com\\@localhost/",
        "http://evil.com\\localhost/",
        "http://localhost@evil.com/",
        "http://localhost:80@evil.com/",
        "http://evil.com#@localhost/",
        "http://evil.com?@localhost/",
        "http://localhost.evil.com/",
        "http://127.0.0.1.evil.com/",
        "http://127.1/",
        "http://2130706433/",
        "http://evil.com\t@localhost/",
        "http://localhost\n.evil.com/",
        " http://localhost/",
        "http://localhost /",
        "http://loc\u200balhost/",
        "http://\uff4cocalhost/",
        "https://evil.com\\@hooks.example.org/",
        "http:///localhost",
        "http://[::1",
        "http://[::2]/",
        "http://[::1%25lo]/",
        "https://exa mple.org/",
        "http://localhost:99999999/",
        "http://[::1%25eth0]/",
        "http://[::1%lo]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://127.0.0.1./",
        "http://localhost./",
        "http://localhost%2eevil.com/",
        "http://localhost%00.evil.com/",
        "http://localhost;evil.com/",
        "http://a@localhost@evil.com/",
        "http:/localhost/",
        "https:////h/",
        "https://[evil.com]/",
    ],
)
def test_plates_are_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        webhook_url(url)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/a?b=c", "HTTP://127.0.0.1/", "http://[::1]:80/", "https://u:p@h/x"]
)
def test_a_webhook_is_on_loopback_or_uses_tls(url: str) -> None:
    assert webhook_url(url).url == url


@pytest.mark.embedded
def test_what_is_for_this_machine_goes_through_no_proxy(service: WebService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    hook = Webhook(webhook_url(service.url), backoff_seconds=0.001)
    hook.send([alert()])
    assert len(service.taken) == 1
    hook.close()


class _Mailbox:
    """A mail server's handler: refuses with each of some answers, and then takes mails."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.logins: list[tuple[bytes, bytes, bool]] = []
        """Name, password, and whether under TLS."""
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Mailbox]:
    box = _Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", str(controller.port))
    monkeypatch.delenv("SMTP_USER", raising=False)
    yield box
    controller.stop()


@pytest.mark.embedded
def test_a_mail_has_all_alerts_of_a_bundle(mailbox: _Mailbox) -> None:
    Mail(MailAddress("desk@example.org")).send([alert(), alert(message_id="m2", drone_id=HOSTILE, plate_id=HOSTILE)])
    (envelope,) = mailbox.mails
    assert envelope.rcpt_tos == ["desk@example.org"]
    head, _, body = envelope.content.decode().partition("\r\n\r\n")
    assert "2 parking violations wait for an officer" in head
    assert "Bcc" not in head
    assert '"message_id": "m1"' in body
    assert '"message_id": "m2"' in body
    assert not any(line.startswith("Bcc") for line in body.splitlines())


@pytest.mark.embedded
def test_the_same_alerts_are_the_same_mail(mailbox: _Mailbox) -> None:
    for _ in range(2):
        Mail(MailAddress("desk@example.org")).send([alert()])
    heads = [envelope.content.decode().partition("\r\n\r\n")[0] for envelope in mailbox.mails]
    assert len({line for head in heads for line in head.splitlines() if line.startswith("Message-ID")}) == 1


@pytest.mark.embedded
def test_a_mail_server_that_is_busy_gets_it_all_the_same(mailbox: _Mailbox) -> None:
    mailbox.answers = ["451 busy", "421 later"]
    Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert len(mailbox.mails) == 1


@pytest.mark.embedded
def test_a_mail_server_that_refuses_is_an_error(mailbox: _Mailbox) -> None:
    mailbox.answers = ["554 no"] * 2
    with pytest.raises(ServiceUnavailable, match="did not accept an alert"):
        Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert mailbox.answers == ["554 no"]


@pytest.mark.embedded
def test_no_password_is_sent_without_tls(mailbox: _Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_USER", "desk")
    with pytest.raises(ServiceUnavailable, match="STARTTLS") as raised:
        Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert isinstance(raised.value.__cause__, smtplib.SMTPNotSupportedError)


PASSWORD = "a good long one"


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Mailbox]:
    """A mail server that takes mails under TLS from who logs in alone."""
    made = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    box = _Mailbox()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, credentials: Any) -> AuthResult:
        box.logins.append((credentials.login, credentials.password, session.ssl is not None))
        return AuthResult(success=credentials.password == PASSWORD.encode(), handled=False)

    controller = Controller(
        box, hostname="127.0.0.1", port=free_port(), tls_context=tls, require_starttls=True,
        authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    server = {"HOST": "127.0.0.1", "PORT": str(controller.port), "USER": "desk", "PASSWORD": PASSWORD}
    for name, value in server.items():
        monkeypatch.setenv(f"SMTP_{name}", value)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    yield box
    controller.stop()


@pytest.mark.embedded
def test_a_mail_is_sent_under_tls_with_a_login(guarded: _Mailbox) -> None:
    Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert guarded.logins == [(b"desk", PASSWORD.encode(), True)]
    (envelope,) = guarded.mails
    assert '"message_id": "m1"' in envelope.content.decode()


@pytest.mark.embedded
def test_a_wrong_password_is_an_error_at_once(
    guarded: _Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "another one")
    with pytest.raises(ServiceUnavailable, match="Authentication credentials invalid") as raised:
        Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert "another one" not in str(raised.value)
    assert "retrying" not in caplog.text
    assert guarded.mails == []


@pytest.mark.embedded
def test_a_mail_server_without_a_trusted_certificate_gets_no_password(
    guarded: _Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1 is not trusted: self-signed .*SSL_CERT_FILE"):
        Mail(MailAddress("desk@example.org"), backoff_seconds=0.01).send([alert()])
    assert "retrying" not in caplog.text
    assert guarded.logins == []


@pytest.mark.embedded
@pytest.mark.parametrize(("head", "more", "pause"), [(b"", b"2", 0.02), (b"", b"220-" + b"x" * 200 + b"\r\n", 0.0)])
def test_a_mail_server_that_never_finishes_meets_the_deadline(
    stream: Callable[..., _Stream], monkeypatch: pytest.MonkeyPatch, head: bytes, more: bytes, pause: float
) -> None:
    server = stream(head, more, pause)
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", str(server.port))
    monkeypatch.delenv("SMTP_USER", raising=False)
    before = set(threading.enumerate())
    with pytest.raises(ServiceUnavailable, match=r"within 0\.4 s"):
        Mail(MailAddress("desk@example.org"), 0.01, total_seconds=0.4).send([alert()])
    assert server.gone.wait(300)  # it is hung up, not left to fill the memory
    for left in set(threading.enumerate()) - before:
        left.join(120)
        assert not left.is_alive()  # nor is it tried again


def test_mail_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTP_HOST", raising=False)
    with pytest.raises(InputUnusable, match="SMTP_HOST"):
        Mail(MailAddress("desk@example.org"))


@pytest.mark.parametrize("text", ["desk", "a@b\nBcc: c@d", "Desk <desk@example.org>", "a@b, c@d", "@example.org", "a@"])
def test_an_invalid_address_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="is not an e-mail address"):
        mail_address(text)
