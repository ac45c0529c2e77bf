"""Everything that may befall the record, the generators, Argo CD and the clocks, as steps like those of mishaps.py."""

from random import Random

from tests.faults.virtual.argocd import Generator
from tests.faults.virtual.mishaps import STATUSES, Heal, Step, insert
from tests.faults.virtual.replica import Replica
from tests.faults.virtual.world import RECORD, Parts, World

__all__ = ["OF_GENERATORS", "generator"]


# The record


def lose_record(world: World, chance: Random) -> None:
    world.put_record({})


def damage_record(world: World, chance: Random) -> Heal:
    """Lose a part of the record, or damage one, until it is put back."""
    parts = world.record()
    world.damage_record(whole=chance.random() < 0.3, chance=chance)
    return lambda world: _put_back(world, parts)


def keep_record(world: World, chance: Random) -> Heal:
    """Copy the record; set back to that when this ends."""
    parts = world.record()
    return lambda world: _put_back(world, parts)


def _put_back(world: World, parts: Parts) -> None:
    if parts:
        world.put_record(parts)


def touch_record(world: World, chance: Random) -> None:
    """Write labels, so that the next compare-and-swap fails."""
    for body in world.record().values():
        labels = {**body["metadata"]["labels"], "seen": str(chance.random())}
        world.api.put(RECORD, {**body, "metadata": {**body["metadata"], "labels": labels}})


def unwritable(world: World, chance: Random) -> Heal:
    world.api.troubles[RECORD] = "unwritable"

    def mend(world: World) -> None:
        world.api.troubles.pop(RECORD, None)

    return mend


def lost_answers(world: World, chance: Random) -> None:
    world.api.answers_lost += chance.randint(1, 3)


# Generators


def _one(world: World, chance: Random) -> Replica | None:
    return chance.choice(world.replicas) if world.replicas else None


def restart(world: World, chance: Random) -> None:
    if (replica := _one(world, chance)) is not None:
        world.end(replica, killed=chance.random() < 0.6)
        world.start()


def down(world: World, chance: Random) -> Heal | None:
    """End a generator; it is started again when this ends."""
    replica = _one(world, chance)
    if replica is None:
        return None
    world.end(replica, killed=chance.random() < 0.6)

    def mend(world: World) -> None:
        world.start()

    return mend


def take_over(world: World, chance: Random) -> None:
    """Stop the one that answers for longer than its Lease lasts, or just as long, or hardly."""
    if (leader := world.leader) is not None:
        leader.loop.stopped = True
        world.advance(chance.choice((3.0, 9.9, 10.1, 16.0, 40.0)), every=1.0)
        leader.loop.stopped = False
        world.ask()


def take_over_blind(world: World, chance: Random) -> Heal | None:
    """Have the other generator take over while it can't read the database, which has changed since it could."""
    leader = world.leader
    others = [replica for replica in world.replicas if replica is not leader]
    if leader is None or not others:
        return None
    others[0].cut_off(postgres=True)
    insert(world, chance)
    world.advance(3.0)
    leader.loop.stopped = True
    world.advance(20.0, every=2.0)

    def mend(world: World) -> None:
        others[0].cut_off(postgres=False)
        leader.loop.stopped = False

    return mend


def pause(world: World, chance: Random) -> Heal | None:
    replica = _one(world, chance)
    if replica is None:
        return None
    replica.loop.stopped = True

    def resume(world: World) -> None:
        replica.loop.stopped = False
        if replica in world.replicas:
            world.ask()

    return resume


def cut_off(world: World, chance: Random) -> Heal | None:
    replica = _one(world, chance)
    if replica is None:
        return None
    api, postgres = chance.choice(((True, True), (True, None), (None, True)))
    replica.cut_off(api=api, postgres=postgres)
    return lambda world: replica.cut_off(api=False, postgres=False)


# People and time


def agree(world: World, chance: Random) -> None:
    leader = world.leader
    if leader is not None and (holds := leader.holds()):
        for hold in chance.sample(holds, chance.randint(1, len(holds))):
            world.agree(leader, hold)


def agree_late(world: World, chance: Random) -> Heal | None:
    """Look at a hold now, and agree to it when this ends, whatever it has become."""
    leader = world.leader
    if leader is None or not (holds := leader.holds()):
        return None
    hold = chance.choice(holds)

    def then(world: World) -> None:
        if (now := world.leader) is not None:
            world.agree(now, hold)

    return then


def agree_wrongly(world: World, chance: Random) -> None:
    if (leader := world.leader) is not None:
        world.agree(leader, {"hash": f"{chance.randrange(2**64):016x}", "set": "source postgres", "tenants": []})


def new_set(world: World, chance: Random) -> None:
    """Apply an ApplicationSet: one that has no Application yet, or one that another plugin had answered before."""
    generators = [generator(chance) for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.5:
        owned = world.sets["everything"].generators[0].applications
        for each in generators:
            matching = {key: held for key, held in owned.items() if each.status in (None, held.status)}
            each.applications = {} if each.expanded else matching
    world.add_set(f"new-{len(world.trace)}", *generators)


def remove_set(world: World, chance: Random) -> None:
    """Delete an ApplicationSet, or delete it and apply another one under its name."""
    known = [name for name in sorted(world.sets) if name != "everything"]
    if known:
        name = chance.choice(known)
        world.remove_set(name)
        if chance.random() < 0.5:
            world.add_set(name, generator(chance))


def edit_set(world: World, chance: Random) -> None:
    known = [name for name in sorted(world.sets) if name != "everything"]
    if not known:
        return
    name = chance.choice(known)
    number = chance.randrange(len(world.sets[name].generators))

    def change(held: Generator) -> None:
        new = generator(chance)
        if held.expanded == new.expanded:
            held.status, held.selected = new.status, new.selected

    world.edit_set(name, number, change)


def generator(chance: Random) -> Generator:
    """Return a generator of any kind."""
    if chance.random() < 0.2:
        return Generator(expanded=True)
    status = chance.choice((*STATUSES, None))
    return Generator(status=status, selected=status is not None and chance.random() < 0.5)


def jump(world: World, chance: Random) -> None:
    """Set the clocks."""
    world.offset += chance.choice((-7200, -1900, -600, -30, 30, 600, 1900, 4000, 90_000))


def night(world: World, chance: Random) -> None:
    """Have everything stand still, as a suspended machine does."""
    world.leap(chance.choice((70.0, 700.0, 2000.0, 4000.0, 30_000.0)))


OF_GENERATORS: dict[Step, int] = {
    lose_record: 1,
    damage_record: 2,
    keep_record: 2,
    touch_record: 2,
    unwritable: 2,
    lost_answers: 2,
    restart: 8,
    down: 2,
    take_over: 4,
    take_over_blind: 3,
    pause: 2,
    cut_off: 3,
    agree: 12,
    agree_late: 3,
    agree_wrongly: 1,
    new_set: 3,
    remove_set: 1,
    edit_set: 2,
    jump: 3,
    night: 4,
}
