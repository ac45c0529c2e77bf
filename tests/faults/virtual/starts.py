"""D5: starts in the middle of things: nothing is served before every source was read, or a good record has been loaded.

A generator has served for a while and is killed. While it is down the sources and the record come into some state; it
is started, alone or with a second one, and watched. Then everything is healed, and it has to answer.
"""

from collections.abc import Callable
from itertools import product
from random import Random

from tests.faults.defects_virtual import UNREAD_SOURCE
from tests.faults.family import Broken, Family, Lane
from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES
from tests.faults.virtual.processes import in_processes
from tests.faults.virtual.replica import Replica
from tests.faults.virtual.world import RECORD, TENANTS, World

__all__ = ["STARTS", "run"]

_CLUSTER = (
    "fine",
    "unavailable",
    "hang",
    "unserved",
    "forbidden",
    "throttled",
    "slow",
    "partial",
    "empty",
)
_POSTGRES = (
    "fine",
    "refuse",
    "hang",
    "password",
    "error",
    "denied",
    "slow",
    "partial",
    "standby",
    "missing",
    "empty",
    "short",
)
_RECORD = ("good", "absent", "corrupt", "partial", "older", "unreadable")
_TIMES = 2
_WATCHED, _HEALED = 30.0, 90.0

_NAMES = [
    "/".join((*states, str(number)))
    for *states, number in product(_CLUSTER, _POSTGRES, _RECORD, map(str, range(_TIMES)))
]


def run(name: str) -> None:
    """Run one start. Broken."""
    cluster, postgres, record, _ = name.split("/")
    chance = Random(name)  # noqa: S311 - the same each time
    leased = chance.random() < 0.3
    world = World(chance.randrange(2**32), leased=leased)
    try:
        older = _live_before(world, chance)
        _come_into(world, cluster, postgres)
        _have_record(world, record, older)
        world.add_set("new", Generator())  # it has nothing to lose, so a first contact does not keep it waiting
        missing = _look_short(world) if postgres == "short" else {}

        def answered(replica: Replica) -> None:
            _check(world, replica, record)
            _refill(world, missing)

        world.on_success = answered
        for _ in range(2 if leased else 1):
            world.start()
        world.advance(chance.uniform(0.0, 2.0), every=0.1)
        world.advance(_WATCHED, every=2.0)
        _refill(world, missing)
        _heal(world)
        if record in ("good", "older", "unreadable") or (cluster, postgres) == ("fine", "fine"):
            _expect_answers(world, record)
    finally:
        world.close()


def _live_before(world: World, chance: Random) -> Callable[[], None]:
    """Have a generator serve and end; return what sets the record back to what it was in the middle of that."""
    for number in range(chance.choice((3, 12, 30))):
        world.postgres.server.rows[f"t{number}"] = chance.choice(STATUSES)
    world.see_rows()
    for number in range(chance.choice((2, 8))):
        world.put_tenant(f"c{number}", chance.choice(STATUSES))
    world.add_set("everything", Generator())
    world.add_set("active", Generator(status="active", selected=chance.random() < 0.5))
    first = world.start()
    world.advance(25.0, every=5.0)
    parts = world.record()
    world.postgres.server.rows["late"] = "active"
    world.see_rows()
    world.advance(3.0)
    world.end(first, killed=chance.random() < 0.5)
    world.advance(20.0)
    return lambda: world.put_record(parts)


def _come_into(world: World, cluster: str, postgres: str) -> None:
    match cluster:
        case "slow":
            world.api.slow, world.api.page_size = 3.0, 3
        case "partial":
            world.api.broken_pages, world.api.page_size = 1000, 3
        case "empty":
            world.delete(TENANTS, [name for _, name in list(world.api.objects(TENANTS))])
        case "fine":
            pass
        case trouble:
            world.api.troubles[TENANTS] = trouble
    server = world.postgres.server
    match postgres:
        case "slow":
            world.postgres.slow = 4.0
        case "partial":
            world.postgres.breaks_always = 1
        case "standby":
            server.standby = True
        case "missing":
            server.table = None
        case "empty":
            server.rows.clear()
            world.see_rows()
        case "fine" | "short":
            pass
        case trouble:
            world.postgres.trouble = trouble


def _look_short(world: World) -> dict[str, str]:
    """Have two rows missing that nobody has removed; return them."""
    rows = world.postgres.server.rows
    missing = {name: rows.pop(name) for name in ("t0", "late")}
    world.see_rows(removed=False)
    return missing


def _refill(world: World, missing: dict[str, str]) -> None:
    if missing:
        world.postgres.server.rows |= missing
        missing.clear()
        world.see_rows()


def _have_record(world: World, record: str, older: Callable[[], None]) -> None:
    match record:
        case "absent":
            world.put_record({})
        case "corrupt" | "partial":
            world.damage_record(whole=record == "corrupt")
        case "older":
            older()
        case "unreadable":
            world.api.troubles[RECORD] = "error"


def _check(world: World, replica: Replica, record: str) -> None:
    """Raise Broken unless this answer may be given: every source was read, or there is a record to go by."""
    if record in ("corrupt", "partial"):
        raise Broken("a success although the record can't be read whole")
    if record == "unreadable" and RECORD in world.api.troubles:
        raise Broken("a success although the record has not been read")
    unread = [name for name, feed in replica.publisher.feeds.items() if not feed.complete]
    if not world.has_listed(replica):
        unread.append("cluster, of which no list was complete")
    if replica.first_read is None:
        unread.append("postgres, of which no read was complete")
    if record == "absent" and unread:
        raise Broken(f"a success without a record and before a read of: {', '.join(unread)}")


def _heal(world: World) -> None:
    world.api.troubles.clear()
    world.api.slow, world.api.page_size, world.api.broken_pages = 0.0, 500, 0
    world.postgres.slow, world.postgres.breaks_always, world.postgres.trouble = 0.0, None, ""
    world.postgres.server.standby, world.postgres.server.table = False, 16400
    world.postgres.break_connections()


def _expect_answers(world: World, record: str) -> None:
    if record in ("corrupt", "partial"):
        return
    everything = world.sets["everything"].generators[0]
    asked = world.clock.now
    world.advance(_HEALED, every=5.0)
    if record != "absent" and (everything.answered is None or everything.answered[0] < asked):
        raise Broken(f"nothing is answered {_HEALED:.0f} s after everything was healed")


STARTS = Family(
    name="D5",
    title="starts with a source down, empty, slow or partial, and any record",
    open=in_processes("tests.faults.virtual.starts", _NAMES, at_once=2),
    sample=60,
    defect=UNREAD_SOURCE,
    lane=Lane.VIRTUAL,
)
