"""Judges of written jobs, their cheap baselines, and what is said of the jobs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from canned import Canned

from matchlib.data.market.simulation import Market
from matchlib.girl.records import job_record
from matchlib.girl.written_jobs import (
    JOB_COLUMNS,
    accepted_jobs,
    compare_arms_by_fit,
    compare_by_model,
    comparisons,
    copied_shares,
    describe,
    fit_by_arm,
    fit_judge,
    headline,
    key_figures,
    leaderboard_rows,
    parse_jobs,
    read_jobs,
    record_baselines,
    true_fit,
    win_rate,
)
from matchlib.language.llm import Answer, LanguageModel, LanguageModelError
from matchlib.retrieval.verdicts import judge, seed_values

MARKET = Market(1, occupations=3)
JOBS, RESUMES = MARKET.jobs(30), MARKET.resumes(20)
RESUME = pd.DataFrame(
    [
        {
            "resume_id": "r",
            "title": "Cook",
            "seniority": "senior",
            "years": 6,
            "city": "Leeds",
            "skills": "Baking; Grilling",
        }
    ]
)


def test_records_are_read_and_others_are_empty():
    rows = parse_jobs([job_record(JOBS.iloc[0]), "nonsense"])
    assert rows["whole"].tolist() == [True, False] and rows.loc[1, "skills"] == ""
    assert job_record(rows.loc[0]) == job_record(JOBS.iloc[0])


def test_texts_of_the_training_wording_are_read_as_their_records():
    written = parse_jobs([job_record(row) for row in JOBS.to_dict("records")])
    read = read_jobs(JOBS["text"])
    assert read["whole"].all() and read[["seniority", "city", "min_years"]].equals(
        written[["seniority", "city", "min_years"]]
    )
    fits = [true_fit(MARKET, rows.iloc[:20], RESUMES)["true_fit"] for rows in (written, read)]
    assert fits[0].tolist() == pytest.approx(fits[1].tolist())
    judge = fit_judge(MARKET, RESUMES, read_jobs)
    found = judge([3, 0], list(JOBS["text"].iloc[[3, 0]]))
    assert found.tolist() == pytest.approx([fits[0].iloc[3], fits[0].iloc[0]])
    assert fit_judge(None, RESUMES, read_jobs) is None
    first_line = JOBS["text"].iloc[0].split("\n")[0]
    poor = read_jobs(["", "We are friendly.", first_line, *RESUMES["text"]])  # the resume repeated
    assert not poor["whole"].any() and set(poor["skills"]) == {""} and set(poor["min_years"]) == {0}
    assert (true_fit(MARKET, poor.iloc[:3], RESUMES.iloc[:3])["true_fit"] == 0).all()


def test_arms_have_intervals_over_clusters():
    table = fit_by_arm(fits_of({"a": np.repeat([0.2, 0.8], 10)}), np.repeat(["x", "y"], 10))
    assert table["arm"].tolist() == ["a"] and table["value"].tolist() == pytest.approx([0.5])
    assert table["n"].tolist() == [20] and table["n_clusters"].tolist() == [2]
    assert table["low"].iloc[0] < 0 < 1 < table["high"].iloc[0]


def test_what_repeats_a_training_job_is_a_copy():
    texts = list(JOBS["text"])
    other = list(Market(2, occupations=3).jobs(5)["text"])
    shares = copied_shares({"copies": texts[:5], "others": other}, texts).set_index("arm")
    assert shares.loc["copies", "near_copies"] == 1 > shares.loc["others", "near_copies"]


def test_accepted_jobs_are_the_rows_of_the_table():
    labels = pd.DataFrame(
        {
            "job_id": JOBS["job_id"][:3].tolist(),
            "resume_id": RESUMES["resume_id"][:3].tolist(),
            "label": [1, 0, 1],
        }
    )
    jobs, resumes = accepted_jobs({"jobs": JOBS, "resumes": RESUMES, "labels": labels})
    written = parse_jobs([job_record(JOBS.iloc[i]) for i in (0, 2)])
    assert jobs["min_years"].tolist() == written["min_years"].tolist() and jobs["whole"].all()
    assert resumes["resume_id"].tolist() == RESUMES["resume_id"].iloc[[0, 2]].tolist()


def test_truth_is_the_markets_and_another_form_fits_nobody():
    jobs, resumes = JOBS.iloc[:20].reset_index(drop=True), RESUMES
    found = true_fit(
        MARKET, parse_jobs([job_record(row) for row in jobs.to_dict("records")]), resumes
    )
    channels = MARKET.channels(jobs.assign(remote="no"), resumes)
    for name in ("rule", "text_fit"):
        assert found[name].tolist() == pytest.approx(np.diag(channels[name]).tolist())
    assert found["true_fit"].tolist() == pytest.approx(
        (0.4 * found["rule"] + 0.6 * found["text_fit"]).tolist()
    )
    nothing = true_fit(MARKET, parse_jobs(["nonsense"] * 20), resumes)
    assert (nothing[["rule", "text_fit", "true_fit", "invented"]] == 0).all().all()


def test_invented_skills_are_left_out_and_counted():
    row = JOBS.iloc[0].to_dict()
    worse = row | {"skills": row["skills"] + "; Levitation"}
    both = [
        true_fit(MARKET, parse_jobs([job_record(job)]), RESUMES.iloc[:1]).iloc[0]
        for job in (row, worse)
    ]
    assert [b["invented"] for b in both] == [0, 1] and both[0]["text_fit"] == both[1]["text_fit"]


def test_a_job_that_asks_for_too_little_or_too_much_fits_worse():
    person = RESUMES.iloc[:1]
    held = person["skills"].iloc[0].split("; ")
    fair = {
        "title": person["title"].iloc[0],
        "seniority": person["seniority"].iloc[0],
        "min_years": 0,
        "city": person["city"].iloc[0],
        "skills": "; ".join(held[:3]),
        "nice_skills": held[3],
    }
    little = fair | {"skills": held[0]}
    much = fair | {"min_years": int(person["years"].iloc[0]) + 20}
    fits = [
        true_fit(MARKET, parse_jobs([job_record(job)]), person)["true_fit"].iloc[0]
        for job in (fair, little, much)
    ]
    assert fits[0] == pytest.approx(1.0) and max(fits[1:]) < 0.9


def test_baselines_are_what_their_names_say():
    made = {name: parse_jobs(texts) for name, texts in record_baselines(JOBS, RESUMES).items()}
    assert set(made) == {"least demanding", "copied skills", "nearest job"}
    assert all(rows["whole"].all() and len(rows) == len(RESUMES) for rows in made.values())
    counts = JOBS.assign(n=JOBS["skills"].str.count(";") + 1).groupby("title")["n"].min()
    easy = made["least demanding"]
    assert (easy["skills"].str.count(";") + 1).tolist() == counts.loc[easy["title"]].tolist()
    held = RESUMES["skills"].str.split("; ").map(sorted).str.join("; ")
    assert made["copied skills"]["skills"].tolist() == held.tolist()
    real = {job_record(row) for row in JOBS.to_dict("records")}
    assert set(record_baselines(JOBS, RESUMES)["nearest job"]) <= real
    assert (made["nearest job"]["title"] == RESUMES["title"]).mean() > 0.9


def fits_of(scores):
    return {arm: pd.DataFrame({"true_fit": values}) for arm, values in scores.items()}


def test_a_win_rate_counts_wins_ties_and_losses():
    result = win_rate(
        np.array([1.0, 0.5, 0.5, 0.2]), np.array([0.5, 0.5, 0.5 + 1e-12, 0.9]), np.arange(4)
    )
    assert (result["win"], result["tie"], result["lose"], result["n"]) == (0.25, 0.5, 0.25, 4)
    assert result["net_win_rate"] == 0.0 and result["low"] < 0 < result["high"]
    table = compare_arms_by_fit(
        fits_of({"a": np.ones(3), "b": np.zeros(3)}), [("a", "b"), ("b", "a")], np.arange(3)
    )
    assert table["net_win_rate"].tolist() == table["difference"].tolist() == [1.0, -1.0]


def test_win_rates_know_that_people_of_one_occupation_are_alike():
    """Eight occupations of 25 people who all win or all lose: eight observations, not two hundred."""
    clusters, first = np.repeat(np.arange(8), 25), np.repeat([1.0, 1, 1, 1, 1, 1, 0, 0], 25)
    table = compare_arms_by_fit(
        fits_of({"a": first, "b": np.full(200, 0.5)}), [("a", "b")], clusters
    ).iloc[0]
    alone = win_rate(first, np.full(200, 0.5), np.arange(200))
    assert table["net_win_rate"] == alone["net_win_rate"] == 0.5 and table["n_clusters"] == 8
    assert alone["low"] > 0.3 and alone["p"] < 0.001
    assert table["low"] < 0 < table["difference"] and table["p"] > 0.1
    assert table["difference low"] < 0 and table["difference p"] > 0.1


def test_stages_are_compared_at_one_decoding_and_the_policy_with_what_chooses_by_the_same_utility():
    pairs = comparisons("ppo", "sft best of 16", ["copied skills"])
    assert pairs[:3] == [
        ("ppo greedy", "sft greedy"),
        ("ppo sampled", "sft sampled"),
        ("ppo greedy", "sft best of 16"),
    ]
    for arm, against in pairs:
        stages = [
            name.split()[1] for name in (arm, against) if name.endswith(("greedy", "sampled"))
        ]
        assert len(set(stages)) == 1
    more = comparisons("ppo", "sft best of 16", ["copied skills"], other_policies=["rloo"])
    assert more[: len(pairs)] == pairs and {arm for arm, _ in more[len(pairs) :]} == {
        "rloo greedy",
        "rloo sampled",
    }
    assert ("rloo greedy", "ppo greedy") in more and ("rloo greedy", "sft best of 16") in more
    assert ("ppo greedy", "copied skills") in pairs and ("sft best of 16", "sft greedy") in pairs


def fake(answer):
    return LanguageModel(Canned(lambda prompt: Answer(answer(prompt.user), "stop", 1, 1)))


def test_a_language_model_is_asked_both_ways_by_three_criteria():
    def answer(user):
        good_first = user.index("good job") < user.index("poor job")
        return f"They differ.\nDetail: {'A' if good_first else 'B'}\n**Relevance**: A\nConciseness: B, clearly"

    table, left_out = compare_by_model(
        ["me"] * 2, ["good job", "poor job"], ["poor job", "good job"], fake(answer), max_words=50
    )
    assert (
        table.to_numpy().tolist() == [[1, 0, 0], [-1, 0, 0]] and not left_out
    )  # the position decides the others: ties


def test_prose_is_counted_and_nothing_but_prose_is_an_error():
    def answer(user):
        return "Both are fine." if "vague" in user else "Detail: A\nRelevance: A\nConciseness: A"

    table, left_out = compare_by_model(
        ["vague", "me"], ["x", "y"], ["u", "v"], fake(answer), max_words=50
    )
    assert (
        table.index.tolist() == [1] and sum(left_out.values()) == 1
    )  # whose comparison it is stays known
    with pytest.raises(LanguageModelError, match="none of 1 comparisons"):
        compare_by_model(["vague"], ["x"], ["u"], fake(answer), max_words=50)


ARMS = [
    f"{stage} {how}" for stage in ("pretrained", "sft", "ppo") for how in ("greedy", "sampled")
] + ["sft best of 16"]
CHEAP = ["least demanding", "copied skills", "nearest job"]


def finished_run(policy="ppo"):
    """fits, win rates and the recommender's table of a run, with made-up values."""
    arms = [arm.replace("ppo", policy) for arm in ARMS]
    scores = {arm: np.arange(4.0) * i for i, arm in enumerate([*CHEAP, *arms])}
    fits = pd.DataFrame({"true_fit": {arm: values.mean() for arm, values in scores.items()}})
    pairs = comparisons(policy, "sft best of 16", CHEAP)
    win_rates = compare_arms_by_fit(fits_of(scores), pairs, np.arange(4))
    table = pd.DataFrame(
        [
            ("dot", f"{policy} greedy", "cold", 0.8),
            ("mlp", f"{policy} greedy", "cold", 0.6),
            ("dot", "shuffled", "cold", 0.5),
        ],
        columns=["predictor", "arm", "part", "AUC"],
    )
    return fits, win_rates, table


def test_the_ledger_reads_a_run():
    boards = {("market", "1"): leaderboard_rows(*finished_run())}
    read = {
        m: seed_values(boards, measure=m, judgments=c).set_index("system")["value"].to_dict()
        for m, c in (
            ("true fit", "true_fit"),
            ("net win rate of ppo greedy over sft greedy", "true_fit"),
            ("AUC, cold seekers", "observed"),
        )
    }
    assert read["true fit"]["ppo greedy"] == 1.5 * 7 and set(read["true fit"]) == {*ARMS, *CHEAP}
    assert read["net win rate of ppo greedy over sft greedy"] == {
        "ppo greedy": 0.75
    }  # nothing beside it: 0 is a number
    assert read["AUC, cold seekers"] == {"ppo greedy": pytest.approx(0.7), "shuffled": 0.5}
    assert leaderboard_rows(*[pd.DataFrame()] * 3).empty


def test_every_claim_says_what_it_is_and_reads_what_a_run_writes():
    sweep = yaml.safe_load(
        (Path(__file__).parents[3] / "params/sweeps/girl_claims.yaml").read_text()
    )
    settings = sweep["12_ledger"]
    worlds = {world: changes or {} for world, changes in sweep["sweep"][0]["over"][0].items()}
    for claim in settings["claims"]:
        name, world = claim["claim"], claim["world"]
        assert (
            claim["status"] in ("exploratory", "preregistered")
            and claim["since"]
            and claim["margin"] > 0
        ), name
        assert claim["null_world"] == "none" or claim["null_world"] in worlds, name
        assert ("baselines" in claim) != ("against" in claim) and claim.get("against", 0) == 0, name
        policy = worlds[world].get("06_girl", {}).get("optimizer", "ppo")
        has = leaderboard_rows(*finished_run(policy))
        has = has[
            has["measure"].eq(claim.get("measure", settings["measure"]))
            & has["judgments"].eq(claim.get("judgments", settings["judgments"]))
        ]
        assert {claim["system"], *claim.get("baselines", [])} <= set(has["system"]), name
        compared = [claim["system"], *claim.get("baselines", [])]
        decodings = {arm.split()[1] for arm in compared if arm.endswith(("greedy", "sampled"))}
        assert len(decodings) == 1, f"{name}: jobs decoded in different ways"
        if claim.get("measure", "true fit") == "true fit" or "sft" in claim.get("measure", ""):
            taught_by_records = worlds[world].get("06_girl", {}).get("corruption_weights") != {}
            assert name.startswith(("consistency check", "changes alone")) == taught_by_records, (
                name
            )


def test_the_ledger_judges_the_claims_on_what_runs_write():
    sweep = yaml.safe_load(
        (Path(__file__).parents[3] / "params/sweeps/girl_claims.yaml").read_text()
    )
    settings, boards = sweep["12_ledger"], {}
    for world, changes in sweep["sweep"][0]["over"][0].items():
        policy = (changes or {}).get("06_girl", {}).get("optimizer", "ppo")
        boards |= {(world, str(seed)): leaderboard_rows(*finished_run(policy)) for seed in range(6)}
    wanted = {
        (claim.get("measure", settings["measure"]), claim.get("judgments", settings["judgments"]))
        for claim in settings["claims"]
    }
    values = pd.concat(
        [seed_values(boards, measure=m, judgments=c) for m, c in sorted(wanted, reverse=True)]
    )
    judged = judge(settings["claims"], values)
    assert len(judged) == len(settings["claims"]) and set(judged["verdict"]) <= {
        "holds",
        "does not",
        "undecided",
    }
    assert set(judged.loc[judged["baseline"] == "0", "margin"]) == {0.05}


@pytest.mark.parametrize("from_records", [True, False])
def test_the_answer_names_who_wins_and_what_taught_the_utility(from_records):
    accuracy = pd.DataFrame({"value": [0.9]})
    fits, table, _ = finished_run()
    table = table.fillna(0.0)
    table.loc[table["against"] == "copied skills", ["low", "high"]] = -1.0
    sentence = headline("ppo", accuracy, fits, table, from_records=from_records)
    metrics = key_figures(fits, table)
    assert sentence.startswith("Consistency check" if from_records else "From outcomes alone")
    assert "90%" in sentence and "loses to copied skills" in sentence and "no verdict" in sentence
    order = [sentence.index(part) for part in ("both greedy", "both sampled", "SFT best of 16")]
    assert order == sorted(order)
    assert metrics["net win rate of ppo greedy over sft greedy"] == 0.75
    assert metrics["true fit, ppo greedy"] == 10.5
    by_model = table.drop(columns="difference")  # a language model judged, the truth is not known
    sentence = headline("ppo", accuracy, pd.DataFrame(), by_model, from_records=from_records)
    assert "true fit" not in sentence and "Consistency" not in sentence
    assert not any("true fit" in name for name in key_figures(pd.DataFrame(), by_model))
    sentence = headline("ppo", accuracy, fits, pd.DataFrame(), from_records=False)
    assert sentence.endswith("hard pairs correctly. The written jobs were not judged.")
    assert key_figures(fits, pd.DataFrame()) == {}


def test_jobs_are_described_and_fabrication_shows():
    jobs = pd.DataFrame(
        [
            ("Cook", "senior", 6, "Leeds", "Baking; Grilling", "", True),
            ("Cook", "lead", 9, "York", "Baking; Fishing", "Diving", True),
            ("", "", 0, "", "", "", False),
        ],
        columns=[*JOB_COLUMNS, "whole"],
    )
    row = describe({"ppo": jobs}, pd.concat([RESUME] * 3)).iloc[0]
    assert row["arm"] == "ppo" and row["whole"] == pytest.approx(2 / 3)
    assert (row["requirements"], row["nice_to_have"], row["level"], row["distinct_jobs"]) == (
        2.0,
        0.5,
        2.5,
        1.0,
    )
    assert (row["unmet_requirements"], row["other_city"], row["too_many_years"]) == (0.25, 0.5, 0.5)
    both = describe({"ppo": jobs[:1], "pretrained": jobs[2:]}, RESUME).set_index("arm")
    assert (
        both["whole"].to_dict() == {"ppo": 1.0, "pretrained": 0.0}
        and both.loc["pretrained"].drop("whole").isna().all()
    )
    assert row["distinct_skills"] == 4 and row["similarity"] == pytest.approx(1 / 3)
