"""The log of every command, on stderr: ``--log-level`` and ``--log-format``.

At the levels ``error`` and ``warning`` (default) what Beam's workers log is left out, and what librdkafka logs of a
connection: the command itself ends with the same error in one line. ``info`` and ``debug`` show everything: Beam,
workers and their tracebacks, botocore, librdkafka. With ``json`` each record is one JSON object a line: time (UTC),
level, logger, message, what the record is :func:`about`, and where there is one exit_code and traceback. Secrets are
replaced by ``***`` before anything is written.
"""

import json
import logging
import os
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Any, Final, TextIO

LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LEVEL: Final = "warning"
TEXT, JSON = "text", "json"
FORMATS: Final = (TEXT, JSON)
COMMAND: Final = logging.getLogger("prestacop")
"""For what a command itself reports: its error, how to resume it. No level hides it."""
WORKERS: Final = logging.getLogger("apache_beam.worker")
"""For the tracebacks that Beam's workers print."""
LIBRDKAFKA: Final = logging.getLogger("librdkafka")
"""For what the client of Kafka logs."""

_ABOUT: Final = ("unit", "source", "partition", "offset")
_PARTITION: Final = re.compile(r"kafka:.*/(\d+)", re.DOTALL)
_CONNECTION_FAILS: Final = ("FAIL ", "ERROR ", "REQTMOUT ")
"""Librdkafka's records of a connection, which it also reports to the command."""
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|API_KEY|CREDENTIAL")
_SECRET_TEXT = re.compile(
    r"(?i)(authorization|x-amz-security-token|x-amz-signature|signature|[\w.-]*password|[\w.-]*secret|[\w-]*token)"
    r"(['\"]?\s*[:=]\s*(?:b?['\"])?)((?:(?:bearer|basic|aws4-hmac-sha256)\s+)?[^\s'\"&]{4,})"
)
_IN_URL: Final = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+@")
_SHORTEST_SECRET: Final = 6
"""A shorter value of a variable is more likely a word that occurs in other places too."""


class _Writing(threading.local):
    """Whether this thread writes a record at the moment: what it writes is no print of a worker."""

    now = False


_writing = _Writing()


class _Handler(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        _writing.now = True
        try:
            sys.stderr.write(f"{self.format(record)}\n")  # at once: worker processes write to the same stderr
            sys.stderr.flush()
        except OSError:
            pass  # stderr is closed; terminal.exits ends the command
        except Exception:  # noqa: BLE001  # as logging's own handlers do
            self.handleError(record)
        finally:
            _writing.now = False


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        if record.name == COMMAND.name:
            prefix = "error: " if record.levelno >= logging.ERROR else ""
            trace = f"{self.formatException(record.exc_info)}\n" if record.exc_info else ""
            return without_secrets(f"{trace}{prefix}{record.getMessage()}")
        text = f"{record.levelname.lower()}: {super().format(record)}"
        if _is_verbose():
            text = f"{_time(record)} {record.name} {text}"
        return without_secrets(text)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage().strip()),
        }
        for name in (*_ABOUT, "exit_code"):
            if (value := getattr(record, name, None)) is not None:
                fields[name] = without_secrets(value) if isinstance(value, str) else value
        trace = getattr(record, "traceback", None) or (record.exc_info and self.formatException(record.exc_info))
        if trace:
            fields["traceback"] = without_secrets(trace)
        return json.dumps(fields, ensure_ascii=False)


def about(
    source: str | None = None, unit: str | None = None, path: str | None = None, offset: int | None = None
) -> dict[str, object]:
    """The ``extra`` of a record that concerns a source, or a unit of it: fields of their own in JSON.

    Args:
        path: of the unit's input; that of a stream, ``kafka:TOPIC/PARTITION``, gives the partition.
        offset: where the unit, or what is wrong in it, begins: of a partition, or in bytes of a file.

    >>> about("drones", path="kafka:fleet/3", offset=0)
    {'source': 'drones', 'partition': 3, 'offset': 0}
    """
    found = _PARTITION.fullmatch(path) if path else None
    partition = int(found[1]) if found else None
    fields = {"unit": unit, "source": None if source is None else str(source), "partition": partition, "offset": offset}
    return {name: value for name, value in fields.items() if value is not None}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a record is of the level, and more than a second copy of the error that the command ends with."""
    if record.name == COMMAND.name:
        return True
    if record.levelno < logging.getLevelName(_chosen["level"].upper()):  # its logger has a level of its own
        return False
    if _is_verbose() or record.levelno >= logging.CRITICAL:
        return True
    if record.name == LIBRDKAFKA.name:
        return not record.getMessage().startswith(_CONNECTION_FAILS)
    return not (record.name.startswith("apache_beam") or record.module == "portable_runner")


_HANDLER: Final = _Handler()
_FORMATTERS: Final = {TEXT: _Text(), JSON: _Json()}
_chosen = {"level": DEFAULT_LEVEL, "format": TEXT}


def set_up(level: str | None = None, form: str | None = None) -> None:
    """Write the log to stderr; what is not given stays as it was chosen before. Filters that were added go."""
    _chosen["level"] = level or _chosen["level"]
    _chosen["format"] = form or _chosen["format"]
    _HANDLER.setFormatter(_FORMATTERS[_chosen["format"]])
    _HANDLER.filters = [_is_shown]
    root = logging.getLogger()
    root.addHandler(_HANDLER)  # once: logging ignores one that is there
    root.setLevel(_chosen["level"].upper())
    COMMAND.setLevel(logging.DEBUG if _chosen["level"] == "debug" else logging.INFO)


def add_filter(filter_: logging.Filter) -> None:
    """Let another filter judge what is written, until the next :func:`set_up`."""
    _HANDLER.addFilter(filter_)


def flags() -> list[str]:
    """The flags that give a child process the same log."""
    return [f"--log-{name}={value}" for name, value in _chosen.items() if value not in (DEFAULT_LEVEL, TEXT)]


def is_json() -> bool:
    """Whether stderr gets JSON alone: no progress bar then."""
    return _chosen["format"] == JSON


def _is_verbose() -> bool:
    return _chosen["level"] in ("debug", "info")


def without_secrets(text: str) -> str:
    """The text without passwords, tokens and signatures, and without the values of variables that have such names.

    >>> without_secrets("sasl.password=hunter22 of x")
    'sasl.password=*** of x'
    >>> without_secrets("'Authorization': b'AWS4-HMAC-SHA256 Credential=AK/2026', 'Host': b'x'")
    "'Authorization': b'***', 'Host': b'x'"
    >>> without_secrets("POST https://me:hunter22@example.org/hook?token=hunter23&x=1 failed")
    'POST https://me:***@example.org/hook?token=***&x=1 failed'
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name.upper()) and value in text:
            text = text.replace(value, "***")
    return _IN_URL.sub(r"\1***@", _SECRET_TEXT.sub(r"\1\2***", text))


class TracebacksAsRecords:
    """A stream in which the tracebacks that Beam's workers print become records of the log.

    What they raise comes out of the run as well, so these are for ``--log-level info`` and ``debug``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._after_traceback = False

    def write(self, text: str) -> int:
        """Write it, or log it."""
        if "Traceback (most recent call last):\n" in text and not _writing.now:
            self._after_traceback = True
            last = text.rstrip().rpartition("\n")[2]
            WORKERS.error(last if is_json() else text.rstrip(), extra={"traceback": text.rstrip()})
            return len(text)
        if self._after_traceback and text == "\n":  # print() writes the end of the line by itself
            self._after_traceback = False
            return len(text)
        self._after_traceback = False
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
