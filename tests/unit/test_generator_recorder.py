"""What a Recorder takes for known is what it has itself loaded or saved last, and nothing older."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tenantry_generator.membership import Membership
from tenantry_generator.membership_codec import encode
from tenantry_generator.metrics import Metrics
from tenantry_generator.record import Stored
from tenantry_generator.record.store import Store
from tenantry_generator.recorder import Recorder
from tests.support.eventually import eventually
from tests.unit.test_record_store import Memory, Objects


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def objects(memory: Memory) -> Objects:
    return Objects(memory)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def recorder(objects: Objects, metrics: Metrics) -> AsyncIterator[Recorder]:
    async with Store(objects) as store:
        recorder = Recorder(store, columns=(), metrics=metrics)
        assert await recorder.load() == Membership()
        assert await recorder.save(Membership(revision=1))
        yield recorder


async def test_what_nobody_has_changed_is_not_read_again(recorder: Recorder, objects: Objects) -> None:
    reads = objects.reads
    assert (await recorder.load()).revision == 1
    assert objects.reads == reads


async def test_after_a_record_that_can_not_be_understood_the_one_before_is_not_believed(
    recorder: Recorder, memory: Memory, metrics: Metrics
) -> None:
    async with Store(Objects(memory)) as other:
        await other.load()
        await other.save(Stored(2, b"{", {}))
        loading = asyncio.create_task(recorder.load())

        def failures() -> float:
            return next(iter(metrics.record_errors.collect())).samples[0].value

        await eventually(lambda: failures() >= 2 or loading.done(), within=5, what="it tries again")
        assert not loading.done(), "it goes on from what another process has replaced"
        await other.save(encode(Membership(revision=3)))
        assert (await loading).revision == 3


async def test_after_a_record_that_was_deleted_the_one_before_does_not_come_back(
    recorder: Recorder, memory: Memory, objects: Objects
) -> None:
    memory.parts.clear()
    assert await recorder.load() == Membership()
    objects.cut = 1
    assert not await recorder.save(Membership(revision=1)), "cut after an index of nothing was written"
    objects.cut = None
    assert (await recorder.load()).revision == 0
