"""Records as other versions wrote them: this one goes on from them, and writes what they read.

`first` was written by the first version that kept a record, `0.1.0` by that one. Who changes the form adds a directory.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tenantry_generator.generator_selector import read_selector
from tenantry_generator.guard import held_by
from tenantry_generator.membership import Fate, Membership, holds, release_views, take, unheld, waiting
from tenantry_generator.membership_codec import decode, encode
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.record import Stored
from tenantry_generator.record.file import file_store
from tenantry_generator.views import view_id

RECORDS = Path(__file__).parents[1] / "data" / "records"
VERSIONS = sorted(each.name for each in RECORDS.iterdir())
COLUMNS = ("status", "plan")
T0 = 1_700_000_000.0


async def load(directory: Path) -> Stored:
    async with file_store(directory) as store:
        stored = await store.load()
    assert stored is not None
    return stored


@pytest.fixture(params=VERSIONS)
async def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    return await load(Path(shutil.copytree(RECORDS / request.param, tmp_path / "record")))


@pytest.fixture
def membership(stored: Stored) -> Membership:
    return decode(stored, COLUMNS)


def asked_for(applicationset: str) -> str:
    """The id of the view that a request of now asks for."""
    parameters, selector = {"web": ({"status": "active"}, None), "jobs": ({}, {"matchLabels": {"plan": "gold"}})}[
        applicationset
    ]
    return view_id(applicationset, parse_query(parameters, accepted_parameters(COLUMNS)), read_selector(selector))


def test_everybody_who_was_served_is_served(membership: Membership) -> None:
    assert membership.revision == 7
    assert [row["tenant"] for row in membership.merged.rows.values()] == [
        "acme",
        "Beta & Söhne",
        "delta",
        "echo",
        "foxtrot",
        "gamma",
        "initech",
        "jupiter",
        "lima",
        "umbrella",
    ]
    assert {each["plan"] for each in membership.merged.rows.values()} == {"gold", "free"}
    assert {name: each.fate for name, each in membership.departed.items()} == {
        **dict.fromkeys(("kilo", "global", "horizon", "innova"), Fate.LEFT),
        **dict.fromkeys(("acme", "lima", "jupiter"), Fate.HELD),
    }


def test_what_is_held_stays_held_and_what_was_agreed_to_is_followed(membership: Membership) -> None:
    (of_source,) = membership.sources["postgres"].holds
    assert of_source.names == {"acme", "lima", "jupiter"}
    assert waiting(membership) == {of_source.hash}
    after = take(membership, "postgres", unheld(membership.sources["postgres"]), now=T0 + 400)
    assert set(membership.merged.rows) - set(after.merged.rows) == {"acme", "lima", "jupiter"}
    assert waiting(after) == frozenset()


def test_what_a_view_holds_is_found_by_the_request_that_asks_for_it(membership: Membership) -> None:
    view = membership.views[asked_for("web")]
    assert set(view.held) == held_by(view.holds) == {"gamma", "delta", "echo", "foxtrot"}
    assert {row["status"] for row in view.held.values()} == {"active"}
    assert view.matching == 6
    assert asked_for("jobs") in membership.views
    assert release_views(membership, now=T0 + 400) is membership, "nobody has agreed to that"


async def test_it_comes_back_as_it_was_from_a_record_that_this_version_wrote(
    membership: Membership, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    async with file_store(tmp_path / "new") as store:
        await store.load()
        await store.save(encode(replace(membership, revision=8)))
    assert decode(await load(tmp_path / "new"), COLUMNS) == replace(membership, revision=8)


async def test_what_this_version_writes_is_what_the_newest_of_them_reads(tmp_path: Path) -> None:
    newest = await load(Path(shutil.copytree(RECORDS / "0.1.0", tmp_path / "record")))
    again = encode(decode(newest, COLUMNS))
    assert again.meta == newest.meta
    assert {name: dict(table) for name, table in again.tables.items()} == newest.tables
    assert holds(decode(newest, COLUMNS))[-1].set.startswith("namespaces of in-cluster matching")
