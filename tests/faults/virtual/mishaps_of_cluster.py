"""Everything that may befall the API server and the Tenants and namespaces in it, as steps like those of mishaps.py."""

from random import Random

from tests.faults.virtual.api import Backup
from tests.faults.virtual.mishaps import STATUSES, Heal, Step
from tests.faults.virtual.truth import CLUSTER
from tests.faults.virtual.world import SETS, SPACES, TENANTS, World

__all__ = ["OF_CLUSTER"]

_FAR = 100_000
_KINDS = (TENANTS, "tenantclasses", SPACES, SETS, "configmaps", "*")


def _some(world: World, chance: Random, most: int, kind: str = TENANTS) -> list[str]:
    known = sorted(name for _, name in world.api.objects(kind))
    return chance.sample(known, min(len(known), chance.randint(1, most)))


# Tenants and their namespaces


def create(world: World, chance: Random) -> None:
    for _ in range(chance.randint(1, 2)):
        name = chance.choice((f"c{chance.randrange(15)}", f"t{chance.randrange(40)}"))
        if ("", name) not in world.api.objects(TENANTS):
            world.put_tenant(name, chance.choice(STATUSES))
            world.put_namespace(f"{name}-main", name)


def edit(world: World, chance: Random) -> None:
    status = chance.choice(STATUSES)
    for name in _some(world, chance, chance.choice((1, 15))):
        world.put_tenant(name, status)


def unusable(world: World, chance: Random) -> None:
    """Edit Tenants into what can't be used: they stay as they were."""
    for name in _some(world, chance, 2):
        body = world.api.objects(TENANTS)["", name]
        world.api.put(TENANTS, {**body, "spec": {**body["spec"], "tenantClassName": "missing"}})


def delete(world: World, chance: Random) -> None:
    gone = _some(world, chance, 2)
    world.delete(TENANTS, gone)
    if chance.random() < 0.5:
        world.delete(SPACES, [f"{name}-main" for name in gone])


def delete_many(world: World, chance: Random) -> None:
    """Delete one after the other, as goes with a CRD."""
    pause = chance.choice((0.0, 0.02, 0.3))
    for name in _some(world, chance, 15):
        world.delete(TENANTS, [name])
        if pause:
            world.advance(pause)


def terminate(world: World, chance: Random) -> None:
    """Ask for deletions that finalizers put off."""
    for name in _some(world, chance, 2):
        body = world.api.objects(TENANTS)["", name]
        world.api.put(TENANTS, {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    world.see_cluster()


def namespaces(world: World, chance: Random) -> None:
    """Delete namespaces, or give them to other tenants."""
    for name in _some(world, chance, chance.choice((1, 15)), SPACES):
        if chance.random() < 0.7:
            world.delete(SPACES, [name])
        else:
            world.put_namespace(name, f"c{chance.randrange(15)}")


# The API server


def _trouble(kind: str) -> Step:
    def begin(world: World, chance: Random) -> Heal:
        plural = chance.choice(_KINDS)
        world.api.troubles[plural] = kind
        if chance.random() < 0.7:
            world.api.cut_watches(None if plural == "*" else plural)

        def mend(world: World) -> None:
            world.api.troubles.pop(plural, None)

        return mend

    begin.__name__ = f"api_{kind}"
    return begin


def slow_lists(world: World, chance: Random) -> Heal:
    world.api.slow, world.api.page_size = chance.uniform(0.1, 3.0), 4
    world.api.compact()
    world.api.cut_watches()

    def mend(world: World) -> None:
        world.api.slow, world.api.page_size = 0.0, 500

    return mend


def broken_pages(world: World, chance: Random) -> None:
    """Have the next lists expire between two pages."""
    world.api.page_size, world.api.broken_pages = 3, chance.randint(1, 3)
    world.api.compact()
    world.api.cut_watches()


def cut_watches(world: World, chance: Random) -> None:
    world.api.cut_watches()


def expired(world: World, chance: Random) -> None:
    """Have every watch end, and answer 410 to going on with it."""
    world.api.compact()
    world.api.cut_watches()


def lost_events(world: World, chance: Random) -> None:
    """Lose the next events of a kind for good, as watch caches have (kubernetes/kubernetes#123072)."""
    world.api.lose[chance.choice((TENANTS, SPACES))] = chance.randint(1, 3)


def silence(world: World, chance: Random) -> Heal:
    plural = chance.choice((TENANTS, SPACES, SETS))
    world.api.hush(plural, silent=True)
    return lambda world: world.api.hush(plural, silent=False)


def back_up(world: World, chance: Random) -> Heal:
    """Back everything up; restored when this ends."""
    backup = _backup(world)
    return lambda world: _restore(world, backup)


def stale_lists(world: World, chance: Random) -> Heal:
    """Have lists come from a server that has fallen behind, by what is changed right afterwards."""
    backup = _backup(world)
    delete(world, chance)
    create(world, chance)
    world.api.stale[TENANTS] = (backup, 1000)
    world.api.compact()
    world.api.cut_watches(TENANTS)
    older = {name: body["spec"]["parameters"]["status"] for (_, name), body in backup.kinds.get(TENANTS, {}).items()}
    world.truth.stale(CLUSTER, older)

    def mend(world: World) -> None:
        world.api.stale.pop(TENANTS, None)
        world.truth.fresh(CLUSTER)

    return mend


def _backup(world: World) -> Backup:
    backup = world.api.backup()
    world.api.version += _FAR  # others write, too
    return backup


def _restore(world: World, backup: Backup) -> None:
    sets = dict(world.api.objects(SETS))
    world.reached = world.api.version
    world.api.restore(backup)
    world.api.objects(SETS).clear()
    for body in sets.values():  # Argo CD's own objects are as they are applied from git
        world.api.put(SETS, body)
    world.see_cluster(removed=False)
    world.see_namespaces(removed=False)


OF_CLUSTER: dict[Step, int] = {
    create: 8,
    edit: 5,
    unusable: 2,
    delete: 7,
    delete_many: 4,
    terminate: 3,
    namespaces: 3,
    **{_trouble(kind): 1 for kind in ("unavailable", "error", "throttled", "hang", "forbidden", "unserved")},
    slow_lists: 1,
    broken_pages: 2,
    cut_watches: 2,
    expired: 2,
    lost_events: 2,
    silence: 2,
    back_up: 3,
    stale_lists: 2,
}
