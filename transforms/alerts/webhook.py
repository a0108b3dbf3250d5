"""Alerts to a web service, one POST each, signed by the specification https://www.standardwebhooks.com.

The body is the alert as on its topic. ``webhook-id`` is a hash of the message_id, ``webhook-timestamp`` the seconds
since the epoch, ``webhook-signature`` is ``v1,`` and the Base64 of the HMAC-SHA256 of ``ID.TIMESTAMP.BODY``. The
receiver verifies the signature, refuses old timestamps, and remembers ids: delivery is at-least-once.
"""

import binascii
import hmac
import logging
import os
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import requests
from apache_beam.utils.retry import with_exponential_backoff
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from schemas.alerts import Alert, encode
from schemas.errors import InputUnusable, ServiceUnavailable
from transforms.alerts.bounded_time import attempt, opened, within

SECRET: Final = "ALERT_WEBHOOK_SECRET"
PREFIX: Final = "whsec_"
LEAST_SECRET_BYTES: Final = 24
"""By the specification."""
TIMEOUT_SECONDS: Final = (5, 15)
"""For the connection, and for each wait for bytes of the answer."""
TOTAL_SECONDS: Final = 36
"""For one alert, with all attempts."""
ATTEMPTS: Final = 7
SHORT_ANSWER_BYTES: Final = 64 * 1024
"""A body up to this size is read, so that its connection can be reused; a longer one is not read."""
REASON_CHARS: Final = 100
RETRYABLE_CODES: Final = (408, 425, 429, 500, 502, 503, 504)
"""Status codes that are retried."""
_HERE: Final = ("127.0.0.1", "[::1]", "localhost")


class WebhookUrl(NamedTuple):
    """Where to POST."""

    url: str


def webhook_url(text: str) -> WebhookUrl:
    """Parse a URL: https, or http on this machine, since alerts contain plates. Raises ValueError."""
    try:
        # As it will be sent: what another parser takes for the host may not be where requests connects.
        parts = parse_url(requests.Request("POST", text).prepare().url or "")
    except (requests.RequestException, LocationParseError):
        parts = Url()
    is_plain = text.isascii() and text.isprintable() and not set(" \\") & set(text)
    is_private = parts.scheme == "https" or (parts.scheme == "http" and parts.host in _HERE)
    if not (is_plain and parts.host and is_private):
        raise ValueError("a webhook is https://HOST/PATH, or http://localhost:PORT/PATH on this machine")
    return WebhookUrl(text)


class _Retryable(Exception):
    """Why an attempt failed that is retried."""


def sign_webhook(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(secret, signed, "sha256")).decode()


class Webhook:
    """A web service; attempts are retried with exponential backoff."""

    def __init__(self, target: WebhookUrl, backoff_seconds: float = 0.5, total_seconds: float = TOTAL_SECONDS) -> None:
        """Does not connect yet. Raises InputUnusable where the environment has no usable secret."""
        self._url = target.url
        self._host = parse_url(target.url).netloc
        self._secret = _secret()
        self._total_seconds = total_seconds
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings have the whole URL
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter())
        # A proxy of the environment would send plain http to the network.
        self._session.trust_env = target.url.lower().startswith("https:")
        # urllib3's own retries read the whole body of a response, and wait for its whole Retry-After.
        self._deliver = with_exponential_backoff(
            num_retries=ATTEMPTS - 1, initial_delay_secs=backoff_seconds, retry_filter=_is_retryable
        )(self._deliver_once)

    def send(self, alerts: Sequence[Alert]) -> None:
        """See :class:`transforms.alerts.channels.Channel`."""
        for alert in alerts:
            self._post(alert)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _post(self, alert: Alert) -> None:
        body, now = encode(alert), round(time.time())
        name = "alert_" + blake2b(alert.message_id.encode(), digest_size=16).hexdigest()
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": sign_webhook(self._secret, name, now, body),
        }
        try:
            within(self._total_seconds, lambda: self._deliver(body, headers))
        except _Retryable as error:
            raise ServiceUnavailable(str(error)) from None
        except TimeoutError:
            raise ServiceUnavailable(
                f"the webhook at {self._host} did not answer within {self._total_seconds:g} s"
            ) from None

    def _deliver_once(self, body: bytes, headers: dict[str, str]) -> None:
        with attempt():
            self._attempt(body, headers)

    def _attempt(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            answer = self._session.post(
                self._url, body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
            )
        except requests.RequestException as error:
            # Its text has the whole URL, which may be a secret.
            name = type(error).__name__
            raise _Retryable(f"the webhook at {self._host} did not answer ({name})") from None
        with answer:
            code, reason = answer.status_code, answer.reason[:REASON_CHARS]
            length = answer.raw.length_remaining
            if code >= 200 and length is not None and length <= SHORT_ANSWER_BYTES:
                answer.raw.drain_conn()
        if code < 200:  # the final answer follows, and must not be read as that of the next alert
            self._session.close()
        if not 200 <= code < 300:
            why = f"the webhook at {self._host} did not accept an alert: {code} {reason}"
            raise _Retryable(why) if code in RETRYABLE_CODES else ServiceUnavailable(why)


class _Http(HTTPConnection):
    """Registered when it is opened and when it is reused, so that the deadline can end it."""

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        opened(made)
        return made

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            opened(self.sock)
        super().request(*args, **kwargs)


class _Https(_Http, HTTPSConnection):
    """The same under TLS."""


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """Makes connections of this kind."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS: Final = {"http": _HttpPool, "https": _HttpsPool}


def _is_retryable(error: Exception) -> bool:
    """Whether another attempt may help."""
    return isinstance(error, _Retryable)


def _secret() -> bytes:
    text = os.environ.get(SECRET, "")
    try:
        secret = b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(PREFIX) or len(secret) < LEAST_SECRET_BYTES:
        raise InputUnusable(
            f"a webhook needs {SECRET} in the environment: {PREFIX} and the Base64 of {LEAST_SECRET_BYTES} bytes or "
            f'more, for example of: echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return secret
