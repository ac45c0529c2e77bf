"""A save is all or nothing wherever it is cut, and of two writers one learns of the other."""

import asyncio
import itertools
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tenantry_generator.errors import RecordConflict, RecordCorrupt, RecordUnavailable
from tenantry_generator.record import Stored
from tenantry_generator.record.file import file_store
from tenantry_generator.record.index import INDEX
from tenantry_generator.record.store import Held, Store
from tests.support.eventually import eventually


class Memory:
    """What is kept, shared by the stores of a test. `writes` counts writes of any kind."""

    def __init__(self) -> None:
        self.parts: dict[str, Held] = {}
        self.writes = 0
        self._versions = itertools.count()

    def write(self, name: str, data: bytes) -> str:
        self.writes += 1
        self.parts[name] = Held(data, str(next(self._versions)))
        return self.parts[name].version

    @property
    def chunks(self) -> set[str]:
        return set(self.parts) - {INDEX}


class Objects:
    """One process's way to the memory. The write number `cut` never happens; `unheard`: it does, and nobody hears."""

    def __init__(self, memory: Memory, *, cut: int | None = None, unheard: bool = False) -> None:
        self._memory = memory
        self.cut = cut
        self.unheard = unheard
        self.reads = 0

    def _writing(self, work: Callable[[], str | None]) -> str | None:
        last = self.cut is not None and self.cut <= 0
        if self.cut is not None:
            self.cut -= 1
        if last and not (self.unheard and self.cut == -1):
            raise RecordUnavailable("cut")
        result = work()
        if last:
            raise RecordUnavailable("unheard")
        return result

    async def read(self) -> Mapping[str, Held]:
        self.reads += 1
        return dict(self._memory.parts)

    async def index(self) -> Held | None:
        return self._memory.parts.get(INDEX)

    async def swap(self, data: bytes, *, over: str | None) -> str | None:
        def work() -> str | None:
            there = self._memory.parts.get(INDEX)
            return self._memory.write(INDEX, data) if (there.version if there else None) == over else None

        return self._writing(work)

    async def put(self, name: str, data: bytes) -> str:
        return self._writing(lambda: self._memory.write(name, data)) or ""

    async def drop(self, name: str, version: str) -> None:
        def work() -> None:
            self._memory.writes += 1
            if name in self._memory.parts and self._memory.parts[name].version == version:
                del self._memory.parts[name]

        self._writing(work)

    async def close(self) -> None:
        pass


def stored(revision: int, **changes: bytes) -> Stored:
    rows = {f"t{number}": b'{"n":%d}' % number for number in range(1000)}
    return Stored(revision, b'{"r":%d}' % revision, {"rows": {**rows, **changes}})


OLD, NEW = stored(1), stored(2, t1=b'"changed"', t500=b'"changed"', another=b"{}")


async def filled(memory: Memory) -> None:
    async with Store(Objects(memory)) as store:
        assert await store.load() is None
        await store.save(OLD)


async def loaded(memory: Memory) -> Stored | None:
    return await Store(Objects(memory)).load()


async def test_what_was_saved_is_loaded_by_the_next_process() -> None:
    memory = Memory()
    await filled(memory)
    async with Store(Objects(memory)) as store:
        assert await store.load() == OLD
        await store.save(NEW)
        await store.save(NEW)
    assert await loaded(memory) == NEW


async def test_a_save_cut_after_any_of_its_writes_leaves_the_old_or_the_new_and_can_be_repeated() -> None:
    seen = []
    for cut in itertools.count():
        memory = Memory()
        await filled(memory)
        objects = Objects(memory, cut=cut)
        async with Store(objects) as store:
            await store.load()
            try:
                await store.save(NEW)
                finished = True
            except RecordUnavailable:
                finished = False
            await asyncio.sleep(0.01)
            now = await loaded(memory)
            seen.append(now)
            assert now in ((NEW,) if finished else (OLD, NEW))
            objects.cut = None
            await store.save(NEW)
            assert await loaded(memory) == NEW
        if finished and cut > 10:
            break
    assert OLD in seen
    assert NEW in seen


async def test_the_first_save_cut_anywhere_leaves_no_record_yet_or_the_new_one() -> None:
    for cut in range(12):
        memory = Memory()
        objects = Objects(memory, cut=cut)
        store = Store(objects)
        await store.load()
        try:
            await store.save(NEW)
        except RecordUnavailable:
            assert await loaded(memory) is None
        objects.cut = None
        await store.save(NEW)
        assert await loaded(memory) == NEW
        await store.close()
        later = Store(Objects(memory))
        assert await later.load() == NEW
        await later.save(stored(3))


async def test_a_write_that_nobody_heard_of_is_taken_for_what_it_is() -> None:
    for cut in range(6):
        memory = Memory()
        await filled(memory)
        objects = Objects(memory, cut=cut, unheard=True)
        async with Store(objects) as store:
            await store.load()
            try:
                await store.save(NEW)
            except RecordUnavailable:
                assert await loaded(memory) in (OLD, NEW)
            objects.cut = None
            await store.save(stored(3))
            assert await loaded(memory) == stored(3)


async def test_it_is_known_whether_what_is_kept_is_what_was_last_loaded_or_saved() -> None:
    memory = Memory()
    async with Store(Objects(memory)) as store, Store(Objects(memory)) as other:
        await store.load()
        assert not await store.is_current(), "there has never been any"
        await store.save(OLD)
        assert await store.is_current()
        await other.load()
        assert await other.is_current()
        assert await store.is_current(), "a reader changes nothing"
        await other.save(NEW)
        assert await other.is_current()
        assert not await store.is_current()
        await store.load()
        assert await store.is_current()
        del memory.parts[INDEX]
        assert not await store.is_current()


async def test_after_a_write_that_nobody_heard_of_it_is_not_taken_for_known_what_is_kept() -> None:
    for cut in range(3, 8):
        memory = Memory()
        await filled(memory)
        objects = Objects(memory)
        async with Store(objects) as store:
            await store.load()
            objects.cut, objects.unheard = cut, True
            try:
                await store.save(NEW)
            except RecordUnavailable:
                assert await store.is_current() == (await loaded(memory) == OLD)
            else:
                assert await store.is_current()


async def test_old_chunks_go_after_two_saves_and_those_of_a_dead_process_too() -> None:
    memory = Memory()
    await filled(memory)
    first = memory.chunks
    async with Store(Objects(memory, cut=1)) as dying:
        await dying.load()
        with pytest.raises(RecordUnavailable):
            await dying.save(stored(2, t2=b"[]"))
    orphans = memory.chunks - first
    assert len(orphans) == 1
    async with Store(Objects(memory)) as store:
        await store.load()
        await store.save(NEW)
        await eventually(lambda: not memory.chunks & orphans, within=2, what="the dead process's chunk is gone")
        assert first <= memory.chunks, "the chunks of the index before stay"
        await store.save(stored(3, t1=b'"changed"', t500=b'"changed"', another=b"{}", t9=b"0"))
        await eventually(lambda: not first <= memory.chunks, within=2, what="the chunks of two saves ago are gone")
        assert await loaded(memory) is not None


async def test_a_value_that_changes_back_finds_its_chunk_again() -> None:
    memory = Memory()
    async with Store(Objects(memory)) as store:
        for revision in range(1, 30):
            await store.save(stored(revision, t1=b"%d" % (revision % 3)))
            await asyncio.sleep(0)
            assert await loaded(memory) == stored(revision, t1=b"%d" % (revision % 3))


async def test_of_two_writers_the_second_learns_of_the_first() -> None:
    memory = Memory()
    await filled(memory)
    async with Store(Objects(memory)) as one, Store(Objects(memory)) as other:
        await one.load()
        await other.load()
        await one.save(NEW)
        for _ in range(2):
            with pytest.raises(RecordConflict, match="another process"):
                await other.save(NEW)
        assert await loaded(memory) == NEW
        await one.save(stored(3))
        with pytest.raises(RecordConflict):
            await Store(Objects(memory)).save(stored(9))


async def test_two_first_writers_make_one_record() -> None:
    memory = Memory()
    one, other = Store(Objects(memory)), Store(Objects(memory))
    assert (await one.load(), await other.load()) == (None, None)
    done = await asyncio.gather(one.save(OLD), other.save(NEW), return_exceptions=True)
    assert sorted(map(type, done), key=str) == sorted([type(None), RecordConflict], key=str)
    assert await loaded(memory) == (OLD if done[0] is None else NEW)
    await one.close()
    await other.close()


async def test_the_revision_never_goes_back() -> None:
    memory = Memory()
    await filled(memory)
    async with Store(Objects(memory)) as store:
        await store.load()
        await store.save(stored(5))
        with pytest.raises(RecordConflict, match="revision 4 is lower than 5"):
            await store.save(stored(4))
        await store.save(stored(5, t3=b"1"))
    again = Store(Objects(memory))
    await again.load()
    with pytest.raises(RecordConflict, match="revision 4 is lower than 5"):
        await again.save(stored(4))


async def test_an_index_that_was_deleted_is_written_anew_by_who_wrote_it_last_and_by_nobody_else() -> None:
    memory = Memory()
    await filled(memory)
    async with Store(Objects(memory)) as store:
        await store.load()
        del memory.parts[INDEX]
        with pytest.raises(RecordConflict, match="deleted since it was read"):
            await store.save(NEW)
        with pytest.raises(RecordCorrupt, match=f"{INDEX} is missing"):
            await loaded(memory)
    memory.parts.clear()
    async with Store(Objects(memory)) as store:
        await store.save(OLD)
        del memory.parts[INDEX]
        lost, *damaged = sorted(memory.chunks)
        del memory.parts[lost]
        for name in damaged:
            memory.write(name, b"something else")
        await store.save(NEW)
        assert await loaded(memory) == NEW


async def test_an_older_index_of_ours_out_of_a_backup_is_replaced_with_everything_it_needs() -> None:
    memory = Memory()
    async with Store(Objects(memory)) as store:
        await store.save(OLD)
        backup = {name: held.data for name, held in memory.parts.items()}
        await store.save(NEW)
        memory.parts.clear()
        for name, data in backup.items():
            memory.write(name, data)
        await store.save(stored(3, another=b"{}"))
        assert await loaded(memory) == stored(3, another=b"{}")


async def test_an_index_whose_labels_were_edited_is_still_ours_and_one_that_was_edited_is_not() -> None:
    memory = Memory()
    async with Store(Objects(memory)) as store:
        await store.save(OLD)
        memory.write(INDEX, memory.parts[INDEX].data)
        await store.save(NEW)
        memory.write(INDEX, memory.parts[INDEX].data.replace(b'"revision":2', b'"revision":1'))
        with pytest.raises(RecordConflict, match="changed by somebody"):
            await store.save(NEW)


async def test_one_change_costs_two_writes_and_no_change_of_the_tables_one() -> None:
    memory = Memory()
    await filled(memory)
    async with Store(Objects(memory)) as store:
        await store.load()
        before = memory.writes
        await store.save(stored(2, t7=b"0"))
        assert memory.writes == before + 2
        await store.save(Stored(2, b'{"acknowledged":true}', stored(2, t7=b"0").tables))
        await asyncio.sleep(0.05)
        assert memory.writes == before + 3 + 1, "the index, and the chunk that no index needs any more"


async def test_files_keep_it_too_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with file_store(tmp_path) as store:
        assert await store.load() is None
        for revision in range(1, 6):
            await store.save(stored(revision, t1=b"%d" % revision))
        names = {path.name for path in tmp_path.iterdir()}
        await eventually(lambda: len(list(tmp_path.iterdir())) <= 8 + 1 + 1, within=2, what=f"swept: {names}")
    (tmp_path / f"{INDEX}.unfinished").write_bytes(b"half a")
    async with file_store(tmp_path) as store:
        assert await store.load() == stored(5, t1=b"5")
        await store.save(stored(6))
    assert not list(tmp_path.glob("*.unfinished"))


SAVING = """
import asyncio, sys
from pathlib import Path
from tenantry_generator.record import Stored
from tenantry_generator.record.file import file_store

async def main() -> None:
    async with file_store(Path(sys.argv[1])) as store:
        found = await store.load()
        revision = 0 if found is None else found.revision
        while True:
            revision += 1
            rows = {f"t{n}": b"%d" % revision for n in range(900)}
            await store.save(Stored(revision, b"%d" % revision, {"rows": rows}))
            print(revision, flush=True)

asyncio.run(main())
"""


async def test_a_process_killed_while_it_saves_leaves_one_whole_revision_and_not_an_older_one(tmp_path: Path) -> None:
    for _ in range(6):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SAVING, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311
        process.kill()
        said = [int(line) for line in (await process.stdout.read()).split()]
        await process.wait()
        async with file_store(tmp_path) as store:
            found = await store.load()
            assert found is not None
            assert {found.meta, *found.tables["rows"].values()} == {b"%d" % found.revision}
            assert found.revision >= max(said, default=1)


async def test_a_directory_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    async with file_store(tmp_path):
        with pytest.raises(RecordConflict, match="another process keeps its record in"):
            file_store(tmp_path)
    await file_store(tmp_path).close()


async def test_a_file_that_is_altered_missing_or_can_not_be_written_is_told_apart(tmp_path: Path) -> None:
    async with file_store(tmp_path) as store:
        await store.save(OLD)
        chunk = min(path for path in tmp_path.iterdir() if path.name != INDEX)
        content = chunk.read_bytes()
        chunk.write_bytes(content[:-1])
        with pytest.raises(RecordCorrupt, match=chunk.name):
            await store.load()
        chunk.unlink()
        with pytest.raises(RecordCorrupt, match=f"{chunk.name} is missing"):
            await store.load()
        chunk.write_bytes(content)
        assert await store.load() == OLD
        (tmp_path / INDEX).unlink()
        (tmp_path / INDEX).mkdir()
        with pytest.raises(RecordUnavailable, match="directory"):
            await store.save(NEW)
    with pytest.raises(RecordUnavailable, match="No such file"):
        file_store(tmp_path / "nowhere")
