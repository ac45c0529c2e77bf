"""A sample of each family of fault cases, and each family's deliberate defect; `make faults` runs every case."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.family import Family
from tests.faults.journal import Result
from tests.faults.registry import FAMILIES
from tests.faults.report import failures
from tests.faults.runner import every, run_cases, run_defect
from tests.faults.stage import Stage
from tests.support.binaries import Binaries

_EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.fixture(scope="module")
async def stage(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(binaries, tmp_path_factory.mktemp("faults")) as parts:
        yield parts


@_EACH
async def test_a_sample_of_the_family_keeps_every_promise(family: Family, stage: Stage) -> None:
    results: list[Result] = []
    async with family.open(stage, None) as trials:
        await run_cases(trials, family, every(trials.names, family.sample), results.append)
    worst = max(results, key=lambda each: each.seconds)
    print(f"{family.name}: {len(results)} of {len(trials.names)} cases, worst {worst.case} with {worst.seconds:.1f} s")
    assert not failures(results), "\n\n".join(failures(results))


@_EACH
async def test_the_family_notices_its_deliberate_defect(family: Family, stage: Stage) -> None:
    result = await run_defect(stage, family)
    assert result.failure is None, result.failure
