"""D1: many hours of one fault after the other, with up to 10,000 tenants; and what the generator keeps does not grow.

Each minute is a fault-minute: a fault begins, stands or ends. What the business does goes on meanwhile.
"""

import gc
from pathlib import Path
from random import Random

from tests.faults.defects_virtual import RELEASES_ALL
from tests.faults.family import Broken, Family, Lane
from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES
from tests.faults.virtual.processes import in_processes
from tests.faults.virtual.troubles import Troubles
from tests.faults.virtual.world import World

__all__ = ["SOAK", "run"]

_RUNS = {100: (26, 250), 1_000: (14, 250), 10_000: (5, 60)}
"""Number of tenants: runs, and minutes of each; 10,300 fault-minutes."""
_PAGE = 4096
_GROWTH, _ROOM = 1.3, 40 * 2**20
"""By so much the process may grow after its first quarter: what is watched also keeps a history."""

_NAMES = [f"{tenants}/{minutes}/{run}" for tenants, (runs, minutes) in _RUNS.items() for run in range(runs)]


def run(name: str) -> None:
    """Run one soak. Broken."""
    tenants, minutes, _ = map(int, name.split("/"))
    chance = Random(name)  # noqa: S311 - the same each time
    world = World(chance.randrange(2**32), leased=chance.random() < 0.5 and tenants < 10_000)
    try:
        _fill(world, chance, tenants)
        for number in range(40):
            world.put_tenant(f"c{number}", chance.choice(STATUSES))
            world.put_namespace(f"c{number}-main", f"c{number}")
        world.add_set("everything", Generator())
        world.add_set("set-0", Generator(status="active"), Generator(status="trial", selected=True))
        world.add_set("set-1", Generator(expanded=True))
        world.start()
        world.advance(60.0)
        _soak(world, chance, tenants, minutes)
    except Broken as error:
        raise Broken(f"{error}\nafter: " + "\n       ".join(world.trace[-40:])) from error
    finally:
        world.close()


def _soak(world: World, chance: Random, tenants: int, minutes: int) -> None:
    troubles = Troubles(world, chance, ends=0.3)
    early = 0
    for minute in range(minutes):
        troubles.step()
        if minute % 60 == 59:
            _fill(world, chance, tenants)
        world.advance(60.0, every=20.0)
        if minute == minutes // 4:
            early = _resident()
    late = _resident()
    if late > early * _GROWTH + _ROOM:
        raise Broken(f"the process has grown from {early >> 20} MiB to {late >> 20} MiB in {minutes} minutes")


def _fill(world: World, chance: Random, tenants: int) -> None:
    """Have as many rows again as there are to be."""
    rows = world.postgres.server.rows
    for number in range(tenants):
        rows.setdefault(f"t{number}", chance.choice(STATUSES))
    world.see_rows()


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


SOAK = Family(
    name="D1",
    title="a soak of all faults with up to 10,000 tenants",
    open=in_processes("tests.faults.virtual.soak", _NAMES, at_once=2),
    sample=1,
    defect=RELEASES_ALL,
    lane=Lane.VIRTUAL,
)
