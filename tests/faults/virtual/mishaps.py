"""Everything that may befall a database, as steps of a schedule: what the business does, and what goes wrong.

A step returns what ends it again, or None if there is nothing to end.
"""

from collections.abc import Callable
from random import Random

from tests.faults.virtual.database import Server
from tests.faults.virtual.world import World

__all__ = ["OF_POSTGRES", "STATUSES", "Heal", "Step"]

Heal = Callable[[World], None]
Step = Callable[[World, Random], Heal | None]

STATUSES = ("active", "trial", "suspended")
_FAR = 100_000
"""By so much of its log a backup is behind: more than is written before anybody looks."""


def names(world: World) -> list[str]:
    return sorted(world.postgres.server.rows)


def some(world: World, chance: Random, most: int) -> list[str]:
    """Return a few rows' names."""
    known = names(world)
    return chance.sample(known, min(len(known), chance.randint(1, most)))


def insert(world: World, chance: Random) -> None:
    for _ in range(chance.randint(1, 3)):
        world.postgres.server.rows.setdefault(f"t{chance.randrange(40)}", chance.choice(STATUSES))
    world.see_rows()


def update(world: World, chance: Random) -> None:
    for name in some(world, chance, 2):
        world.postgres.server.rows[name] = chance.choice(STATUSES)
    world.see_rows()


def update_many(world: World, chance: Random) -> None:
    status = chance.choice(STATUSES)
    for name in some(world, chance, 40):
        world.postgres.server.rows[name] = status
    world.see_rows()


def delete(world: World, chance: Random) -> None:
    for name in some(world, chance, 2):
        del world.postgres.server.rows[name]
    world.see_rows()


def delete_many(world: World, chance: Random) -> None:
    for name in some(world, chance, 40):
        del world.postgres.server.rows[name]
    world.see_rows()


def truncate(world: World, chance: Random) -> Heal:
    table = world.postgres.server.rows
    kept = dict(table)
    table.clear()
    world.see_rows()

    def refill(world: World) -> None:
        table.update(kept)  # wherever the address or the name lead by now
        world.see_rows()

    return refill


def flicker(world: World, chance: Random) -> None:
    """Take some rows away for less than a second, as an import does that deletes and inserts."""
    gone = {name: world.postgres.server.rows.pop(name) for name in some(world, chance, chance.choice((2, 40)))}
    world.see_rows(removed=False)
    world.advance(chance.uniform(0.05, 0.95), every=0.3)
    world.postgres.server.rows.update(gone)
    world.see_rows()


def conflicting(world: World, chance: Random) -> Heal:
    """Have two different rows for one tenant, and one for nobody."""
    server = world.postgres.server
    server.strays = [(name, "twice") for name in some(world, chance, 2)] + [("", "nobody")]
    world.see_rows()

    def mend(world: World) -> None:
        server.strays = []
        world.see_rows()

    return mend


def _trouble(kind: str) -> Step:
    def begin(world: World, chance: Random) -> Heal:
        world.postgres.trouble = kind
        if kind in ("refuse", "starting", "full") and chance.random() < 0.7:
            world.postgres.break_connections()
        return _untroubled

    begin.__name__ = f"postgres_{kind}"
    return begin


def _untroubled(world: World) -> None:
    world.postgres.trouble = ""


def slow(world: World, chance: Random) -> Heal:
    world.postgres.slow = chance.uniform(0.2, 12.0)

    def mend(world: World) -> None:
        world.postgres.slow = 0.0

    return mend


def broken_read(world: World, chance: Random) -> None:
    """Break the connection in the middle of the next read."""
    world.postgres.breaks_after = chance.randrange(3)
    world.postgres.changed()


def broken_connections(world: World, chance: Random) -> None:
    world.postgres.break_connections()


def deaf(world: World, chance: Random) -> Heal:
    """Lose the trigger, so that polling has to do."""
    world.postgres.notifies = False

    def mend(world: World) -> None:
        world.postgres.notifies = True

    return mend


def _swap(world: World, server: Server) -> Heal | None:
    """Have the address lead to another server, and back."""
    if world.swapped:
        return None
    world.swapped = True
    before = world.postgres.server
    world.postgres.server = server
    world.postgres.break_connections()
    world.see_rows(removed=False)

    def back(world: World) -> None:
        world.swapped = False
        if world.postgres.server is server:
            world.postgres.server = before
            before.position = max(before.position, server.position + 1)
            world.postgres.break_connections()
            world.see_rows(removed=False)

    return back


def _part(world: World, chance: Random) -> dict[str, str]:
    share = chance.choice((0.0, 0.5, 0.9, 1.0))
    return {name: status for name, status in world.postgres.server.rows.items() if chance.random() < share}


def other_cluster(world: World, chance: Random) -> Heal | None:
    server = world.postgres.server.copy(system=f"8{chance.randrange(10**6)}")
    server.rows = _part(world, chance)
    return _swap(world, server)


def other_database(world: World, chance: Random) -> Heal | None:
    server = world.postgres.server.copy(database=chance.randrange(20000, 30000))
    server.rows = _part(world, chance)
    return _swap(world, server)


def other_schema(world: World, chance: Random) -> Heal | None:
    server = world.postgres.server.copy(schema="archive", table=chance.randrange(20000, 30000))
    server.rows = _part(world, chance)
    return _swap(world, server)


def standby(world: World, chance: Random) -> Heal | None:
    """Lead to a standby that lags."""
    server = world.postgres.server.copy(standby=True)
    server.rows = _part(world, chance)
    return _swap(world, server)


def renamed(world: World, chance: Random) -> Heal | None:
    if world.swapped:
        return None
    world.swapped, server = True, world.postgres.server
    table, server.table = server.table, None

    def back(world: World) -> None:
        world.swapped, server.table = False, table
        world.postgres.changed()

    return back


def replaced(world: World, chance: Random) -> Heal | None:
    """Put another table in the place of the table, empty or with a part of the rows."""
    if world.swapped:
        return None
    world.swapped, server = True, world.postgres.server
    table, kept = server.table, server.rows
    server.table, server.rows = chance.randrange(20000, 30000), _part(world, chance)
    world.see_rows(removed=False)

    def back(world: World) -> None:
        world.swapped, server.table, server.rows = False, table, kept
        world.see_rows(removed=False)

    return back


def other_column(world: World, chance: Random) -> Heal:
    server = world.postgres.server
    number, kind = server.number, server.kind
    server.number, server.kind = chance.choice(((number + 5, kind), (number, "integer")))
    world.postgres.changed()

    def back(world: World) -> None:
        server.number, server.kind = number, kind
        world.postgres.changed()

    return back


def hidden(world: World, chance: Random) -> Heal:
    """Have a policy hide rows."""
    server = world.postgres.server
    server.hidden = frozenset(some(world, chance, 40))
    world.postgres.changed()

    def back(world: World) -> None:
        server.hidden = frozenset()
        world.postgres.changed()

    return back


def restored(world: World, chance: Random) -> None:
    """Lose the last rows to a backup, or to an asynchronous standby that is promoted."""
    server = world.postgres.server
    lost = some(world, chance, chance.choice((1, 3, 40)))
    older = server.copy(position=server.position - _FAR * (1 + chance.randrange(3)))
    for name in lost:
        del older.rows[name]
    world.postgres.server = older
    world.postgres.break_connections()
    world.see_rows(removed=False)


OF_POSTGRES: dict[Step, int] = {
    insert: 12,
    update: 6,
    update_many: 6,
    delete: 10,
    delete_many: 6,
    truncate: 5,
    flicker: 5,
    conflicting: 3,
    **{_trouble(kind): 1 for kind in ("refuse", "hang", "password", "full", "starting")},
    **{_trouble(kind): 1 for kind in ("error", "timeout", "denied", "locked")},
    slow: 2,
    broken_read: 4,
    broken_connections: 2,
    deaf: 2,
    other_cluster: 2,
    other_database: 1,
    other_schema: 1,
    standby: 2,
    renamed: 2,
    replaced: 3,
    other_column: 2,
    hidden: 2,
    restored: 4,
}
