"""Facts extracted from the market's texts and from others; no held-out wording is known."""

import time

import numpy as np
import pytest

from matchlib.data.market.simulation import Market
from matchlib.data.market.wording import SLOTS
from matchlib.data.skills import load_graph
from matchlib.extraction import facts as facts_module
from matchlib.extraction.facts import (
    FACT_COLUMNS,
    LISTED_SHARE_OF_SKILLS,
    SHARE_OF_SKILLS,
    PhraseMatcher,
    extract_facts,
    infer_occupation,
    match_skills_by_similarity,
    phrase_matcher,
    similarity_threshold,
    split_segments,
    tokenize,
)
from matchlib.retrieval.encoder import Encoder

ADVERT = """Data analyst in Leeds, remote possible.
Senior role, at least five years of experience. Joined by 3 others in the last 2 years.
REQUIREMENTS
- SQL, stakeholder relations and Tableau
- Python is a plus
Nice to have:
- A/B testing
"""


@pytest.mark.parametrize(("table", "years"), [("jobs", "min_years"), ("resumes", "years")])
def test_facts_of_the_training_wording_are_the_true_columns(table, years):
    frame = getattr(Market(5, detail=3), table)(150, "train")
    facts = extract_facts(frame["text"].tolist())
    for column in ("city", "remote", "seniority", "degree", "occupation", "title"):
        assert facts[column].tolist() == frame[column].tolist(), column
    assert facts["years"].tolist() == frame[years].tolist()
    assert share_of_same_skills(facts["skills"], frame["skills"]) > 0.97
    if table == "jobs":
        assert share_of_same_skills(facts["nice_skills"], frame["nice_skills"]) > 0.97


def share_of_same_skills(found, true):
    found_sets = found.str.split("; ").map(set)
    true_sets = true.str.split("; ").map(set)
    return (found_sets == true_sets).mean()


def test_an_advert_from_outside_the_market():
    facts = extract_facts([ADVERT]).iloc[0]
    assert facts.to_dict() == {
        "skills": "SQL; Stakeholder management; Tableau",
        "nice_skills": "Python; A/B testing",
        "years": 5,
        "city": "Leeds",
        "remote": "yes",
        "seniority": "senior",
        "degree": "",
        "occupation": "data_analyst",
        "title": "Data analyst",
        "denied_skills": "",
        "not_read": "",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "## \n;;",
        "你好，世界",
        "x" * 100_000,
        "a;" * 20_000,
        "¿Qué? + # $",
        "<script>alert(1)</script>",
        "0 years " * 5_000,
    ],
)
def test_a_text_without_facts_gives_empty_ones(text):
    facts = extract_facts([text]).iloc[0]
    assert facts.drop(["years", "remote"]).tolist() == [""] * (len(FACT_COLUMNS) - 2)
    assert np.isnan(facts["years"]) or facts["years"] == 0


def test_statements_in_which_nothing_is_known_are_counted():
    facts = extract_facts(["Data analyst.\n## Skills\nSQL; unicycling; juggling"]).iloc[0]
    assert (facts["skills"], facts["not_read"]) == ("SQL", "2 of 3 statements")


def known_phrases(kind):
    """The tokenized phrases of a kind."""
    phrases = set()
    for candidates in phrase_matcher(kind).by_first_token.values():
        phrases.update(tokens for tokens, _ in candidates)
    return phrases


def tokenized(phrases):
    return {tuple(tokenize(phrase)) for phrase in phrases}


def test_no_held_out_skill_is_known():
    for skill in load_graph("held_out").skills.values():
        held_out = tokenized([*skill.aliases, *skill.evidence])
        assert known_phrases("skill").isdisjoint(held_out)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("seniority", "junior"),
        ("seniority", "middle"),
        ("seniority", "senior"),
        ("seniority", "lead"),
        ("degree", "bachelor"),
        ("degree", "master"),
    ],
)
def test_no_held_out_level_or_degree_is_known(kind, value):
    assert known_phrases(kind).isdisjoint(tokenized(SLOTS["held_out"][value]))


def test_the_longest_phrase_wins_at_word_boundaries():
    known = PhraseMatcher(
        [
            ("machine learning", "ML"),
            ("machine learning engineer", "title"),
            ("c++", "C++"),
            ("c", "C"),
        ]
    )
    tokens = tokenize("Machine-learning engineer; C++ and C, not abc or machine")
    found = [match.value for match in known.find(tokens)]
    assert found == ["title", "C++", "C"]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("3+ years", 3),
        ("minimum 4 yrs of it", 4),
        ("5-7 years", 5),
        ("Ten years as a cook", 10),
        ("in the last 5 years", np.nan),
        ("aged 30 years old", np.nan),
        ("2015 to 2019", np.nan),
        ("18 months of experience", 1),
        ("30+ months' work experience", 2),
        ("6 months of retail experience", 0),
        ("1 year 6 months as cook", 1),
        ("within 18 months", np.nan),
        ("a contract of 12 months", np.nan),
    ],
)
def test_years(text, years):
    assert extract_facts([text])["years"].iloc[0] == pytest.approx(years, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("Cook\nBased in Porto Alegre, Brazil", "Porto Alegre"),
        ("Location: Lyon", "Lyon"),
        ("join our New York office", "New York"),
        ("Cook\n## Experience\nliving in Rome", ""),
        ("living in sin", ""),
    ],
)
def test_places(text, city):
    assert extract_facts([text])["city"].iloc[0] == city


def test_segments_know_their_section():
    text = "Cook in Rome\n## We need\n• soups; sauces\n## Something else\nfish"
    cook, soups, sauces, fish = split_segments(text)
    assert cook.text == "Cook in Rome"
    assert cook.in_header
    assert not cook.under_heading
    for required in (soups, sauces):
        assert required.under_heading
        assert not required.in_header
        assert not required.is_optional
    assert [soups.text, sauces.text] == ["soups", "sauces"]
    assert fish.text == "fish"
    assert fish.is_optional


def test_the_occupation_is_inferred_only_where_the_skills_agree():
    graph = load_graph()
    essential = graph.occupations["data_analyst"].essential
    names = [graph.skills[skill].name for skill in essential]
    assert infer_occupation(names) == "data_analyst"
    assert infer_occupation(["Teamwork"]) == ""
    assert infer_occupation([]) == ""


class Oracle:
    """An encoder whose vectors are the skill that a phrase means: similarity is never wrong."""

    def __init__(self, extra):
        self.number_of = {}
        for number, skill in enumerate(load_graph().skills.values()):
            for phrase in (skill.name, *skill.aliases, *skill.evidence):
                self.number_of[phrase] = number
        self.number_of.update(extra)

    def encode_resumes(self, texts):
        vectors = np.zeros((len(texts), 400), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row, self.number_of.get(text, 399)] = 1
        return vectors


def test_unknown_words_count_as_the_most_similar_skill():
    # welding_arc is no skill of a data analyst
    skills = list(load_graph().skills)
    encoder = Oracle(
        {"asked databases things": skills.index("sql"), "sang": skills.index("welding_arc")}
    )
    text = "Data analyst in Leeds.\n## Experience\nasked databases things; sang; Tableau"
    assert extract_facts([text])["skills"].iloc[0] == "Tableau"
    assert extract_facts([text], encoder=encoder)["skills"].iloc[0] == "Tableau; SQL"
    # a phrase that is left out has no similarity with the rest of its skill, here
    assert similarity_threshold(encoder) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("statement", "held"),
    [
        ("I have never asked databases things", ""),
        ("asked databases things every day", "; SQL"),
    ],
)
def test_a_statement_in_unknown_words_counts_for_a_resume_where_it_is_held(statement, held):
    skills = list(load_graph().skills)
    encoder = Oracle({statement: skills.index("sql"), "sang": skills.index("welding_arc")})
    text = f"Data analyst in Leeds.\n## Experience\n{statement}; sang; Tableau"
    assert extract_facts([text], encoder=encoder)["skills"].iloc[0] == "Tableau; SQL"
    of_resume = extract_facts([text], encoder=encoder, only_held=True)
    assert of_resume["skills"].iloc[0] == f"Tableau{held}"


class Plain:
    """Encodes texts as the vectors that it is given, others alike as none."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_resumes(self, texts):
        empty = np.zeros(3, dtype=np.float32)
        return np.stack([np.asarray(self.vectors.get(text, empty)) for text in texts])


def test_statements_and_skills_are_assigned_together(monkeypatch):
    monkeypatch.setattr(facts_module, "similarity_threshold", lambda _, share: 0.5)
    # a data analyst's: each statement's nearest skill is SQL, but only one of them can be it
    sql, tableau = load_graph().skills["sql"], load_graph().skills["tableau"]
    vectors = {sql.name: (1, 0, 0), tableau.name: (0.8, 0.6, 0)}
    for skill in (sql, tableau):
        whole = "; ".join((skill.name, *skill.aliases, *skill.evidence))
        vectors[whole] = vectors[skill.name]
    statements = [np.array([0.95, 0.3, 0]), np.array([0.97, 0.2, 0])]
    found = match_skills_by_similarity(
        statements, [False, False], "data_analyst", set(), Plain(vectors)
    )
    assert found == [tableau.name, sql.name]


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


@pytest.mark.parametrize(
    ("line", "skills"),
    [
        ("Tableau; Python; asked databases", "Tableau; Python; SQL"),
        ("Tableau\nPython\nasked databases", "Tableau; Python"),
        ("Tableau; asked databases", "Tableau"),
        ("sang; danced; asked databases", ""),
    ],
)
def test_an_item_of_a_list_with_a_known_skill_needs_less_similarity(
    line, skills, encoder, monkeypatch
):
    thresholds = {SHARE_OF_SKILLS: 0.9, LISTED_SHARE_OF_SKILLS: 0.2}
    monkeypatch.setattr(facts_module, "similarity_threshold", lambda _, share: thresholds[share])
    text = f"Data analyst in Leeds.\n## Experience\n{line}"
    assert extract_facts([text], encoder=encoder)["skills"].iloc[0] == skills


@pytest.mark.parametrize(
    ("header", "remote"),
    [
        ("Data analyst, Leeds, open to working from home", "yes"),
        ("Data analyst, Leeds, home address", "no"),
        ("Data analyst, Leeds, email me", "no"),
        ("Data analyst, based in Leeds", "no"),
    ],
)
def test_remote_work_is_what_is_nearest_to_a_phrase_for_it(header, remote, encoder):
    assert extract_facts([header], encoder=encoder)["remote"].iloc[0] == remote


def test_a_random_encoder_adds_few_skills(tiny_model_folder, tmp_path):
    encoder = Encoder(str(tiny_model_folder), None, cache_dir=tmp_path)
    frame = Market(5, detail=3).resumes(40, "train")
    texts = frame["text"].tolist()
    by_phrases = extract_facts(texts)["skills"].str.count(";")
    with_similar = extract_facts(texts, encoder=encoder)["skills"].str.count(";")
    n_added = with_similar - by_phrases
    assert n_added.min() >= 0
    assert n_added.mean() < 0.5


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("7\u00a0years", 7),
        ("5\u20117 years", 5),
        ("5\u22127\u202fyrs", 5),
        ("7  years", 7),
        ("５ years", 5),
        ("5 to 7 years", 5),
        ("three to five years", 3),
        ("3/4 years", 3),
        ("7 + years", 7),
        ("1.5 years", 1),
        ("5\u20137-year", np.nan),
    ],
)
def test_years_however_they_are_written(text, years):
    assert extract_facts([text])["years"].iloc[0] == pytest.approx(years, nan_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "Cook\nliving in Zu\u0308rich",
        "Cook\nliving\u00a0in\u202fZürich",
        "Cook\nliving in Z\u00adürich",
        "Cook\u2028living in Zürich",
    ],
)
def test_a_place_however_it_is_written(text):
    assert extract_facts([text])["city"].iloc[0] == "Zürich"


@pytest.mark.parametrize(
    ("text", "skills", "nice"),
    [
        (
            "Analyst\n## Requirements\nSQL\nPython\nCash flow forecasting",
            "SQL; Python; Cash flow forecasting",
            "",
        ),
        ("SKILLS\nSQL\nPYTHON\nGIT", "SQL; Python; Git", ""),
        ("SKILLS\nGRPC\nPYTHON\nSQL\nEDUCATION\nnone", "Python; SQL", ""),
        ("## Requirements\n\nGRPC\n\nSQL\n\nPython", "SQL; Python", ""),
        ("## Requirements\nKAFKA\nSQL\nNICE TO HAVE\nPYTHON", "SQL", "Python"),
        ("## Requirements\nDatabases:\nSQL\nLanguages and more:\nPython", "SQL; Python", ""),
        ("REQUIREMENTS\nSQL\n\nWELCOME EXTRAS\nPython", "SQL", "Python"),
        ("S K I L L S\nS Q L\nPython", "Python", ""),
    ],
)
def test_items_are_no_headings(text, skills, nice):
    facts = extract_facts([text]).iloc[0]
    assert (facts["skills"], facts["nice_skills"]) == (skills, nice)


def test_a_segment_keeps_its_plain_form_and_its_original():
    text = "Head\n## Skills\n\uf0b7\u00a0cash ﬂow; de\u00adbug\u200bging"
    _, cash_flow, debugging = split_segments(text)
    assert cash_flow.text == "cash flow"
    assert cash_flow.original == "cash ﬂow"
    assert debugging.text == "debugging"
    assert debugging.original == "de\u00adbug\u200bging"


@pytest.mark.parametrize(
    "unit",
    [
        "/",
        " ",
        "A",
        "A-",
        "Aa ",
        "our A",
        "0 years ",
        "cook ",
        ". ",
        "SQL ",
        "\u0301\u0316",
        "S ",
        ":",
        "•",
        "a;",
        "living in A ",
    ],
)
def test_the_time_is_linear_in_any_line(unit):
    """Four times the line, at most some ten times the time; 120 slashes once took 14 s."""

    def seconds(n):
        text = unit * (n // len(unit)) + "!"
        started = time.process_time()
        extract_facts([text])
        return time.process_time() - started

    assert seconds(80_000) < 10 * seconds(20_000) + 1


def test_a_line_of_a_million_characters_is_read():
    for unit in ("/", " "):
        started = time.process_time()
        facts = extract_facts([f"Cook in Leeds\n{unit * 1_000_000}\nSQL"])
        assert facts["skills"].iloc[0] == "SQL"
        assert time.process_time() - started < 60
