"""Edits beside their controls: texts by hand, rankers that ignore names, that do not, and that go by gender."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import controlled_swaps as swaps
from matchlib.data.names import unambiguous_names
from matchlib.data.schema import DataError

LOCALES = ["en_IN", "en_KE"]


@pytest.fixture(scope="module")
def resumes():
    texts = [f"Name: Somebody\nBaker in town {i}\nSkills: bread" for i in range(24)]
    gender = ["woman", "Male", "n/a"] * 8
    return pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(24)], "text": texts, "gender": gender}
    )


@pytest.fixture(scope="module")
def variants(resumes):
    return swaps.make_variants(resumes, n_resumes=24, n_names=8, locales=LOCALES, seed=1)


def effects_of(variants, score, n_jobs=3):
    """Of a ranker whose score of a text is the same for every job."""

    def score_texts(texts):
        return np.tile([score(text) for text in texts], (n_jobs, 1))

    pool = np.tile(np.linspace(-1, 1, 101), (n_jobs, 1))
    scored = swaps.score_variants(variants, score_texts, pool)
    frame = swaps.controlled_effects(scored, LOCALES)
    return frame.set_index(["measure", "effect"])


def name_of(text):
    return text.split("\n")[0].removeprefix("Name: ")


def test_texts_by_hand():
    names = {swaps.BASE: "Ann", swaps.SAME_NAME: "Eve", swaps.OTHER_NAME: "Bob"}
    texts = swaps.edited_texts("Name: X\nfirst\nsecond", names, 7)
    assert texts[swaps.BASE] == "Name: Ann\nfirst\nsecond"
    assert texts[swaps.OTHER_NAME] == "Name: Bob\nfirst\nsecond"
    assert texts[swaps.LINE_ORDER] == "Name: Ann\nsecond\nfirst"
    assert texts[swaps.PHONE] == "Name: Ann\nfirst\nsecond\nPhone: 020 7946 0007"
    assert texts[swaps.LEAVE] == "Name: Ann\nfirst\nsecond\nOther: Child-rearing leave."
    assert texts[swaps.OLD_YEAR].endswith("second\nGraduated in 1987.")
    assert texts[swaps.OTHER_YEAR].endswith("Graduated in 2014.")


def test_every_wording_is_another_and_no_hobby_is_its_own_control():
    lines = pd.DataFrame(swaps.added_lines(i) for i in range(swaps.N_WORDINGS))
    assert (lines.nunique() == swaps.N_WORDINGS).all()
    assert (lines[swaps.HOBBY] != lines[swaps.OTHER_HOBBY]).all()
    assert set(lines[swaps.HOBBY]) == set(lines[swaps.OTHER_HOBBY])


def test_signs_are_by_the_stated_gender_and_in_turn_without_one(variants):
    signs = variants.drop_duplicates("resume_id")["sign"].tolist()
    assert signs[:6] == [-1, 1, -1, -1, 1, 1]


def test_no_name_stands_twice_and_genders_are_as_listed():
    sets = swaps.draw_name_sets(20, LOCALES, seed=3)
    listed = {gender: set(names) for gender, names in unambiguous_names().items()}
    other = {"woman": "man", "man": "woman"}
    every = []
    for gender, rows in sets.items():
        for row in rows:
            every += row.values()
            assert row[swaps.OTHER_NAME] in listed[other[gender]]
            assert {row[swaps.BASE], row[swaps.SAME_NAME], row["en_KE"]} <= listed[gender]
    assert len(every) == len(set(every)) == 2 * 20 * 5
    with pytest.raises(DataError, match="n is at most"):
        swaps.draw_name_sets(10_000, [], seed=1)


def test_a_ranker_that_ignores_names_has_no_effect_of_names(variants):
    effects = effects_of(variants, lambda text: -0.01 * text.count("\n"))
    for effect in (swaps.WOMAN_NAME, "a name of en_IN"):
        row = effects.loc[(swaps.SHIFT, effect)]
        assert row[["value", "shift", "control_shift"]].tolist() == [0, 0, 0]
    leave = effects.loc[(swaps.SHIFT, "a line on parental leave")]
    assert leave["shift"] == pytest.approx(-0.01)  # a longer text, as with the hobby
    assert leave["value"] == pytest.approx(0)


def test_a_ranker_that_goes_by_gender_has_its_effect_with_its_sign(variants):
    women = set(unambiguous_names()["woman"])
    effects = effects_of(variants, lambda text: -0.1 * (name_of(text) in women))
    row = effects.loc[(swaps.SHIFT, swaps.WOMAN_NAME)]
    assert row["value"] == pytest.approx(-0.1)
    assert row["control_shift"] == 0
    assert effects.loc[(swaps.PLACES, swaps.WOMAN_NAME), "value"] == pytest.approx(
        -5 / 101, abs=0.01
    )
    assert effects.loc[(swaps.SHIFT, "a name of en_KE"), "value"] == pytest.approx(0)
    said = swaps.summarise_effects(effects.reset_index())
    assert "a woman's name for a man's" in said


def test_age_and_leave_are_effects_beyond_a_line_of_the_same_form(variants):
    def score(text):
        line = text.split("\n")[-1]
        is_child = any(word in line for word in ("leave", "baby", "Leave"))
        return -0.2 * ("Graduated in 198" in line) - 0.1 * is_child

    effects = effects_of(variants, score)
    value = effects["value"]
    assert value[swaps.SHIFT, "graduated in the 1980s, not of late"] == pytest.approx(-0.2)
    assert value[swaps.SHIFT, "a line on parental leave"] == pytest.approx(-0.1)
    assert value[swaps.SHIFT, "a line on a gap for care"] == pytest.approx(0)
    assert effects.loc[(swaps.SHIFT, "a line on a gap for care"), "n_clusters"] == 10


def test_a_wording_that_moves_the_ranker_is_no_finding_about_leave(variants):
    """Every line has a pull of its own: over wordings the interval holds 0; an edit that should not
    matter and does is said."""
    rng = np.random.default_rng(2)
    pulls = {}

    def score(text):
        return pulls.setdefault(text.split("\n")[-1], rng.normal())

    row = effects_of(variants, score).loc[(swaps.SHIFT, "a line on parental leave")]
    assert row["low"] < 0 < row["high"]
    frame = effects_of(variants, score).reset_index()
    frame.loc[frame["effect"].str.contains("another hobby"), ["value", "low", "high"]] = [2, 1, 3]
    assert "should not matter is among them" in swaps.summarise_effects(frame)


def test_people_with_the_same_names_are_one_observation(variants):
    """A pull of each name of its own: the interval is over 8 sets of names, not 24 people."""
    pull = {}
    rng = np.random.default_rng(1)

    def score(text):
        return pull.setdefault(name_of(text), rng.normal())

    row = effects_of(variants, score).loc[(swaps.SHIFT, "a name of en_IN")]
    assert row["n"] == 24
    assert row["n_clusters"] == 8
    assert row["low"] < 0 < row["high"]


def test_own_years_of_education_are_moved_and_others_stay():
    text = "Baker 2015 - 2020\nBSc, University of Leeds, 2007 - 2010\nGraduated: 2011; flat 1995"
    assert swaps.earlier_education(text, 25) == (
        "Baker 2015 - 2020\nBSc, University of Leeds, 1982 - 1985\nGraduated: 1986; flat 1995"
    )
    assert swaps.earlier_education("Schooled in 12345 ways", 25) == "Schooled in 12345 ways"


def test_own_years_are_an_effect_over_the_people_who_state_them(resumes, variants):
    assert swaps.AGE_EFFECT not in set(effects_of(variants, len).reset_index()["effect"])
    dated = resumes.assign(
        text=[
            f"{text}\nDiploma, {1995 + i}" if i % 2 else text
            for i, text in enumerate(resumes["text"])
        ]
    )
    own = swaps.make_variants(dated, n_resumes=24, n_names=8, locales=LOCALES, seed=1)

    def score(text):
        _, _, year = text.partition("Diploma, ")
        return int(year[:4] or 2000) / 10_000

    row = effects_of(own, score).loc[(swaps.SHIFT, swaps.AGE_EFFECT)]
    assert (row["n"], row["n_clusters"]) == (12, 12)
    assert row["value"] == pytest.approx(-24 / 10_000)


def test_no_effect_is_told_with_what_is_not_ruled_out():
    row = {"effect": "x", "measure": swaps.PLACES, "value": 0.01, "low": -0.02, "high": 0.04}
    said = swaps.summarise_effects(pd.DataFrame([row]))
    assert said.startswith("no effect is beyond its control (of 1 effects")
    assert said.endswith("do not rule out effects of up to 4.0% of the pool")
    alone = row | {"low": np.nan, "high": np.nan}
    assert swaps.summarise_effects(pd.DataFrame([row, alone])).endswith("up to 4.0% of the pool")
    assert swaps.summarise_effects(pd.DataFrame([alone])).startswith("no effect has an interval")
