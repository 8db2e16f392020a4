"""Reading: what is found in the market's texts and in foreign ones, and that no held-out word is known."""

import time

import numpy as np
import pytest

from matchlib.analysis import reading
from matchlib.analysis.reading import (
    COLUMNS,
    Phrases,
    cut,
    likely_occupation,
    nearness,
    read_facts,
    tokenize,
)
from matchlib.data.market import Market
from matchlib.data.skills import load_graph
from matchlib.data.wording import SLOTS
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
def test_training_wording_is_read_without_a_fault(table, years):
    frame = getattr(Market(5, detail=3), table)(150, "train")
    facts = read_facts(frame["text"].tolist())
    for column in ("city", "remote", "seniority", "degree", "occupation", "title"):
        assert facts[column].tolist() == frame[column].tolist(), column
    assert facts["years"].tolist() == frame[years].tolist()
    columns = ("skills", "nice_skills") if table == "jobs" else ("skills",)
    for column in columns:
        found, true = (f[column].str.split("; ").map(set) for f in (facts, frame))
        assert (found == true).mean() > 0.97, column


def test_an_advert_of_another_make_is_read():
    facts = read_facts([ADVERT]).iloc[0]
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
def test_a_text_that_says_nothing_gives_nothing(text):
    facts = read_facts([text]).iloc[0]
    assert facts.drop(["years", "remote"]).tolist() == [""] * (len(COLUMNS) - 2)
    assert np.isnan(facts["years"]) or facts["years"] == 0


def test_held_out_wording_is_never_read():
    held_out = load_graph("held_out").skills.values()
    known = {
        tokens for listed in reading.phrases("skill").by_first.values() for tokens, _ in listed
    }
    assert not known & {
        tuple(tokenize(word)) for skill in held_out for word in (*skill.aliases, *skill.evidence)
    }
    for kind, names in (
        ("seniority", ("junior", "middle", "senior", "lead")),
        ("degree", ("bachelor", "master")),
    ):
        known = {
            tokens for listed in reading.phrases(kind).by_first.values() for tokens, _ in listed
        }
        assert not known & {
            tuple(tokenize(word)) for name in names for word in SLOTS["held_out"][name]
        }


def test_the_longest_phrase_wins_at_word_boundaries():
    known = Phrases(
        [
            ("machine learning", "ML"),
            ("machine learning engineer", "title"),
            ("c++", "C++"),
            ("c", "C"),
        ]
    )
    found = [
        hit.value
        for hit in known.find(tokenize("Machine-learning engineer; C++ and C, not abc or machine"))
    ]
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
    assert read_facts([text])["years"].iloc[0] == pytest.approx(years, nan_ok=True)


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
    assert read_facts([text])["city"].iloc[0] == city


def test_statements_know_where_they_stand():
    text = "Cook in Rome\n## We need\n• soups; sauces\n## Something else\nfish"
    pieces = {piece.text: (piece.head, piece.listed, piece.nice) for piece in cut(text)}
    assert pieces == {
        "Cook in Rome": (True, False, False),
        "soups": (False, True, False),
        "sauces": (False, True, False),
        "fish": (False, True, True),
    }


def test_the_occupation_is_told_from_skills_only_where_they_agree():
    analyst = load_graph().occupations["data_analyst"]
    assert (
        likely_occupation([load_graph().skills[skill].name for skill in analyst.essential])
        == "data_analyst"
    )
    assert likely_occupation(["Teamwork"]) == likely_occupation([]) == ""


class Oracle:
    """An encoder whose vectors are the skill that a phrase means: likeness is then never wrong."""

    def __init__(self, extra):
        self.number = {
            phrase: i
            for i, skill in enumerate(load_graph().skills.values())
            for phrase in (skill.name, *skill.aliases, *skill.evidence)
        } | extra

    def encode_resumes(self, texts):
        vectors = np.zeros((len(texts), 400), dtype=np.float32)
        vectors[range(len(texts)), [self.number.get(text, 399) for text in texts]] = 1
        return vectors


def test_unknown_words_count_as_the_skill_they_are_like():
    skills = list(load_graph().skills)  # of which welding_arc is none that a data analyst has
    encoder = Oracle(
        {"asked databases things": skills.index("sql"), "sang": skills.index("welding_arc")}
    )
    text = "Data analyst in Leeds.\n## Experience\nasked databases things; sang; Tableau"
    assert read_facts([text])["skills"].iloc[0] == "Tableau"
    assert read_facts([text], encoder=encoder)["skills"].iloc[0] == "Tableau; SQL"
    assert nearness(encoder) == pytest.approx(1)


def test_a_random_encoder_is_hardly_ever_believed(tiny_model_folder, tmp_path):
    encoder = Encoder(str(tiny_model_folder), None, cache_dir=tmp_path)
    frame = Market(5, detail=3).resumes(40, "train")
    plain, alike = (
        read_facts(frame["text"].tolist()),
        read_facts(frame["text"].tolist(), encoder=encoder),
    )
    added = [
        len(b.split("; ")) - len(a.split("; "))
        for a, b in zip(plain["skills"], alike["skills"], strict=True)
    ]
    assert min(added) >= 0
    assert np.mean(added) < 0.5


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
    assert read_facts([text])["years"].iloc[0] == pytest.approx(years, nan_ok=True)


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
    assert read_facts([text])["city"].iloc[0] == "Zürich"


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
    facts = read_facts([text]).iloc[0]
    assert (facts["skills"], facts["nice_skills"]) == (skills, nice)


def test_a_statement_is_matched_in_plain_form_and_shown_as_it_is_written():
    pieces = cut("Head\n## Skills\n\uf0b7\u00a0cash ﬂow; de\u00adbug\u200bging")
    assert [(piece.text, piece.shown) for piece in pieces[1:]] == [
        ("cash flow", "cash ﬂow"),
        ("debugging", "de\u00adbug\u200bging"),
    ]


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
        read_facts([text])
        return time.process_time() - started

    assert seconds(80_000) < 10 * seconds(20_000) + 1


def test_a_line_of_a_million_characters_is_read():
    for unit in ("/", " "):
        started = time.process_time()
        assert read_facts([f"Cook in Leeds\n{unit * 1_000_000}\nSQL"])["skills"].iloc[0] == "SQL"
        assert time.process_time() - started < 60
