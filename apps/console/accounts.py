"""Accounts, their passwords and sessions, and how often a login may fail."""

import hashlib
import math
import re
import secrets
import sqlite3
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .access import Role
from .database import Database

ADMIN: Final = "admin"
SESSION_SECONDS: Final = 12 * 3600.0
"""A shift."""
SHORTEST_PASSWORD: Final = 12
MOST_SESSIONS: Final = 20
"""Of an account; the oldest ends for another one."""
DEVICE_SECONDS: Final = 180 * 86_400.0
"""So long a browser in which someone has logged in is known as theirs."""
MOST_DEVICES: Final = 50
"""Of an account."""
FAILURE_SECONDS: Final = 15 * 60.0
"""Failures are forgotten when so long none came."""
FREE_FAILURES: Final = 5
"""After so many failures of one account from one address, known browser or session, the next attempt must wait: one
second, then twice as long each time, up to LONGEST_WAIT."""
LONGEST_WAIT: Final = 60.0
STRANGERS_FREE_FAILURES: Final = 200
"""The same for an account from all the addresses and browsers that are not known as its own, up to
STRANGERS_LONGEST_WAIT: who guesses from many addresses is slowed down, and its owner is not."""
STRANGERS_LONGEST_WAIT: Final = 10.0
_MOST_COUNTED: Final = 10_000
"""Accounts and where they were tried from; names that are no accounts are counted too, or they would be found out."""
_STRANGERS: Final = ""
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}")


class Refused(Exception):
    """What was asked for cannot be; the message is for whoever asked."""


class TooManyFailures(Refused):
    """Wait so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many attempts failed. Wait {seconds} second{'s' if seconds > 1 else ''}.")
        self.seconds = seconds


class _Limit(NamedTuple):
    """What is counted together, and how it is slowed down."""

    origin: str
    free: int = FREE_FAILURES
    longest: float = LONGEST_WAIT


class Session(NamedTuple):
    """Someone who is logged in."""

    name: str
    role: Role
    must_change: bool
    csrf: str
    token_hash: str


class Accounts:
    """The accounts of a console. Names are officer_ids."""

    def __init__(self, database: Database, clock: Callable[[], float], hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        # Verified where there is no such account, so that the answer takes as long.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def first_password(self) -> str | None:
        """A one-time password of the first account, as long as nobody has chosen another; the one before is void."""
        row = self._database.row("SELECT must_change FROM accounts WHERE name = ?", ADMIN)
        if row is None and self._database.number("SELECT count(*) FROM accounts"):
            return None
        if row is None:
            return self.create(ADMIN, Role.SUPERVISOR)
        return self.reset(ADMIN) if row["must_change"] else None

    def exist(self) -> bool:
        """Whether there is any."""
        return bool(self._database.number("SELECT count(*) FROM accounts"))

    def create(self, name: str, role: Role) -> str:
        """Make an account; gives its one-time password. Raises Refused."""
        if not _NAME.fullmatch(name):
            raise Refused("A name has 2 to 32 of a-z, 0-9, '.', '_', '-', and begins with a letter.")
        password = secrets.token_urlsafe(12)
        hashed = self._hasher.hash(password)
        with self._database.transaction() as connection:
            made = connection.execute(
                "INSERT INTO accounts (name, role, hash, must_change) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING",
                (name, role, hashed),
            ).rowcount
        if not made:
            raise Refused(f"There is an account {name} already.")
        return password

    def reset(self, name: str) -> str:
        """Give an account a new one-time password and end its sessions. Raises Refused."""
        password = secrets.token_urlsafe(12)
        hashed = self._hasher.hash(password)
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET hash = ?, must_change = 1 WHERE name = ?", (hashed, name)
            ).rowcount:
                raise Refused(f"There is no account {name}.")
            connection.execute("DELETE FROM sessions WHERE name = ?", [name])
            connection.execute("DELETE FROM devices WHERE name = ?", [name])
        return password

    def change_password(self, session: Session, old: str, new: str) -> None:
        """Raises Refused: the old one is wrong, or the new one is no good; TooManyFailures.

        It counts only where neither the password nor the session has ended meanwhile: a reset is not undone by a
        change that was under way.
        """
        limits = [_Limit(f"session {session.token_hash}")]
        self._count_attempt(session.name, limits)
        row = self._database.row("SELECT hash FROM accounts WHERE name = ?", session.name)
        if row is None or not self._verify(row["hash"], old):
            raise Refused("That is not your password.")
        if len(new) < SHORTEST_PASSWORD or session.name in new.lower() or new == old:
            raise Refused(f"Choose {SHORTEST_PASSWORD} characters or more, another one than before, without your name.")
        hashed = self._hasher.hash(new)
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET hash = ?, must_change = 0 WHERE name = ? AND hash = ? AND active"
                " AND EXISTS (SELECT 1 FROM sessions WHERE token_hash = ? AND expires_at > ?)",
                (hashed, session.name, row["hash"], session.token_hash, self._clock()),
            ).rowcount:
                raise Refused("Your account was changed meanwhile: log in again.")
            connection.execute(
                "DELETE FROM sessions WHERE name = ? AND token_hash <> ?", (session.name, session.token_hash)
            )
            _forget(connection, session.name, limits)

    def change(self, name: str, role: Role, active: bool) -> None:
        """Set an account's role, and whether it may log in; its sessions end. Raises Refused."""
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET role = ?, active = ? WHERE name = ?", (role, active, name)
            ).rowcount:
                raise Refused(f"There is no account {name}.")
            left = connection.execute(
                "SELECT count(*) FROM accounts WHERE role = ? AND active", [Role.SUPERVISOR]
            ).fetchone()[0]
            if not left:
                raise Refused("That would leave no supervisor.")
            connection.execute("DELETE FROM sessions WHERE name = ?", [name])

    def log_in(self, name: str, password: str, address: str, device: str = "") -> str:
        """Gives the token of a new session. Raises Refused, TooManyFailures.

        Args:
            device: the token by which a browser is known, of :meth:`remember`.
        """
        known = self.knows(name, device)
        address = _origin(address)
        limits = [_Limit(f"device {_hash_of(device)}" if known else address)]
        if not known and not self._comes_from(name, address):
            limits.append(_Limit(_STRANGERS, STRANGERS_FREE_FAILURES, STRANGERS_LONGEST_WAIT))
        self._count_attempt(name, limits)
        row = self._database.row("SELECT hash FROM accounts WHERE name = ? AND active", name)
        if not self._verify(row["hash"] if row else self._nobody, password) or row is None:
            raise Refused("Name or password is wrong.")
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.transaction() as connection:
            # A password that was changed meanwhile, or an account that was closed, gets no session.
            if not connection.execute(
                "INSERT INTO sessions (token_hash, name, csrf, expires_at)"
                " SELECT ?, name, ?, ? FROM accounts WHERE name = ? AND hash = ? AND active",
                (_hash_of(token), secrets.token_urlsafe(32), now + SESSION_SECONDS, name, row["hash"]),
            ).rowcount:
                raise Refused("Name or password is wrong.")
            _forget(connection, name, limits)
            connection.execute("DELETE FROM sessions WHERE expires_at < ?", [now])
            connection.execute(
                "DELETE FROM sessions WHERE name = ?1 AND token_hash NOT IN"
                " (SELECT token_hash FROM sessions WHERE name = ?1 ORDER BY expires_at DESC, rowid DESC LIMIT ?2)",
                (name, MOST_SESSIONS),
            )
        return token

    def remember(self, name: str, address: str, device: str = "") -> str:
        """Know a browser, and an address, as those of someone who has logged in; gives the browser's token."""
        device = device if self.knows(name, device) else secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM devices WHERE used_at < ?", [now - DEVICE_SECONDS])
            connection.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?)", (_hash_of(device), name, _origin(address), now)
            )
            connection.execute(
                "DELETE FROM devices WHERE name = ?1 AND token_hash NOT IN"
                " (SELECT token_hash FROM devices WHERE name = ?1 ORDER BY used_at DESC, rowid DESC LIMIT ?2)",
                (name, MOST_DEVICES),
            )
        return device

    def knows(self, name: str, device: str) -> bool:
        """Whether a token is that of a browser in which this account has logged in."""
        return bool(
            self._database.number(
                "SELECT count(*) FROM devices WHERE token_hash = ? AND name = ? AND used_at > ?",
                *(_hash_of(device), name, self._clock() - DEVICE_SECONDS),
            )
        )

    def session(self, token: str) -> Session | None:
        """Whose session a token is."""
        row = self._database.row(
            "SELECT token_hash, csrf, accounts.* FROM sessions JOIN accounts USING (name)"
            " WHERE token_hash = ? AND expires_at > ? AND active",
            _hash_of(token),
            self._clock(),
        )
        if row is None:
            return None
        return Session(row["name"], Role(row["role"]), bool(row["must_change"]), row["csrf"], row["token_hash"])

    def is_open(self, session: Session) -> bool:
        """Whether it has not ended since."""
        return bool(
            self._database.number(
                "SELECT count(*) FROM sessions JOIN accounts USING (name)"
                " WHERE token_hash = ? AND expires_at > ? AND active",
                *(session.token_hash, self._clock()),
            )
        )

    def log_out(self, session: Session) -> None:
        """End it."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE token_hash = ?", [session.token_hash])

    def say(self, session: Session, note: str) -> None:
        """What the next page of a session says."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE sessions SET note = ? WHERE token_hash = ?", (note, session.token_hash))

    def said(self, session: Session) -> str:
        """What this page says; the next one does not."""
        row = self._database.row("SELECT note FROM sessions WHERE token_hash = ?", session.token_hash)
        if row is None or not row["note"]:
            return ""
        self.say(session, "")
        return str(row["note"])

    def _comes_from(self, name: str, address: str) -> bool:
        """Whether this account has logged in from an address before."""
        return bool(self._database.number("SELECT count(*) FROM devices WHERE name = ? AND address = ?", name, address))

    def _count_attempt(self, name: str, limits: list[_Limit]) -> None:
        """It counts as failed until it has succeeded: many at once are no way around the limit."""
        now = self._clock()
        name = _counted(name)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM attempts WHERE last_at < ?", [now - FAILURE_SECONDS])
            for origin, free, longest in limits:
                row = connection.execute(
                    "SELECT failures, last_at FROM attempts WHERE name = ? AND origin = ?", (name, origin)
                ).fetchone()
                if row is None or row["failures"] < free:
                    continue
                wait = min(2.0 ** min(row["failures"] - free, 30), longest)
                left = min(row["last_at"] + wait - now, wait)
                if left > 0:
                    raise TooManyFailures(math.ceil(left))
            connection.executemany(
                "INSERT INTO attempts VALUES (?, ?, 1, ?)"
                " ON CONFLICT DO UPDATE SET failures = failures + 1, last_at = excluded.last_at",
                [(name, limit.origin, now) for limit in limits],
            )
            connection.execute(
                "DELETE FROM attempts WHERE rowid IN"
                " (SELECT rowid FROM attempts ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
                [_MOST_COUNTED],
            )

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _forget(connection: sqlite3.Connection, name: str, limits: list[_Limit]) -> None:
    """An attempt has not failed after all; what strangers have failed at stays counted."""
    for limit in limits:
        connection.execute(
            "DELETE FROM attempts WHERE name = ? AND origin = ? AND origin <> ?", (name, limit.origin, _STRANGERS)
        )
        connection.execute(
            "UPDATE attempts SET failures = failures - 1 WHERE name = ? AND origin = ? AND origin = ?",
            (name, limit.origin, _STRANGERS),
        )


def _counted(name: str) -> str:
    """All names that no account can have count as one."""
    return name if _NAME.fullmatch(name) else "?"


def _origin(address: str) -> str:
    """What is counted as one address: of IPv6 the network of 64 bits, in which whoever has one address has them all.

    >>> _origin("::ffff:192.0.2.1"), _origin("2001:db8::1"), _origin("unknown")
    ('192.0.2.1', '2001:db8::/64', 'unknown')
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
