"""A repeated request is answered without work, and never with what would not be answered now."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry_generator.applicationsets import Use
from tenantry_generator.body import Body
from tenantry_generator.contract import Request
from tenantry_generator.errors import NotReady
from tenantry_generator.generator_selector import read_selector
from tenantry_generator.received import Receipt, Received, Reply
from tenantry_generator.replies import Replies
from tests.support.eventually import eventually
from tests.unit.test_generator_record import Memory, Owners, Service, running

ASKED = Request("apps", {"status": "active"})


@pytest.fixture
def owners() -> Owners:
    found = Owners()
    found.own("apps", 0, Use("tenantry", {"status": "active"}, None))
    return found


@pytest.fixture
async def service(owners: Owners, tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "on-call").write_text("admin")
    async with running(Memory(), owners, tmp_path) as service:
        service.rows(20)
        await service.answers_with(20, status="active")
        yield service


def count(reply: Reply) -> int:
    return len(json.loads(bytes(reply.body))["output"]["parameters"])


async def revision(service: Service, expected: int) -> None:
    await eventually(lambda: service.publisher.current().revision == expected, within=5, what=f"revision {expected}")


async def test_the_same_request_gets_the_same_answer_until_somebody_changes(service: Service) -> None:
    first = await service.answers.answer(ASKED)
    assert await service.answers.answer(ASKED) is first
    assert await service.answers.answer(Request("apps", {"status": "active"})) is not first
    service.rows(21)
    await revision(service, 2)
    second = await service.answers.answer(ASKED)
    assert (count(first), count(second)) == (20, 21)
    assert await service.answers.answer(ASKED) is second


async def test_a_hold_and_its_end_are_in_the_next_answer(service: Service) -> None:
    await service.answers.answer(ASKED)
    service.rows(20, status="late")
    await revision(service, 2)
    assert count(await service.answers.answer(ASKED)) == 20
    (hold,) = service.holds()
    assert (await service.acknowledge({"hash": hold["hash"]}))[0] == 200
    assert count(await service.answers.answer(ASKED)) == 0


async def test_an_application_set_that_was_edited_or_made_anew_is_looked_at_again(
    service: Service, owners: Owners
) -> None:
    first = await service.answers.answer(ASKED)
    selector = read_selector({"matchLabels": {"status": "active"}})
    owners.own("apps", 0, Use("tenantry", {"status": "active"}, selector))
    assert await service.answers.answer(ASKED) is not first
    assert len(service.publisher.membership.views) == 1, "the view without the selector is no longer asked for"
    again = await service.answers.answer(ASKED)
    owners.own("apps", 1, Use("tenantry", {"status": "active"}, selector))
    assert await service.answers.answer(ASKED) is not again
    owners.settled = False
    assert await service.answers.answer(ASKED) is not again


async def test_no_answer_is_good_for_long_so_that_it_is_noted_who_still_asks(service: Service) -> None:
    first = await service.answers.answer(ASKED)
    service.now += 9
    assert await service.answers.answer(ASKED) is first
    service.now += 86400
    assert await service.answers.answer(ASKED) is not first
    service.rows(21)
    await revision(service, 2)
    assert [view.asked for view in service.publisher.membership.views.values()] == [service.now]


async def test_after_a_takeover_nothing_of_before_is_answered(service: Service) -> None:
    await service.answers.answer(ASKED)
    await service.answers.take_over()
    with pytest.raises(NotReady):
        await service.answers.answer(ASKED)


async def test_a_repeated_answer_was_received_when_it_was_last_sent(service: Service) -> None:
    (await service.answers.answer(ASKED)).sent()
    service.now += 5
    (await service.answers.answer(ASKED)).sent()
    (view,) = service.publisher.membership.views.values()
    last = service.answers.received.last_of(view)
    assert last is not None
    assert last.at == service.now


def test_what_is_kept_is_bounded_in_number_and_in_bytes_but_for_the_last() -> None:
    replies, state = Replies(), object()
    requests = [Request("", {}) for _ in range(1200)]
    for request in requests:
        replies.keep(request, Reply(Body([b"x"]), lambda: None), state=state, asking=None, now=0)
    found = [replies.find(request, state=state, asking=None, now=1) for request in requests]
    assert found[:200] == [None] * 200
    assert None not in found[200:]
    large = Reply(Body([bytes(65 * 2**20)]), lambda: None)
    replies.keep(requests[0], large, state=state, asking=None, now=0)
    assert replies.find(requests[0], state=state, asking=None, now=1) is large
    assert replies.find(requests[-1], state=state, asking=None, now=1) is None
    assert replies.find(requests[0], state=object(), asking=None, now=1) is None
    assert replies.find(requests[0], state=state, asking=1, now=1) is None
    assert replies.find(requests[0], state=state, asking=None, now=11) is None


def test_elements_that_many_answers_share_take_room_once_and_the_oldest_are_forgotten_first() -> None:
    received = Received(most_elements=5)
    shared, own = {"a": {"name": "a"}, "b": {"name": "b"}}, {"c": {"name": "c"}, "d": {"name": "d"}}

    def known() -> list[bool]:
        found = [received.last(name, "") for name in ("one", "two", "three", "four")]
        return [each is not None and each.elements is not None for each in found]

    for name, elements in (("one", shared), ("two", shared), ("three", own)):
        received.note(Receipt(name, "", "", 1, 0.0, elements))
    assert known() == [True, True, True, False]
    received.note(Receipt("four", "", "", 1, 0.0, {"e": {"name": "e"}, "f": {"name": "f"}}))
    assert known() == [False, False, True, True]
    received.note(Receipt("three", "", "", 1, 0.0, shared))
    assert known() == [False, False, True, True]
