"""More deliberate defects than the one of the table that random schedules in virtual time find."""

from pathlib import Path

import pytest

from tests.faults.defects_virtual import FURTHER
from tests.faults.family import Broken, Defect
from tests.faults.stage import Stage
from tests.faults.virtual.schedules import SCHEDULES
from tests.support.binaries import Binaries


@pytest.mark.parametrize(("place", "seed"), FURTHER.items(), ids=lambda value: str(value).rpartition(":")[2])
async def test_a_schedule_finds_the_defect(place: str, seed: int, binaries: Binaries, tmp_path: Path) -> None:
    async with Stage(binaries, tmp_path) as stage, SCHEDULES.open(stage, Defect("", place)) as trials:
        with pytest.raises(Broken):
            await trials.run(f"seed-{seed}")
