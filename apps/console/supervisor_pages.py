"""Pages of a supervisor: drones, accounts, the audit log."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from .access import Role
from .accounts import RequestRefused
from .charts import battery_curve
from .console import Console
from .drone_events import CURVE_SECONDS, KINDS, Fleet, rows_of
from .drones import CONFIRM_SECONDS, EVENT_SECONDS, ORDERS
from .rendering import Renderer
from .second_looks import second_looks
from .web import Visit, number_of, to

_MOST_ROWS: Final = 200
"""Drones on the page; the others have no open event."""


def drones(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The drones page: drones and their events, commands and their state."""
    return renderer.page(
        "drones.html",
        visit.who,
        **_commands(console),
        **_fleet(console),
        orders=ORDERS,
        known=console.drones.known(),
        drone=visit.request.query_params.get("drone", ""),
    )


def drones_list(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The commands and their state, for updates."""
    return renderer.part("drones_list.html", visit.who, **_commands(console))


def drones_fleet(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The drones with their events, for updates."""
    return renderer.part("drones_fleet.html", visit.who, **_fleet(console))


def _fleet(console: Console) -> dict[str, Any]:
    now = console.clock()
    fleet = console.panes.fleet if console.panes else Fleet()
    rows = rows_of(fleet, console.drones.events(now - EVENT_SECONDS), now)
    return {
        "fleet": rows[:_MOST_ROWS],
        "others": max(len(rows) - _MOST_ROWS, 0),
        "open": sum(bool(row.events) for row in rows),
        "kinds": KINDS,
        "curve": partial(battery_curve, seconds=CURVE_SECONDS),
        "ready": console.commands_go_out,
        "read_live": console.panes is not None,
    }


def _commands(console: Console) -> dict[str, Any]:
    overdue = console.clock() - CONFIRM_SECONDS
    return {"commands": console.drones.newest_commands(), "overdue": overdue, "confirm_seconds": CONFIRM_SECONDS}


def command_drone(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Send a command."""
    drone, order = visit.form.get("drone", "").strip(), visit.form.get("order", "")
    try:
        if not console.commands_go_out:
            raise RequestRefused("No topic of commands: start the console with --commands URL.")
        is_live = console.panes is not None and drone in console.panes.fleet.drones
        if drone and not is_live and not console.drones.is_known(drone):
            raise RequestRefused(f"Nobody knows a drone {drone}: no alert came from it. Nothing was sent.")
        console.drones.command(visit.who.name, drone, order)
    except RequestRefused as refused:
        console.accounts.notify(visit.who, str(refused))
        return to("/drones")
    console.publish()
    console.audit.note(visit.who.name, visit.address, "command", f"{order} to {drone}")
    console.accounts.notify(visit.who, f"The command {order} for {drone} is being published.")
    return to("/drones")


def accounts(
    console: Console,
    renderer: Renderer,
    visit: Visit,
    status: int = 200,
    problem: str = "",
    name: str = "",
    password: str = "",
) -> Response:
    """The accounts page."""
    rows = console.database.rows("SELECT name, role, must_change, active FROM accounts ORDER BY name")
    return renderer.page(
        *("accounts.html", visit.who, status),
        rows=rows,
        looks=second_looks(console.database),
        second_look=console.desk.second_look,
        roles=list(Role),
        problem=problem,
        name=name,
        password=password,
    )


def create_account(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Create an account; the page shows its one-time password once."""
    name, role = visit.form.get("name", "").strip(), visit.form.get("role", "")
    try:
        password = console.accounts.create(name, _role(role))
    except RequestRefused as refused:
        return accounts(console, renderer, visit, 422, problem=str(refused))
    console.audit.note(visit.who.name, visit.address, "account made", f"{name}, {role}")
    return accounts(console, renderer, visit, name=name, password=password)


def change_account(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Change an account's role, or disable it."""
    name, role, active = visit.form.get("name", ""), visit.form.get("role", ""), "active" in visit.form
    try:
        console.accounts.change(name, _role(role), active)
    except RequestRefused as refused:
        return accounts(console, renderer, visit, 422, problem=str(refused))
    console.audit.note(visit.who.name, visit.address, "account changed", f"{name}, {role}, active: {active}")
    console.accounts.notify(visit.who, f"{name} is changed, and logged out.")
    return to("/accounts")


def reset_account(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Reset an account to a new one-time password."""
    name = visit.form.get("name", "")
    try:
        password = console.accounts.reset(name)
    except RequestRefused as refused:
        return accounts(console, renderer, visit, 422, problem=str(refused))
    console.audit.note(visit.who.name, visit.address, "password reset", name)
    return accounts(console, renderer, visit, name=name, password=password)


def audit(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The audit log."""
    lines = console.audit.lines(number_of(visit.request.query_params.get("before", "")))
    refused = console.database.rows(
        "SELECT topic, substr(payload, 1, 200) AS payload, substr(reason, 1, 200) AS reason, came_at"
        " FROM refused ORDER BY number DESC LIMIT 20"
    )
    return renderer.page(
        *("audit.html", visit.who),
        lines=lines,
        before=console.audit.before(),
        refused=refused,
        last=lines[-1]["number"] if lines else 0,
    )


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError as error:
        raise RequestRefused("Choose a role.") from error
