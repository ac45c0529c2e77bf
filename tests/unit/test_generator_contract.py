"""The bytes of a request, to the last malformed one, and the bytes of an answer."""

import json
from collections.abc import Mapping

import pytest

from tenantry.render import Row, render_row
from tenantry_generator.body import Part
from tenantry_generator.contract import (
    BODY_LIMIT,
    accepts_gzip,
    assemble,
    encode_message,
    encode_row,
    parse_request,
)
from tenantry_generator.errors import AssemblyError, Refused
from tenantry_generator.parameters import accepted_parameters, parse_query

ACCEPTED = accepted_parameters(("status", "plan"))
JSON = "application/json"


def wanted(parameters: object) -> Mapping[str, frozenset[str]]:
    body = json.dumps({"applicationSetName": "apps", "input": {"parameters": parameters}}).encode()
    return parse_query(parse_request(body, JSON).parameters, ACCEPTED).wanted


def refusal(body: bytes, content_type: str | None = JSON) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        parse_query(parse_request(body, content_type).parameters, ACCEPTED)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("content_type", [None, JSON, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_asks_for_everything_whatever_its_type(body: bytes, content_type: str | None) -> None:
    request = parse_request(body, content_type)
    assert (request.applicationset, request.parameters) == ("", {})


@pytest.mark.parametrize(
    "body",
    [
        b'{"applicationSetName":"apps","input":{}}\n',
        b'{"applicationSetName":"apps"}',
        b'{"applicationSetName":"apps","input":null}',
        b'{"applicationSetName":"apps","input":{"parameters":null}}',
        b'{"applicationSetName":"apps","input":{"parameters":{}},"applicationSetNamespace":"argocd"}',
    ],
)
def test_argo_cd_s_ways_to_say_no_parameters(body: bytes) -> None:
    for content_type in (None, JSON, "application/json; charset=utf-8", "Application/JSON"):
        request = parse_request(body, content_type)
        assert (request.applicationset, request.parameters) == ("apps", {})


@pytest.mark.parametrize("name", ["", "Not A Name", "a" * 254, "a..b", 'x"} 1', True, None, ["a"]])
def test_a_name_that_no_applicationset_can_have_is_not_taken_over(name: object) -> None:
    assert parse_request(json.dumps({"applicationSetName": name}).encode(), JSON).applicationset == ""


def test_parameters_are_compared_by_text() -> None:
    assert wanted({"status": "active", "plan": [1, 2.50, True, "x"]}) == {
        "status": frozenset({"active"}),
        "plan": frozenset({"1", "2.5", "true", "x"}),
    }
    assert parse_request(b'{"input":{"parameters":{"plan":1.10}}}', JSON).parameters == {"plan": "1.10"}


NOT_SCALAR = "input.parameters: status must be a string, a number, true, false, or a list of at least one of them"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{} {"input":{}}', 400, "the body is no JSON: Extra data: line 1 column 4 (char 3)"),
        (
            b"\xff{}",
            400,
            "the body is no JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        ("{}".encode("utf-16"), 400, None),
        (b"[" * 60_000, 400, "the body is nested too deeply"),
        (b"null", 400, "the body must be an object"),
        (b"[]", 400, "the body must be an object"),
        (b'"x"', 400, "the body must be an object"),
        (b'{"input":[]}', 400, "input must be an object"),
        (b'{"input":{"parameters":[]}}', 400, "input.parameters must be an object"),
        (b'{"input":{"parameters":"status"}}', 400, "input.parameters must be an object"),
        (b'{"input":{"parameters":{"status":null}}}', 400, NOT_SCALAR),
        (b'{"input":{"parameters":{"status":{}}}}', 400, NOT_SCALAR),
        (b'{"input":{"parameters":{"status":[]}}}', 400, NOT_SCALAR),
        (b'{"input":{"parameters":{"status":["a",null]}}}', 400, NOT_SCALAR),
        (b'{"input":{"parameters":{"status":NaN}}}', 400, "the body is no JSON: NaN is no JSON number"),
        (
            b'{"input":{"parameters":{"labels":"x"}}}',
            400,
            'input.parameters: unknown parameter "labels"; accepted are tenant, name, displayName, status, state, '
            "class, source, project, namespace, plan, selector, shard, expand, cluster, labelSelector, fields, "
            "failOnEmpty",
        ),
    ],
)
def test_a_request_that_is_not_understood_is_refused(body: bytes, status: int, message: str | None) -> None:
    got = refusal(body)
    assert got[0] == status
    assert message is None or got[1] == message


def test_a_parameter_with_an_odd_name_is_quoted_and_cut() -> None:
    message = refusal(json.dumps({"input": {"parameters": {"\ud800\n" + "x" * 500: 1}}}).encode())[1]
    assert len(message) < 350
    assert b"\\\\ud800" in encode_message(message) or b"\\ud800" in encode_message(message)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/yaml"])
def test_another_content_type_with_a_body_is_refused(content_type: str) -> None:
    assert refusal(b"{}", content_type) == (415, "the body's Content-Type must be application/json")


def test_a_body_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert parse_request(b"{}".ljust(BODY_LIMIT), JSON).parameters == {}
    assert refusal(b"{}".ljust(BODY_LIMIT + 1)) == (413, "the body is longer than 65536 bytes")


def test_an_answer_is_what_argo_cd_expects_and_compact() -> None:
    rows: list[Row] = [render_row("Zoë & Söhne", {"status": "active"}), {"a": "b"}]
    body = bytes(assemble([Part.of([encode_row(row)]) for row in rows], count=2))
    assert body == bytes(assemble([Part.of([encode_row(row) for row in rows])], count=2))
    assert body.startswith('{"output":{"parameters":[{"tenant":"Zoë & Söhne","name":"zo-s-hne-'.encode())
    assert json.loads(body) == {"output": {"parameters": rows}}
    assert bytes(assemble([], count=0)) == b'{"output":{"parameters":[]}}'


@pytest.mark.parametrize("encoded", [[b"{}"], [b"{}", b""], [b"{}", b"{}", b"{}"], []])
def test_an_answer_of_other_than_the_expected_elements_is_not_made(encoded: list[bytes]) -> None:
    with pytest.raises(AssemblyError):
        assemble([Part.of([each]) for each in encoded], count=2)
    with pytest.raises(AssemblyError):
        assemble([Part.of(encoded)], count=2)


@pytest.mark.parametrize("row", [{"t": ("a",)}, {1: "a"}])
def test_an_element_that_json_would_change_is_not_made(row: Row) -> None:
    with pytest.raises(AssemblyError):
        encode_row(row)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip ; q=1.000", True),
        ("*", True),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=2", False),
        ("gzip;q=nan", False),
        ("gzip;q=", False),
        (";;,,", False),
    ],
)
def test_gzip_is_what_a_client_takes_by_its_weight(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


def test_the_same_short_body_is_the_same_request_and_a_long_one_is_not_kept() -> None:
    body = b'{"applicationSetName":"apps","input":{}}'
    assert parse_request(body, JSON) is parse_request(bytes(bytearray(body)), JSON)
    assert parse_request(body, JSON) is not parse_request(body + b" ", JSON)
    long = body.ljust(4096)
    assert parse_request(long, JSON) is not parse_request(long, JSON)
