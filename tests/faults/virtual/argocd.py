"""Argo CD as far as it matters here: ApplicationSets whose generators ask, and the Applications that follow.

What an answer says is taken at its word, by Go's rules, and compared with the Applications that there are: what is
missing is deleted at once. Each generator of an ApplicationSet is looked at alone, which is stricter than the sum.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = ["Application", "ApplicationSet", "Generator"]


@dataclass(frozen=True, slots=True)
class Application:
    """What an element said of itself."""

    tenant: str
    status: str
    source: str
    namespace: str


@dataclass(slots=True)
class Generator:
    """One plugin generator. `status`: what its tenants must have, None: anything; `selected`: by its `selector`.

    `answered`: (time, wall clock) of the last answer that was taken. `counts`: (wall clock, Applications by group).
    `removals`: (wall clock of the answer before, group, how many). `lineage`: of the record that it was answered from.
    `came`: when each Application was first in an answer. `unknown`: whether who gave the last answer did not know the
    ApplicationSet as it is.
    """

    status: str | None = None
    selected: bool = False
    expanded: bool = False
    applications: dict[str, Application] = field(default_factory=dict)
    answered: tuple[float, float] | None = None
    lineage: int | None = None
    edited: bool = False
    unknown: bool = False
    came: dict[str, float] = field(default_factory=dict)
    counts: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    removals: list[tuple[float, str, int]] = field(default_factory=list)
    shortage: int | None = None
    last_body: bytes = b""

    @property
    def parameters(self) -> dict[str, Any]:
        asked: dict[str, Any] = {} if self.status is None or self.selected else {"status": self.status}
        return asked | ({"expand": "namespace"} if self.expanded else {})

    @property
    def spec(self) -> dict[str, Any]:
        plugin = {"configMapRef": {"name": "tenantry"}, "input": {"parameters": self.parameters}}
        selector = {"selector": {"matchLabels": {"status": self.status}}} if self.selected else {}
        return {"plugin": plugin, **selector}

    def read(self, elements: list[dict[str, Any]]) -> dict[str, Application]:
        """Return the Applications that Argo CD makes of an answer. AssertionError: two have one name."""
        found: dict[str, Application] = {}
        for each in elements:
            application = Application(each["name"], each["status"], each["source"], each["namespace"])
            if self.selected and application.status != self.status:
                continue
            key = f"{application.tenant}/{application.namespace}" if self.expanded else application.tenant
            assert key not in found, f"two Applications are called {key}"
            found[key] = application
        return found


@lru_cache(maxsize=1000)
def _request(name: str, parameters: str) -> bytes:
    return f'{{"applicationSetName":{json.dumps(name)},"input":{{"parameters":{parameters}}}}}'.encode()


@dataclass(slots=True)
class ApplicationSet:
    """An ApplicationSet; `reported`: how many Applications its status says that it has.

    `contact`: the record's lineage, and how many Applications there were when it was first answered from that.
    """

    name: str
    generators: list[Generator]
    reported: int = -1
    agreed_contact: bool = False
    contact: tuple[int, int] = (-1, 0)

    @property
    def owned(self) -> int:
        return sum(len(each.applications) for each in self.generators)

    def request(self, number: int) -> bytes:
        return _request(self.name, json.dumps(self.generators[number].parameters))

    def body(self) -> Mapping[str, Any]:
        """Return the object that the API server has."""
        return {
            "metadata": {"name": self.name, "namespace": "argocd", "uid": f"uid-{self.name}"},
            "spec": {"generators": [each.spec for each in self.generators]},
            "status": {"resourcesCount": self.reported},
        }
