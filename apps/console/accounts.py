"""Accounts, passwords and sessions, and the rate limit of failed logins."""

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
"""The length of a shift."""
SHORTEST_PASSWORD: Final = 12
MOST_SESSIONS: Final = 20
"""Sessions per account; a further login ends the oldest."""
DEVICE_SECONDS: Final = 180 * 86_400.0
"""How long a browser counts as known to an account after a login."""
MOST_DEVICES: Final = 50
"""Known browsers and addresses per account."""
FAILURE_SECONDS: Final = 15 * 60.0
"""Failures expire after this time without a further one."""
FREE_FAILURES: Final = 5
"""Failures of one account from one address, known browser or session that cost nothing; after them the delay starts at
one second and doubles up to LONGEST_WAIT."""
LONGEST_WAIT: Final = 60.0
STRANGERS_FREE_FAILURES: Final = 200
"""The same limit for all addresses and browsers together that the account does not know, up to
STRANGERS_LONGEST_WAIT: it slows down an attacker with many addresses, and not the owner."""
STRANGERS_LONGEST_WAIT: Final = 10.0
_MOST_COUNTED: Final = 10_000
"""Counters per account and origin; names without an account share one, so that none reveals which
names exist."""
_STRANGERS: Final = ""
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}")


class RequestRefused(Exception):
    """The request cannot be fulfilled; the message is shown to the user."""


class TooManyFailures(RequestRefused):
    """Too many failed attempts; wait this many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many attempts failed. Wait {seconds} second{'s' if seconds > 1 else ''}.")
        self.seconds = seconds


class _Limit(NamedTuple):
    """A counter of failures and its delays."""

    origin: str
    free: int = FREE_FAILURES
    longest: float = LONGEST_WAIT


class Session(NamedTuple):
    """A logged-in account."""

    name: str
    role: Role
    must_change: bool
    csrf: str
    token_hash: str


class Accounts:
    """The accounts of a console. An account's name is its officer_id."""

    def __init__(self, database: Database, clock: Callable[[], float], hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        # Verified for unknown names, so that the response time does not reveal which names exist.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def first_password(self) -> str | None:
        """A new one-time password of the first account, while that has not changed its password."""
        row = self._database.row("SELECT must_change FROM accounts WHERE name = ?", ADMIN)
        if row is None:
            return None if self.exist() else self.create(ADMIN, Role.SUPERVISOR)
        return self.reset(ADMIN) if row["must_change"] else None

    def exist(self) -> bool:
        """Whether an account exists."""
        return bool(self._database.number("SELECT count(*) FROM accounts"))

    def create(self, name: str, role: Role) -> str:
        """Create an account; returns its one-time password. Raises RequestRefused."""
        if not _NAME.fullmatch(name):
            raise RequestRefused("A name has 2 to 32 of a-z, 0-9, '.', '_', '-', and begins with a letter.")
        password = secrets.token_urlsafe(12)
        hashed = self._hasher.hash(password)
        with self._database.transaction() as connection:
            made = connection.execute(
                "INSERT INTO accounts (name, role, hash, must_change) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING",
                (name, role, hashed),
            ).rowcount
        if not made:
            raise RequestRefused(f"There is an account {name} already.")
        return password

    def reset(self, name: str) -> str:
        """Reset an account to a new one-time password and end its sessions. Raises RequestRefused."""
        password = secrets.token_urlsafe(12)
        hashed = self._hasher.hash(password)
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET hash = ?, must_change = 1 WHERE name = ?", (hashed, name)
            ).rowcount:
                raise RequestRefused(f"There is no account {name}.")
            connection.execute("DELETE FROM sessions WHERE name = ?", [name])
            connection.execute("DELETE FROM devices WHERE name = ?", [name])
        return password

    def change_password(self, session: Session, old: str, new: str) -> None:
        """Change the password. Raises RequestRefused: the old one is wrong, or the new one too weak; TooManyFailures.

        It is changed only where neither the password nor the session has ended meanwhile: a reset is not undone by a
        change that was under way.
        """
        limits = [_Limit(f"session {session.token_hash}")]
        self._count_attempt(session.name, limits)
        row = self._database.row("SELECT hash FROM accounts WHERE name = ?", session.name)
        if row is None or not self._verify(row["hash"], old):
            raise RequestRefused("That is not your password.")
        if len(new) < SHORTEST_PASSWORD or session.name in new.lower() or new == old:
            raise RequestRefused(
                f"Choose {SHORTEST_PASSWORD} characters or more, another one than before, without your name."
            )
        hashed = self._hasher.hash(new)
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET hash = ?, must_change = 0 WHERE name = ? AND hash = ? AND active"
                " AND EXISTS (SELECT 1 FROM sessions WHERE token_hash = ? AND expires_at > ?)",
                (hashed, session.name, row["hash"], session.token_hash, self._clock()),
            ).rowcount:
                raise RequestRefused("Your account was changed meanwhile: log in again.")
            connection.execute(
                "DELETE FROM sessions WHERE name = ? AND token_hash <> ?", (session.name, session.token_hash)
            )
            _forget(connection, session.name, limits)

    def change(self, name: str, role: Role, active: bool) -> None:
        """Set an account's role and whether it may log in; ends its sessions. Raises RequestRefused."""
        with self._database.transaction() as connection:
            if not connection.execute(
                "UPDATE accounts SET role = ?, active = ? WHERE name = ?", (role, active, name)
            ).rowcount:
                raise RequestRefused(f"There is no account {name}.")
            left = connection.execute(
                "SELECT count(*) FROM accounts WHERE role = ? AND active", [Role.SUPERVISOR]
            ).fetchone()[0]
            if not left:
                raise RequestRefused("That would leave no supervisor.")
            connection.execute("DELETE FROM sessions WHERE name = ?", [name])

    def log_in(self, name: str, password: str, address: str, device: str = "") -> str:
        """Log in; returns the token of the new session. Raises RequestRefused, TooManyFailures.

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
            raise RequestRefused("Name or password is wrong.")
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.transaction() as connection:
            # No session where the password was changed or the account disabled during the verification.
            if not connection.execute(
                "INSERT INTO sessions (token_hash, name, csrf, expires_at)"
                " SELECT ?, name, ?, ? FROM accounts WHERE name = ? AND hash = ? AND active",
                (_hash_of(token), secrets.token_urlsafe(32), now + SESSION_SECONDS, name, row["hash"]),
            ).rowcount:
                raise RequestRefused("Name or password is wrong.")
            _forget(connection, name, limits)
            connection.execute("DELETE FROM sessions WHERE expires_at < ?", [now])
            connection.execute(
                "DELETE FROM sessions WHERE name = :name AND token_hash NOT IN"
                " (SELECT token_hash FROM sessions WHERE name = :name ORDER BY expires_at DESC, rowid DESC"
                " LIMIT :most)",
                {"name": name, "most": MOST_SESSIONS},
            )
        return token

    def remember(self, name: str, address: str, device: str = "") -> str:
        """Register a browser and an address as known to the account; returns the browser's token."""
        device = device if self.knows(name, device) else secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM devices WHERE used_at < ?", [now - DEVICE_SECONDS])
            connection.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?)", (_hash_of(device), name, _origin(address), now)
            )
            connection.execute(
                "DELETE FROM devices WHERE name = :name AND token_hash NOT IN"
                " (SELECT token_hash FROM devices WHERE name = :name ORDER BY used_at DESC, rowid DESC LIMIT :most)",
                {"name": name, "most": MOST_DEVICES},
            )
        return device

    def knows(self, name: str, device: str) -> bool:
        """Whether the token belongs to a browser that is known to the account."""
        return bool(
            self._database.number(
                "SELECT count(*) FROM devices WHERE token_hash = ? AND name = ? AND used_at > ?",
                *(_hash_of(device), name, self._clock() - DEVICE_SECONDS),
            )
        )

    def session(self, token: str) -> Session | None:
        """The session of a token."""
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
        """Whether the session is still valid."""
        return bool(
            self._database.number(
                "SELECT count(*) FROM sessions JOIN accounts USING (name)"
                " WHERE token_hash = ? AND expires_at > ? AND active",
                *(session.token_hash, self._clock()),
            )
        )

    def log_out(self, session: Session) -> None:
        """End the session."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE token_hash = ?", [session.token_hash])

    def notify(self, session: Session, note: str) -> None:
        """Store a notice for the session's next page."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE sessions SET note = ? WHERE token_hash = ?", (note, session.token_hash))

    def take_notice(self, session: Session) -> str:
        """Return and clear the session's notice."""
        row = self._database.row("SELECT note FROM sessions WHERE token_hash = ?", session.token_hash)
        if row is None or not row["note"]:
            return ""
        self.notify(session, "")
        return str(row["note"])

    def _comes_from(self, name: str, address: str) -> bool:
        """Whether the account has logged in from this address before."""
        return bool(self._database.number("SELECT count(*) FROM devices WHERE name = ? AND address = ?", name, address))

    def _count_attempt(self, name: str, limits: list[_Limit]) -> None:
        """Count the attempt as failed before it is verified, so that parallel attempts cannot bypass the limit."""
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
    """Take back the count of a successful attempt; failures from unknown origins stay counted."""
    for limit in limits:
        change = "UPDATE attempts SET failures = failures - 1" if limit.origin == _STRANGERS else "DELETE FROM attempts"
        connection.execute(f"{change} WHERE name = ? AND origin = ?", (name, limit.origin))


def _counted(name: str) -> str:
    """The counter's name; all invalid names share one."""
    return name if _NAME.fullmatch(name) else "?"


def _origin(address: str) -> str:
    """The unit that counts as one address: of IPv6 the /64 network, which one user commonly owns as a whole.

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
