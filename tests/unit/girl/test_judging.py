"""Judges of written jobs, their cheap opponents, and what is said of the jobs."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data.market import Market
from matchlib.girl.judging import (
    COLUMNS,
    answer,
    ask_model,
    board,
    describe,
    duel,
    duels,
    judge_by_truth,
    opponents,
    parsed,
)
from matchlib.girl.records import job_record
from matchlib.language.llm import Answer, Canned, LanguageModel, LanguageModelError
from matchlib.retrieval.verdicts import seed_values

MARKET = Market(1, occupations=3)
JOBS, RESUMES = MARKET.jobs(30), MARKET.resumes(20)
RESUME = pd.DataFrame([{"resume_id": "r", "title": "Cook", "seniority": "senior", "years": 6, "city": "Leeds",
                        "skills": "Baking; Grilling"}])


def test_records_are_read_and_others_are_empty():
    rows = parsed([job_record(JOBS.iloc[0]), "nonsense"])
    assert rows["whole"].tolist() == [True, False] and rows.loc[1, "skills"] == ""
    assert job_record(rows.loc[0]) == job_record(JOBS.iloc[0])


def test_truth_is_the_markets_and_another_form_fits_nobody():
    jobs, resumes = JOBS.iloc[:20].reset_index(drop=True), RESUMES
    found = judge_by_truth(MARKET, parsed([job_record(row) for row in jobs.to_dict("records")]), resumes)
    channels = MARKET.channels(jobs.assign(remote="no"), resumes)
    for name in ("rule", "text_fit"):
        assert found[name].tolist() == pytest.approx(np.diag(channels[name]).tolist())
    assert found["true_fit"].tolist() == pytest.approx((0.4 * found["rule"] + 0.6 * found["text_fit"]).tolist())
    nothing = judge_by_truth(MARKET, parsed(["nonsense"] * 20), resumes)
    assert (nothing[["rule", "text_fit", "true_fit", "invented"]] == 0).all().all()


def test_invented_skills_are_left_out_and_counted():
    row = JOBS.iloc[0].to_dict()
    worse = row | {"skills": row["skills"] + "; Levitation"}
    both = [judge_by_truth(MARKET, parsed([job_record(job)]), RESUMES.iloc[:1]).iloc[0] for job in (row, worse)]
    assert [b["invented"] for b in both] == [0, 1] and both[0]["text_fit"] == both[1]["text_fit"]


def test_a_job_that_asks_for_too_little_or_too_much_fits_worse():
    person = RESUMES.iloc[:1]
    held = person["skills"].iloc[0].split("; ")
    fair = {"title": person["title"].iloc[0], "seniority": person["seniority"].iloc[0], "min_years": 0,
            "city": person["city"].iloc[0], "skills": "; ".join(held[:3]), "nice_skills": held[3]}
    little = fair | {"skills": held[0]}
    much = fair | {"min_years": int(person["years"].iloc[0]) + 20}
    fits = [judge_by_truth(MARKET, parsed([job_record(job)]), person)["true_fit"].iloc[0]
            for job in (fair, little, much)]
    assert fits[0] == pytest.approx(1.0) and max(fits[1:]) < 0.9


def test_opponents_are_what_their_names_say():
    made = {name: parsed(texts) for name, texts in opponents(JOBS, RESUMES).items()}
    assert set(made) == {"least demanding", "copied skills", "nearest job"}
    assert all(rows["whole"].all() and len(rows) == len(RESUMES) for rows in made.values())
    counts = JOBS.assign(n=JOBS["skills"].str.count(";") + 1).groupby("title")["n"].min()
    easy = made["least demanding"]
    assert (easy["skills"].str.count(";") + 1).tolist() == counts.loc[easy["title"]].tolist()
    held = RESUMES["skills"].str.split("; ").map(sorted).str.join("; ")
    assert made["copied skills"]["skills"].tolist() == held.tolist()
    real = {job_record(row) for row in JOBS.to_dict("records")}
    assert set(opponents(JOBS, RESUMES)["nearest job"]) <= real
    assert (made["nearest job"]["title"] == RESUMES["title"]).mean() > 0.9


def test_a_duel_counts_wins_ties_and_losses():
    result = duel(np.array([1.0, 0.5, 0.5, 0.2]), np.array([0.5, 0.5, 0.5 + 1e-12, 0.9]))
    assert (result["win"], result["tie"], result["lose"], result["n"]) == (0.25, 0.5, 0.25, 4)
    assert result["advantage"] == 0.0 and result["low"] < 0 < result["high"]
    table = duels({"a": np.ones(3), "b": np.zeros(3)}, [("a", "b"), ("b", "a")])
    assert table["advantage"].tolist() == [1.0, -1.0]


def fake(answer):
    return LanguageModel(Canned(lambda prompt: Answer(answer(prompt.user), "stop", 1, 1)))


def test_a_language_model_is_asked_both_ways_by_three_criteria():
    def answer(user):
        good_first = user.index("good job") < user.index("poor job")
        return f"They differ.\nDetail: {'A' if good_first else 'B'}\n**Relevance**: A\nConciseness: B, clearly"
    table, left_out = ask_model(["me"] * 2, ["good job", "poor job"], ["poor job", "good job"], fake(answer),
                                max_words=50)
    assert table.values.tolist() == [[1, 0, 0], [-1, 0, 0]] and not left_out  # the slot decides the others: ties


def test_prose_is_counted_and_nothing_but_prose_is_an_error():
    def answer(user):
        return "Both are fine." if "vague" in user else "Detail: A\nRelevance: A\nConciseness: A"
    table, left_out = ask_model(["me", "vague"], ["x", "y"], ["u", "v"], fake(answer), max_words=50)
    assert len(table) == 1 and sum(left_out.values()) == 1
    with pytest.raises(LanguageModelError, match="none of 1 comparisons"):
        ask_model(["vague"], ["x"], ["u"], fake(answer), max_words=50)


def test_the_ledger_reads_a_run():
    fits = pd.DataFrame({"true_fit": [0.7, 0.6]}, index=["ppo", "sft"])
    duels_ = duels({"ppo": np.ones(3), "sft": np.zeros(3)}, [("ppo", "sft")])
    arms = pd.DataFrame([("dot", "ppo", "cold", 0.8), ("mlp", "ppo", "cold", 0.6), ("dot", "shuffled", "cold", 0.5)],
                        columns=["predictor", "arm", "part", "AUC"])
    course = pd.DataFrame({"kl": [0.0, 12.0, 50.0], "length": [10.0, 9.0, 5.0], "stopped": ["", "", "too far"]})
    boards = {("market", "1"): board(fits, duels_, arms, course, "ppo")}
    read = {m: seed_values(boards, measure=m, channel=c).set_index("system")["value"].to_dict() for m, c in (
        ("true fit", "true_fit"), ("advantage of ppo over sft", "true_fit"), ("AUC, cold seekers", "observed"),
        ("divergence", "course"), ("drift", "course"))}
    assert read == {"true fit": {"ppo": 0.7, "sft": 0.6}, "advantage of ppo over sft": {"even": 0.0, "ppo": 1.0},
                    "AUC, cold seekers": {"ppo": pytest.approx(0.7), "shuffled": 0.5},
                    "divergence": {"ppo": 12.0, "allowed": 40.0}, "drift": {"ppo": pytest.approx(0.1), "allowed": 0.2}}
    only = board(*[pd.DataFrame()] * 3, course, "grpo")  # which does not go back from where it was stopped
    assert only["measure"].unique().tolist() == ["divergence", "drift"] and only["value"][0] == 50.0


def test_the_answer_names_who_wins():
    accuracy = pd.DataFrame({"value": [0.9]})
    fits = pd.DataFrame({"true_fit": [0.7, 0.6]}, index=["ppo", "sft"])
    table = duels({"ppo": np.ones(3), "sft": np.zeros(3), "copied skills": np.array([2.0, 2.0, 1.5])},
                  [("ppo", "sft"), ("ppo", "copied skills")]).fillna(0.0)
    table.loc[1, ["low", "high"]] = -1.0
    headline, metrics = answer("ppo", accuracy, fits, table)
    assert "90%" in headline and "loses to copied skills" in headline and "no verdict" in headline
    assert metrics["advantage over sft"] == 1.0 and metrics["true fit, ppo"] == 0.7
    headline, metrics = answer("ppo", accuracy, pd.DataFrame(), table)  # a model judged, no truth
    assert "true fit" not in headline and list(metrics) == ["advantage over sft", "advantage over copied skills"]
    assert answer("ppo", accuracy, fits, pd.DataFrame()) == (
        "The utility orders 90% of held-out hard pairs rightly. Nobody judged what was written.", {})


def test_jobs_are_described_and_fabrication_shows():
    jobs = pd.DataFrame([("Cook", "senior", 6, "Leeds", "Baking; Grilling", "", True),
                         ("Cook", "lead", 9, "York", "Baking; Fishing", "Diving", True),
                         ("", "", 0, "", "", "", False)], columns=[*COLUMNS, "whole"])
    row = describe({"ppo": jobs}, pd.concat([RESUME] * 3)).iloc[0]
    assert row["arm"] == "ppo" and row["whole"] == pytest.approx(2 / 3)
    assert (row["requirements"], row["welcome"], row["level"], row["different"]) == (2.0, 0.5, 2.5, 1.0)
    assert (row["lacking"], row["elsewhere"], row["overasked"]) == (0.25, 0.5, 0.5)
    both = describe({"ppo": jobs[:1], "raw": jobs[2:]}, RESUME).set_index("arm")
    assert both["whole"].to_dict() == {"ppo": 1.0, "raw": 0.0} and both.loc["raw"].drop("whole").isna().all()
    assert row["skills"] == 4 and row["likeness"] == pytest.approx(1 / 3)
