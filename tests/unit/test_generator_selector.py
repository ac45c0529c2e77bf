"""Label selectors in each form, with Kubernetes' meaning, and what is refused rather than tried."""

import time

import pytest

from tenantry_generator.errors import Refused
from tenantry_generator.selector import EVERYTHING, Selector, parse_label_selector, parse_selector

LABELS = {
    "prod": {"env": "prod", "tier": "a"},
    "test": {"env": "test", "tier": "b", "old": ""},
    "bare": {},
}


def matched(selector: Selector) -> set[str]:
    return {name for name, labels in LABELS.items() if selector.matches(labels)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"prod", "test", "bare"}),
        ("env=prod", {"prod"}),
        ("env==prod", {"prod"}),
        (" env = prod , tier in ( a , b ) ", {"prod"}),
        ("env!=prod", {"test", "bare"}),
        ("tier in (a,b)", {"prod", "test"}),
        ("tier in(b)", {"test"}),
        ("tier notin (a)", {"test", "bare"}),
        ("old", {"test"}),
        ("!old", {"prod", "bare"}),
        ("! old,env", {"prod"}),
        ("old=", {"test"}),
        ("env=prod,env=test", set()),
        ("example.com/team=x", set()),
    ],
)
def test_a_selector_as_text_means_what_it_means_to_kubectl(text: str, expected: set[str]) -> None:
    assert matched(parse_label_selector(text, "s")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, {"prod", "test", "bare"}),
        ({"matchLabels": {"env": "prod"}}, {"prod"}),
        ({"matchExpressions": [{"key": "env", "operator": "In", "values": ["prod", "test"]}]}, {"prod", "test"}),
        ({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]}, {"test", "bare"}),
        ({"matchExpressions": [{"key": "old", "operator": "Exists"}]}, {"test"}),
        ({"matchExpressions": [{"key": "old", "operator": "DoesNotExist", "values": []}]}, {"prod", "bare"}),
        (
            {"matchLabels": {"tier": "a"}, "matchExpressions": [{"key": "env", "operator": "In", "values": ["test"]}]},
            set(),
        ),
    ],
)
def test_a_selector_as_an_object_means_what_it_means_in_a_manifest(value: object, expected: set[str]) -> None:
    assert matched(parse_selector(value, "s")) == expected
    assert matched(parse_label_selector(value, "s")) == expected


def test_labels_alone_are_a_selector_too() -> None:
    assert matched(parse_label_selector({"env": "test"}, "s")) == {"test"}
    with pytest.raises(Refused):
        parse_selector({"env": "test"}, "s")


def test_the_same_selector_has_the_same_key_however_it_is_written() -> None:
    forms = [
        parse_label_selector("tier in (b,a),env=prod", "s"),
        parse_label_selector(
            {
                "matchLabels": {"env": "prod"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
            },
            "s",
        ),
    ]
    assert forms[0].key == forms[1].key != EVERYTHING.key


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("env=prod,", "s: can't read it from character 10 on; accepted are KEY=VALUE, KEY!=VALUE, KEY in (A,B), "),
        ("env>1", "s: can't read it from character 1 on"),
        ("env=prod tier=a", "s: can't read it from character 1 on"),
        ("env in a", "s: can't read it from character 1 on"),
        ("tier in (a b)", "s: a value of tier must be a text that a label can have"),
        ("x" * 64, "s: can't read it from character 1 on"),
        ("a=" + "x" * 64, "s: can't read it from character 1 on"),
        (5000 * "a", "s is longer than 4096 characters"),
        (["env"], 's must be a text such as "env=prod,tier in (a,b)", or an object'),
        ({"env": ["prod"]}, "s: a value of env must be a text that a label can have"),
        ({"env": True}, "s: a value of env must be a text that a label can have"),
        ({"a b": "c"}, "s: a key must be a label's name, [PREFIX/]NAME"),
        ({"matchLabels": ["env"]}, "s must be an object with matchLabels, an object of texts, and matchExpressions"),
        ({"matchLabels": {}, "matchExpression": []}, "s must be an object with matchLabels"),
        ({"matchLabels": {"env": "a b"}}, "s.matchLabels: a value of env must be a text that a label can have"),
        ({"matchExpressions": ["env"]}, "s.matchExpressions[0] must be an object with key, operator and values"),
        ({"matchExpressions": [{"key": "a", "operator": "in"}]}, "s.matchExpressions[0].operator must be one of In, "),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "s.matchExpressions[0].values must be a list of at"),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "s.matchExpressions[0].values must be left out",
        ),
        ({"matchExpressions": [{"operator": "Exists"}]}, "s.matchExpressions[0]: a key must be a label's name"),
    ],
)
def test_a_selector_that_no_label_could_satisfy_is_refused(value: object, message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_label_selector(value, "s")
    assert caught.value.status == 400
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["a" * 4096, "a." * 2048, "aa.a" * 1024, "a-" * 2048, "a in (" + "b," * 2000])
def test_a_hostile_text_is_refused_in_no_time(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(Refused):
        parse_label_selector(text, "s")
    assert time.perf_counter() - started < 1
