"""Two rankings side by side, and texts whose requirements are marked."""

import html
import re

import pandas as pd
import pytest

from matchlib.explore.compare import describe_moves, lists_html, ranks_side_by_side
from matchlib.explore.marks import MET, MISSING, marked_text, pair_html, skill_places

HOSTILE = (
    '<script>alert(1)</script> <mark class="met">mine</mark> <img src=x onerror=alert(1)> &amp; '
    "\u202eevil\u202c \x00 \ud800 Forklift driving, \"quotes\" and 'more'"
)


def ranking(*candidates):
    return pd.DataFrame(
        {"candidate_id": list(candidates), "rank": range(1, len(candidates) + 1), "score": 0.5}
    )


def test_every_candidate_of_either_list_has_both_ranks_and_its_move():
    compared = ranks_side_by_side(ranking("a", "b", "c", "d"), ranking("d", "a", "c", "b"), top=2)
    assert compared.to_dict("list") == {
        "candidate_id": ["a", "d", "b"],
        "first_rank": [1, 4, 2],
        "second_rank": [2, 1, 4],
        "places_up": [-1, 3, -2],
    }
    told = describe_moves(compared, top=2)
    assert told.startswith("1 of 2 candidates are in both lists.")
    assert "Furthest up: d, from 4 to 1." in told and "Furthest down: b, from 2 to 4." in told


def test_equal_rankings_move_nothing():
    compared = ranks_side_by_side(ranking("a", "b"), ranking("a", "b"), top=10)
    assert compared["places_up"].tolist() == [0, 0]
    assert describe_moves(compared, top=10) == "2 of 2 candidates are in both lists."


def test_a_candidate_that_one_system_did_not_rank_is_there_without_a_move():
    compared = ranks_side_by_side(ranking("a"), ranking("b", "a"), top=2).set_index("candidate_id")
    assert compared["first_rank"].isna()["b"] and compared["places_up"].isna()["b"]
    assert compared.loc["a", "places_up"] == -1
    shown = lists_html(compared.reset_index(), ("x", "y"), {"a": "A", "b": "B"}, top=2)
    assert "not ranked" in shown


def test_no_candidate_at_all_is_said():
    empty = ranking().astype({"candidate_id": str, "rank": int})
    compared = ranks_side_by_side(empty, empty, top=3)
    assert compared.empty and describe_moves(compared, top=3) == "Neither system ranks a candidate."


def tags(shown):
    return set(re.findall(r"<\s*/?\s*[^\s>]+", shown))


def test_a_hostile_text_in_a_list_stays_text():
    compared = ranks_side_by_side(ranking("<b>x"), ranking("<b>x"), top=1)
    shown = lists_html(compared, ("<i>", "two"), {"<b>x": HOSTILE}, top=1)
    own = {f"<{end}{name}" for name in ("table", "tr", "td", "th", "b") for end in ("", "/")}
    assert tags(shown) == own
    assert "&lt;b&gt;x" in shown and "&lt;i&gt;" in shown and "&lt;script&gt;" in shown


@pytest.mark.parametrize("text", [HOSTILE, "", "Forklift driving", "İstanbul; forklift driving"])
def test_marked_text_is_the_text_with_our_marks_alone(text):
    skills = {skill: MET for _, _, skill in skill_places(text)}
    shown = marked_text(text, skills)
    without_marks = re.sub(r'<mark class="(?:met|missing)">|</mark>', "", shown)
    assert "<" not in without_marks and not re.search("[\x00\u202e\ud800]", shown)
    if text == HOSTILE:
        assert "⟨U+202E⟩" in shown and "⟨U+D800⟩" in shown
        assert "&lt;mark class=&quot;met&quot;&gt;mine&lt;/mark&gt;" in shown
    else:
        assert html.unescape(without_marks) == text


def test_matched_and_missing_skills_are_marked_where_they_stand():
    job = "We need:\n- restocking\n- UPSELLING\n- inventory audit"
    places = [(job[start:end], skill) for start, end, skill in skill_places(job)]
    assert places[:2] == [("restocking", "Stock replenishment"), ("UPSELLING", "Upselling")]
    shown = marked_text(job, {"Stock replenishment": MET, "Upselling": MISSING})
    assert '<mark class="met">restocking</mark>' in shown
    assert '<mark class="missing">UPSELLING</mark>' in shown and "- inventory audit" in shown


def test_marks_stand_in_the_original_where_its_plain_form_is_longer():
    text = "\u2022 \ufb01rst aid\n\u2022 Upselling"  # a ligature becomes two letters
    shown = marked_text(text, {"Upselling": MET})
    assert '<mark class="met">Upselling</mark>' in shown
    assert html.unescape(re.sub("<[^>]+>", "", shown)) == text


def test_a_pair_names_its_reasons_and_marks_the_resume_with_what_is_met():
    reasons = {
        "matched_skills": "Upselling",
        "denied_skills": "",
        "resume_not_read": "",
        "not_stated_skills": "Stock replenishment",
        "required_years": 3,
        "resume_years": pd.NA,
        "place": "Leeds against <Exeter>",
        "nearest": "a <- b (0.50) | c <- d (0.10)",
    }
    shown = pair_html("restocking; Upselling", "Upselling; restocking", reasons)
    job, resume = shown.split("<b>Resume</b>")
    assert '<mark class="missing">restocking</mark>' in job
    assert '<mark class="met">Upselling</mark>' in job and '<mark class="met">' in resume
    assert "missing" not in resume
    assert "Leeds against &lt;Exeter&gt;" in shown and "<i>none found</i>" in shown
    assert shown.count("<li>") == 2 and "a &lt;- b" in shown


def test_a_very_long_text_is_cut_and_says_so():
    shown = marked_text("Upselling " * 10_000, {"Upselling": MET})
    assert "more characters)" in shown and shown.count("<mark") == 2_000
