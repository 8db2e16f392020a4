"""Swapped gender terms: by example, there and back, on redacted text; copies of training resumes."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data import privacy
from matchlib.data.gender_terms import (
    add_swapped_copies,
    name_pairs,
    next_names,
    redact_gender_terms,
    swap_gender_terms,
    swap_names_within_gender,
    term_pairs,
)
from matchlib.data.market.simulation import Market
from matchlib.data.names import unambiguous_names
from matchlib.data.schema import DataError


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("She led her team.", "He led his team."),
        ("The award was hers; we gave it to her.", "The award was his; we gave it to him."),
        # words in capitals are not found
        ("He asked her to lead; HIS car is his.", "She asked him to lead; HIS car is hers."),
        ("Captain of the women's football club.", "Captain of the men's football club."),
        ("Returned from Maternity leave.", "Returned from Paternity leave."),
        ("Chairwoman, salesmen and a stepfather.", "Chairman, saleswomen and a stepmother."),
        ("Mrs Anna Smith", "Mr Bobby Smith"),
        ("Dr. James Brown helped himself.", "Dr. Jenna Brown helped herself."),
        ("王女士：她 is ELENA MILLER", "王先生：他 is ELIGIO MILLER"),
    ],
)
def test_by_example(text, swapped):
    assert swap_gender_terms(text) == swapped


def test_words_that_name_no_person_stay():
    text = "Female connector, maternity ward, mother tongue, Grace Hospital, née"
    assert swap_gender_terms(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "He himself led his team; the chairman asked him.",
        "Sir, Peter Brown and the gentlemen's fraternity",
    ],
)
def test_swapping_twice_restores_the_text(text):
    swapped = swap_gender_terms(text)
    assert swapped != text
    assert swap_gender_terms(swapped) == text


def test_mrs_is_not_restored():
    assert swap_gender_terms(swap_gender_terms("Mrs Miller")) == "Ms Miller"


def lower_case(names):
    return {name.lower() for name in names}


def test_nearly_every_unambiguous_name_has_a_counterpart():
    names = unambiguous_names()
    known = lower_case(names["woman"]) | lower_case(names["man"])
    has_counterpart = [name in name_pairs() for name in known]
    assert np.mean(has_counterpart) > 0.99


def test_names_change_gender():
    women = lower_case(unambiguous_names()["woman"])
    for name, counterpart in name_pairs().items():
        assert counterpart != name
        if name in women:
            assert counterpart not in women


def test_names_within_the_shorter_list_are_mutual():
    pairs = name_pairs()
    is_mutual = [pairs[counterpart] == name for name, counterpart in pairs.items()]
    assert np.mean(is_mutual) > 0.6


def test_every_term_is_swapped_and_redacted():
    titles = {"mr", "ms", "mrs", "miss", "sir", "madam", "ma'am", "sra", "srta"}
    for word in term_pairs():
        text = f"It says {word} there"
        if word in ("m", "f"):
            text = f"Gender: {word.upper()}"
        elif word > "一":
            text = f"，{word}，"
        elif word in titles:
            text = f"It says {word.capitalize()} Of there"
        assert privacy.redact(text)[0] != text, text
        assert swap_gender_terms(text) != text, text


@pytest.fixture(scope="module")
def gendered_texts():
    return list(Market(3, gender_shown=1.0, gender_proxies=1.0).resumes(150, "test")["text"])


def test_redacted_text_does_not_change(gendered_texts):
    for text in gendered_texts:
        assert swap_gender_terms(text) != text
        redacted = redact_gender_terms(text)
        assert swap_gender_terms(redacted) == redacted


def test_redaction_removes_the_gender(gendered_texts):
    """The redacted resume of a woman is that of the man with the same resume."""
    for text in gendered_texts:
        swapped = swap_gender_terms(text)
        assert redact_gender_terms(swapped) == redact_gender_terms(text)


@pytest.fixture(scope="module")
def market_tables():
    """Tables in which about half of the resumes hold a gendered word."""
    market = Market(2, occupations=4, gender_proxies=0.5, true_fit_share=0.05)
    return market.tables({"train": (20, 40), "valid": (5, 10)})


@pytest.fixture(scope="module")
def gendered_resumes(market_tables):
    resumes = market_tables["resumes"]
    holds_term = resumes["text"].str.contains("club|leave")
    gendered = resumes[holds_term & (resumes["split"] == "train")]
    assert 0 < len(gendered) < 40
    return gendered


def added_rows(market_tables, name):
    before = market_tables[name]
    after = add_swapped_copies(market_tables)[name]
    pd.testing.assert_frame_equal(after[: len(before)], before)
    return after[len(before) :]


def test_training_resumes_with_a_gender_term_are_copied(market_tables, gendered_resumes):
    copies = added_rows(market_tables, "resumes")
    expected = [f"{resume_id}~swapped" for resume_id in gendered_resumes["resume_id"]]
    assert copies["resume_id"].tolist() == expected
    for copy, original in zip(copies["text"], gendered_resumes["text"], strict=True):
        changed_words = set(copy.split()) ^ set(original.split())
        assert len(changed_words) == 2  # one word, before and after


@pytest.mark.parametrize("name", ["labels", "truth"])
def test_copies_have_the_labels_of_the_originals(market_tables, gendered_resumes, name):
    table = market_tables[name]
    originals = table[table["resume_id"].isin(gendered_resumes["resume_id"])]
    copies = added_rows(market_tables, name)
    assert len(copies)
    assert (copies["split"] == "train").all()
    copied_ids = copies["resume_id"].str.removesuffix("~swapped")
    assert copied_ids.tolist() == originals["resume_id"].tolist()


def test_jobs_are_not_copied(market_tables):
    assert add_swapped_copies(market_tables)["jobs"] is market_tables["jobs"]


def test_tables_without_a_gender_term_are_refused():
    tables = Market(2, occupations=4).tables({"train": (2, 5)})
    with pytest.raises(DataError, match="nothing to add"):
        add_swapped_copies(tables)


def test_names_within_gender_leave_words_and_no_name_as_it_was():
    text = "Mrs Anna Smith asked James: she leads the women's club."
    changed = swap_names_within_gender(text)
    assert changed.startswith("Mrs ") and changed.endswith(": she leads the women's club.")
    assert "Anna" not in changed and "James" not in changed
    kinds = unambiguous_names()
    own = {gender: {name.lower() for name in names} for gender, names in kinds.items()}
    for name, follower in next_names().items():
        assert name != follower
        assert not any(name in own[a] and follower in own[b] for a in own for b in own if a != b)
