"""The access table: every route of the console with the role that it requires; a route that is not listed cannot be
built."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """Roles of accounts, in ascending order: each includes the permissions of those before it."""

    VIEWER = "viewer"
    OFFICER = "officer"
    SUPERVISOR = "supervisor"


Roles = frozenset[Role]

ANYONE: Final = None
"""Anyone, logged in or not."""
_ALL: Final[Roles] = frozenset(Role)
_OFFICERS: Final[Roles] = frozenset((Role.OFFICER, Role.SUPERVISOR))
_SUPERVISORS: Final[Roles] = frozenset((Role.SUPERVISOR,))

ACCESS: Final[Mapping[tuple[str, str], Roles | None]] = {
    ("GET", "/healthz"): ANYONE,
    ("GET", "/readyz"): ANYONE,
    ("GET", "/login"): ANYONE,
    ("POST", "/login"): ANYONE,
    ("POST", "/logout"): _ALL,
    ("GET", "/password"): _ALL,
    ("POST", "/password"): _ALL,
    ("GET", "/"): _ALL,
    ("GET", "/queue"): _ALL,
    ("GET", "/queue/list"): _ALL,
    ("GET", "/queue/events"): _ALL,
    ("GET", "/pictures/{alert}"): _ALL,
    ("GET", "/live"): _ALL,
    ("GET", "/live/figures"): _ALL,
    ("GET", "/live/events"): _ALL,
    ("GET", "/desk"): _OFFICERS,
    ("GET", "/desk/events"): _OFFICERS,
    ("GET", "/desk/picture"): _OFFICERS,
    ("POST", "/desk/pick"): _OFFICERS,
    ("POST", "/desk/answer"): _OFFICERS,
    ("POST", "/desk/back"): _OFFICERS,
    ("POST", "/desk/suggestions"): _OFFICERS,
    ("GET", "/drones"): _SUPERVISORS,
    ("GET", "/drones/list"): _SUPERVISORS,
    ("GET", "/drones/fleet"): _SUPERVISORS,
    ("POST", "/drones"): _SUPERVISORS,
    ("GET", "/accounts"): _SUPERVISORS,
    ("POST", "/accounts"): _SUPERVISORS,
    ("POST", "/accounts/change"): _SUPERVISORS,
    ("POST", "/accounts/reset"): _SUPERVISORS,
    ("GET", "/audit"): _SUPERVISORS,
}
PROBES: Final = frozenset(("/healthz", "/readyz"))
"""Pages that must not need the database."""
HASHING: Final = frozenset(
    (("POST", "/login"), ("POST", "/password"), ("POST", "/accounts"), ("POST", "/accounts/reset"))
)
"""Routes that hash a password, which takes long: they have a thread of their own."""
BEFORE_CHANGE: Final = frozenset((("POST", "/logout"), ("GET", "/password"), ("POST", "/password")))
"""The only routes of an account that has not changed its one-time password yet."""
