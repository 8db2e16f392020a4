"""Polarity of skills: marked sentences, templates with truth, and that facts follow it.

All but the templates "second, unread" were read while the rules were written, so passing says that
nothing got worse; benchmarks/bench_polarity.py says how good they are."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from matchlib.analysis.explain import _compare_facts
from matchlib.extraction.facts import extract_facts
from matchlib.extraction.polarity import DENIED, HELD, POLARITIES, UNKNOWN, WANTED, polarity_of

DATA = Path(__file__).parents[2] / "data"


def rows_of(name):
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def polarity(sentence, skill):
    start = sentence.lower().index(skill.lower())
    return polarity_of(sentence, start, start + len(skill))


@pytest.mark.parametrize("part", ["development", "test"])
def test_marked_sentences_reach_the_bars(part):
    rows = [row for row in rows_of("polarity_sentences.csv") if row["part"] == part]
    pairs = Counter((row["polarity"], polarity(row["sentence"], row["skill"])) for row in rows)
    assert len(rows) > 90 and {true for true, _ in pairs} == set(POLARITIES)
    n_denied = sum(n for (true, _), n in pairs.items() if true == DENIED)
    n_found = sum(n for (_, own), n in pairs.items() if own == DENIED)
    assert 2 * pairs[DENIED, DENIED] / (n_denied + n_found) >= 0.8
    assert pairs[DENIED, HELD] <= 1  # "No formal training in ...": the two writers disagree


OWN_TEMPLATES = [row for row in rows_of("polarity_templates.csv") if row["part"] == "own"]


def test_sentences_and_unread_templates_of_another_writer_are_mostly_read():
    """Lower bounds, a little below what was measured."""
    rows = rows_of("polarity_sentences_second.csv")
    right = [polarity(row["sentence"], row["skill"]) == row["polarity"] for row in rows]
    assert sum(right) / len(rows) > 0.9
    unread = [row for row in rows_of("polarity_templates.csv") if row["part"] == "second, unread"]
    right = []
    for row in unread:
        sentence = row["template"].format(skill="Bricklaying", other="Roof repair")
        right.append(polarity(sentence, "Bricklaying") == row["polarity"])
    assert len(unread) == 40 and sum(right) / len(unread) > 0.7


@pytest.mark.parametrize("row", OWN_TEMPLATES, ids=lambda row: row["template"])
def test_every_template_is_read_as_it_is_meant(row):
    sentence = row["template"].format(skill="Machine learning", other="Bricklaying")
    assert polarity(sentence, "Machine learning") == row["polarity"]


def test_a_trigger_ends_with_its_clause_and_the_nearest_decides():
    sentence = "I do not know Java; I use C# but never Perl, and I want to learn Rust"
    told = {"Java": DENIED, "C#": HELD, "Perl": DENIED, "Rust": WANTED}
    assert {skill: polarity(sentence, skill) for skill in told} == told
    assert polarity("Python", "Python") == HELD
    assert polarity("My colleagues know SQL", "SQL") == UNKNOWN


def test_a_trigger_reaches_no_further_than_its_item_and_a_few_words():
    torn = "Career Objective Seeking a post in retail\tSkills Excel and SQL"
    assert polarity(torn, "SQL") == HELD
    torn = "willing to travel in the region  Skills SQL"
    assert polarity(torn, "SQL") == HELD
    far = "no client was lost while my group of five ran the yearly audit in SQL"
    assert polarity(far, "SQL") == HELD


def test_facts_do_not_hold_what_a_resume_denies_or_wants():
    text = (
        "Data analyst, 5 years, Leeds.\n## Skills\nSQL; Python; I do not know Tableau\n"
        "Eager to learn machine learning\nNo experience with ETL, but strong in data warehousing."
    )
    facts = extract_facts([text], only_held=True).iloc[0]
    assert facts["skills"] == "SQL; Python; Data warehousing"
    assert facts["denied_skills"] == "Tableau; Machine learning; ETL"
    again = extract_facts(["SQL.\nI do not know SQL."], only_held=True).iloc[0]
    assert (again["skills"], again["denied_skills"]) == ("SQL", "")


def test_an_advert_holds_all_that_it_names():
    text = (
        "Data analyst in Leeds.\nWe are looking for somebody with SQL and Python.\n"
        "You want to work in machine learning.\nOur team builds dashboards in Tableau."
    )
    facts = extract_facts([text]).iloc[0]
    assert facts["skills"] == "SQL; Python; Machine learning; Tableau"
    assert facts["denied_skills"] == ""


def test_an_explanation_tells_denied_from_not_stated():
    job = extract_facts(["Data analyst in Leeds.\n## Requirements\nSQL; Tableau; ETL"]).iloc[0]
    text = "Data analyst, Leeds.\n## Skills\nSQL; no Tableau"
    resume = extract_facts([text], only_held=True).iloc[0]
    told = _compare_facts(job, resume)
    assert told["matched_skills"] == "SQL"
    assert told["denied_skills"] == "Tableau"
    assert told["not_stated_skills"] == "ETL"
