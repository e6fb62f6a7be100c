"""The teaching guide: times that add up, exercises that exist, every chapter with its pitfalls."""

import re

import pytest
from course import NOTEBOOKS, ROOT

import tlseg_lite as tl

GUIDE = (ROOT / "book" / "teaching.md").read_text("utf-8")


@pytest.fixture
def chapters():
    import chapters

    return chapters


def test_the_minutes_of_each_timetable_add_up():
    tables = re.findall(r"(?:^\|.*\n)+", GUIDE, re.M)
    timed = [table for table in tables if "**sum**" in table]
    assert len(timed) == 3, "half a day, and two days"
    for table in timed:
        minutes = [int(m) for m in re.findall(r"\| (\d+) \|$", table, re.M)]
        total = int(re.search(r"\*\*sum\*\* \| \*\*(\d+)\*\*", table)[1])
        assert sum(minutes) == total
    totals = [int(m) for m in re.findall(r"\*\*sum\*\* \| \*\*(\d+)", GUIDE)]
    assert totals[0] == 4 * 60, "the text says four hours"
    weeks = re.findall(r"^\| (\d) \| (.*)", GUIDE, re.M)
    assert [int(number) for number, _ in weeks] == [1, 2, 3, 4, 5, 6]


def test_six_weeks_lead_through_all_chapters():
    weeks = " ".join(row for _, row in re.findall(r"^\| (\d) \| (.*)", GUIDE, re.M))
    for path in NOTEBOOKS:
        number = path.name[:2]
        name = {"80": "capstone", "90": "appendix A1", "91": "appendix A2"}.get(
            number, f"chapter {int(number)}"
        )
        assert name in weeks, f"{path.name} is nowhere in the six weeks"


def test_exercises_that_it_names_exist():
    sentences = re.findall(r"[Ee]xercises? [AC\d., and to]+", GUIDE)
    named = set(re.findall(r"\b(?:A\d|C|\d)\.\d\b", " ".join(sentences)))
    assert len(named) >= 10
    assert named <= set(tl.exercises.known())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_chapter_has_goals_minutes_and_misconceptions(path, chapters):
    source = chapters.first_cell(path)
    assert 3 <= len(chapters.goals(source)) <= 6
    needs = chapters.needs(source)
    assert {"minutes to read", "minutes to run", "memory"} <= set(needs)
    here = chapters.station_of(path)
    heading = rf"^### {here} |^### {here} and |^### A1 and {here}"
    section = re.split(heading, GUIDE, maxsplit=1, flags=re.M)
    assert len(section) == 2, f"no section for {here}"
    believed = re.findall(r'^- \*"', re.split(r"^##", section[1], flags=re.M)[0], re.M)
    assert len(believed) >= 2


def test_goals_come_without_markup(chapters):
    """They stand in a table of plain text: no role, no target of a link, no backtick."""
    text = "use `fit` and {term}`clicks <corrective click>`, {term}`NoC`, *then* read"
    assert chapters.words(text) == "use fit and clicks, NoC, then read"
    for path in NOTEBOOKS:
        for goal in chapters.goals(chapters.first_cell(path)):
            assert not re.search(r"[`{}<>*]", goal), goal


def test_commands_that_it_gives_exist():
    assert (ROOT / re.search(r"python (book/_ext/slides\.py)", GUIDE)[1]).is_file()
    parser = tl.cli.build_parser()
    for command in re.findall(r"tlseg-lite (\w+)", GUIDE):
        text = parser.format_help()
        assert re.search(rf"^\s+{command}\s", text, re.M), f"no command {command}"
    code = re.search(r'python -c "(.*)"', GUIDE)[1]
    exec(compile(code, "teaching.md", "exec"), {})
