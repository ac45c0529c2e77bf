"""When an ApplicationSet is annotated, and when once more: by what it has fetched, on a clock that the test moves."""

import pytest

from tenantry_generator.push_pending import ANY, Pending

Q, P = "query", "another"


def waiting(now: float = 0.0, *queries: str, revision: int = 5) -> Pending:
    """Return one that was told of a change at `now`."""
    pending = Pending()
    want(pending, *(queries or (Q,)), revision=revision, now=now)
    return pending


def want(pending: Pending, *queries: str, revision: int, now: float) -> None:
    pending.want(queries, known=(Q, P), revision=revision, since=now)


def annotate(pending: Pending, now: float) -> None:
    pending.sending()
    pending.sent(now=now)
    assert pending.look(annotated=True, now=now)


def removed(pending: Pending, now: float) -> float | None:
    """The controller takes the annotation away; return when to annotate next."""
    pending.look(annotated=False, now=now)
    return pending.due(annotated=False)


def test_the_first_change_is_told_at_once_and_done_when_its_answer_was_fetched() -> None:
    pending = waiting(now=100.0)
    assert pending.due(annotated=False) == 0.0
    pending.sending()
    assert pending.due(annotated=False) is None
    pending.sent(now=100.1)
    assert pending.open, "an annotation that was accepted proves nothing"
    assert pending.fetched(Q, revision=4, now=100.2) is None
    assert pending.open, "neither does an answer without the change"
    assert pending.fetched(Q, revision=5, now=100.25) == pytest.approx(0.25)
    assert not pending.open
    assert removed(pending, 100.3) is None


def test_a_change_waits_for_the_annotation_of_the_last_one_to_go() -> None:
    pending = waiting()
    annotate(pending, 10.0)
    pending.fetched(Q, revision=5, now=10.1)
    want(pending, Q, revision=6, now=10.2)
    assert pending.due(annotated=True) == 15.0
    assert removed(pending, 10.3) == 0.0


def test_a_change_does_not_wait_for_an_annotation_that_stays_longer_than_five_seconds() -> None:
    pending = waiting()
    annotate(pending, 10.0)
    pending.fetched(Q, revision=5, now=10.1)
    want(pending, Q, revision=6, now=60.0)
    due = pending.due(annotated=True)
    assert due is not None
    assert due <= 60.0


def test_changes_while_one_waits_are_told_together_and_the_wait_is_that_of_the_first() -> None:
    pending = waiting(now=0.0)
    annotate(pending, 0.1)
    for number in range(10):
        want(pending, Q, revision=6 + number, now=1.0)
    annotate(pending, 5.1)
    assert pending.fetched(Q, revision=14, now=5.2) is None
    assert pending.fetched(Q, revision=15, now=5.3) == pytest.approx(5.3)


def test_who_fetched_the_change_before_it_was_told_is_not_told() -> None:
    pending = Pending()
    pending.fetched(Q, revision=5, now=0)
    want(pending, Q, revision=5, now=0)
    assert not pending.open
    want(pending, Q, P, revision=5, now=0)
    assert pending.open


def test_an_unanswered_annotation_is_repeated_less_and_less_often() -> None:
    pending, now, pauses = waiting(), 0.0, []
    annotate(pending, now)
    for _ in range(8):
        due = pending.due(annotated=True)
        assert due is not None
        pauses.append(due - now)
        now = due
        annotate(pending, now)
    assert pauses == [5, 10, 20, 40, 60, 60, 60, 60]
    pending.fetched(Q, revision=5, now=now)
    want(pending, Q, revision=6, now=now)
    annotate(pending, now)
    assert pending.due(annotated=True) == now + 5


def test_a_lost_wake_up_is_told_anew_half_a_second_after_the_reconcile_that_had_asked_before() -> None:
    pending = waiting()
    annotate(pending, 1.0)
    pending.fetched(Q, revision=4, now=1.05)
    assert removed(pending, 1.1) == pytest.approx(1.6)


def test_of_several_queries_each_has_to_be_fetched() -> None:
    pending = waiting(0.0, Q, P)
    annotate(pending, 1.0)
    pending.fetched(P, revision=5, now=1.05)
    assert removed(pending, 1.1) == pytest.approx(1.6)
    pending.fetched(Q, revision=5, now=1.2)
    assert not pending.open


def test_one_that_ends_its_reconciles_and_does_not_ask_is_given_up_until_the_next_change() -> None:
    pending, now, told = waiting(), 0.0, 0
    while pending.open:
        due = pending.due(annotated=False)
        assert due is not None
        now = max(now, due)
        if pending.look(annotated=False, now=now):
            annotate(pending, now)
            pending.look(annotated=False, now=now)
            told += 1
    assert told == 3
    want(pending, Q, revision=6, now=now)
    assert pending.due(annotated=False) == 0.0


def test_while_the_annotation_stays_it_is_not_given_up() -> None:
    pending, now = waiting(), 0.0
    for _ in range(20):
        annotate(pending, now)
        now += 60.0
        assert pending.look(annotated=True, now=now)
    assert pending.open


def test_a_templated_input_has_to_be_asked_again_for_all_that_it_asked_for_before() -> None:
    pending = Pending()
    pending.fetched("one", revision=3, now=0)
    pending.fetched("two", revision=3, now=0)
    want(pending, ANY, revision=5, now=0)
    annotate(pending, 0.1)
    # A reconcile was under way, which had asked with `one` before the change.
    pending.fetched("two", revision=5, now=0.2)
    assert pending.open
    assert removed(pending, 0.3) == pytest.approx(0.8)
    pending.fetched("one", revision=5, now=0.4)
    assert not pending.open


def test_a_templated_input_that_is_no_longer_asked_with_is_forgotten_after_three_reconciles() -> None:
    pending = Pending()
    pending.fetched("old", revision=3, now=0)
    want(pending, ANY, revision=5, now=0)
    now = 0.0
    while pending.open:
        annotate(pending, now)
        pending.fetched("new", revision=5, now=now)
        due = removed(pending, now)
        assert due is not None
        now = due
        pending.look(annotated=False, now=now)
    want(pending, ANY, revision=6, now=now)
    pending.fetched("new", revision=6, now=now)
    assert not pending.open


def test_an_answer_to_a_known_query_is_no_proof_for_a_templated_one() -> None:
    pending = waiting(0.0, ANY)
    pending.fetched(Q, revision=5, now=0.1)
    assert pending.open
    pending.fetched("templated", revision=5, now=0.2)
    assert not pending.open


def test_a_failed_try_is_repeated_with_growing_pauses_and_a_new_change_does_not_shorten_them() -> None:
    pending, now, pauses = waiting(), 0.0, []
    for _ in range(10):
        pending.sending()
        pending.failed(now=now)
        want(pending, Q, revision=9, now=now)
        due = pending.due(annotated=False)
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_what_is_forbidden_is_tried_rarely_and_at_once_when_another_one_succeeds() -> None:
    pending = waiting()
    pending.sending()
    pending.failed(now=1.0, forbidden=True)
    assert pending.due(annotated=False) == 61.0
    pending.sending()
    pending.failed(now=61.0, forbidden=True)
    assert pending.due(annotated=False) == 181.0
    pending.allow()
    assert pending.due(annotated=False) == 0.0


def test_a_change_moves_up_one_that_was_only_to_be_told_later() -> None:
    pending = Pending()
    pending.want([Q], known=[Q], revision=5, since=None, earliest=30.0)
    assert pending.due(annotated=False) == 30.0
    want(pending, Q, revision=6, now=2.0)
    assert pending.due(annotated=False) == 0.0
    assert pending.fetched(Q, revision=6, now=3.0) == pytest.approx(1.0)


def test_a_change_during_the_write_is_told_by_another_one() -> None:
    pending = waiting()
    pending.sending()
    want(pending, Q, revision=6, now=0.05)
    pending.sent(now=0.1)
    pending.look(annotated=True, now=0.1)
    pending.fetched(Q, revision=5, now=0.15)
    assert removed(pending, 0.2) == 0.0
