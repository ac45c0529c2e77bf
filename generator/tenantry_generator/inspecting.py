"""Two looks that change nothing, for who wonders where a tenant is: `explain` a tenant, `preview` an ApplicationSet.

They make no view known, record nothing, and are no contact of an ApplicationSet.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from tenantry.names import slug
from tenantry_generator.answers import Answers
from tenantry_generator.applicationsets import ApplicationSet, Use
from tenantry_generator.errors import NotReady, Refused
from tenantry_generator.explain import Known, Told, explain, hint
from tenantry_generator.generator_selector import Selector
from tenantry_generator.guard import Hold
from tenantry_generator.preview import compare, holds_on
from tenantry_generator.publisher import Publisher
from tenantry_generator.views import View

__all__ = ["EXPLAIN", "PREVIEW", "add_inspection"]

EXPLAIN = "/api/v1/explain/{tenant}"
PREVIEW = "/api/v1/preview"

_NAME = "applicationSet"
_MOST_GENERATORS = 50
_NAMED = 20

_Found = tuple[ApplicationSet, Sequence[Use]]
_Asked = tuple[Mapping[str, Any] | None, Selector | None, bool]
"""Parameters, None if they are templated and nobody has asked; selector; whether they were templated."""


def add_inspection(
    app: web.Application, publisher: Publisher, answers: Answers, check: Callable[[web.Request], None]
) -> None:
    """Add the two routes. `check` raises unless the request may be answered, and by this replica."""

    async def explain_(request: web.Request) -> web.Response:
        check(request)
        return _json(_explain(request.match_info["tenant"], publisher, answers))

    async def preview(request: web.Request) -> web.Response:
        check(request)
        given = request.query
        if [key for key, _ in given.items()] != [_NAME] or not given[_NAME]:
            raise Refused(400, f"ask for one ApplicationSet, with ?{_NAME}=NAME and nothing else")
        return _json(await _preview(given[_NAME], publisher, answers))

    # A raw name may hold whatever a path can't, so what is taken is wider than what Kubernetes would accept.
    app.router.add_get(EXPLAIN.replace("{tenant}", "{tenant:[^/]+}"), explain_, allow_head=False)
    app.router.add_get(PREVIEW, preview, allow_head=False)


def _explain(given: str, publisher: Publisher, answers: Answers) -> dict[str, Any]:
    told = {
        name: Told(feed.read, feed.problem if feed.complete else feed.problem or "still reading")
        for name, feed in publisher.feeds.items()
    }
    known = Known(publisher.current(), publisher.membership, told, answers.received)
    name = slug(given)
    found = explain(name, known)
    if found is not None:
        return found
    called = f"{given!r}" if name == given else f"{given!r}, whose `name` would be {name}"
    near = hint(given, known)
    raise Refused(404, f"no tenant is known as {called}" + (f"; did you mean {', '.join(near)}?" if near else ""))


async def _preview(name: str, publisher: Publisher, answers: Answers) -> dict[str, Any]:
    publisher.current()
    views = publisher.membership.views.values()
    seen = [view for view in views if view.applicationset == name]
    ask_here = {*answers.directory.names(), *(view.applicationset for view in views)}
    ask_here |= {contact.applicationset for contact in answers.contacts.refused}
    found = answers.directory.find(name)
    if name not in ask_here or (found is None and not seen):
        if not answers.directory.settled:
            raise NotReady("the ApplicationSets have not been read yet")
        named = ", ".join(sorted(ask_here)[:_NAMED]) or "none"
        more = f" and {len(ask_here) - _NAMED} more" if len(ask_here) > _NAMED else ""
        raise Refused(404, f"no ApplicationSet {name} is known to ask here; those that are: {named}{more}")
    asked, generators = list(_asked(found, seen, answers)), []
    for each in asked[:_MOST_GENERATORS]:
        generators.append(_generator(name, each, found, publisher, answers))
        await asyncio.sleep(0)  # each takes as long as an answer, for which Argo CD may be waiting
    return {
        "applicationSet": name,
        "owned": None if found is None else found[0].owned,
        "generators": generators,
        "truncated": len(asked) > _MOST_GENERATORS,
    }


def _asked(found: _Found | None, seen: Sequence[View], answers: Answers) -> Iterator[_Asked]:
    """Yield what each generator asks with; for one that is templated, what it has asked with as far as is known."""
    if found is None:
        yield from ((view.parameters, view.selector, False) for view in seen)
        return
    plain = {answers.view_of(found[0].name, use) for use in found[1]}
    for use in found[1]:
        if use.parameters is not None:
            yield use.parameters, use.selector, False
            continue
        like = [view for view in seen if view.id not in plain and view.selector == use.selector]
        yield from ((view.parameters, view.selector, True) for view in like)
        if not like:
            yield None, use.selector, True


def _generator(
    name: str, asked: _Asked, found: _Found | None, publisher: Publisher, answers: Answers
) -> dict[str, Any]:
    parameters, selector, templated = asked
    told: dict[str, Any] = {
        "parameters": parameters,
        "templated": templated,
        "revision": publisher.current().revision,
        "selector": None if selector is None else selector.body,
        "problem": None,
        "firstContact": None,
        **dict.fromkeys(("now", "last", "added", "removed", "changed")),
        "holds": [],
    }
    if parameters is None:
        return {**told, "problem": "its input is templated by another generator, and has not been seen yet"}
    try:
        query, views, elements = answers.look(name, parameters, found)
        contact, why = (None, None) if found is None else answers.contacts.judge(publisher.membership, query, found)
    except (Refused, NotReady) as error:
        return {**told, "problem": str(error)}
    if contact is not None:
        numbers = {"owned": contact.owned, "elements": contact.elements}
        told["firstContact"] = {**numbers, "hash": contact.hash, "refused": why}
    standing = _holds(publisher, [view for view in views if view.selector == selector])
    return {
        **told,
        **compare(elements, answers.received.last(name, query.key), selector),
        "holds": holds_on(elements, standing),
    }


def _holds(publisher: Publisher, views: Sequence[View]) -> list[Hold]:
    sources = [hold for listing in publisher.membership.sources.values() for hold in listing.holds]
    return [*sources, *(hold for view in views for hold in view.holds)]


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(body, ensure_ascii=False).encode(), content_type="application/json")
