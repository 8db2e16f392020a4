"""Swapped texts: by example, there and back, on redacted text; overlap of rankings by hand and in its limits."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis.counterfactual import (
    compare_rankings,
    name_pairs,
    rank_biased_overlap,
    swap_gender_terms,
    term_pairs,
)
from matchlib.data import privacy
from matchlib.data.market import Market
from matchlib.data.names import unambiguous_names
from matchlib.data.schema import DataError


@pytest.mark.parametrize("text, swapped", [
    ("She led her team.", "He led his team."),
    ("The award was hers; we gave it to her.", "The award was his; we gave it to him."),
    ("He asked her to lead; HIS car is his.", "She asked him to lead; HIS car is hers."),  # capitals are not found
    ("Captain of the women's football club.", "Captain of the men's football club."),
    ("Returned from Maternity leave.", "Returned from Paternity leave."),
    ("Chairwoman, salesmen and a stepfather.", "Chairman, saleswomen and a stepmother."),
    ("Mrs Anna Smith", "Mr Bobby Smith"),
    ("Dr. James Brown helped himself.", "Dr. Jenna Brown helped herself."),
    ("王女士：她 is ELENA MILLER", "王先生：他 is ELIGIO MILLER"),
    ("Female connector, maternity ward, mother tongue, Grace Hospital, née",) * 2,
])
def test_by_example(text, swapped):
    assert swap_gender_terms(text) == swapped


def test_there_and_back_is_the_same_text():
    for text in ("He himself led his team; the chairman asked him.", "Sir, Peter Brown and the gentlemen's fraternity"):
        assert swap_gender_terms(text) != text
        assert swap_gender_terms(swap_gender_terms(text)) == text
    assert swap_gender_terms(swap_gender_terms("Mrs Miller")) == "Ms Miller"  # as English has it


def test_names_change_gender():
    """Every unambiguous name changes its gender, and pairs within the shorter list are mutual."""
    pairs = name_pairs()
    folded = {gender: {name.lower() for name in names} for gender, names in unambiguous_names().items()}
    assert all(pairs[name] not in folded["woman"] for name in folded["woman"] if name in pairs)
    assert np.mean([name in pairs for names in folded.values() for name in names]) > 0.99
    women = {name for name in pairs if name in {"mary", "julia", "fatima", "carmen", "ursula", "anna"}}
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
        assert privacy.redact(swapped, ["name", "gendered"]) == privacy.redact(text, ["name", "gendered"])
        assert swap_gender_terms(swapped) != swapped


def ranked(*orders, scores=None):
    return pd.DataFrame([(f"j{j}", c, i, -float(i)) for j, order in enumerate(orders)
                         for i, c in enumerate(order, start=1)], columns=["query_id", "candidate_id", "rank", "score"])


def test_overlap_by_hand():
    """abcd against bacx: agreement 0, 1, 1, 3/4 at depths 1 to 4, p = .5."""
    overlap = rank_biased_overlap(ranked("abcd"), ranked("bacx"), persistence=0.5)
    weights = [0.5, 0.25, 0.125, 0.0625]
    expected = 0.75 * weights[3] + 0 * weights[0] + weights[1] + weights[2] + 0.75 * weights[3]
    assert overlap["j0"] == pytest.approx(expected)


def test_overlap_in_its_limits():
    same = ranked("abcde", "xyz")
    assert rank_biased_overlap(same, same.sample(frac=1, random_state=1)).tolist() == pytest.approx([1, 1])
    assert rank_biased_overlap(ranked("abc"), ranked("xyz"))["j0"] == 0
    assert rank_biased_overlap(ranked("abcdef"), ranked("abcxyz"), depth=3)["j0"] == pytest.approx(1)
    top, tail = (rank_biased_overlap(ranked("abcdefgh"), ranked(other))["j0"] for other in ("bacdefgh", "abcdefhg"))
    assert top < tail < 1  # a change at the top weighs more
    with pytest.raises(DataError, match="same queries"):
        rank_biased_overlap(same, same[same["query_id"] == "j0"])


def test_what_moved_is_told_by_group():
    """b passes a for the first job only: b gains half a place on average and .5 in score."""
    before, after = ranked("abcd", "abcd"), ranked("bacd", "abcd")
    after.loc[after["candidate_id"].eq("b") & after["query_id"].eq("j0"), "score"] = -1.0
    after.loc[after["candidate_id"].eq("a") & after["query_id"].eq("j0"), "score"] = -2.0
    found = compare_rankings(before, after, k=1, groups=pd.Series({"a": "x", "b": "y", "c": "y", "d": "x"}))
    values = found.set_index(["measure", "group"])
    assert values.loc[("top 1 kept", "all"), "value"] == 0.5
    assert values.loc[("score shift", "y"), "value"] == 0.25 and values.loc[("score shift", "x"), "value"] == -0.25
    assert values.loc[("places up", "y"), "value"] == 0.25 and values.loc[("places up", "y"), "n"] == 2
    half = 12.706205 * np.std([0.5, 0], ddof=1) / np.sqrt(2)
    assert values.loc[("score shift", "y"), "high"] == pytest.approx(0.25 + half)
