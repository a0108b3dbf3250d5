"""Alerts by e-mail, one mail for all alerts of a bundle.

The server is SMTP_HOST (and SMTP_PORT) in the environment; with SMTP_USER and SMTP_PASSWORD the connection uses TLS
(STARTTLS), and OpenSSL or SSL_CERT_FILE must trust its certificate. The sender is SMTP_FROM, or else the receiver.
"""

import json
import os
import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import parseaddr
from hashlib import blake2b
from typing import Final, NamedTuple

from apache_beam.utils.retry import with_exponential_backoff

from schemas.alerts import Alert
from schemas.errors import InputUnusable, ServiceUnavailable
from transforms.alerts.bounded_time import attempt, opened, within

TIMEOUT_SECONDS: Final = 15
"""For each wait for bytes."""
TOTAL_SECONDS: Final = 60
"""For one mail, with all attempts."""
RETRIES: Final = 5
"""After 1, 2, 4, 8 and 16 seconds, about."""


class MailAddress(NamedTuple):
    """The receiver of the mails."""

    address: str


def mail_address(text: str) -> MailAddress:
    """One address, without a name. Raises ValueError."""
    name, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    if name or address != text or not local or not domain or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is not an e-mail address: write desk@example.org")
    return MailAddress(text)


def mail_of(alerts: Sequence[Alert], sender: str, receiver: str) -> EmailMessage:
    """One mail for some alerts: the same alerts have the same Message-ID. Texts of a drone are only in its body,
    escaped as JSON."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, receiver
    mail["Subject"] = f"{len(alerts)} parking violation{'s wait' if len(alerts) > 1 else ' waits'} for an officer"
    names = json.dumps([alert.message_id for alert in alerts]).encode()
    mail["Message-ID"] = f"<{blake2b(names, digest_size=16).hexdigest()}@prestacop>"
    mail.set_content("".join(map(_line, alerts)))
    return mail


def _line(alert: Alert) -> str:
    place = f"{alert.latitude:.5f}, {alert.longitude:.5f}"
    values = {"drone": alert.drone_id, "plate": alert.plate_id, "message_id": alert.message_id}
    return f"{json.dumps(alert.event_time)}  {place}  {json.dumps(values)}\n"


class Mail:
    """A mail server; attempts are retried with exponential backoff."""

    def __init__(self, target: MailAddress, backoff_seconds: float = 1.0, total_seconds: float = TOTAL_SECONDS) -> None:
        """Does not connect yet. Raises InputUnusable where the environment names no server."""
        self._receiver = target.address
        self._total_seconds = total_seconds
        self._user, self._password = os.environ.get("SMTP_USER"), os.environ.get("SMTP_PASSWORD", "")
        self._sender = os.environ.get("SMTP_FROM", target.address)
        host, port = os.environ.get("SMTP_HOST"), os.environ.get("SMTP_PORT", "587" if self._user else "25")
        if not host or not port.isdigit():
            raise InputUnusable("e-mail needs SMTP_HOST in the environment, and SMTP_PORT where it is not 25 or 587")
        self._server = (host, int(port))
        again = with_exponential_backoff(num_retries=RETRIES, initial_delay_secs=backoff_seconds, retry_filter=_passes)
        self._deliver = again(self._deliver_once)

    def send(self, alerts: Sequence[Alert]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        mail = mail_of(alerts, self._sender, self._receiver)
        try:
            within(self._total_seconds, lambda: self._deliver(mail))
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"the mail server {self._server[0]} did not accept an alert within {self._total_seconds:g} s"
            ) from error
        except ssl.SSLCertVerificationError as error:
            why = f"{error.verify_message}; set SSL_CERT_FILE in the environment for a certificate of your own"
            raise ServiceUnavailable(f"the mail server {self._server[0]} is not trusted: {why}") from error
        except OSError as error:  # smtplib's are too
            raise ServiceUnavailable(f"the mail server {self._server[0]} did not accept an alert: {error}") from error

    def close(self) -> None:
        """No connection outlives a mail."""

    def _deliver_once(self, mail: EmailMessage) -> None:
        with attempt(), _Connection(*self._server, timeout=TIMEOUT_SECONDS) as server:
            if self._user:
                server.starttls(context=ssl.create_default_context())
                server.login(self._user, self._password)
            server.send_message(mail)


class _Connection(smtplib.SMTP):
    """Registered before the server's greeting, so that the deadline can end it."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        opened(made)
        return made


def _passes(error: Exception) -> bool:
    """Whether another attempt may help."""
    if isinstance(error, smtplib.SMTPResponseException):
        return 400 <= error.smtp_code < 500
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(400 <= code < 500 for code, _ in error.recipients.values())
    stays = (smtplib.SMTPNotSupportedError, ssl.SSLCertVerificationError)
    return isinstance(error, OSError) and not isinstance(error, stays)
