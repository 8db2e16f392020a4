"""Judges: the oracle, a language model, a file; both orders, ties, position bias."""

import numpy as np
import pandas as pd
import pytest
from canned import Canned

from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError
from matchlib.language import judge
from matchlib.language.likelihood import Likelihood
from matchlib.language.llm import Answer, LanguageModel, LanguageModelError
from matchlib.language.local import Local
from matchlib.retrieval.alignment import PairSet

PAIRS = pd.DataFrame(
    {
        "job_id": ["j"] * 4,
        "resume_a": ["good", "bad", "good", "empty"],
        "resume_b": ["bad", "good", "same", "none"],
    }
)
FIT = np.array([[0.9, 0.2], [0.2, 0.9], [0.9, 0.9], [0.0, 0.0]])
PART = {
    "jobs": pd.DataFrame({"job_id": ["j"], "text": ["a job"]}),
    "resumes": pd.DataFrame(
        {
            "resume_id": ["good", "bad", "same", "empty", "none"],
            "text": ["GOOD", "bad", "GOOD too", "nothing", "nothing else"],
        }
    ),
}


def test_a_reader_without_noise_prefers_the_fit_and_ties_where_the_position_decides():
    merged = judge.merge_orders(judge.oracle(PAIRS, FIT, noise=0.0, position_bias=0.05, seed=1))
    assert merged["preferred"].tolist() == ["a", "b", "tie", "tie"]
    assert (merged["confidence"].iloc[:2] > 90).all() and (merged["confidence"].iloc[2:] == 0).all()


def test_two_seeds_are_two_readers_who_keep_their_opinions():
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame(
        {"job_id": [f"j{i}" for i in range(400)], "resume_a": "a", "resume_b": "b"}
    )
    fit = rng.random((400, 2))
    first, again, other = (
        judge.merge_orders(judge.oracle(pairs, fit, noise=0.5, position_bias=0.0, seed=s))
        for s in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    agree = (first["preferred"] == other["preferred"]).mean()
    assert 0.6 < agree < 0.95
    turned = pairs.rename(columns={"resume_a": "resume_b", "resume_b": "resume_a"})
    mirrored = judge.merge_orders(
        judge.oracle(turned, fit[:, ::-1], noise=0.5, position_bias=0.0, seed=1)
    )
    assert (mirrored["preferred"].map({"a": "b", "b": "a"}) == first["preferred"]).all()


def test_position_bias_is_seen():
    for bias, share in (
        (-0.1, 1 / 3),
        (0.1, 2 / 3),
    ):  # only the pair of equals follows the position
        asked = judge.oracle(PAIRS.iloc[:3], FIT[:3], noise=0.0, position_bias=bias, seed=1)
        row = judge.measure_position_bias(asked)
        assert row["first_position"] == pytest.approx(share) and row["consistent"] == pytest.approx(
            2 / 3
        )
    always_first = asked.assign(first_wins=True, swapped_first_wins=True)
    row = judge.measure_position_bias(always_first)
    assert row["first_position"] == 1 and row["consistent"] == 0
    assert judge.merge_orders(always_first)["preferred"].eq("tie").all()


def answers(prompt):
    """A model that likes the word GOOD, and else the first position."""
    first, second = prompt.user.split("Resume A:")[1].split("Resume B:")
    choice = "A" if ("GOOD" in first) >= ("GOOD" in second) else "B"
    return Answer(
        f"One has more of what is asked.\n**Choice:** {choice}\nConfidence: 80", "stop", 10, 5
    )


def test_a_language_model_is_asked_both_ways():
    asked, left_out = judge.annotate(
        PAIRS, PART, judge.Annotator(model=LanguageModel(Canned(answers)), name="canned")
    )
    assert left_out == {}
    merged = judge.merge_orders(asked)
    assert merged["preferred"].tolist() == ["a", "b", "tie", "tie"]
    assert merged["annotator"].unique().tolist() == ["canned"]


def test_answers_in_prose_are_counted_and_refused_if_there_is_nothing_else():
    def talks(prompt):
        return (
            Answer("I would say that A is nicer.", "stop", 1, 1)
            if "GOOD" in prompt.user
            else answers(prompt)
        )

    asked, left_out = judge.annotate(
        PAIRS, PART, judge.Annotator(model=LanguageModel(Canned(talks)))
    )
    assert len(asked) == 1 and left_out == {"no line 'Choice: A' or 'Choice: B'": 3}
    with pytest.raises(LanguageModelError, match="none of 3 pairs got two usable answers"):
        judge.annotate(PAIRS.iloc[:3], PART, judge.Annotator(model=LanguageModel(Canned(talks))))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Choice: A\nConfidence: 100", (True, 100.0)),
        ("choice: b\nconfidence: 7", (False, 7.0)),
        ("Choice: A\nNo wait.\nChoice: B\nConfidence: 55", (False, 55.0)),
        ("Choice: A", None),
        ("Confidence: 5", None),
        ("Choice: A\nConfidence: 250", None),
        ("Choice: Amazing\nConfidence: 5", None),
        ("", None),
    ],
)
def test_answers_are_parsed_by_their_last_lines(text, parsed):
    assert judge.parse_answer(text) == parsed


def test_a_misspelt_annotator_is_not_the_oracle():
    assert judge.judging_model("oracle", "") is None
    with pytest.raises(
        DataError, match="annotator 'oracel' is not one of oracle, file, service, local"
    ):
        judge.judging_model("oracel", "")


def test_a_test_annotator_has_to_be_named():
    with pytest.raises(DataError, match="'service' needs judge_model"):
        judge.judging_model("service", "", parameter="judge_model")


def test_the_oracle_needs_the_market():
    with pytest.raises(DataError, match="set annotator to file, service or local"):
        judge.annotate(PAIRS, PART, judge.Annotator())
    market = Market(1, occupations=4)
    part = {"jobs": market.jobs(3), "resumes": market.resumes(30)}
    pairs = pd.DataFrame(
        {
            "job_id": part["jobs"]["job_id"].iloc[0],
            "resume_a": part["resumes"]["resume_id"][:15],
            "resume_b": part["resumes"]["resume_id"][15:].to_numpy(),
        }
    )
    merged = judge.merge_orders(judge.annotate(pairs, part, judge.Annotator(market=market))[0])
    fit = market.channels(part["jobs"], part["resumes"])["text_fit"][0]
    better = np.where(fit[:15] > fit[15:], "a", np.where(fit[:15] < fit[15:], "b", "tie"))
    assert merged["preferred"].tolist() == better.tolist()


def preferences(*rows):
    return pd.DataFrame(rows, columns=["job_id", "resume_a", "resume_b", "preferred"]).assign(
        confidence=50.0, annotator="x"
    )


def test_files_lose_unknown_ids_and_contradictions_and_say_so(tmp_path):
    rows = preferences(
        ("j", "good", "bad", "a"),
        ("j", "bad", "good", "a"),
        ("j", "good", "same", "b"),
        ("j", "good", "same", "b"),
        ("j", "nobody", "good", "a"),
        ("j", "none", "empty", "tie"),
    )
    rows.drop(columns="annotator").to_csv(tmp_path / "p.csv", index=False)
    kept, counts = judge.read_preferences(str(tmp_path / "p.csv"), PART)
    assert counts == {"unknown ids": 1, "contradictions": 2, "repeated": 1}
    assert kept["resume_b"].tolist() == ["same", "empty"]
    with pytest.raises(
        DataError, match="no preference can be used: 3 rows, 1 name unknown ids, 0 contradict"
    ):
        judge.require_usable(rows.iloc[[4, 5, 5]], PART, source="here")


def test_a_pair_belongs_to_one_split_and_some_to_the_test():
    jobs = pd.DataFrame({"job_id": ["t", "j"], "text": "a job", "split": ["train", "test"]})
    resumes = PART["resumes"].assign(split=["test", "test", "train", "train", "test"])
    rows = preferences(
        ("j", "good", "bad", "a"),
        ("j", "good", "same", "a"),
        ("t", "same", "empty", "a"),
        ("t", "good", "bad", "a"),
    )
    kept, counts = judge.require_usable(rows, {"jobs": jobs, "resumes": resumes}, source="here")
    assert kept[["job_id", "resume_b", "split"]].values.tolist() == [
        ["j", "bad", "test"],
        ["t", "empty", "train"],
    ]
    assert counts == {"resumes of another split than the job's": 2}
    with pytest.raises(
        DataError, match="here: no preference is of a job of the test, .* another split .*: 1"
    ):
        judge.require_usable(rows[2:], {"jobs": jobs, "resumes": resumes}, source="here")


def test_where_reader_and_labels_disagree():
    rows = preferences(
        ("j", "good", "bad", "a"), ("j", "same", "bad", "b"), ("j", "good", "same", "a")
    )
    found = judge.compare_with_labels(
        rows, pd.DataFrame({"job_id": "j", "resume_id": ["good", "same"], "label": 1})
    )
    assert (found.n, found.agreement) == (2, 0.5)
    shown = judge.with_texts(found.examples, PART)
    assert shown.iloc[0].tolist() == ["a job", "bad", "GOOD too"]


def test_the_summary_knows_positions_and_ranks():
    table = preferences(
        ("j", "good", "bad", "a"),
        ("j", "same", "bad", "a"),
        ("j", "none", "bad", "b"),
        ("j", "none", "empty", "tie"),
    ).assign(rank_a=["1", "5", "7", "8"], rank_b=["2", "4", "6", "9"])
    row = judge.summary([judge.JudgedSet("test", "top", judge.TEST, table)]).iloc[0]
    assert row["ties, %"] == 25 and row["a preferred, %"] == pytest.approx(200 / 3)
    assert 0 <= row["low"] < row["a preferred, %"] < row["high"] <= 100
    assert row["stage 1 agrees, %"] == pytest.approx(200 / 3)
    assert np.isnan(
        judge.summary(
            [judge.JudgedSet("test", "top", judge.TEST, table.drop(columns="rank_a"))]
        ).iloc[0]["stage 1 agrees, %"]
    )


def test_ranks_travel_with_the_pairs():
    ranked = PAIRS.assign(rank_a=range(4), rank_b=range(4, 8))
    for merged in (
        judge.merge_orders(judge.oracle(ranked, FIT, noise=0.0, position_bias=0.05, seed=1)),
        judge.merge_orders(
            judge.annotate(ranked, PART, judge.Annotator(model=LanguageModel(Canned(answers))))[0]
        ),
    ):
        assert merged["rank_b"].tolist() == [4, 5, 6, 7] and merged["preferred"].tolist() == [
            "a",
            "b",
            "tie",
            "tie",
        ]


def test_calibration_bins_confidence():
    rows = preferences(*(("j", "good", "bad", "a") for _ in range(4))).assign(
        confidence=[55.0, 55.0, 95.0, 95.0]
    )
    table = judge.confidence_calibration(rows, np.array(["a", "b", "a", "tie"]))
    assert table["right"].tolist() == [0.5, 1.0] and table["n"].tolist() == [2, 1]


class Likely(Local):
    """A Local whose likelihoods are given: the first position by `bias`, the word GOOD by 2."""

    def __init__(self, bias):
        self.bias = bias

    def score(self, prompts, continuations):
        found = []
        for prompt, continuation in zip(prompts, continuations, strict=True):
            first, second = prompt.user.split("Resume A:")[1].split("Resume B:")
            log_odds = self.bias + 2 * (("GOOD" in first) - ("GOOD" in second))
            found.append(Likelihood(log_odds if continuation.endswith("A") else 0.0, 1))
        return found


def test_an_annotator_by_likelihood_has_no_position_bias_left():
    annotator = judge.Annotator(model=Likely(bias=5.0), name="likely")
    pair_set = PairSet("train", "top", PAIRS)
    (judged,) = judge.judge_sets([pair_set], {"train": PART}, [annotator])
    assert judged.preferences["preferred"].tolist() == ["a", "b", "tie", "tie"]
    assert judge.measure_position_bias(judged.both_orders)["first_position"] == 1


def test_the_file_judges_the_test_and_a_model_gives_a_second_opinion(tmp_path):
    given = PAIRS.iloc[[0, 3]].assign(preferred=["b", "a"])
    given.to_csv(tmp_path / "given.csv", index=False)
    tables = {
        name: PART[name].assign(split=["test"] * len(PART[name])) for name in ("jobs", "resumes")
    }
    judged = judge.judge_sets_of_file(
        [PairSet("train", "top", PAIRS), PairSet("test", "uniform", PAIRS)],
        {"train": PART, "test": PART},
        judge.Annotator(model=Likely(bias=0.0), name="likely"),
        tmp_path / "given.csv",
        tables,
    )
    assert [one.name for one in judged] == [
        "train top, training annotator",
        "test given, test annotator",
        "test given, training annotator",
    ]
    (test_set,) = judge.collect_test_sets(judged)
    assert test_set.preferences["preferred"].tolist() == ["b", "a"]
    assert test_set.second_opinion["preferred"].tolist() == ["a", "tie"]


@pytest.mark.parametrize(("n_right", "teaches"), [(30, False), (55, True)])
def test_a_language_model_teaches_only_above_chance(n_right, teaches):
    n = 60
    preferences = pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(n)],
            "resume_a": [f"a{i}" for i in range(n)],
            "resume_b": [f"b{i}" for i in range(n)],
            "preferred": ["a"] * n_right + ["b"] * (n - n_right),
            "confidence": 80.0,
        }
    )
    labels = preferences[["job_id"]].assign(resume_id=preferences["resume_a"], label=1)
    agreement = judge.compare_with_labels(preferences, labels)
    assert (agreement.n, agreement.agreement) == (n, n_right / n)
    why = judge.why_no_teacher(judge.Annotator(model=Likely(0.0), name="likely"), agreement)
    assert (why == "") is teaches
    assert teaches or "not above chance" in why
    assert judge.why_no_teacher(judge.Annotator(), agreement) == ""
    undecided = judge.compare_with_labels(preferences, labels.assign(label=0))
    assert judge.why_no_teacher(judge.Annotator(model=Likely(0.0)), undecided) == ""
