"""What the generator's fault cases judge by must find what it is there for, and nothing else."""

import json
from typing import Any

import pytest

from tests.faults.family import Broken
from tests.faults.generator.filters import Space, Truth
from tests.faults.generator.http import Answer, check_answer
from tests.faults.generator.terms import Act, turns

JSON = {"content-type": "application/json"}


def element(name: str, **more: Any) -> dict[str, Any]:
    return {"tenant": name, "name": name, "status": "active", "labels": {}, "namespace": "", **more}


ACME, BETA, GOLD = element("acme"), element("beta", status="trial"), element("gold", labels={"tier": "gold"})
TRUTH = Truth([ACME, BETA, GOLD], [Space("acme-prod", "acme", {"env": "prod"})])


def body(**parameters: Any) -> bytes:
    return json.dumps({"input": {"parameters": parameters}}).encode()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"", [ACME, BETA, GOLD]),
        (body(status="trial"), [BETA]),
        (body(status=["trial", "gone"], tenant="beta"), [BETA]),
        (body(selector={"matchLabels": {"tier": "gold"}}), [GOLD]),
        (body(selector={"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), [ACME, BETA]),
        (
            body(fields=["status"]),
            [{key: each[key] for key in ("tenant", "name", "status")} for each in (ACME, BETA, GOLD)],
        ),
        (body(labelSelector="env=prod"), [{**ACME, "namespace": "acme-prod", "cluster": "in-cluster"}]),
        (body(labelSelector="env!=prod"), []),
    ],
)
def test_what_is_asked_for_is_right_and_one_less_is_not(asked: bytes, answer: list[dict[str, Any]]) -> None:
    TRUTH.check(asked, answer)
    with pytest.raises(Broken):
        TRUTH.check(asked, answer[:-1] if answer else [ACME])


def test_a_tenant_is_in_one_shard_for_good() -> None:
    truth = Truth([ACME, BETA], [])
    truth.check(body(shard={"index": 0, "count": 2}), [ACME])
    truth.check(body(shard={"index": 1, "count": 2}), [BETA])
    with pytest.raises(Broken):
        truth.check(body(shard={"index": 0, "count": 2}), [ACME, BETA])
    with pytest.raises(Broken, match="two shards"):
        Truth([ACME, BETA], [], {(1, 2): frozenset({"acme"})}).check(body(shard={"index": 0, "count": 2}), [ACME])


@pytest.mark.parametrize("status", [204, 302, 307])
def test_a_status_that_deletes_or_leads_elsewhere_is_noticed(status: int) -> None:
    with pytest.raises(Broken):
        check_answer(Answer(status, JSON, b"{}"))


def test_a_body_that_is_none_is_noticed() -> None:
    check_answer(Answer(503, JSON, b'{"message":"not ready"}'))
    for said in (b"", b" ", b'{"error":"x"}', b'{"message":""}'):
        with pytest.raises(Broken):
            check_answer(Answer(503, JSON, said))


def test_turns_are_counted_only_where_one_act_certainly_follows_the_other() -> None:
    one, other, again = Act("a", 1.0, 1.1), Act("b", 2.0, 2.1), Act("a", 3.0, 3.1)
    assert turns([again, one, other]) == [one, other, again]
    waited = Act("a", 1.5, 3.1)  # asked for before the other had answered: nobody knows which came first
    assert turns([one, other, waited]) == [one, other]
