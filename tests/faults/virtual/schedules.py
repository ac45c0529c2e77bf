"""D2: random schedules of what a database, a cluster, Argo CD and generators go through, 10 to 40 steps each.

A seed is a schedule. Everything is judged as it is answered; see tests/faults/virtual/judge.py for what is granted.
"""

from random import Random

from tests.faults.defects_virtual import ONE_READ
from tests.faults.family import Broken, Family, Lane
from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES
from tests.faults.virtual.mishaps_of_generators import generator
from tests.faults.virtual.processes import in_processes
from tests.faults.virtual.troubles import Troubles
from tests.faults.virtual.world import World

__all__ = ["SCHEDULES", "run"]

_NAMES = [f"seed-{number}" for number in range(30_000)]
_PAUSES = (0.0, 0.1, 0.5, 1.5, 3.0, 8.0, 20.0, 40.0)
_PAUSES_LEASED = (0.0, 0.1, 0.5, 1.5, 3.0, 12.0)
"""Whoever stands by looks four times a second, which is what such a schedule mostly costs."""


def run(name: str) -> None:
    """Run one schedule. Broken."""
    chance = Random(name)  # noqa: S311 - the same each time
    leased = chance.random() < 0.3
    world = World(chance.randrange(2**32), leased=leased)
    try:
        _begin(world, chance, replicas=2 if leased else 1)
        _go_on(world, chance, steps=chance.randint(10, 40))
    except Broken as error:
        raise Broken(f"{error}\nafter: " + "\n       ".join(world.trace)) from error
    finally:
        world.close()


def _begin(world: World, chance: Random, *, replicas: int) -> None:
    for number in range(chance.choice((0, 1, 5, 12, 25, 40))):
        world.postgres.server.rows[f"t{number}"] = chance.choice(STATUSES)
    world.see_rows()
    for number in range(chance.choice((0, 1, 5, 12))):
        world.put_tenant(f"c{number}", chance.choice(STATUSES))
        world.put_namespace(f"c{number}-main", f"c{number}")
    world.add_set("everything", Generator())
    for number in range(chance.randint(1, 3)):
        world.add_set(f"set-{number}", *(generator(chance) for _ in range(chance.choice((1, 1, 2)))))
    for _ in range(replicas):
        world.start()
    world.advance(chance.choice((0.1, 5.0, 20.0)))


def _go_on(world: World, chance: Random, *, steps: int) -> None:
    troubles = Troubles(world, chance, ends=0.25)
    for _ in range(steps):
        troubles.step()
        world.advance(chance.choice(_PAUSES_LEASED if len(world.replicas) > 1 else _PAUSES))


SCHEDULES = Family(
    name="D2",
    title="random schedules of 10 to 40 steps",
    open=in_processes("tests.faults.virtual.schedules", _NAMES, at_once=2),
    sample=100,
    defect=ONE_READ,
    drawn=True,
    lane=Lane.VIRTUAL,
)
