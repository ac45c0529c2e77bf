"""What a Tenant says of its quota, and when a change of what it uses is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from tenantry_operator.children.child import ChildKey, Present
from tenantry_operator.entry import entry_of
from tenantry_operator.plan import Plan
from tenantry_operator.status_quota import only_usage_differs
from tenantry_operator.usage import UsagePace
from tests.unit.test_plan import tenant
from tests.unit.test_plan_children import plan_of, settled

LOOK = 10.0


def counted(children: dict[ChildKey, Present], **used: str) -> dict[ChildKey, Present]:
    """Return the children with `used`, by namespace's last letter: a='pods=3'."""
    found = dict(children)
    for (kind, namespace, name), child in children.items():
        amounts = used.get(namespace[-1])
        written = json.dumps(dict(each.split("=") for each in amounts.split())) if amounts else ""
        found[kind, namespace, name] = replace(child, used=written.encode())
    return found


def quota(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    found: dict[str, Any] = plan.status["quota"]
    return found


def shared(**hard: str) -> dict[str, Any]:
    items = [
        {"name": "a", "resourceQuota": {"hard": {"requests.cpu": "500m", "pods": "3"}}},
        {"name": "b", "resourceQuota": {"hard": {"requests.cpu": "1.5", "pods": "3"}}},
    ]
    return tenant(resourceQuotas={"scope": "Tenant", "hard": hard}, namespaces={"items": items})


def test_the_parts_of_a_total_are_added_up_exactly_and_written_as_the_api_server_would() -> None:
    body = shared(**{"requests.cpu": "4000m", "pods": "10"})
    children = counted(settled(body, "acme-a", "acme-b"), a="requests.cpu=100m pods=1", b="requests.cpu=900m pods=2")
    assert quota(plan_of(body, children, "acme-a", "acme-b")) == {
        "hard": {"requests.cpu": "4", "pods": "10"},
        "allocated": {"requests.cpu": "2", "pods": "6"},
        "used": {"requests.cpu": "1", "pods": "3"},
        "summary": "requests.cpu 1/4, pods 3/10",
    }


def test_under_scope_namespace_the_total_is_the_sum_of_what_the_namespaces_have() -> None:
    items = [{"name": "a"}, {"name": "b", "resourceQuota": {"hard": {"requests.memory": "3Gi"}}}]
    body = tenant(resourceQuotas={"hard": {"requests.memory": "1Gi"}}, namespaces={"items": items})
    found = quota(plan_of(body, counted(settled(body, "acme-a", "acme-b")), "acme-a", "acme-b"))
    assert found["hard"] == found["allocated"] == {"requests.memory": "4Gi"}


def test_what_was_not_counted_yet_is_missing_and_is_no_zero() -> None:
    body = shared(pods="10")
    found = quota(plan_of(body, counted(settled(body, "acme-a", "acme-b"), b="pods=2"), "acme-a", "acme-b"))
    assert found["used"] == {"pods": "2"}
    assert found["summary"] == "requests.cpu ?/2, pods 2/10"


def test_a_tenant_without_a_quota_says_nothing_of_one() -> None:
    assert (plan_of(tenant(), {}).status or {}).keys() >= {"phase"}
    assert "quota" not in (plan_of(tenant(), {}).status or {})


def test_without_its_class_a_tenant_keeps_what_it_said_of_its_quota() -> None:
    said = {"hard": {"pods": "1"}, "allocated": {}, "used": {}, "summary": "pods ?/1"}
    plan = plan_of({**tenant(tenantClassName="gold"), "status": {"quota": said}}, {})
    assert quota(plan) == said


def test_a_long_list_is_cut_where_the_schema_and_the_column_end() -> None:
    items = [
        {"name": f"n{n}", "resourceQuota": {"hard": {f"count/kind-{n}-{each}.example.com": "1" for each in range(32)}}}
        for n in range(3)
    ]
    body = tenant(namespaces={"items": items})
    names = [f"acme-n{n}" for n in range(3)]
    found = quota(plan_of(body, counted(settled(body, *names)), *names))
    assert len(found["hard"]) == len(found["allocated"]) == 64
    assert len(found["summary"]) < 150
    assert found["summary"].endswith(" more")


def test_a_name_longer_than_the_column_is_not_cut_into_another() -> None:
    body = tenant(resourceQuotas={"hard": {f"{'a' * 60}.{'b' * 60}.example.com/gpu": "1"}})
    assert quota(plan_of(body, counted(settled(body, "acme"))))["summary"] == "too long to show"


def test_what_somebody_else_wrote_beyond_all_measure_breaks_nothing() -> None:
    body = tenant(resourceQuotas={"hard": {"pods": "5"}})
    children = counted(settled(body, "acme"), e="pods=99999999999999999999E")
    assert quota(plan_of(body, children))["used"] == {}


def test_usage_is_no_drift() -> None:
    body = tenant(resourceQuotas={"hard": {"pods": "5"}})
    assert plan_of(body, counted(settled(body, "acme"), e="pods=4")).actions == ()


def test_a_change_of_usage_alone_is_told_from_every_other() -> None:
    body = tenant(resourceQuotas={"hard": {"pods": "5"}})
    before = plan_of(body, counted(settled(body, "acme"), e="pods=1")).status
    after = plan_of(body, counted(settled(body, "acme"), e="pods=2")).status
    assert before is not None
    assert after is not None
    assert only_usage_differs(before, after)
    assert not only_usage_differs(before, {**after, "phase": "Pending"})
    assert not only_usage_differs(before, {**after, "quota": {**after["quota"], "hard": {"pods": "6"}}})
    assert not only_usage_differs({**before, "quota": None}, after), "its first quota is more than usage"
    assert not only_usage_differs(dict(entry_of(body).status), after)


class FakeClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[str], None], str]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[str], None], argument: str) -> "FakeTimer":
        self.due.append((self.now + delay, callback, argument))
        return FakeTimer(self, self.due[-1])

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for each in [each for each in self.due if each[0] <= self.now]:
            self.due.remove(each)
            each[1](each[2])


class FakeTimer:
    def __init__(self, clock: FakeClock, entry: Any) -> None:
        self._clock, self._entry = clock, entry

    def cancel(self) -> None:
        if self._entry in self._clock.due:
            self._clock.due.remove(self._entry)


class Tenants:
    """Writes what is used when it may, as the reconciler does."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pace = UsagePace(self.look, clock=self.clock, every=LOOK)
        self.used = 0
        self.written: list[tuple[float, int]] = []

    def look(self, tenant: str) -> None:
        if (self.written[-1][1] if self.written else 0) != self.used and self.pace.may_write(tenant):
            self.written.append((self.clock.now, self.used))
            self.pace.wrote(tenant)

    def use(self, amount: int) -> None:
        self.used = amount
        self.pace.changed("acme")


def test_a_first_change_is_written_at_once_and_a_burst_ends_in_its_last_value() -> None:
    tenants = Tenants()
    for amount in range(1, 31):
        tenants.use(amount)
        tenants.clock.pass_time(0.5)
    tenants.clock.pass_time(LOOK)
    times = [time for time, _ in tenants.written]
    assert tenants.written[0] == (100.5, 1)
    assert tenants.written[-1][1] == 30
    assert all(later - earlier >= LOOK for earlier, later in pairwise(times)), times
    assert not tenants.clock.due, "nothing is left to do"


def test_a_look_for_another_reason_writes_no_usage_early_and_forgets_none() -> None:
    tenants = Tenants()
    tenants.pace.wrote("acme")
    tenants.used = 7
    tenants.look("acme")
    assert tenants.written == []
    tenants.clock.pass_time(LOOK)
    assert tenants.written == [(100.0 + LOOK, 7)]


def test_a_value_that_went_and_came_back_is_not_written() -> None:
    tenants = Tenants()
    tenants.pace.wrote("acme")
    tenants.use(3)
    tenants.use(0)
    tenants.clock.pass_time(LOOK)
    assert tenants.written == []


def test_a_tenant_that_is_gone_is_not_looked_at() -> None:
    tenants = Tenants()
    tenants.pace.wrote("acme")
    tenants.use(3)
    tenants.pace.forget("acme")
    tenants.clock.pass_time(LOOK)
    assert tenants.written == []
