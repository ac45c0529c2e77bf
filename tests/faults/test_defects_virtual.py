"""More deliberate defects than those of the table that families in virtual time find."""

from pathlib import Path

import pytest

from tests.faults.defects_virtual import FURTHER
from tests.faults.family import Broken, Defect
from tests.faults.registry import FAMILIES
from tests.faults.stage import Stage
from tests.support.binaries import Binaries


@pytest.mark.parametrize(("family", "case", "place"), FURTHER, ids=[place.rpartition(":")[2] for *_, place in FURTHER])
async def test_a_case_finds_the_defect(family: str, case: str, place: str, binaries: Binaries, tmp_path: Path) -> None:
    opened = next(each for each in FAMILIES if each.name == family).open
    async with Stage(binaries, tmp_path) as stage, opened(stage, Defect("", place)) as trials:
        with pytest.raises(Broken):
            await trials.run(case)
