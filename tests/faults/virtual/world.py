"""A cluster, a database, Argo CD and some generators in virtual time, each answer judged as it arrives."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tenantry.managed import managed_keys
from tenantry.names import TENANT_LABEL
from tenantry_generator.errors import RecordCorrupt
from tenantry_generator.record import RecordStore, Stored
from tenantry_generator.record.index import INDEX, decode
from tenantry_generator.sources.postgres import Timing
from tests.faults.family import Broken
from tests.faults.godecode import Parameters, Unread, read
from tests.faults.virtual.api import VirtualApi
from tests.faults.virtual.argocd import ApplicationSet, Generator
from tests.faults.virtual.clock import Clock
from tests.faults.virtual.database import Server, VirtualPostgres
from tests.faults.virtual.judge import Judge, Knowledge
from tests.faults.virtual.replica import NAMESPACE, Recording, Replica
from tests.faults.virtual.truth import CLUSTER, NAMESPACES, POSTGRES, Truth

__all__ = ["RECORD", "SETS", "SPACES", "TENANTS", "World"]

Parts = dict[tuple[str, str], dict[str, Any]]
"""The objects of the record, by their keys."""

TENANTS, SPACES, SETS, RECORD = "tenants", "namespaces", "applicationsets", "configmaps"
_EPOCH = 1_700_000_000.0
_FEEDS = {CLUSTER: TENANTS, NAMESPACES: SPACES}


class World:
    """`leased`: whether generators share a Lease; `offset`: how far their clocks have been set forward.

    `swapped`: whether the database's address or the table's name leads to another one. `reached`: the resourceVersion
    that there had been when the API server was restored; once it is there again, nobody can tell that it was.
    """

    def __init__(self, seed: int, *, leased: bool = False, recorded: bool = True, timing: Timing | None = None) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a schedule is to be the same each time
        random.seed(seed)  # the spread of the generator's own pauses
        self.clock = Clock()
        self.api = VirtualApi(self.clock)
        self.postgres = VirtualPostgres(self.clock, Server())
        self.truth = Truth(self.clock)
        self.api.heard = {plural: self.truth.reads[source] for source, plural in _FEEDS.items()}
        self.judge = Judge(self.clock, self.truth)
        self.sets: dict[str, ApplicationSet] = {}
        self.replicas: list[Replica] = []
        self.offset = 0.0
        self.swapped = False
        self.reached: int | None = None
        self.trace: list[str] = []
        self.refused = 0
        self.on_success: Callable[[Replica], None] = lambda replica: None
        self._leased, self._recorded, self._timing = leased, recorded, timing
        self._broken: Exception | None = None
        self._answers: Replica | None = None
        self._known: dict[str, float] = {}
        self._lineages: dict[int, Knowledge] = {0: Knowledge({}, 0)}
        self._saves: dict[tuple[int, bytes], float] = {}
        self._born: dict[tuple[int, bytes], float] = {}
        self._last_saved: float | None = None
        self._saved_lineage = 0

    def wall(self) -> float:
        return _EPOCH + self.clock.now + self.offset

    def note(self, text: str) -> None:
        """Remember what was done, for the message of a failure."""
        self.trace.append(f"{self.clock.now:.1f} {text}")

    # Processes

    def start(self) -> Replica:
        replica = Replica(
            self.clock,
            self.api,
            self.postgres,
            wall=self.wall,
            records=self._watched,
            leased=self._leased,
            recorded=self._recorded,
            timing=self._timing,
        )
        replica.connector.accepted = self.truth.reads[POSTGRES]
        self.replicas.append(replica)
        return replica

    def end(self, replica: Replica, *, killed: bool) -> None:
        self._learn(replica)
        self.replicas.remove(replica)
        replica.end(killed=killed)

    def close(self) -> None:
        for replica in list(self.replicas):
            self.end(replica, killed=True)

    @property
    def leader(self) -> Replica | None:
        """The replica that answers now."""
        return next((each for each in self.replicas if each.answers_now), None)

    # Time and questions

    def advance(self, seconds: float, *, every: float = 15.0) -> None:
        """Let time go on, with Argo CD asking at least so often. Broken: an answer was wrong."""
        until = self.clock.now + seconds
        while True:
            self.clock.advance(min(every, until - self.clock.now))
            self.ask()
            if self.clock.now >= until:
                return

    def leap(self, seconds: float) -> None:
        """Stop everything for a while, but for Argo CD, which asks as soon as things go on."""
        self.ask()
        self.clock.leap(seconds)
        self.ask()

    def ask(self) -> None:
        """Have each ApplicationSet ask who answered it last, or everybody; now and then whoever is there. Broken."""
        if self.reached is not None and self.api.version >= self.reached:
            self.reached = None
            for source in _FEEDS:
                self.truth.give_up(source)
        for applicationset in self.sets.values():
            for number, generator in enumerate(applicationset.generators):
                body = applicationset.request(number)
                taking = self._taking(applicationset, generator, body, number)
                for replica in self.replicas:
                    likely = replica is self._answers or self._answers not in self.replicas
                    if (likely and not replica.loop.stopped) or self.random.random() < 0.1:
                        replica.ask(body, taking)
        self.clock.settle()
        self.check()
        for applicationset in self.sets.values():
            self._report(applicationset)

    def check(self) -> None:
        """Raise what a callback has run into."""
        if self._broken is not None:
            raise self._broken

    # ApplicationSets

    def add_set(self, name: str, *generators: Generator) -> None:
        self.sets[name] = ApplicationSet(name, list(generators))
        self._report(self.sets[name], always=True)

    def remove_set(self, name: str) -> None:
        del self.sets[name]
        self.api.remove(SETS, ("argocd", name))

    def edit_set(self, name: str, number: int, change: Callable[[Generator], None]) -> None:
        generator = self.sets[name].generators[number]
        change(generator)
        generator.edited, generator.last_body = True, b""
        self._report(self.sets[name], always=True)

    # Objects

    def put_tenant(self, name: str, status: str, **spec: Any) -> None:
        body = {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {"parameters": {"status": status}, **spec}}
        self.api.put(TENANTS, body)
        self.see_cluster()

    def put_namespace(self, name: str, tenant: str) -> None:
        labels = {TENANT_LABEL: tenant}
        fields: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{TENANT_LABEL}": {}}}}
        managed = [{"manager": "tenantry-operator", "operation": "Apply", "fieldsV1": fields}]
        body = {"metadata": {"name": name, "labels": labels, "managedFields": managed}}
        assert TENANT_LABEL in managed_keys(body["metadata"])[0], "the operator gave the label"
        self.api.put(SPACES, body)
        self.see_namespaces()

    def delete(self, plural: str, names: Iterable[str]) -> None:
        for name in names:
            if ("", name) in self.api.objects(plural):
                self.api.remove(plural, ("", name))
        self.see_cluster()
        self.see_namespaces()

    def see_cluster(self, *, removed: bool = True) -> None:
        """Note which Tenants the API server has now."""
        self.truth.align(CLUSTER, self.tenants(), removed=removed)

    def see_namespaces(self, *, removed: bool = True) -> None:
        shown = {
            name: body["metadata"]["labels"].get(TENANT_LABEL, "")
            for (_, name), body in self.api.objects(SPACES).items()
        }
        self.truth.align(NAMESPACES, shown, removed=removed)

    def tenants(self) -> dict[str, str]:
        """Return the status of each Tenant that is not being deleted."""
        return {
            name: body["spec"]["parameters"]["status"]
            for (_, name), body in self.api.objects(TENANTS).items()
            if "deletionTimestamp" not in body["metadata"]
        }

    def see_rows(self, *, removed: bool = True) -> None:
        """Note which rows the database has now, and tell who listens."""
        server = self.postgres.server
        self.truth.align(
            POSTGRES, {name: status for name, status in server.strays if name} | server.rows, removed=removed
        )
        self.postgres.changed()

    # The record

    def record(self) -> Parts:
        """Return the objects of the record."""
        return {key: body for key, body in sorted(self.api.objects(RECORD).items()) if "record" in key[1]}

    def put_record(self, parts: Parts) -> None:
        """Have the record consist of these objects."""
        for key in self.record().keys() - parts.keys():
            self.api.remove(RECORD, key)
        for body in parts.values():
            self.api.put(RECORD, body)

    def damage_record(self, *, whole: bool, chance: random.Random | None = None) -> None:
        """Change what the record's index holds (`whole`), or one of its parts; at random, take that away instead."""
        index = (NAMESPACE, INDEX)
        if index not in (there := self.record()):
            return
        try:
            names = {name for name, _ in decode(there[index]["data"]["content"].encode()).chunks}
        except RecordCorrupt:
            return  # it is damaged already
        keys = [index] if whole else [key for key in there if key[1] in names]
        if not keys:
            return
        key = keys[0] if chance is None else chance.choice(keys)
        if chance is not None and chance.random() < 0.5:
            self.api.remove(RECORD, key)
        elif "data" in (body := self.api.objects(RECORD)[key]):
            self.api.put(RECORD, {**body, "data": {"content": "damaged"}})
        else:
            self.api.put(RECORD, {**body, "binaryData": {"content": "ZGFtYWdlZA=="}})

    # Holds

    def agree(self, replica: Replica, hold: dict[str, Any]) -> None:
        """Acknowledge a hold; it counts unless it is refused."""
        names, kind = hold["tenants"], str(hold["set"])
        if kind.startswith("view "):
            kind = f"view of {kind.rpartition(' ')[2]}"
        contact = self.sets.get(kind.rpartition(" ")[2]) if kind.startswith("first contact") else None
        if contact is not None:
            contact.agreed_contact = True
        before = self.judge.agree(kind, names)
        replica.acknowledge(hold["hash"], lambda: self.judge.restore(before))
        self.clock.settle()

    # What is known

    def knowledge(self, replica: Replica) -> Knowledge:
        self._learn(replica)
        lineage, known = self._lineages[replica.lineage], dict(self._known)
        if replica.publisher.problem is not None and self._last_saved is not None:
            # What can't be recorded is not served.
            known = {source: min(until, self._last_saved) for source, until in known.items()}
        return replace(lineage, until=known, blind=replica.blind)

    def _learn(self, replica: Replica) -> None:
        for source, plural in _FEEDS.items():
            if plural in replica.kube.listed:
                self._known[source] = replica.kube.known(plural) or 0.0
                self._first_reads(source, replica.first_reads(plural))
        if replica.read_as_of is not None:
            self._known[POSTGRES] = replica.read_as_of
            self._first_reads(POSTGRES, replica.first_reads(None))

    def has_listed(self, replica: Replica) -> bool:
        """Whether a list of the Tenants was complete since a replica's start."""
        return TENANTS in replica.kube.listed

    def _first_reads(self, source: str, times: Iterable[float]) -> None:
        known = self.truth.first_reads[source]
        known += [at for at in times if at not in known]

    def _taking(
        self, applicationset: ApplicationSet, generator: Generator, asked: bytes, number: int
    ) -> Callable[[Replica, int, bytes], None]:
        def take(replica: Replica, status: int, body: bytes) -> None:
            if self.sets.get(applicationset.name) is not applicationset or applicationset.request(number) != asked:
                return  # another one by now
            try:
                self._take(applicationset, generator, replica, status, body)
            except Exception as error:  # there is nobody above to see it
                self._broken = self._broken or error

        return take

    def _take(
        self, applicationset: ApplicationSet, generator: Generator, replica: Replica, status: int, body: bytes
    ) -> None:
        if body == generator.last_body and 200 <= status <= 299 and generator.lineage == replica.lineage:
            generator.answered = (self.clock.now, self.wall())
            self.judge.answers += 1
            self.judge.forget(generator, self.wall())
            self.on_success(replica)
            return
        elements: Parameters | None
        try:
            elements = read(status, {}, body)
        except Unread:
            elements = None
        if status == 500:
            raise Broken(f"{applicationset.name} was answered with {body.decode()}, at {self.clock.now:.1f}")
        if elements is None:
            self.refused += 1
            if self._answers is replica:
                self._answers = None
            return
        self._answers = replica
        self.on_success(replica)
        # Two generators that ask the same get one answer, in which what is held for one of them is as that one had it.
        elsewhere = {
            key
            for other in applicationset.generators
            if other is not generator and other.parameters == generator.parameters
            for key in other.read(elements)
        }
        found, known = generator.read(elements), self.knowledge(replica)
        generator.edited |= generator.unknown
        generator.unknown = not replica.knows(applicationset.body())
        self.judge.take(applicationset, generator, found, known, self.wall(), elsewhere=elsewhere)
        generator.last_body = body

    def _report(self, applicationset: ApplicationSet, *, always: bool = False) -> None:
        """Have Argo CD write into the status how many Applications there are, if the API server lets it."""
        if always or (applicationset.owned != applicationset.reported and not self.api.troubles):
            applicationset.reported = applicationset.owned
            self.api.put(SETS, dict(applicationset.body()))

    def _watched(self, replica: Replica, store: RecordStore) -> RecordStore:
        def key(stored: Stored) -> tuple[int, bytes]:
            return stored.revision, stored.meta

        def loaded(stored: Stored | None) -> None:
            replica.has_loaded()
            at = None if stored is None else self._saves.get(key(stored))
            if self._last_saved is None or (at is not None and at >= self._last_saved):
                replica.lineage = self._saved_lineage
                return
            born = self.clock.now if stored is None else self._born.get(key(stored), 0.0)
            replica.lineage = len(self._lineages)
            self._lineages[replica.lineage] = Knowledge({}, replica.lineage, at, born, amnesia=stored is None)

        def saving(stored: Stored) -> None:
            self._saves.setdefault(key(stored), self.clock.now)
            self._born.setdefault(key(stored), self._lineages[replica.lineage].born)

        def saved(stored: Stored) -> None:
            self._last_saved = self._saves[key(stored)]
            self._saved_lineage = replica.lineage

        return Recording(store, loaded=loaded, saving=saving, saved=saved)
