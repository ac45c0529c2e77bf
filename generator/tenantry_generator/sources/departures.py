"""Decides which rows have left the table, and whether it still is the same table.

A single short read proves little: a TRUNCATE that is filled again right after, a connection that a fail-over has led
elsewhere and a table created anew under the same name all look like tenants that left. So a row has left only when two
complete reads lack it that are at least a second apart and came over two connections, and a read of anything but the
very table that was read before is an error, never an absence (docs/adr/0009). The first read of a process is confirmed
in the same way, as another process may have served what it lacks (docs/adr/0023).

Pure: readings come in with their times, and a state is never changed but replaced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenantry.render import Row
from tenantry_generator.blockmap import BlockMap, replaced_keys
from tenantry_generator.settings import Database, Table

__all__ = ["APART", "Absence", "Column", "Identity", "Reading", "State", "difference", "look_again", "other", "settle"]

APART = 1.0
"""Seconds, at least, from the end of the first read that lacks a row to the start of the one that confirms it."""

_WENT_BACK = "the server that lacks it has gone back in time: it was restored from a backup, or lagged when promoted"
_ACCEPT = "restart the generator to accept it"


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is read: its number tells it from one of the same name that was dropped.

    `labels` are the values of an enum; they can be added and renamed, never dropped.
    """

    name: str
    number: int
    type: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """What a read read. A promoted standby has the same one.

    `system` is the cluster's system_identifier, None where the role may not read it. `columns` are those that are read,
    in the order of their names. `definition` is a digest of a view's query, None of a table. `parts` are the OIDs of a
    partitioned table and of its partitions at every depth.
    """

    system: str | None
    database: tuple[int, str]
    schema: str
    table: int
    columns: tuple[Column, ...]
    definition: int | None = None
    parts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """A complete read of the primary: over which connection, and from when to when by a clock that never goes back.

    `quarantined`: why a tenant that was read is not among the rows. `position`: how far the server's write-ahead log
    was, in bytes; None where it doesn't tell.
    """

    rows: Mapping[str, Row]
    identity: Identity
    connection: int
    started: float
    ended: float
    quarantined: Mapping[str, str] = field(default_factory=dict)
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Absence:
    """The first of the reads without a break that lack a row: when it ended, and over which connection it came."""

    at: float
    connection: int


@dataclass(frozen=True, slots=True)
class State:
    """What to publish: the last read, and of the rows that it lacks those that have not left yet (`absent`).

    `quarantined` tenants have their last good row, if there was one. `doubted`: tenants that the server lacked when it
    had gone back in time, until they return, each with the reason. `first`: the first reading since this process began
    or took over, until another one confirms it: only then has anything left that this process has never seen.
    """

    identity: Identity
    rows: BlockMap[Row]
    absent: Mapping[str, Absence] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)
    position: int | None = None
    first: Absence | None = None


def settle(state: State | None, reading: Reading, *, anew: bool = False) -> State:
    """Return the state after a reading that `difference` has nothing against; None is before the first.

    `anew`: it is the first since this process took over.
    """
    itself = Absence(reading.ended, reading.connection)
    if state is None:
        rows = BlockMap.of(reading.rows)
        return State(reading.identity, rows, quarantined=reading.quarantined, position=reading.position, first=itself)
    read = state.rows.replaced(reading.rows)
    quarantined = dict(reading.quarantined)
    absent = {}
    changed = (replaced_keys(state.rows, read) | state.quarantined.keys()) - quarantined.keys()
    lacking = [name for name in changed if name not in read]
    for name in lacking:
        first = state.absent.get(name, itself)
        if not _confirms(reading, first):
            absent[name] = first
            if name in state.quarantined:
                quarantined[name] = state.quarantined[name]
    rows = read.updated({name: state.rows[name] for name in absent.keys() | quarantined.keys() if name in state.rows})
    # The right to read the system_identifier may come and go; what was known once is still compared.
    known = replace(reading.identity, system=reading.identity.system or state.identity.system)
    doubted = {name: why for name, why in state.doubted.items() if name not in reading.rows}
    if state.position is not None and reading.position is not None and reading.position < state.position:
        # Also whom an earlier read lacked: to confirm that, a server has to be as far as the one that was read then.
        doubted.update(dict.fromkeys(lacking, _WENT_BACK))
    position = state.position if reading.position is None else reading.position
    unconfirmed = None if state.first is None or _confirms(reading, state.first) else state.first
    return State(known, rows, absent, quarantined, doubted, position, itself if anew else unconfirmed)


def look_again(state: State) -> float | None:
    """Return when the next read could find that a row has left; None while no row is absent, nor may be."""
    return min((absence.at + APART for absence in _unconfirmed(state)), default=None)


def other(state: State, *, connection: int, now: float) -> bool:
    """Whether it is time for a read that can't come over `connection`, since the first without the row did."""
    return any(each.connection == connection and now >= each.at + APART for each in _unconfirmed(state))


def difference(before: Identity, after: Identity, *, database: Database, table: Table) -> str | None:
    """Return what of `after` is not as it was and what to do about it, the widest difference alone; None if nothing."""
    led = f"; correct {database.address_setting}, or {_ACCEPT}"
    if before.system is not None and after.system is not None and before.system != after.system:
        return f"{database.address} is another Postgres cluster than before (its system_identifier differs){led}"
    if before.database != after.database:
        return f"{database.address} leads to another database than before, or to one created anew{led}"
    if before.schema != after.schema:
        moved = f'table "{table}" was found in the schema "{before.schema}" and now is in "{after.schema}"'
        return f"{moved}; correct the search_path, name the schema in TENANTRY_TABLE, or {_ACCEPT}"
    if before.table != after.table:
        return f'table "{table}" was created anew or replaced by another one; put the old one back, or {_ACCEPT}'
    if change := _changed_column(before.columns, after.columns):
        return f'table "{table}": {change}; change it back, or {_ACCEPT}'
    if before.definition != after.definition:
        return f'view "{table}" is defined differently than before; change it back, or {_ACCEPT}'
    if before.parts - after.parts:
        return f'table "{table}" has lost a partition; attach it again, or {_ACCEPT}'
    return None


def _confirms(reading: Reading, first: Absence) -> bool:
    return reading.connection != first.connection and reading.started >= first.at + APART


def _unconfirmed(state: State) -> list[Absence]:
    return [*state.absent.values(), *([] if state.first is None else [state.first])]


def _changed_column(before: tuple[Column, ...], after: tuple[Column, ...]) -> str | None:
    found = {column.name: column for column in after}
    for was in before:
        now = found.get(was.name)
        if now is None:
            return f'column "{was.name}" is gone'
        if now.type != was.type:
            return f'column "{was.name}" was of type {was.type} and now is {now.type}'
        if now.number != was.number:
            return f'column "{was.name}" was created anew'
        if renamed := set(was.labels) - set(now.labels):
            return f'column "{was.name}": the value "{min(renamed)}" of its type {was.type} was renamed'
    return None
