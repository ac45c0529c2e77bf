"""A sample of each family of fault cases, and each family's deliberate defect; `make faults` runs every case."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest

from tests.faults.family import Family
from tests.faults.journal import Result
from tests.faults.registry import FAMILIES
from tests.faults.report import failures
from tests.faults.runner import every, run_cases, run_defect, run_lanes
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.binaries import Binaries

_EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a family's sample came to, and its defect."""

    sample: asyncio.Future[list[Result]]
    defect: asyncio.Future[Result]


@pytest.fixture(scope="module")
async def ran(
    request: pytest.FixtureRequest, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, Ran]]:
    """Every family that a test of this module asks for, in lanes beside one another."""
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    asked = {call.params["family"].name: call.params["family"] for call in calls if call is not None}
    loop = asyncio.get_running_loop()
    found = {name: Ran(loop.create_future(), loop.create_future()) for name in asked}

    async def run(stage: Stage, family: Family) -> None:
        results: list[Result] = []
        try:
            async with family.open(stage, None) as trials:
                await run_cases(trials, family, every(trials.names, family.sample), results.append)
        except Exception as error:  # whatever it is, it is the test that fails, and other families go on
            found[family.name].sample.set_exception(error)
        else:
            found[family.name].sample.set_result(results)
        try:
            found[family.name].defect.set_result(await run_defect(stage, family))
        except Exception as error:
            found[family.name].defect.set_exception(error)

    async def run_all() -> None:
        try:
            await run_lanes(binaries, tmp_path_factory.mktemp("faults"), list(asked.values()), run)
        finally:
            for each in found.values():
                each.sample.cancel()
                each.defect.cancel()

    async with background(run_all()):
        yield found


@_EACH
async def test_a_sample_of_the_family_keeps_every_promise(family: Family, ran: Mapping[str, Ran]) -> None:
    results = await ran[family.name].sample
    worst = max(results, key=lambda each: each.seconds)
    print(f"{family.name}: {len(results)} cases, worst {worst.case} with {worst.seconds:.1f} s")
    assert not failures(results), "\n\n".join(failures(results))


@_EACH
async def test_the_family_notices_its_deliberate_defect(family: Family, ran: Mapping[str, Ran]) -> None:
    result = await ran[family.name].defect
    assert result.failure is None, result.failure
