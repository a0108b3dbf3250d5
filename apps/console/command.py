"""``prestacop console``: parses the command line and serves the console."""

import argparse
import logging
import signal
import socket
import ssl
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from messaging.urls import topic_url
from metrics.flags import add_metrics, serving_metrics
from schemas.console_state import PUBLIC_KEY
from schemas.errors import InputUnusable, PrestaCopError, ServiceUnavailable
from terminal.arguments import LAKE, command_parser, percentage, port, readable, whole
from terminal.exits import report_text
from terminal.signals import INTERRUPTED

from . import log
from .accounts import ADMIN
from .app import build
from .codes import read_codes
from .connections import MOST_CONNECTIONS, Connections, Listener, Watched, allow_files
from .console import Console, Wiring

if TYPE_CHECKING:
    from metrics.server import Pages

_BACKLOG: Final = 1024
_LOG: Final = logging.getLogger(__name__)
_MOST_HEADER_BYTES: Final = 16 * 1024
_EPILOG: Final = """\
examples:
  prestacop console --alerts kafka://127.0.0.1:9092/alerts --answers kafka://127.0.0.1:9092/drones \\
      --images kafka://127.0.0.1:9092/images --panes data/panes.jsonl --codes dof_violation_codes.csv
  prestacop console --alerts pubsub://prestacop/alerts-console --answers pubsub://prestacop/drones

The first start prints a one-time password of the account admin, and creates the key that signs answers. The
graph needs its public key, DIR/console-key.pub.pem. Keys, roles and security: docs/console.md.

exit codes: 0 ended, 2 wrong usage, 3 input unusable, 4 the port is not available, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = parser().parse_args(arguments)
    if bool(given.tls_cert) != bool(given.tls_key):
        return report_text("--tls-cert and --tls-key go together", 2)
    wiring = Wiring(
        alerts=given.alerts,
        answers=given.answers,
        images=given.images,
        commands=given.commands,
        confirmations=given.confirmations,
        panes=given.panes,
        lake=given.lake,
    )
    log.set_up()
    try:
        allow_files(given.max_connections)
        console = Console(
            given.data,
            read_codes(given.codes),
            wiring,
            new_key=given.new_key,
            second_look=float(given.second_look),
            suggestions=given.suggestions == "on",
        )
        try:
            with serving_metrics(given, partial(_pages, console)):
                return _serve(console, given)
        finally:
            console.stop()
    except PrestaCopError as error:
        return report_text(str(error), error.exit_code)


def _pages(console: Console) -> "Pages":
    from metrics.server import Pages  # noqa: PLC0415

    from .metrics import ConsoleMetrics  # noqa: PLC0415

    return Pages(ConsoleMetrics(console), console.faults, console.missing)


def _serve(console: Console, given: argparse.Namespace) -> int:
    for flag, file in (("--tls-cert", given.tls_cert), ("--tls-key", given.tls_key)):
        if file is not None:
            _check_readable(flag, file)
    connections = Connections(given.max_connections)

    async def each_second() -> None:
        connections.end_silent()

    config = uvicorn.Config(
        Watched(behind_proxies(console, given.trusted_proxy), connections),
        host=given.host,
        port=given.port,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # it would believe any process of this machine
        ssl_certfile=given.tls_cert,
        ssl_keyfile=given.tls_key,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        timeout_graceful_shutdown=2,
        timeout_notify=1,
        callback_notify=each_second,
        server_header=False,
    )
    try:
        config.load()
    except ssl.SSLError as error:
        pair = f"--tls-cert {given.tls_cert} and --tls-key {given.tls_key}"
        raise InputUnusable(f"{pair} are no certificate and its own key, both in PEM: {error}") from error
    server = _Server(config, console, given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: uvicorn raises it again when it has ended
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the background of a shell ignores it
    family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
    try:
        listening = Listener(socket.create_server((given.host, given.port), family=family), connections)
    except OSError as error:
        where = f"{given.host}:{given.port}"
        raise ServiceUnavailable(f"cannot listen at {where}: {error.strerror}; name another --port") from error
    try:
        server.run([listening])
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def behind_proxies(console: Console, trusted: list[str]) -> ASGIApp:
    """The application; it trusts X-Forwarded-For of these proxies only."""
    return ProxyHeadersMiddleware(build(console), trusted)  # type: ignore[arg-type,return-value]


class _Server(uvicorn.Server):
    """Prints the address when the console listens, and the one-time password only then."""

    def __init__(self, config: uvicorn.Config, console: Console, given: argparse.Namespace) -> None:
        super().__init__(config)
        self._console = console
        self._given = given

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        self._console.start()
        scheme = "https" if self._given.tls_cert else "http"
        if scheme == "http" and not _is_here(self._given.host):
            _LOG.warning("passwords travel in the clear: --tls-cert and --tls-key, or a proxy with TLS")
        print(f"the graph verifies answers with {self._given.data / PUBLIC_KEY}", flush=True)
        password = self._console.accounts.first_password()
        if password:
            print(f"one-time password of {ADMIN}: {password}  (change it at the first login)", flush=True)
        print(f"console: {scheme}://{self._given.host}:{self._given.port}  (Ctrl-C ends it)", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._console.ending = True
        await super().shutdown(sockets)


def _check_readable(flag: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise InputUnusable(f"{flag} {file} cannot be read: {error.strerror}") from error


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither an IP address nor a network: {error}") from error


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop console``."""
    made = command_parser(
        "prestacop console",
        "Serve the officers' console, a web page: it reads alerts, publishes signed answers and shows live statistics.",
        _EPILOG,
    )
    add = made.add_argument
    topic = readable(topic_url)
    add(
        "--alerts",
        type=topic,
        required=True,
        metavar="URL",
        help="read alerts from kafka://HOST:PORT/TOPIC or pubsub://PROJECT/SUBSCRIPTION",
    )
    add(
        "--answers",
        type=topic,
        required=True,
        metavar="URL",
        help="publish answers to the topic of the drones' messages, kafka://HOST:PORT/TOPIC or pubsub://PROJECT/TOPIC",
    )
    add(
        "--images",
        type=topic,
        metavar="URL",
        help="read the drones' pictures from this topic or subscription (default: no pictures)",
    )
    add(
        "--lake",
        metavar=LAKE,
        help="fetch the pictures of alerts that drones have uploaded from this lake (default: none is uploaded)",
    )
    add("--commands", type=topic, metavar="URL", help="publish commands to drones to this topic (default: no commands)")
    add(
        "--confirmations",
        type=topic,
        metavar="URL",
        help="read the drones' confirmations of commands from this topic or subscription",
    )
    add(
        "--panes",
        type=Path,
        metavar="FILE",
        help="show the live statistics in FILE, which prestacop run --live file:FILE writes",
    )
    add(
        "--codes",
        type=Path,
        metavar="FILE",
        help="the city's table of violation codes, a CSV with CODE and DEFINITION (default: short names)",
    )
    add(
        "--second-look",
        type=percentage,
        default=Fraction(0),
        metavar="SHARE",
        help="show this share of answered alerts, chosen at random, to a second officer, who does not see the first "
        "answer; prestacop officers --console reports how often they agree: 2%%, 0.5%% (default: 0%%)",
    )
    add(
        "--suggestions",
        choices=("on", "off"),
        default="off",
        help="show on the desk what officers answered before at that place and hour, except for a control group of a "
        "tenth of the alerts; prestacop officers --console compares (default: off)",
    )
    add(
        "--data",
        type=Path,
        default=Path("data/console"),
        metavar="DIR",
        help="directory of the accounts, the answers and the signing key (default: data/console)",
    )
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=port, default=8300, metavar="N", help="port to listen on (default: 8300)")
    add(
        "--trusted-proxy",
        type=_network,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="accept X-Forwarded-For and X-Forwarded-Proto of a proxy at this IP address or network; repeatable",
    )
    add(
        "--max-connections",
        type=whole(10, 100_000),
        default=MOST_CONNECTIONS,
        metavar="N",
        help=f"connections at once; beyond them the longest silent one is closed (default: {MOST_CONNECTIONS})",
    )
    add("--new-key", action="store_true", help="create another signing key after the first was lost")
    add("--tls-cert", type=Path, metavar="FILE", help="serve https with this certificate (PEM)")
    add("--tls-key", type=Path, metavar="FILE", help="private key of the certificate (PEM)")
    add_metrics(made)
    return made
