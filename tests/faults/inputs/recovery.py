"""A3: what is refused changes nothing, and leaves nothing behind once it is taken back.

`refused`: a value that a leaf's schema forbids, and `corpus`: one that tests/data has; the API server must say why.
`operator`: what only the operator or the class refuses; it must say so in a condition, and with the last good spec
every object must be the one that it was.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tenantry.errors import Invalid
from tenantry.resources import TENANT_CLASSES, TENANTS, Resource
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.subject import Objects, Subject, state_of
from tests.faults.inputs.values import class_rows, named, tenant_rows
from tests.faults.operator.canonical import differences
from tests.faults.stage import Stage

__all__ = ["FAMILY"]

_BAD = Path(__file__).with_name("bad.yaml")
_CORPUS = Path(__file__).parents[2] / "data/tenants/invalid"
_EXPECT = "# expect: "
_OF_NAMES = ("name-", "class-name-", "class-dotted", "class-too-long", "joined-name", "patterned-name")
_NOT_HERE = ("unknown field", "metadata.name")
"""What depends on the object's name, and what kubectl refuses and the API server only drops."""
_STANDING: dict[str, Any] = {"namespaces": {"items": [{"name": "a"}]}, "networkPolicies": {"isolation": "Tenant"}}


@dataclass(frozen=True, slots=True)
class _Refusal:
    resource: Resource
    spec: Any
    says: str


class _Recoveries:
    def __init__(self, parts: Arena, standing: Subject) -> None:
        self._arena = parts
        self._standing = standing
        self._refusals = dict(_refusals())
        self._bad: Mapping[str, Any] = yaml.safe_load(_BAD.read_text())
        self.names = [*(f"operator/{name}" for name in self._bad), *self._refusals]
        self.at_once = 8

    async def run(self, name: str) -> None:
        if name in self._refusals:
            await self._refused(self._refusals[name])
        else:
            await self._recovers(self._bad[name.removeprefix("operator/")])

    async def _refused(self, refusal: _Refusal) -> None:
        kube, standing = self._arena.kube, self._standing.name
        before = await kube.get(refusal.resource, standing)
        try:
            await kube.merge_patch(refusal.resource, standing, {"spec": refusal.spec})
        except Invalid as error:
            if refusal.says not in str(error):
                raise Broken(f"it is refused, and not with the words {refusal.says!r}: {error}") from error
        else:
            raise Broken(f"the API server takes {refusal.spec}, which it should refuse with: {refusal.says}")
        if (after := await kube.get(refusal.resource, standing)) != before:
            raise Broken(f"it is refused, and yet the spec has changed from {before['spec']} to {after['spec']}")

    async def _recovers(self, told: Mapping[str, Any]) -> None:
        for body in told.get("given", ()):
            await self._arena.plane.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump(body))
        subject = self._arena.subject()
        good = told["good"]
        before = await subject.become(good)
        _check_says(before, subject, "")
        _check_says(await subject.become({**good, **_joined(good, told["bad"])}), subject, told["says"])
        after = await subject.become(good)
        _check_says(after, subject, "")
        differing = differences(state_of(before, subject.name), state_of(after, subject.name))
        replaced = told.get("replaced", ())
        differing += [
            f"another object, {kind} {namespace}/{name}"
            for (kind, namespace, name), body in after.items()
            if kind not in replaced and body["metadata"]["uid"] != before[kind, namespace, name]["metadata"]["uid"]
        ]
        if differing:
            raise Broken("\n".join(["with the last good spec it is not as it was before the bad one:", *differing]))
        await subject.clear()


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Recoveries]:
    async with arena(stage, defect) as parts:
        standing = parts.subject()
        await standing.write_class(_STANDING_CLASS)
        await standing.become(_STANDING)
        yield _Recoveries(parts, standing)
        await standing.clear()


_STANDING_CLASS: dict[str, Any] = {"defaults": {"namespaces": {"metadata": {"labels": {"colour": "red"}}}}}


def _refusals() -> Mapping[str, _Refusal]:
    found = {}
    for resource, rows in ((TENANTS, tenant_rows()), (TENANT_CLASSES, class_rows())):
        for row in rows.values():
            for keyword, invalid in row.invalid.items():
                found[f"refused/{resource.kind}/{row.leaf}/{keyword}"] = _Refusal(resource, invalid.spec, invalid.says)
    for path in sorted(_CORPUS.glob("*.yaml")):
        text = path.read_text()
        says = text.splitlines()[0].removeprefix(_EXPECT)
        body = yaml.safe_load(text)
        if "spec" in body and not path.stem.startswith(_OF_NAMES) and not any(words in says for words in _NOT_HERE):
            resource = TENANTS if body["kind"] == TENANTS.kind else TENANT_CLASSES
            found[f"corpus/{path.stem}"] = _Refusal(resource, body["spec"], says)
    return found


def _joined(good: Mapping[str, Any], bad: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {**good[key], **_joined(good[key], value)}
        if isinstance(value, dict) and isinstance(good.get(key), dict)
        else value
        for key, value in bad.items()
    }


def _check_says(objects: Objects, subject: Subject, words: str) -> None:
    conditions = {each["type"]: each for each in objects["Tenant", "", subject.name]["status"]["conditions"]}
    said = [conditions[kind]["message"] for kind in ("Stalled", "ParametersValid")]
    wanted = named({"": words}, subject.name)[""]
    if words and not any(wanted in message for message in said):
        raise Broken(f"no condition says {wanted!r}; Stalled and ParametersValid say {said}")
    if not words and any(said):
        raise Broken(f"a good spec is complained of: {said}")


FAMILY = Family(
    name="A3",
    title="what is refused, by the API server, the operator or a class, and the last good spec after it",
    open=_open,
    sample=60,
    defect=Defect(
        text="a Tenant whose class is not there is treated as one without a class",
        place="tests.faults.defects_inputs:take_a_missing_class_for_none",
        cases=("operator/class-that-is-not-there",),
    ),
    lane=Lane.INPUTS,
)
