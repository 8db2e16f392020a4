"""Polarity of skills: sentences of writers that the reader was not trained on, and that facts follow it.

Bounds are a little below what was measured; benchmarks/bench_polarity.py says how good it is."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from matchlib.analysis.explain import _compare_facts
from matchlib.extraction.facts import extract_facts
from matchlib.extraction.polarity import (
    DENIED,
    HELD,
    POLARITIES,
    REACH,
    UNKNOWN,
    WANTED,
    context_of,
    decide,
)
from matchlib.extraction.polarity_reader import (
    WEIGHTS,
    PolarityReader,
    load_weights,
    polarities_of,
    polarities_of_statements,
    polarity_reader,
)
from matchlib.extraction.train_polarity import (
    PLAIN_PLACES,
    SENTENCES,
    fit,
    place_of,
    read_places,
    training_places,
)
from matchlib.retrieval.model_files import file_hash

DATA = Path(__file__).parents[2] / "data"


def rows_of(name):
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def polarity(sentence, skill):
    return polarities_of([place_of(sentence, skill)])[0]


@pytest.mark.parametrize(
    ("writer", "f1", "kept"),
    [
        ("third", 0.85, {HELD: 0.85, WANTED: 0.65, UNKNOWN: 0.6}),
        ("tenth", 0.8, {HELD: 0.85, WANTED: 0.65, UNKNOWN: 0.6}),
        ("twelfth", 0.8, {HELD: 0.75, WANTED: 0.55, UNKNOWN: 0.6}),
        ("thirteenth", 0.8, {HELD: 0.65, WANTED: 0.55, UNKNOWN: 0.6}),
    ],
)
def test_sentences_of_unseen_writers_are_mostly_read(writer, f1, kept):
    places, true, _ = read_places(DATA / f"polarity_sentences_{writer}.csv")
    found = np.array(polarities_of(places))
    n_right = np.sum((true == DENIED) & (found == DENIED))
    assert 2 * n_right / (np.sum(true == DENIED) + np.sum(found == DENIED)) >= f1
    for polarity, share in kept.items():
        assert np.mean(found[true == polarity] == polarity) >= share, polarity


def test_the_packaged_weights_are_those_of_the_packaged_sentences():
    with safe_open(WEIGHTS, "pt") as weights:
        assert weights.metadata() == {"sentences": file_hash(SENTENCES)}
        assert set(weights.keys()) == set(PolarityReader().tuned_weights())


def test_training_learns_what_words_around_a_skill_say():
    told = {"I have never seen": DENIED, "I use": HELD, "I will learn": WANTED}
    skills = ["SQL", "bricklaying", "first aid", "German", "welding", "payroll", "chess", "Rust"]
    rows = [
        (place_of(f"{words} {skill}", skill), said)
        for words, said in told.items()
        for skill in skills
    ]
    contexts, polarities = [context_of(one) for one, _ in rows], [said for _, said in rows]
    torch.manual_seed(0)
    untrained = PolarityReader()
    before = np.mean(np.array(decide(untrained.probabilities(contexts))) == polarities)
    loss = fit(untrained, contexts, polarities, epochs=30)
    found = [POLARITIES[i] for i in untrained.probabilities(contexts).argmax(axis=1)]
    assert before < 0.9 and loss < 0.5 and found == polarities


def test_any_longer_word_of_a_plain_line_is_a_place_of_the_training():
    places, polarities, writers = read_places(SENTENCES)
    contexts, all_polarities = training_places()
    n_plain = sum(writer.startswith("plain") for writer in writers)
    n_more = len(contexts) - len(places)
    assert 2 * n_plain < n_more <= PLAIN_PLACES * n_plain
    assert Counter(all_polarities)[HELD] == Counter(polarities)[HELD] + n_more
    assert len(training_places(without=set(writers))[0]) == 0


@pytest.mark.parametrize("part", ["own", "second, read"])
def test_every_template_of_the_training_set_is_read_as_it_is_meant(part):
    rows = [row for row in rows_of("polarity_templates.csv") if row["part"] == part]
    sentences = [
        row["template"].format(skill="Machine learning", other="Bricklaying") for row in rows
    ]
    found = polarities_of([place_of(sentence, "Machine learning") for sentence in sentences])
    wrong = [row for row, own in zip(rows, found, strict=True) if own != row["polarity"]]
    assert len(rows) > 30 and wrong == []


MISSED = pytest.mark.xfail(strict=True, reason="the rules of before read it, the encoder does not")


@pytest.mark.parametrize(
    ("skill", "told"),
    [
        ("Java", DENIED),
        ("C#", HELD),
        pytest.param("Perl", DENIED, marks=MISSED),
        ("Rust", WANTED),
    ],
)
def test_four_skills_of_a_sentence_are_kept_apart(skill, told):
    sentence = "I do not know Java; I use C# but never Perl, and I want to learn Rust"
    assert polarity(sentence, skill) == told


def test_others_skills_and_a_negation_far_away():
    assert polarity("My colleagues know SQL", "SQL") == UNKNOWN
    far = "no client was lost while my group of five ran the yearly audit in SQL"
    assert polarity(far, "SQL") == HELD


def test_templates_that_are_not_in_the_training_set_are_mostly_read():
    unread = [row for row in rows_of("polarity_templates.csv") if row["part"] == "second, unread"]
    places = []
    for row in unread:
        sentence = row["template"].format(skill="Bricklaying", other="Roof repair")
        places.append(place_of(sentence, "Bricklaying"))
    found = polarities_of(places)
    right = [own == row["polarity"] for row, own in zip(unread, found, strict=True)]
    assert len(unread) == 40 and sum(right) / len(unread) > 0.85


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    weights = load_file(WEIGHTS)
    weights.pop("head.weight")
    save_file(weights, tmp_path / "torn.safetensors")
    with pytest.raises(ValueError, match="another model: head.weight"):
        load_weights(PolarityReader(), tmp_path / "torn.safetensors")


def test_loading_the_reader_draws_nothing_from_the_generator_of_others():
    polarity_reader.cache_clear()
    state = torch.get_rng_state()
    polarity_reader()
    assert torch.equal(state, torch.get_rng_state())


def test_a_script_of_many_tokens_a_character_cuts_no_skill_off():
    text = "운영관리업무전담팀장님 " * 30 + "SQL " + "운영관리업무전담팀장님 " * 30
    probabilities = polarity_reader().probabilities([context_of(place_of(text, "SQL"))])
    assert probabilities.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="no numbers"):
        decide(np.full((1, 4), np.nan))


def test_a_place_is_read_the_same_whatever_is_read_beside_it():
    texts = ("no SQL", "I use SQL every single day", "Never used SQL", "keen to learn SQL")
    contexts = [context_of(place_of(text, "SQL")) for text in texts]
    together = polarity_reader().probabilities(contexts)
    assert decide(together) == [DENIED, HELD, DENIED, WANTED]
    for context, row in zip(contexts, together, strict=True):
        assert np.allclose(polarity_reader().probabilities([context])[0], row, atol=1e-4)


def test_a_context_is_one_item_a_few_words_and_no_name():
    torn = "Career Objective Seeking a post in retail\tSkills Excel and Python  Hobbies chess"
    assert context_of(place_of(torn, "Python")) == ("Skills Excel and Excel", 17, 22)
    words = [f"w{i}" for i in range(40)]
    text, start, end = context_of(place_of(" ".join(words), "w20"))
    assert text.split() == [*words[20 - REACH : 20], "Excel", *words[21 : 21 + REACH]]
    assert text[start:end] == "Excel"
    assert context_of(place_of("Python", "Python")) == ("Excel", 0, 5)
    assert context_of(place_of("I know C#. Not Java", "C#")) == ("I know Excel", 7, 12)


def test_an_address_of_any_length_beside_a_skill_hides_it_from_nobody():
    address = "http://example.org/" + "a1!" * 2_000
    assert polarity(f"See {address} for my work in SQL", "SQL") == HELD
    assert polarity(f"{address} I have no experience with SQL", "SQL") == DENIED
    assert len(context_of(place_of(f"SQL {address}", "SQL"))[0]) < 130


def test_a_skill_alone_is_held_and_no_encoder_is_loaded(monkeypatch):
    monkeypatch.setattr(
        "matchlib.extraction.polarity_reader.polarity_reader", lambda: pytest.fail("it was loaded")
    )
    assert polarities_of([place_of("- SQL", "SQL"), place_of("SQL", "SQL")]) == [HELD, HELD]
    assert polarities_of([]) == []


def test_held_from_the_threshold_of_the_likeliest_other_on():
    rows = [[0.69, 0.2, 0.1, 0.01], [0.7, 0.3, 0, 0], [0.03, 0.1, 0.6, 0.3], [0.02, 0.1, 0.1, 0.78]]
    assert decide(np.array(rows)) == [DENIED, HELD, HELD, UNKNOWN]


def test_statements_in_unknown_words_are_read_as_a_whole():
    statements = [
        "I have no experience with looking after data lakes",
        "Looked after data lakes for three years",
        "R",
        "",
    ]
    assert polarities_of_statements(statements) == [DENIED, HELD, HELD, HELD]
    assert polarities_of_statements([]) == []


def test_a_skill_that_a_sentence_does_not_name_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("writer,polarity,skill,sentence\na,held,SQL,I know Java\n")
    with pytest.raises(ValueError, match="no word of"):
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
