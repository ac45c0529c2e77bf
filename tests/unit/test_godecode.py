"""The reading of an answer that fault cases judge by must be that of Argo CD, down to its oddities."""

import gzip

import pytest

from tests.faults.godecode import Unread, decode, gunzip, read

ONE = b'{"output":{"parameters":[{"tenant":"acme","n":1,"deep":{"a":[null,true]}}]}}'


def test_an_answer_of_ours_is_read_as_it_is() -> None:
    assert decode(ONE) == [{"tenant": "acme", "n": 1.0, "deep": {"a": [None, True]}}]
    assert read(200, {"content-encoding": "gzip"}, gzip.compress(ONE[:9]) + gzip.compress(ONE[9:])) == decode(ONE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"null",
        b"{}",
        b'{"error":"db down"}',
        b'{"output":null}',
        b'{"output":{}}',
        b'{"output":{"parameters":null}}',
        b'{"output":{"parameters":[]}}',
        b'{"parameters":[{"tenant":"acme"}]}',
        b"{}" + ONE,
        ONE[:-2] + b'},"output":{"parameters":null}}',
    ],
)
def test_what_deletes_everything_is_an_empty_list(body: bytes) -> None:
    assert decode(body) == []


def test_letter_case_does_not_count_and_what_repeats_is_laid_over_what_was() -> None:
    assert decode('{"OUTPUT":{"parameter\u017f":[{"A":1}]}}'.encode()) == [{"A": 1.0}]
    twice = b'{"output":{"parameters":[{"a":1},{"b":2}]},"output":{"parameters":[{"c":3}]}}'
    assert decode(twice) == [{"a": 1.0, "c": 3.0}]
    assert decode(b'{"output":{"parameters":[null]}} trailing') == [{}]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b"<html>",
        ONE[:-1],
        b"\xef\xbb\xbf" + ONE,
        b'{"output":[]}',
        b'{"output":{"parameters":{}}}',
        b'{"output":{"parameters":["acme"]}}',
        b'{"output":{"parameters":[{"n":NaN}]}}',
        b'{"output":{"parameters":[{"n":1e999}]}}',
    ],
)
def test_what_is_an_error_to_argo_cd_is_one_here(body: bytes) -> None:
    with pytest.raises(Unread):
        decode(body)


@pytest.mark.parametrize("status", [199, 204 + 100, 401, 503])
def test_only_a_success_is_read(status: int) -> None:
    with pytest.raises(Unread, match=str(status)):
        read(status, {}, ONE)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-1], lambda packed: b"x" + packed, lambda _: b"x"])
def test_damaged_gzip_is_an_error(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(Unread):
        gunzip(damage(gzip.compress(ONE)))


@pytest.mark.parametrize(
    "elements",
    [
        '{"a":1,"b":{"c":[null,{"d":"e"}]}},null,{}',
        '{"a":"1","a":"2"}',
        "",
        '1,{"a":1}',
        '{"a":1e999}',
        '{"a":NaN}',
        "{",
    ],
)
def test_the_form_that_our_answers_have_is_read_as_any_other(elements: str) -> None:
    def outcome(body: str) -> object:
        try:
            return decode(body.encode())
        except Unread:
            return Unread

    assert outcome(f'{{"output":{{"parameters":[{elements}]}}}}') == outcome(
        f'{{ "output":{{"parameters":[{elements}]}}}}'
    )
