"""Errors of a ranking: false positives and false negatives, their classes, slices, the headline."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import errors
from matchlib.analysis.annotation import measure_agreement
from matchlib.analysis.suitability import PAIR_KEYS, Facts, facts_from_columns
from matchlib.data.market.simulation import Market
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.metrics import qrels_from_labels


def ranked(query, candidates):
    """A ranking of one query; candidates: best first."""
    return pd.DataFrame(
        {
            "query_id": query,
            "candidate_id": list(candidates),
            "rank": range(1, len(candidates) + 1),
        }
    )


RANKING = pd.concat(
    [
        ranked("j1", "abcdefghij"),
        ranked("j2", "abcdefghij"),
        ranked("j3", "abcdefghij"),
    ]
)
LABELS = pd.DataFrame(
    [
        ("j1", "a", 0),
        ("j1", "c", 1),
        ("j1", "j", 1),
        ("j2", "a", 1),
        ("j3", "b", 0),
    ],
    columns=["job_id", "resume_id", "label"],
)


def test_false_positives_stand_at_the_top_and_above_a_positive():
    qrels = qrels_from_labels(LABELS, "rank_resumes")
    pairs = errors.find_false_positives(RANKING, qrels, task="rank_resumes", top_share=0.4)
    # j1: a (refused) and b are above c, d is above j only
    # j2: nothing stands above its a; j3 has no positive
    columns = ["job_id", "resume_id", "rank", "label", "rival_resume", "rival_rank"]
    assert pairs[columns].values.tolist() == [
        ["j1", "a", 1, 0, "c", 3],
        ["j1", "b", 2, -1, "c", 3],
        ["j1", "d", 4, -1, "j", 10],
    ]
    assert (pairs["rival_job"] == "j1").all()


def test_false_negatives_were_accepted_and_stand_at_the_bottom():
    qrels = qrels_from_labels(LABELS, "rank_resumes")
    pairs = errors.find_false_negatives(RANKING, qrels, task="rank_resumes", bottom_share=0.5)
    assert pairs[[*PAIR_KEYS, "rank"]].values.tolist() == [["j1", "j", 10]]


def test_where_jobs_are_ranked_the_rival_is_another_job():
    ranking = ranked("r", ["j1", "j2", "j3", "j4"])
    labels = pd.DataFrame({"job_id": ["j1", "j3"], "resume_id": "r", "label": [0, 1]})
    qrels = qrels_from_labels(labels, "rank_jobs")
    pairs = errors.find_false_positives(ranking, qrels, task="rank_jobs", top_share=0.25)
    keys = [*PAIR_KEYS, *errors.RIVAL_KEYS]
    assert pairs[keys].values.tolist() == [["j1", "r", "j3", "r"]]


def test_errors_are_counted_by_task():
    qrels = {"rank_resumes": qrels_from_labels(LABELS, "rank_resumes")}
    false_positives = errors.find_false_positives(
        RANKING, qrels["rank_resumes"], task="rank_resumes", top_share=0.4
    )
    false_negatives = errors.find_false_negatives(
        RANKING, qrels["rank_resumes"], task="rank_resumes"
    )
    counted = errors.count_errors(false_positives, false_negatives, qrels)
    assert counted.values.tolist() == [["rank_resumes", 3, 1, 1, 3]]


def test_every_query_is_sampled_before_one_is_sampled_twice():
    pairs = pd.DataFrame({"job_id": ["a"] * 50 + ["b", "c"], "resume_id": range(52)})
    pairs["task"] = "rank_resumes"
    sampled = errors.sample_pairs(pairs, 4, seed=3)
    assert sorted(sampled["job_id"]) == ["a", "a", "b", "c"]
    assert errors.sample_pairs(pairs, 4, seed=3).equals(sampled)


def test_pairs_are_sampled_in_each_task():
    resumes_ranked = pd.DataFrame({"job_id": list("ab"), "resume_id": "r", "task": "rank_resumes"})
    jobs_ranked = pd.DataFrame({"job_id": list("abc"), "resume_id": "r", "task": "rank_jobs"})
    sampled = errors.sample_pairs(pd.concat([resumes_ranked, jobs_ranked]), 2, seed=1)
    assert sampled["task"].tolist() == ["rank_resumes"] * 2 + ["rank_jobs"] * 2
    assert errors.sample_pairs(sampled.head(0), 2, seed=1).empty


def test_a_pair_belongs_to_the_cluster_of_its_query():
    pairs = pd.DataFrame({"job_id": "j", "resume_id": "r", "task": ["rank_resumes", "rank_jobs"]})
    clusters = {
        "rank_resumes": pd.Series({"j": "of job"}),
        "rank_jobs": pd.Series({"r": "of resume"}),
    }
    assert errors.pair_clusters(pairs, clusters).tolist() == ["of job", "of resume"]
    assert errors.pair_clusters(pairs, None).tolist() == ["j", "r"]


KNOWN_FACTS = {
    "skills": "",
    "nice_skills": "",
    "years": 5,
    "city": "Leeds",
    "region": "Yorkshire",
    "remote": "no",
    "seniority": "middle",
}
JOB = KNOWN_FACTS | {"skills": "SQL; Python", "nice_skills": "Git"}
EASY_JOB = KNOWN_FACTS | {"skills": "SQL"}
ALL_SKILLS = KNOWN_FACTS | {"skills": "SQL; Python; Git"}
REQUIRED_SKILLS = KNOWN_FACTS | {"skills": "SQL; Python"}
FAR_AWAY = ALL_SKILLS | {"city": "Exeter", "region": "South West"}
FACTS = Facts(
    jobs=pd.DataFrame({"j": JOB, "easy": EASY_JOB}).T,
    resumes=pd.DataFrame({"all": ALL_SKILLS, "some": REQUIRED_SKILLS, "far": FAR_AWAY}).T,
)


@pytest.mark.parametrize(
    ("resume", "rival", "label", "expected"),
    [
        ("far", "all", 0, "unsuitable"),
        ("some", "all", 0, "less competent"),
        ("some", "far", -1, "potentially suitable"),
        ("all", "some", -1, "potentially suitable"),
        ("all", "some", 0, "out of scope"),
    ],
)
def test_classes_by_rule(resume, rival, label, expected):
    pair = pd.DataFrame(
        {
            "job_id": ["j"],
            "resume_id": [resume],
            "rival_job": ["j"],
            "rival_resume": [rival],
            "label": [label],
        }
    )
    assert errors.classify_by_rule(pair, FACTS)["class"].tolist() == [expected]


def test_the_rule_says_why():
    pairs = pd.DataFrame(
        [
            ("j", "far", "j", "all", 0),
            ("j", "some", "j", "all", 0),
            ("j", "some", "easy", "some", 0),
            ("j", "all", "j", "some", 0),
        ],
        columns=[*PAIR_KEYS, *errors.RIVAL_KEYS, "label"],
    )
    assert errors.classify_by_rule(pairs, FACTS)["why"].tolist() == [
        "place: Leeds against Exeter",
        "all meets 100% of the requirements, this resume 67%",
        "of the requirements of easy 100% are met, of this job's 67%",
        "nothing in the documents",
    ]


def test_reasons_are_counted_by_task():
    pairs = pd.DataFrame({"task": ["rank_resumes", "rank_resumes", "rank_jobs"]})
    why = pd.Series(["place: a against b; years: 1 of 2", "place: a against b", "nothing"])
    counted = errors.count_reasons(pairs, why)
    assert counted.values.tolist() == [["place", 2, 0], ["years", 1, 0]]
    assert errors.count_reasons(pairs, pd.Series("nothing", pairs.index)).empty


@pytest.fixture(scope="module")
def simulated():
    """A market with true fit, its tables, and false positives of random rankings."""
    market = Market(3, occupations=4, true_fit_share=0.05)
    tables = market.tables({"test": (60, 150)})
    rng = np.random.default_rng(1)
    rankings = []
    for job in tables["jobs"]["job_id"]:
        rankings.append(ranked(job, rng.permutation(tables["resumes"]["resume_id"])))
    qrels = qrels_from_labels(tables["labels"], "rank_resumes")
    pairs = errors.find_false_positives(
        pd.concat(rankings), qrels, task="rank_resumes", top_share=0.5
    )
    return market, tables, pairs


def test_true_fit_is_that_of_the_market(simulated):
    market, tables, pairs = simulated
    classified = errors.classify_by_truth(market, pairs, tables["jobs"], tables["resumes"])
    fitting = pd.MultiIndex.from_frame(tables["truth"][PAIR_KEYS])
    is_fitting = pd.MultiIndex.from_frame(pairs[PAIR_KEYS]).isin(fitting)
    assert classified["fits"].tolist() == is_fitting.tolist()
    assert is_fitting[classified["class"] == "potentially suitable"].all()


def test_the_rule_agrees_with_the_truth_only_if_it_reads_the_true_columns(simulated):
    market, tables, pairs = simulated
    jobs = tables["jobs"]
    resumes = tables["resumes"]
    truth = errors.classify_by_truth(market, pairs, jobs, resumes)["class"]
    by_rule = errors.classify_by_rule(pairs, facts_from_columns(jobs, resumes))["class"]
    assert ((by_rule == "unsuitable") == (truth == "unsuitable")).all()
    shuffled = by_rule.sample(frac=1, random_state=1).set_axis(by_rule.index)
    assert measure_agreement(truth, by_rule)["kappa"] > 0.5
    assert abs(measure_agreement(truth, shuffled)["kappa"]) < 0.1


def test_shares_of_classes_add_up():
    classes = pd.Series(["unsuitable", "unsuitable", "out of scope", "less competent", ""])
    pairs = pd.DataFrame({"task": ["rank_resumes"] * 5})
    shares = errors.count_classes(classes, pairs, pd.Series(list("abcde")))
    assert shares["share"].tolist() == [0.5, 0.25, 0.25, 0.0]
    assert (shares["low"] >= 0).all()
    assert shares["n"].sum() == 4  # the pair without a class does not count
    assert (shares["task"] == "rank_resumes").all()


SLICED_JOBS = pd.DataFrame(
    {
        "job_id": list("abcdef"),
        "text": ["one two", "一二", "one two three four", "one", "two", "x"],
        "industry": ["care", "care", "care", "care", "trade", "trade"],
    }
)


def score_slices(slice_columns, **options):
    """Slices of six jobs, of which f has no positive."""
    corpus = Corpus(SLICED_JOBS, pd.DataFrame({"resume_id": ["r", "s"], "text": "t"}))
    ranking = pd.concat([ranked(job, "rs") for job in SLICED_JOBS["job_id"]])
    labels = pd.DataFrame({"job_id": list("aabcde"), "resume_id": list("rsrrss")})
    return errors.score_slices(
        ranking,
        labels,
        corpus,
        task="rank_resumes",
        slice_columns=slice_columns,
        min_group_size=3,
        **options,
    )


def test_slices_partition_the_queries():
    scores = score_slices(["industry", "region"])  # jobs have no region
    assert set(scores["slice"]) == {"industry", "length", "script", "positives"}
    assert (scores.groupby("slice")["n"].sum() == 5).all()
    assert scores.loc[scores["slice"] == "length", "of"].tolist() == ["short", "long"]
    by_slice = scores.set_index(["slice", "of"])
    assert by_slice.loc[("script", "without spaces"), "n"] == 1
    assert by_slice.loc[("positives", "2-3"), "n"] == 1


def test_a_slice_has_its_mean_and_interval():
    care = score_slices(["industry"]).set_index(["slice", "of"]).loc[("industry", "care")]
    assert care["value"] == pytest.approx((1 + 1 + 1 + 1 / np.log2(3)) / 4)
    assert care["low"] < care["value"] < care["high"]


def test_a_small_slice_has_no_value():
    trade = score_slices(["industry"]).set_index(["slice", "of"]).loc[("industry", "trade")]
    assert trade["note"] == "too few"
    assert np.isnan(trade["value"])


def test_one_cluster_has_a_value_and_no_interval():
    one_cluster = pd.Series("one", list("abcdef"))
    scores = score_slices(["industry"], clusters=one_cluster).set_index(["slice", "of"])
    assert scores["low"].isna().all()
    assert not np.isnan(scores.loc[("industry", "care"), "value"])


def test_the_headline_names_the_classes_and_every_filter():
    classes = pd.Series(["unsuitable", "unsuitable", "less competent"])
    pairs = pd.DataFrame({"task": ["rank_resumes"] * 3})
    shares = errors.count_classes(classes, pairs, pd.Series(list("abc")))
    filters = pd.DataFrame(
        {
            "task": "rank_resumes",
            "judgments": "true_fit",
            "system": ["encoder", "place"],
            "nDCG@10": [0.4, 0.5],
        }
    )
    agreements = pd.DataFrame(
        {
            "annotator": ["m", "rules"],
            "reference": "market truth",
            "agree": [0.1, 0.9],
            "kappa": [0.0, 0.75],
        }
    )
    assert errors.summarise_errors(shares, agreements, filters) == (
        "Of 3 false positives at the top (rank resumes), 67% are unsuitable, 33% are less "
        "competent; the rules agree with the market's truth in 90% (kappa 0.75). nDCG@10 by "
        "true_fit: encoder 0.400, place 0.500. One run, no verdict."
    )
    assert "nothing to explain" in errors.summarise_errors(shares.head(0), agreements, filters)
