"""D4m: a month of tenants that come, go and change as they do anywhere, at most 2 % of them a day: nothing is held.

A guard that cries wolf is acknowledged without a look. Between two changes time leaps, as nothing happens then.
"""

from collections.abc import Iterator
from random import Random

from tests.faults.defects_virtual import TOUCHY
from tests.faults.family import Broken, Family, Lane
from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES
from tests.faults.virtual.processes import in_processes
from tests.faults.virtual.world import TENANTS, World

__all__ = ["CHURN", "run"]

_DAYS, _DAY = 30, 86_400.0
_SHARE = 0.02
_SIZES = (10, 40, 150, 400)
_PATTERNS = ("spread", "office", "nightly")
_SEEDS = 3

_NAMES = [f"{size}/{pattern}/{seed}" for size in _SIZES for pattern in _PATTERNS for seed in range(_SEEDS)]


def run(name: str) -> None:
    """Run one month. Broken."""
    size, pattern, _ = name.split("/")
    chance = Random(name)  # noqa: S311 - the same each time
    world = World(chance.randrange(2**32))
    try:
        tenants = _begin(world, chance, int(size))
        for day in range(_DAYS):
            begun = 1000.0 + (day + 1) * _DAY
            for at, number in _times(chance, pattern, _many(chance, int(size))):
                world.leap(max(0.0, begun + at - world.clock.now))
                _change(world, chance, tenants, number)
                world.advance(4.0)
                _expect_no_hold(world, f"on day {day}, after {number} of {size} tenants went")
    finally:
        world.close()


def _begin(world: World, chance: Random, size: int) -> list[str]:
    """Begin with half of the tenants as rows and half as Tenants."""
    tenants = [f"{'ct'[number % 2]}{number}" for number in range(size)]
    for name in tenants:
        _add(world, chance, name)
    world.see_rows()
    world.add_set("everything", Generator())
    world.add_set("by-status", *(Generator(status=status) for status in STATUSES))
    world.start()
    world.advance(20.0)
    return tenants


def _add(world: World, chance: Random, name: str) -> None:
    if name.startswith("t"):
        world.postgres.server.rows[name] = chance.choice(STATUSES)
    else:
        world.put_tenant(name, chance.choice(STATUSES))


def _many(chance: Random, size: int) -> int:
    """Return how many go on a day, 2 % on the average and at the most, but for the rest that is no whole one."""
    exact = size * _SHARE
    return int(exact) + (chance.random() < exact % 1)


def _times(chance: Random, pattern: str, number: int) -> Iterator[tuple[float, int]]:
    """Yield at what time of a day how many go."""
    if pattern == "nightly":
        yield 3600.0, number
        return
    low, high = (9 * 3600.0, 17 * 3600.0) if pattern == "office" else (0.0, _DAY - 60.0)
    for at in sorted(chance.uniform(low, high) for _ in range(number)):
        yield at, 1


def _change(world: World, chance: Random, tenants: list[str], number: int) -> None:
    """Let some go, others come, and as many have another status."""
    for name in chance.sample(tenants, number):
        tenants.remove(name)
        if name.startswith("t"):
            del world.postgres.server.rows[name]
        else:
            world.delete(TENANTS, [name])
        tenants.append(f"{name[0]}{len(world.trace) + 100_000}")
        world.note(f"{name} went")
        _add(world, chance, tenants[-1])
    for name in chance.sample(tenants, number):
        _add(world, chance, name)
    world.see_rows()


def _expect_no_hold(world: World, when: str) -> None:
    leader = world.leader
    if leader is None:
        raise Broken(f"nobody answers {when}")
    if holds := leader.holds():
        raise Broken(f"held {when}: {holds[0]['set']} because {holds[0]['why']}: {holds[0]['tenants']}")


CHURN = Family(
    name="D4m",
    title="a month of normal churn",
    open=in_processes("tests.faults.virtual.churn", _NAMES, at_once=2),
    sample=3,
    defect=TOUCHY,
    lane=Lane.VIRTUAL,
)
