"""Polarity of skills: sentences of writers that the reader was not trained on, and that facts follow it.

Bounds are a little below what was measured; benchmarks/bench_polarity.py says how good it is."""

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
from matchlib.extraction.train_polarity import SENTENCES, fit, read_places

DATA = Path(__file__).parents[2] / "data"


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


def test_the_weights_are_those_of_the_sentences():
    """A model of the first rows, made here, leans the way that the packaged one leans."""
    places, polarities, writers = read_places(SENTENCES)
    assert len(set(writers)) > 5 and set(polarities) == set(POLARITIES)
    model = reader.polarity_model()
    step = len(places) // 100
    contexts = [context_of(one) for one in places[::step]]
    vectors = reader.place_vectors(model.encoder, contexts)
    found = np.array(POLARITIES)[model.probabilities(vectors).argmax(axis=1)]
    assert np.mean(found == polarities[::step]) > 0.8
    coefficients, intercepts = fit(vectors, polarities[::step])
    assert coefficients.shape == model.coefficients.shape
    assert intercepts.shape == model.intercepts.shape


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
