"""What the monkey does: writes of third parties who mean no harm and know no rules, each with how it ends.

Everything that goes on by itself (a finalizer, a quota, a policy that denies) ends when the case says so; what was only
changed stays changed until the operator puts it right.
"""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

from tenantry.errors import Conflict, Forbidden, Invalid, NotFound
from tenantry.kube import Kube
from tenantry.names import DIGEST_ANNOTATION, ENTRY_ANNOTATION, FINALIZER
from tenantry.resources import APP_PROJECTS, NAMESPACES, NETWORK_POLICIES, RESOURCE_QUOTAS, TENANTS, Resource
from tests.faults.inputs.subject import Objects, Subject, merge_patch
from tests.faults.operator.canonical import renamed
from tests.faults.operator.handiwork import altered, owned_paths, removed, spelled
from tests.faults.operator.observer import KINDS

__all__ = ["Monkey"]

_RESOURCES = {resource.kind: resource for resource in KINDS}
_SOMEBODY = "somebody"
_FOREIGN_FINALIZER = "example.com/not-yet"
_POLICIES = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
_BINDINGS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
_REFUSALS = (Invalid, Forbidden, NotFound, Conflict)


class Monkey:
    """Plays with the objects of one tenant. `steps`: what it did; `killed`: the uids of namespaces that it deleted.

    `taken`: what it gave a value of its own; that is left to it if the spec no longer has the field.
    """

    def __init__(self, kube: Kube, subject: Subject, random: Random, service_account: str) -> None:
        self._kube = kube
        self._subject = subject
        self._random = random
        self._account = service_account
        self._endings: list[Callable[[], Awaitable[None]]] = []
        self.steps: list[str] = []
        self.killed: set[str] = set()
        self.taken: set[str] = set()
        self._antics = (
            (self._change, 8),
            (self._remove, 4),
            (self._strip, 3),
            (self._delete, 3),
            (self._overwrite_status, 2),
            (self._remove_finalizer, 1),
            (self._stick, 1),
            (self._limit, 1),
            (self._deny, 1),
        )

    async def play(self) -> None:
        """Do one thing; what the API server refuses has not happened."""
        antics, weights = zip(*self._antics, strict=True)
        (antic,) = self._random.choices(antics, weights)
        try:
            await antic(await self._subject.read())
        except _REFUSALS as error:
            self.steps.append(f"(refused: {type(error).__name__})")

    async def end(self) -> None:
        """Let everything end that goes on by itself."""
        for ending in self._endings:
            await ending()
        self._endings.clear()

    async def _change(self, objects: Objects) -> None:
        body, resource = self._some(objects)
        path = self._random.choice(_touchable(body))
        other = self._random.choice(list(altered(body, path)))
        await self._write(resource, body, other, f"change {spelled(path)}")
        metadata = body["metadata"]
        where = f"{resource.kind} {metadata.get('namespace', '')}/{metadata['name']}: {spelled(path)}"
        self.taken.add(renamed(where, self._subject.name))

    async def _remove(self, objects: Objects) -> None:
        body, resource = self._some(objects)
        path = self._random.choice(_touchable(body))
        await self._write(resource, body, removed(body, path), f"remove {spelled(path)}")

    async def _strip(self, objects: Objects) -> None:
        body, resource = self._some(objects)
        fields = self._random.choice([("labels",), ("annotations",), ("labels", "annotations")])
        if resource.kind in (NAMESPACES.kind, APP_PROJECTS.kind):
            fields = ("labels",)  # without any mark it is somebody else's
        stripped = tuple(f"metadata.{field}." for field in fields)
        if all(spelled(path).startswith(stripped) for path in owned_paths(body)):
            raise NotFound("nothing of ours would be left, and by nothing else it is known")
        bare = {**body, "metadata": {**body["metadata"], **{field: {"theirs": "x"} for field in fields}}}
        await self._write(resource, body, bare, f"strip {sorted(fields)}")

    async def _delete(self, objects: Objects) -> None:
        body, resource = self._some(objects)
        metadata = body["metadata"]
        self.steps.append(f"delete {resource.kind} {metadata['name']}")
        if resource is NAMESPACES:
            self.killed.add(metadata["uid"])
        await self._kube.delete(resource, metadata["name"], metadata.get("namespace"))

    async def _overwrite_status(self, _: Objects) -> None:
        theirs = {
            "phase": self._random.choice(["Active", "Archived", "Failed"]),
            "namespaceCount": 77,
            "namespaces": [{"name": "theirs", "ready": True}],
            "conditions": self._random.choice([[], None]),
            "quota": None,
        }
        self.steps.append("overwrite the status")
        await self._kube.merge_patch(
            TENANTS, self._subject.name, {"status": theirs}, subresource="status", field_manager=_SOMEBODY
        )

    async def _remove_finalizer(self, objects: Objects) -> None:
        body = objects[TENANTS.kind, "", self._subject.name]
        others = [each for each in body["metadata"].get("finalizers", ()) if each != FINALIZER]
        self.steps.append("remove the finalizer")
        await self._kube.merge_patch(TENANTS, self._subject.name, {"metadata": {"finalizers": others}})

    async def _stick(self, objects: Objects) -> None:
        """Leave a namespace in Terminating, as a controller does that is gone."""
        name = f"{self._subject.name}-a"
        if (NAMESPACES.kind, "", name) not in objects:
            raise NotFound(f"no namespace {name}")
        held = objects[NAMESPACES.kind, "", name]["metadata"]
        self.steps.append(f"delete namespace {name}, and keep it from going")
        await self._kube.merge_patch(NAMESPACES, name, {"metadata": {"finalizers": [_FOREIGN_FINALIZER]}})
        self._ends(self._kube.merge_patch, NAMESPACES, name, {"metadata": {"finalizers": None, "uid": held["uid"]}})
        self.killed.add(held["uid"])
        await self._kube.delete(NAMESPACES, name)

    async def _limit(self, _: Objects) -> None:
        """Let a quota of somebody else's be full, and make room that can't be filled again."""
        namespace = f"{self._subject.name}-a"
        hard = {"count/networkpolicies.networking.k8s.io": 0, "count/rolebindings.rbac.authorization.k8s.io": 0}
        self.steps.append(f"allow no more policies and bindings in {namespace}")
        await self._kube.create(RESOURCE_QUOTAS, {"metadata": {"name": "theirs"}, "spec": {"hard": hard}}, namespace)
        self._ends(self._kube.delete, RESOURCE_QUOTAS, "theirs", namespace)
        await self._kube.delete(NETWORK_POLICIES, "tenantry-isolation", namespace)

    async def _deny(self, _: Objects) -> None:
        """Let a policy deny all that the operator writes for this tenant."""
        name = f"{self._subject.name}-denies"
        of = {
            who: f"{who}.metadata.name.startsWith('{self._subject.name}') || (has({who}.metadata.namespace) && "
            f"{who}.metadata.namespace.startsWith('{self._subject.name}'))"
            for who in ("object", "oldObject")
        }
        allowed = f"request.userInfo.username != '{self._account}'"
        expression = f"{allowed} || !(object != null ? ({of['object']}) : ({of['oldObject']}))"
        rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}
        spec = {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": "not now"}],
        }
        self.steps.append("deny the operator's writes")
        await self._kube.create(_POLICIES, {"metadata": {"name": name}, "spec": spec})
        self._ends(self._kube.delete, _POLICIES, name)
        bound = {"policyName": name, "validationActions": ["Deny"]}
        await self._kube.create(_BINDINGS, {"metadata": {"name": name}, "spec": bound})
        self._ends(self._kube.delete, _BINDINGS, name)

    def _some(self, objects: Objects) -> tuple[dict[str, Any], Resource]:
        keys = sorted(key for key in objects if key[0] != TENANTS.kind)
        if not keys:
            raise NotFound("nothing to play with")
        key = self._random.choice(keys)
        return dict(objects[key]), _RESOURCES[key[0]]

    async def _write(self, resource: Resource, before: dict[str, Any], after: dict[str, Any], what: str) -> None:
        metadata = before["metadata"]
        self.steps.append(f"{what} of {resource.kind} {metadata['name']}")
        patch = merge_patch(before, after)
        await self._kube.merge_patch(
            resource, metadata["name"], patch, metadata.get("namespace"), field_manager=_SOMEBODY
        )

    def _ends(self, how: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        async def ending() -> None:
            try:
                await how(*arguments)
            except (NotFound, Conflict):
                return  # it has ended with its namespace

        self._endings.append(ending)


def _touchable(body: Mapping[str, Any]) -> list[tuple[str, ...]]:
    # Who takes off both marks of a namespace or an AppProject has it.
    paths = [path for path in owned_paths(body) if path[-1] not in (f"f:{ENTRY_ANNOTATION}", f"f:{DIGEST_ANNOTATION}")]
    if len(paths) < 2:
        raise NotFound("no more of ours than one mark, and by nothing else it is known")
    return paths
