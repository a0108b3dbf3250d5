"""Accounts, their passwords and sessions, and how often a login may fail."""

import hashlib
import re
import secrets
from collections.abc import Callable
from threading import Semaphore
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .access import Role
from .database import Database

ADMIN: Final = "admin"
SESSION_SECONDS: Final = 12 * 3600.0
"""A shift."""
SHORTEST_PASSWORD: Final = 12
FAILURE_SECONDS: Final = 15 * 60.0
MOST_FAILURES: Final = {"name": 10, "address": 50, "both": 5}
"""Failed logins in that time, of one account, from one address, and of one account from one address."""
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}")
_HASHES_AT_ONCE: Final = 2
"""Each takes 64 MiB and four threads (RFC 9106, low memory)."""


class Refused(Exception):
    """What was asked for cannot be; the message is for whoever asked."""


class TooManyFailures(Refused):
    """Wait."""


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
        self._hashing = Semaphore(_HASHES_AT_ONCE)
        # Verified where there is no such account, so that the answer takes as long.
        self._nobody = self._hash(secrets.token_urlsafe())

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
        hashed = self._hash(password)
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
        self._set_password(name, password, must_change=True, keep="")
        return password

    def change_password(self, session: Session, old: str, new: str) -> None:
        """Raises Refused: the old one is wrong, or the new one is no good."""
        row = self._database.row("SELECT hash FROM accounts WHERE name = ?", session.name)
        if row is None or not self._verify(row["hash"], old):
            raise Refused("That is not your password.")
        if len(new) < SHORTEST_PASSWORD or session.name in new.lower() or new == old:
            raise Refused(f"Choose {SHORTEST_PASSWORD} characters or more, another one than before, without your name.")
        self._set_password(session.name, new, must_change=False, keep=session.token_hash)

    def change(self, name: str, role: Role, active: bool) -> None:
        """Set an account's role, and whether it may log in; its sessions end. Raises Refused."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE accounts SET role = ?, active = ? WHERE name = ?", (role, active, name))
            left = connection.execute(
                "SELECT count(*) FROM accounts WHERE role = ? AND active", [Role.SUPERVISOR]
            ).fetchone()[0]
            if not left:
                raise Refused("That would leave no supervisor.")
            connection.execute("DELETE FROM sessions WHERE name = ?", [name])

    def log_in(self, name: str, password: str, address: str) -> str:
        """Gives the token of a new session. Raises Refused, TooManyFailures."""
        self._count_attempt(name, address)
        row = self._database.row("SELECT hash FROM accounts WHERE name = ? AND active", name)
        if not self._verify(row["hash"] if row else self._nobody, password) or row is None:
            raise Refused("Name or password is wrong.")
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM failures WHERE at < ? OR (name = ? AND address = ?)",
                               (now - FAILURE_SECONDS, name, address))  # fmt: skip
            connection.execute("DELETE FROM sessions WHERE expires_at < ?", [now])
            connection.execute(
                "INSERT INTO sessions (token_hash, name, csrf, expires_at) VALUES (?, ?, ?, ?)",
                (_hash_of(token), name, secrets.token_urlsafe(32), now + SESSION_SECONDS),
            )
        return token

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

    def _count_attempt(self, name: str, address: str) -> None:
        """It counts as failed until it has succeeded: many at once are no way around the limit."""
        now = self._clock()
        with self._database.transaction() as connection:
            for query, most, values in (
                ("name = ?", MOST_FAILURES["name"], [name]),
                ("address = ?", MOST_FAILURES["address"], [address]),
                ("name = ? AND address = ?", MOST_FAILURES["both"], [name, address]),
            ):
                count = f"SELECT count(*) FROM failures WHERE at > ? AND {query}"
                if connection.execute(count, [now - FAILURE_SECONDS, *values]).fetchone()[0] >= most:
                    raise TooManyFailures(f"Too many failed logins. Wait {FAILURE_SECONDS / 60:.0f} minutes.")
            connection.execute("INSERT INTO failures VALUES (?, ?, ?)", (name, address, now))

    def _set_password(self, name: str, password: str, must_change: bool, keep: str) -> None:
        hashed = self._hash(password)
        with self._database.transaction() as connection:
            done = connection.execute(
                "UPDATE accounts SET hash = ?, must_change = ? WHERE name = ?", (hashed, must_change, name)
            ).rowcount
            if not done:
                raise Refused(f"There is no account {name}.")
            connection.execute("DELETE FROM sessions WHERE name = ? AND token_hash <> ?", (name, keep))

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _verify(self, hashed: str, password: str) -> bool:
        with self._hashing:
            try:
                return self._hasher.verify(hashed, password)
            except (VerificationError, InvalidHashError):
                return False


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
