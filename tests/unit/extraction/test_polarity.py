"""Polarity of skills: sentences of writers that the reader was not trained on, and that facts follow it.

Bounds are a little below what was measured; benchmarks/bench_polarity.py says how good it is."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from matchlib.analysis.explain import _compare_facts
from matchlib.extraction import polarity_model as reader
from matchlib.extraction.facts import extract_facts
from matchlib.extraction.polarity import (
    DENIED,
    HELD,
    POLARITIES,
    UNKNOWN,
    WANTED,
    polarity_of,
)
from matchlib.extraction.polarity_model import REACH, context_of, decide, polarities_of
from matchlib.extraction.train_polarity import SENTENCES, read_places, train

DATA = Path(__file__).parents[2] / "data"


def rows_of(name):
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rules_of(places):
    return [polarity_of(*place) for place in places]


def place(sentence, skill):
    start = sentence.lower().index(skill.lower())
    return sentence, start, start + len(skill)


def polarity(sentence, skill):
    return polarities_of([place(sentence, skill)])[0]


@pytest.mark.parametrize(
    ("name", "f1", "held_kept"),
    [("polarity_sentences_third.csv", 0.85, 0.85), ("polarity_sentences_tenth.csv", 0.65, 0.7)],
)
def test_sentences_of_unseen_writers_are_mostly_read(name, f1, held_kept):
    places, true, _ = read_places(DATA / name)
    pairs = Counter(zip(true, polarities_of(places), strict=True))
    assert len(places) >= 120 and {polarity for polarity, _ in pairs} == set(POLARITIES)
    n_denied = sum(n for (is_true, _), n in pairs.items() if is_true == DENIED)
    n_found = sum(n for (_, own), n in pairs.items() if own == DENIED)
    n_held = sum(n for (is_true, _), n in pairs.items() if is_true == HELD)
    assert 2 * pairs[DENIED, DENIED] / (n_denied + n_found) >= f1
    assert pairs[HELD, HELD] / n_held >= held_kept


def test_the_packaged_weights_are_those_of_the_packaged_sentences():
    """To what a float16 and another processor may change."""
    coefficients, intercepts = train()
    packaged = reader.polarity_model()
    assert np.allclose(coefficients, packaged.coefficients, atol=1e-3)
    assert np.allclose(intercepts, packaged.intercepts, atol=1e-2)


def test_rules_read_their_own_writer_and_most_of_another():
    """Lower bounds, a little below what was measured."""
    places, true, writers = read_places(SENTENCES)
    by_rules = np.array([polarity_of(*place) for place in places])
    own = Counter(zip(true[writers == "first"], by_rules[writers == "first"], strict=True))
    n_denied = sum(n for (is_true, _), n in own.items() if is_true == DENIED)
    n_found = sum(n for (_, found), n in own.items() if found == DENIED)
    assert 2 * own[DENIED, DENIED] / (n_denied + n_found) >= 0.8
    assert own[DENIED, HELD] <= 1  # "No formal training in ...": the two writers disagree
    assert np.mean((by_rules == true)[writers == "second"]) > 0.9


OWN_TEMPLATES = [row for row in rows_of("polarity_templates.csv") if row["part"] == "own"]


@pytest.mark.parametrize("row", OWN_TEMPLATES, ids=lambda row: row["template"])
def test_rules_read_every_own_template_as_it_is_meant(row):
    sentence = row["template"].format(skill="Machine learning", other="Bricklaying")
    assert polarity_of(*place(sentence, "Machine learning")) == row["polarity"]


@pytest.mark.parametrize("read", [polarities_of, rules_of], ids=["rules and model", "rules"])
def test_unread_templates_of_another_writer_are_mostly_read(read):
    unread = [row for row in rows_of("polarity_templates.csv") if row["part"] == "second, unread"]
    places = []
    for row in unread:
        sentence = row["template"].format(skill="Bricklaying", other="Roof repair")
        places.append(place(sentence, "Bricklaying"))
    right = [found == row["polarity"] for row, found in zip(unread, read(places), strict=True)]
    assert len(unread) == 40 and sum(right) / len(unread) > 0.7


def test_vectors_do_not_depend_on_what_is_read_beside():
    contexts = [context_of(place(text, "SQL")) for text in ("no SQL", "I use SQL every single day")]
    encoder = reader.polarity_model().encoder
    together = reader.place_vectors(encoder, contexts)
    for context, vector in zip(contexts, together, strict=True):
        assert np.allclose(reader.place_vectors(encoder, [context])[0], vector, atol=1e-5)


def test_parts_of_many_places_are_read_as_all_at_once(monkeypatch):
    texts = ("no SQL", "I use SQL every day", "SQL", "Never used SQL", "keen to learn SQL")
    places = [place(text, "SQL") for text in texts]
    at_once = polarities_of(places)
    monkeypatch.setattr(reader, "KEPT_AT_ONCE", 2)
    assert polarities_of(places) == at_once == [DENIED, HELD, HELD, DENIED, WANTED]


def test_a_context_is_one_item_a_few_words_and_no_name():
    torn = "Career Objective Seeking a post in retail\tSkills Excel and Python  Hobbies chess"
    assert context_of(place(torn, "Python")) == ("Skills Excel and Excel", 17, 22)
    words = [f"w{i}" for i in range(40)]
    text, start, end = context_of(place(" ".join(words), "w20"))
    assert text.split() == [*words[20 - REACH : 20], "Excel", *words[21 : 21 + REACH]]
    assert text[start:end] == "Excel"
    assert context_of(place("Python", "Python")) == ("Excel", 0, 5)
    assert context_of(place("I know C#. Not Java", "C#")) == ("I know Excel", 7, 12)


def test_an_address_of_any_length_beside_a_skill_hides_it_from_nobody():
    address = "http://example.org/" + "a1!" * 2_000
    assert polarity(f"See {address} for my work in SQL", "SQL") == HELD
    assert polarity(f"{address} I have no experience with SQL", "SQL") == DENIED
    assert len(context_of(place(f"SQL {address}", "SQL"))[0]) < 130


def test_a_skill_alone_is_held_and_no_encoder_is_loaded(monkeypatch):
    monkeypatch.setattr(reader, "polarity_model", lambda: pytest.fail("it was loaded"))
    assert polarities_of([place("- SQL", "SQL"), place("SQL", "SQL")]) == [HELD, HELD]
    assert polarities_of([]) == []


def test_held_from_the_threshold_on_which_a_rule_raises():
    probabilities = np.array([[0.3, 0.6, 0.1, 0.0], [0.1, 0.1, 0.5, 0.3], [0.1, 0.2, 0.2, 0.5]])
    assert decide(probabilities, [HELD] * 3) == [HELD, WANTED, UNKNOWN]
    assert decide(probabilities, [DENIED, WANTED, HELD]) == [DENIED, WANTED, UNKNOWN]
    assert decide(np.array([[0.8, 0.2, 0, 0]]), [DENIED]) == [HELD]


def test_rules_end_with_the_clause_and_the_nearest_decides():
    sentence = "I do not know Java; I use C# but never Perl, and I want to learn Rust"
    told = {"Java": DENIED, "C#": HELD, "Perl": DENIED, "Rust": WANTED}
    assert {skill: polarity_of(*place(sentence, skill)) for skill in told} == told
    assert polarity_of(*place("My colleagues know SQL", "SQL")) == UNKNOWN
    far = "no client was lost while my group of five ran the yearly audit in SQL"
    assert polarity_of(*place(far, "SQL")) == HELD


def test_a_skill_that_a_sentence_does_not_name_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("writer,polarity,skill,sentence\na,held,SQL,I know Java\n")
    with pytest.raises(ValueError, match="substring"):
        read_places(path)


def test_what_is_said_of_two_skills_is_kept_apart():
    sentence = "I have used Python for six years, but I have no experience with Java."
    assert polarity(sentence, "Python") == HELD
    assert polarity(sentence, "Java") == DENIED


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
