"""What the table is asked, and what its records become."""

from itertools import permutations

from tenantry.names import slug
from tenantry_generator.settings import Table
from tenantry_generator.sources.table import LONGEST, Record, Rendering, decode, render, select

COLUMNS = ("status",)


def rendering(*records: Record, known: Rendering | None = None) -> Rendering:
    return render(records, COLUMNS, known.read.rows if known else {})


def test_names_are_quoted_and_every_column_is_named() -> None:
    table = Table(schema="billing", name="Customers", tenant_column="org", columns=("status", "plan"))
    assert select(table) == (
        "SELECT coalesce(\"org\"::text, ''), coalesce(\"status\"::text, ''), coalesce(\"plan\"::text, '') "
        'FROM "billing"."Customers"'
    )


def test_a_record_without_a_tenant_shortens_nothing_else() -> None:
    result = rendering(("", "active"), ("acme", "active"), ("  ", "trial"), ("", "active"))
    assert list(result.read.rows) == ["acme"]
    assert result.read.rejected == {"empty_tenant": 3}


def test_a_raw_name_of_any_kind_has_a_slug_and_blocks_nobody() -> None:
    rows = rendering(("Acme Corp", "active"), ("acme-corp", "trial"), ("日本", "")).read.rows
    assert [row["tenant"] for row in rows.values()] == ["acme-corp", "Acme Corp", "日本"]
    assert all(name == row["name"] for name, row in rows.items())
    assert len(rows) == 3


def test_equal_records_are_one() -> None:
    result = rendering(("acme", "active"), ("acme", "active"))
    assert (list(result.read.rows), result.read.rejected, result.read.quarantined) == (["acme"], {}, {})


def test_differing_records_quarantine_their_tenant_alone_whatever_the_order_of_the_table() -> None:
    for records in permutations([("acme", "trial"), ("acme", "active"), ("acme", "active"), ("beta", "x")]):
        result = rendering(*records).read
        assert list(result.rows) == ["beta"]
        assert result.rejected == {"conflicting_rows": 2}
        assert result.quarantined == {"acme": "2 rows of this tenant differ in status; leave one of them"}


def test_two_tenants_that_lead_to_one_name_are_quarantined_so_that_neither_takes_the_others_place() -> None:
    name = slug("Acme Corp")
    for records in permutations([("Acme Corp", "active"), (name, "active")]):
        result = rendering(*records).read
        assert result.rows == {}
        told = f"several tenants lead to this name: 'Acme Corp', '{name}'; rename one"
        assert result.quarantined == {name: told}


def test_a_name_of_a_length_that_is_a_mistake_is_quarantined() -> None:
    result = rendering(("a" * LONGEST, ""), ("b" * (LONGEST + 1), ""), ("c", "")).read
    assert [row["tenant"][0] for row in result.rows.values()] == ["a", "c"]
    assert result.rejected == {"tenant_too_long": 1}
    assert list(result.quarantined.values()) == ["the tenant's name is longer than 1000 characters"]


def test_an_unchanged_record_is_not_rendered_again() -> None:
    before = rendering(("a", "active"), ("b", "active"))
    now = rendering(("a", "active"), ("b", "trial"), known=before)
    assert now.read.rows["a"] is before.read.rows["a"]
    assert now.read.rows["b"]["status"] == "trial"


def test_a_record_that_is_no_text_is_quarantined_and_one_whose_tenant_is_none_belongs_to_nobody() -> None:
    bad = decode([b"acme", b"caf\xe9"])
    result = rendering(bad, decode([b"caf\xe9", b"active"]), decode(["café".encode(), b"active"]))
    assert [row["tenant"] for row in result.read.rows.values()] == ["café"]
    assert result.read.quarantined == {"acme": "not UTF-8: status"}
    assert (result.read.rejected, result.nameless) == ({"not_utf8": 2}, 1)
