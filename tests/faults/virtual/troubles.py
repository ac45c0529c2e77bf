"""What befalls a world by chance: one thing after another, some of which last until they are ended."""

from random import Random

from tests.faults.virtual.mishaps import OF_POSTGRES, Heal
from tests.faults.virtual.mishaps_of_cluster import OF_CLUSTER
from tests.faults.virtual.mishaps_of_generators import OF_GENERATORS
from tests.faults.virtual.world import World

__all__ = ["Troubles"]

_STEPS = OF_POSTGRES | OF_CLUSTER | OF_GENERATORS
_AT_ONCE = 3
"""So many faults stand at the same time."""


class Troubles:
    """The faults that stand. `ends`: how likely it is that one of them ends instead of something new."""

    def __init__(self, world: World, chance: Random, *, ends: float) -> None:
        self._world = world
        self._chance = chance
        self._ends = ends
        self._standing: list[tuple[str, Heal]] = []

    def step(self) -> None:
        """Have one thing happen."""
        world, chance, standing = self._world, self._chance, self._standing
        if standing and (len(standing) >= _AT_ONCE or chance.random() < self._ends):
            name, heal = standing.pop(chance.randrange(len(standing)))
            world.note(f"end of {name}")
            heal(world)
            return
        step = chance.choices(list(_STEPS), list(_STEPS.values()))[0]
        world.note(step.__name__)
        if (found := step(world, chance)) is not None:
            standing.append((step.__name__, found))
