"""D6: a day without Postgres, and six hours without the API server, while the other source goes on changing.

Nobody is removed, what the other source adds is seen within 5 seconds, and 30 seconds after the end everything is up
to date. Without the API server there is no Lease, and no record can be written: with those, nothing new is answered
until it is back; alone and without a record, a generator goes on.
"""

from random import Random

from tests.faults.defects_virtual import ALL_OR_NONE
from tests.faults.family import Broken, Family, Lane
from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES
from tests.faults.virtual.processes import in_processes
from tests.faults.virtual.world import TENANTS, World

__all__ = ["OUTAGES", "run"]

_HOUR = 3600.0
_POSTGRES = ("refuse", "hang", "password", "full", "starting", "error", "timeout", "denied", "locked", "standby")
_API = ("unavailable", "error", "hang", "throttled", "forbidden")
_SEEN, _RECOVERED = 5.0, 30.0

_NAMES = [
    *(f"postgres/{kind}/alone" for kind in _POSTGRES),
    "postgres/hang/leased",
    *(f"api/{kind}/{how}" for kind in _API for how in ("alone", "leased")),
]


def run(name: str) -> None:
    """Run one outage. Broken."""
    source, kind, how = name.split("/")
    chance = Random(name)  # noqa: S311 - the same each time
    leased = how == "leased"
    world = World(chance.randrange(2**32), leased=leased, recorded=leased or source == "postgres")
    try:
        _begin(world, chance, replicas=2 if leased else 1)
        if source == "postgres":
            _without_postgres(world, chance, kind)
        else:
            _without_api(world, chance, kind, leased=leased)
    finally:
        world.close()


def _begin(world: World, chance: Random, *, replicas: int) -> None:
    for number in range(30):
        world.postgres.server.rows[f"t{number}"] = chance.choice(STATUSES)
    world.see_rows()
    for number in range(20):
        world.put_tenant(f"c{number}", chance.choice(STATUSES))
    world.add_set("everything", Generator())
    world.add_set("active", Generator(status="active", selected=True))
    for _ in range(replicas):
        world.start()
    world.advance(20.0)
    _expect(world, {f"t{number}" for number in range(30)} | {f"c{number}" for number in range(20)}, "at the start")


def _without_postgres(world: World, chance: Random, kind: str) -> None:
    if kind == "standby":
        world.postgres.server.standby = True
    else:
        world.postgres.trouble = kind
    world.postgres.break_connections()
    there = _served(world)
    until = world.clock.now + 24 * _HOUR
    number = 100
    while world.clock.now < until:
        world.advance(chance.uniform(0.3, 1.0) * _HOUR, every=300.0)
        number += 1
        world.put_tenant(f"c{number}", "active")
        there.add(f"c{number}")
        if number % 4 == 0:
            world.delete(TENANTS, [f"c{number - 101}"])
            there.discard(f"c{number - 101}")
        # Of the database: to be found out about afterwards.
        world.postgres.server.rows[f"t{number}"] = "trial"
        world.see_rows()
        world.advance(_SEEN)
        _expect(world, there, f"{_SEEN:.0f} s after the addition of c{number}, without Postgres")
    world.postgres.trouble, world.postgres.server.standby = "", False
    world.advance(_RECOVERED)
    there |= set(world.postgres.server.rows)
    _expect(world, there, f"{_RECOVERED:.0f} s after Postgres came back")


def _without_api(world: World, chance: Random, kind: str, *, leased: bool) -> None:
    world.api.troubles["*"] = kind
    world.api.cut_watches()
    there = _served(world)
    until = world.clock.now + 6 * _HOUR
    number = 100
    while world.clock.now < until:
        world.advance(chance.uniform(0.1, 0.5) * _HOUR, every=300.0)
        number += 1
        world.postgres.server.rows[f"t{number}"] = "active"
        there.add(f"t{number}")
        if number in (104, 112):  # no more than may go at once, which they do when nothing could be recorded before
            del world.postgres.server.rows[f"t{number - 101}"]
            there.discard(f"t{number - 101}")
        world.see_rows()
        world.advance(_SEEN)
        if not leased:
            _expect(world, there, f"{_SEEN:.0f} s after the addition of t{number}, without the API server")
    world.api.troubles.clear()
    for _ in range(2):
        number += 1
        world.put_tenant(f"c{number}", "active")
        there.add(f"c{number}")
    world.advance(_RECOVERED if kind != "hang" else _RECOVERED + 30.0)
    _expect(world, there, f"{_RECOVERED:.0f} s after the API server came back")


def _served(world: World) -> set[str]:
    return set(world.sets["everything"].generators[0].applications)


def _expect(world: World, there: set[str], when: str) -> None:
    everything = world.sets["everything"].generators[0]
    if everything.answered is None or world.clock.now - everything.answered[0] > 1.0:
        raise Broken(f"nothing is answered {when}, at {world.clock.now:.1f}")
    if (served := _served(world)) != there:
        lacking, surplus = sorted(there - served), sorted(served - there)
        raise Broken(f"{when} the answer lacks {lacking} and should not have {surplus}, at {world.clock.now:.1f}")


OUTAGES = Family(
    name="D6",
    title="24 hours without Postgres, 6 without the API server",
    open=in_processes("tests.faults.virtual.outages", _NAMES, at_once=2),
    sample=3,
    defect=ALL_OR_NONE,
    lane=Lane.VIRTUAL,
)
