"""Swapped gender terms: by example, there and back, on redacted text; copies of training resumes."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data import privacy
from matchlib.data.gender_terms import (
    add_swapped_copies,
    name_pairs,
    swap_gender_terms,
    term_pairs,
)
from matchlib.data.market import Market
from matchlib.data.names import unambiguous_names
from matchlib.data.schema import DataError


@pytest.mark.parametrize(
    "text, swapped",
    [
        ("She led her team.", "He led his team."),
        ("The award was hers; we gave it to her.", "The award was his; we gave it to him."),
        (
            "He asked her to lead; HIS car is his.",
            "She asked him to lead; HIS car is hers.",
        ),  # capitals are not found
        ("Captain of the women's football club.", "Captain of the men's football club."),
        ("Returned from Maternity leave.", "Returned from Paternity leave."),
        ("Chairwoman, salesmen and a stepfather.", "Chairman, saleswomen and a stepmother."),
        ("Mrs Anna Smith", "Mr Bobby Smith"),
        ("Dr. James Brown helped himself.", "Dr. Jenna Brown helped herself."),
        ("王女士：她 is ELENA MILLER", "王先生：他 is ELIGIO MILLER"),
        ("Female connector, maternity ward, mother tongue, Grace Hospital, née",) * 2,
    ],
)
def test_by_example(text, swapped):
    assert swap_gender_terms(text) == swapped


def test_there_and_back_is_the_same_text():
    for text in (
        "He himself led his team; the chairman asked him.",
        "Sir, Peter Brown and the gentlemen's fraternity",
    ):
        assert swap_gender_terms(text) != text
        assert swap_gender_terms(swap_gender_terms(text)) == text
    assert swap_gender_terms(swap_gender_terms("Mrs Miller")) == "Ms Miller"  # as English has it


def test_names_change_gender():
    """Every unambiguous name changes its gender, and pairs within the shorter list are mutual."""
    pairs = name_pairs()
    folded = {
        gender: {name.lower() for name in names} for gender, names in unambiguous_names().items()
    }
    assert all(pairs[name] not in folded["woman"] for name in folded["woman"] if name in pairs)
    assert np.mean([name in pairs for names in folded.values() for name in names]) > 0.99
    women = {
        name for name in pairs if name in {"mary", "julia", "fatima", "carmen", "ursula", "anna"}
    }
    assert women and all(pairs[name] not in women for name in women)
    assert sum(pairs[pairs[name]] == name for name in pairs) > 0.6 * len(pairs)
    assert all(pairs.get(name) != name for name in pairs)


def test_every_term_is_found_and_leaves_no_trace_when_redacted():
    """Whatever can be swapped is redacted."""
    spoken_to = {"mr", "ms", "mrs", "miss", "sir", "madam", "ma'am", "sra", "srta"}
    for word in term_pairs():
        text = f"It says {word} there"
        if word in ("m", "f"):
            text = f"Gender: {word.upper()}"
        elif word > "一":
            text = f"，{word}，"
        elif word in spoken_to:
            text = f"It says {word.capitalize()} Of there"
        assert privacy.redact(text)[0] != text, text
        assert swap_gender_terms(text) != text, text


@pytest.fixture(scope="module")
def gendered_texts():
    return list(Market(3, gender_shown=1.0, gender_proxies=1.0).resumes(150, "test")["text"])


def test_on_redacted_text_no_byte_changes(gendered_texts):
    for text in gendered_texts:
        assert swap_gender_terms(text) != text
        hidden = privacy.redact(text, ["name", "gendered"])[0]
        assert swap_gender_terms(hidden) == hidden


def test_redaction_forgets_which_gender_it_was(gendered_texts):
    """The redacted resume of a woman is that of the man with the same resume: nothing swappable was left behind."""
    for text in gendered_texts:
        swapped = swap_gender_terms(text)
        assert privacy.redact(swapped, ["name", "gendered"]) == privacy.redact(
            text, ["name", "gendered"]
        )
        assert swap_gender_terms(swapped) != swapped


def test_copies_are_of_training_resumes_that_hold_a_term_and_carry_their_labels():
    tables = Market(2, occupations=4, gender_proxies=0.5, true_fit_share=0.05).tables(
        {"train": (20, 40), "valid": (5, 10)}
    )
    added = add_swapped_copies(tables)
    resumes = added["resumes"][len(tables["resumes"]) :].set_index("resume_id")
    hinted = tables["resumes"].query(
        "split == 'train' and (text.str.contains('club') or text.str.contains('leave'))"
    )
    assert (
        list(resumes.index) == [f"{i}~swapped" for i in hinted["resume_id"]]
        and 0 < len(hinted) < 40
    )
    for one in hinted.itertuples():
        changed = resumes.loc[f"{one.resume_id}~swapped", "text"]
        assert changed != one.text and len(set(changed.split()) ^ set(one.text.split())) == 2
    for name in ("labels", "truth"):
        before = tables[name][tables[name]["resume_id"].isin(hinted["resume_id"])]
        after = added[name][len(tables[name]) :]
        assert (
            after["resume_id"].str.removesuffix("~swapped").tolist() == before["resume_id"].tolist()
        )
        assert len(before) and (after["split"] == "train").all()
        pd.testing.assert_frame_equal(added[name][: len(tables[name])], tables[name])
    assert added["jobs"] is tables["jobs"]
    with pytest.raises(DataError, match="nothing to add"):
        add_swapped_copies(Market(2, occupations=4).tables({"train": (2, 5)}))
