"""Quantities against what a real API server makes of them; tests/integration/test_children_bodies.py asks it anew."""

import pytest

from tenantry.quantities import Form, Quantity, parse, total
from tests.data.quantities import CANONICAL


@pytest.mark.parametrize(("written", "stored"), CANONICAL.items())
def test_a_quantity_is_written_as_the_api_server_writes_it(written: int | str, stored: str) -> None:
    assert str(parse(written)) == stored
    assert parse(stored).millis == parse(written).millis


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1 Gi", "-1", "+1", "1K", "1ki", "1KI", "1i", "Ki", ".", ".Gi", "1e", "e3", "1e3Ki"),
        *("1Ki5", "1e100", "1e--1", "0x10", "1_000", "1,5", "NaN", "inf", "\u0661", "1\n", "1" + "0" * 70),
    ],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as"):
        parse(text)


@pytest.mark.parametrize("text", ["10E", "8.5Ei", "9.001E", "1e19", "1e99", "9" * 20])
def test_more_than_the_api_server_can_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is more than 9E"):
        parse(text)


def test_amounts_add_up_exactly_whatever_they_are_written_in() -> None:
    assert total([parse("0.1")] * 10) == parse(1)
    assert str(total([parse("1.5Gi"), parse("512Mi")])) == "2Gi"
    assert str(total([parse(0), parse("1Gi"), parse("1k")])) == "1073742824"
    assert total([]) == Quantity(0, Form.DECIMAL)


def test_amounts_compare_across_forms() -> None:
    assert parse("1k") < parse("1Ki") < parse("1.1e3")
    assert parse("1000m").millis == parse(1).millis == parse("1e0").millis
