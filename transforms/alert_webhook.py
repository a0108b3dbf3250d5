"""Alerts to a web service, one POST each, signed as https://www.standardwebhooks.com says.

The body is the alert as on its topic. ``webhook-id`` is a hash of the message_id, ``webhook-timestamp`` the seconds
since the epoch, ``webhook-signature`` is ``v1,`` and the Base64 of the HMAC-SHA256 of ``ID.TIMESTAMP.BODY``. Who
receives it compares the signature, refuses what is minutes old, and remembers ids: one may come again.
"""

import binascii
import hmac
import logging
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from schemas.alerts import Alert, encode
from schemas.errors import InputUnusable, ServiceUnavailable

SECRET: Final = "ALERT_WEBHOOK_SECRET"
PREFIX: Final = "whsec_"
LEAST_SECRET_BYTES: Final = 24
"""As the standard says."""
TIMEOUT_SECONDS: Final = (5, 15)
"""For the connection, and for the answer."""
ATTEMPTS: Final = 7
"""Over about half a minute."""
PASSES: Final = (408, 425, 429, 500, 502, 503, 504)
"""The answers after which it is tried again."""
_HERE: Final = ("127.0.0.1", "::1", "localhost")


class WebhookUrl(NamedTuple):
    """Where to POST."""

    url: str


def webhook_url(text: str) -> WebhookUrl:
    """A URL that a plate may be sent to: https, or http on this machine. Raises ValueError."""
    parts = urlsplit(text)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)):
        raise ValueError("a webhook is https://HOST/PATH, or http://localhost:PORT/PATH on this machine")
    return WebhookUrl(text)


def sign_webhook(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(secret, signed, "sha256")).decode()


class Webhook:
    """A service that is told each alert; it is tried again, later and later."""

    def __init__(self, target: WebhookUrl, backoff_seconds: float = 0.5) -> None:
        """Nothing is sent yet. Raises InputUnusable: no usable secret in the environment."""
        self._url = target.url
        self._secret = _secret()
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings have the whole URL
        self._session = requests.Session()
        # What the message says is never part of a header, and no header of it leads anywhere else.
        retry = Retry(
            total=ATTEMPTS - 1, redirect=0, allowed_methods=None, status_forcelist=PASSES, raise_on_status=False,
            backoff_factor=backoff_seconds, backoff_jitter=backoff_seconds, retry_after_max=60,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def send(self, alerts: Sequence[Alert]) -> None:
        """See :class:`transforms.alert_channels.Channel`."""
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
            answer = self._session.post(
                self._url, body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            # Its text has the whole URL, which may be a secret.
            name = type(error).__name__
            raise ServiceUnavailable(f"the webhook at {self._host} does not answer ({name})") from None
        if not 200 <= answer.status_code < 300:
            raise ServiceUnavailable(
                f"the webhook at {self._host} does not take an alert: {answer.status_code} {answer.reason}"
            )

    @property
    def _host(self) -> str:
        return urlsplit(self._url).netloc.rpartition("@")[2]


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
