"""A sample of each family of fault cases, and each family's deliberate defect; `make faults` runs every case."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.faults.family import Family
from tests.faults.journal import Journal, Result
from tests.faults.lane import SAMPLE
from tests.faults.lanes import run_lanes
from tests.faults.registry import FAMILIES
from tests.faults.report import failures
from tests.faults.runner import DEFECT, SETUP
from tests.support.background import background
from tests.support.binaries import Binaries

_EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)

Results = asyncio.Future[list[Result]]


@pytest.fixture(scope="module")
async def ran(
    request: pytest.FixtureRequest, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, Results]]:
    """The results of every family that a test of this module asks for, which run in lanes beside one another."""
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    families = list({call.params["family"].name: call.params["family"] for call in calls if call}.values())
    futures = {family.name: Results(loop=asyncio.get_running_loop()) for family in families}
    found = defaultdict[str, list[Result]](list)

    def ended(result: Result) -> None:
        found[result.family].append(result)
        if result.case in (DEFECT, SETUP):
            futures[result.family].set_result(found[result.family])

    async def run() -> None:
        directory = tmp_path_factory.mktemp("faults")
        journal = Journal(directory / "journal", "sample")
        try:
            await run_lanes(families, journal, ["--scale", str(SAMPLE)], directory, ended)
        finally:
            for name, future in futures.items():
                if not future.done():
                    future.set_exception(AssertionError(f"the lanes have ended before {name} had"))

    async with background(run()) as running:
        yield futures
        if all(future.done() for future in futures.values()):
            await running  # which stops its parts


@_EACH
async def test_a_sample_of_the_family_keeps_every_promise(family: Family, ran: Mapping[str, Results]) -> None:
    cases = [each for each in await ran[family.name] if each.case != DEFECT]
    worst = max(cases, key=lambda each: each.seconds)
    print(f"{family.name}: {len(cases)} cases, worst {worst.case} with {worst.seconds:.1f} s")
    assert len(cases) == family.sample
    assert not failures(cases), "\n\n".join(failures(cases))


@_EACH
async def test_the_family_notices_its_deliberate_defect(family: Family, ran: Mapping[str, Results]) -> None:
    (defect,) = (each for each in await ran[family.name] if each.case == DEFECT)
    assert defect.failure is None, defect.failure
