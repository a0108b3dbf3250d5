"""Pages of an officer, who answers one alert at a time."""

from typing import Any, Final

from starlette.responses import Response

from schemas.places import place_of

from .accounts import RequestRefused
from .city import Point, city_map
from .console import Console
from .desk import Answered, Held
from .figures import likely_codes, work
from .rendering import Renderer, duration
from .suggestions import want_suggestions, wants_suggestions
from .web import Visit, number_of, order_of, to

_LOST: Final = {
    "deadline": "The time to answer has expired: that alert is back in the queue.",
    "gone": "Your page did not answer for a while: that alert is back in the queue.",
}


def desk(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The page of the alert that the officer holds."""
    held = console.desk.held(visit.who.name)
    if held is None:
        ending = console.desk.ending(visit.who.name, visit.request.query_params.get("lease", ""))
        if ending is not None and ending in _LOST:
            console.accounts.notify(visit.who, _LOST[ending])
        return to(f"/queue?order={order_of(visit.request.query_params.get('order'))}")
    alert = held.alert
    likely = likely_codes(console.database)
    here = Point(alert["latitude"], alert["longitude"], "here", 6, alert["drone_id"])
    order = order_of(visit.request.query_params.get("order"))
    page = renderer.page(
        "desk.html",
        visit.who,
        **_pictured(console, held),
        order=order,
        place=place_of(alert["latitude"], alert["longitude"]) or "Outside the city",
        map=city_map([here], "Where the alert is on the map of New York"),
        codes=console.codes.beginning_with(likely).items(),
        likely=likely,
        suggested=_suggested(console, held),
        suggestions_off=console.desk.suggestions and not wants_suggestions(console.database, visit.who.name),
        work=work(console.database, visit.who.name, console.clock()),
    )
    # htmx sets no address where the queue, which gets news of the same alert, has replaced the button meanwhile: a
    # reload would leave the desk.
    page.headers["HX-Push-Url"] = f"/desk?order={order}"
    return page


def picture(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The picture part of the desk; empty for a lease that the officer does not hold."""
    held = console.desk.held(visit.who.name)
    if held is None or held.lease != visit.request.query_params.get("lease"):
        return Response(status_code=204)
    return renderer.part("desk_picture.html", visit.who, **_pictured(console, held))


def _pictured(console: Console, held: Held) -> dict[str, Any]:
    pictured = console.pictures.of(held.alert["id"]) is not None
    return {"held": held, "alert": held.alert, "pictured": pictured}


def _suggested(console: Console, held: Held) -> list[tuple[int, str, float]]:
    """Code, name and share of what is suggested."""
    found = held.suggestion
    return [(code, console.codes.name(code), n / found.answers) for code, n in found.codes] if found else []


def switch_suggestions(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Switch suggestions on or off for the officer, from the next alert on."""
    wanted = visit.form.get("wanted") == "on"
    want_suggestions(console.database, visit.who.name, wanted=wanted)
    state = "shown" if wanted else "hidden"
    console.accounts.notify(visit.who, f"From the next alert on, what officers answered before is {state}.")
    return to(f"/desk?order={order_of(visit.form.get('order'))}")


def pick(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Take an alert: the given one, or the first in the queue."""
    return _next(console, visit, number_of(visit.form.get("alert", "")))


def answer(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Answer the alert of a lease and open the next one."""
    text = visit.form.get("code", "")[:100]
    found = console.codes.find(text)
    if len(found) != 1:
        problem = (
            f"{len(found)} codes have “{text}”: type more." if found else f"No code is “{text}”: nothing was answered."
        )
        console.accounts.notify(visit.who, problem if text else "Type a code, or words of its name.")
        return to(f"/desk?order={order_of(visit.form.get('order'))}")
    try:
        answered = console.desk.answer(visit.who.name, visit.form.get("lease", ""), found[0])
    except RequestRefused as refused:
        console.accounts.notify(visit.who, str(refused))
        return to("/queue")
    if answered is None:
        console.accounts.notify(visit.who, "You never held that alert: nothing was answered.")
        return to("/queue")
    console.publish()
    name = console.codes.name(answered.violation_code)
    action = "second look" if answered.is_second else "answer"
    console.audit.note(visit.who.name, visit.address, action, f"{answered.violation_code} to {answered.alert}")
    console.accounts.notify(visit.who, _done(name, answered))
    return _next(console, visit)


def hand_back(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Return the alert to the queue."""
    if console.desk.end(visit.form.get("lease", ""), "handed back", visit.who.name):
        console.audit.note(visit.who.name, visit.address, "handed back", visit.form["lease"])
        console.accounts.notify(visit.who, "Handed back: it is in the queue again.")
    return to("/queue")


def _next(console: Console, visit: Visit, alert: int | None = None) -> Response:
    order = order_of(visit.form.get("order"))
    held = console.desk.pick(visit.who.name, order, alert)
    if held is not None:
        return to(f"/desk?order={order}")
    if alert is not None:
        console.accounts.notify(visit.who, "Another officer was faster: that alert is held or answered.")
    return to(f"/queue?order={order}")


def _done(name: str, answered: Answered) -> str:
    took = f"in {duration(answered.seconds)}, {duration(answered.waited)} after the alert"
    if answered.is_second:
        return f"Kept as a second look: {name}, in {duration(answered.seconds)}."
    if answered.counts:
        return f"Done: {name}, {took}."
    return f"Kept as a second answer: {name}, {took}. Another answer was first and counts."
