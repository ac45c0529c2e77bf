"""What a run of the fault cases has done must outlive it, whichever process did it and however it ended."""

from pathlib import Path

from tests.faults.journal import Journal, Result

ONE, TWO, THREE = (Result("C1", f"full/{number}", 1.5) for number in range(3))


def test_what_every_process_has_added_is_there_for_the_next_run(tmp_path: Path) -> None:
    Journal(tmp_path, "v1", "operator").add(ONE)
    Journal(tmp_path, "v1", "inputs").add(TWO)
    Journal(tmp_path, "v2", "operator").add(THREE)
    assert set(Journal(tmp_path, "v1").results()) == {ONE, TWO}


def test_a_line_that_is_being_written_is_news_once_it_is_whole(tmp_path: Path) -> None:
    journal, adding = Journal(tmp_path, "v1"), Journal(tmp_path, "v1", "operator")
    adding.add(ONE)
    assert journal.news() == [ONE]
    adding.add(TWO)
    (part,) = tmp_path.iterdir()
    text = part.read_text()
    part.write_text(text[:-9])
    assert journal.news() == []
    part.write_text(text)
    assert journal.news() == [TWO]
    assert journal.news() == []


def test_a_line_that_a_crash_has_cut_short_is_no_result(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "v1", "operator")
    journal.add(ONE)
    with next(tmp_path.iterdir()).open("a") as file:
        file.write('{"family": "C1", "case')
    assert journal.results() == [ONE]
