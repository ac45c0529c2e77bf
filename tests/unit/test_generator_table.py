"""What the table is asked, and what its records become."""

from itertools import permutations

from tenantry_generator.settings import Table
from tenantry_generator.sources.table import Record, Rendering, render, select

COLUMNS = ("status",)


def rendering(*records: Record, known: Rendering | None = None) -> Rendering:
    return render(records, COLUMNS, known.rendered if known else {})


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
    assert [row["tenant"] for row in rows.values()] == ["Acme Corp", "acme-corp", "日本"]
    assert all(name == row["name"] for name, row in rows.items())
    assert len(rows) == 3


def test_equal_records_are_one() -> None:
    result = rendering(("acme", "active"), ("acme", "active"))
    assert (list(result.read.rows), result.read.rejected, result.conflicts) == (["acme"], {}, ())


def test_of_differing_records_the_first_in_order_stands_whatever_the_order_of_the_table() -> None:
    for records in permutations([("acme", "trial"), ("acme", "active"), ("acme", "late"), ("beta", "x")]):
        result = rendering(*records)
        assert result.read.rows["acme"]["status"] == "active"
        assert result.read.rejected == {"conflicting_rows": 2}
        assert result.conflicts == ("acme",)


def test_an_unchanged_record_is_not_rendered_again() -> None:
    before = rendering(("a", "active"), ("b", "active"))
    now = rendering(("a", "active"), ("b", "trial"), known=before)
    assert now.read.rows["a"] is before.read.rows["a"]
    assert now.read.rows["b"]["status"] == "trial"
    assert len(now.rendered) == 2
