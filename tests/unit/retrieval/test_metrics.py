"""Metrics against scikit-learn and by hand; intervals and tests against scipy and in simulation."""

import re

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import scipy.stats
from sklearn.metrics import ndcg_score

from matchlib import stats
from matchlib.data.schema import DataError
from matchlib.retrieval import metrics, trec


def frame(query: str, candidates, labels) -> pd.DataFrame:
    return pd.DataFrame(
        {"query_id": query, "candidate_id": list(candidates), "label": list(labels)}
    )


def ranked(query: str, candidates) -> pd.DataFrame:
    candidates = list(candidates)
    return pd.DataFrame(
        {"query_id": query, "candidate_id": candidates, "rank": range(1, len(candidates) + 1)}
    )


def values(ranking, qrels, *measures) -> dict:
    scored = metrics.score_queries(ranking, qrels, measures)
    return {(row.query_id, row.measure): row.value for row in scored.itertuples()}


# ---- metrics -------------------------------------------------------------------------------------------


def test_ties_are_broken_as_trec_eval_breaks_them_in_a_run_of_five_decimals():
    rng = np.random.default_rng(0)
    ids = [f"c{i:02d}" for i in range(30)]
    scores = rng.integers(0, 4, (20, 30)) / 7 + rng.integers(0, 2, (20, 30)) * 1e-7
    queries = [f"q{i}" for i in range(20)]
    positions = np.tile(np.arange(30), (20, 1))
    labels = rng.integers(0, 2, (20, 30))
    qrels = pd.concat([frame(q, ids, row) for q, row in zip(queries, labels, strict=True)])
    ranking = metrics.rank(queries, ids, positions, scores, depth=12, ties="trec")
    ours = values(ranking, qrels, "AP", "RR")
    run = {}
    for query, row in zip(queries, scores, strict=True):
        best = sorted(range(30), key=lambda i, row=row: -row[i])[:12]  # equal ones stay in order
        run[query] = {ids[i]: float(f"{row[i]:.5f}") for i in best}
    judged = {
        q: dict(zip(ids, row.tolist(), strict=True)) for q, row in zip(queries, labels, strict=True)
    }
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"map", "recip_rank"}).evaluate(run)
    for query in queries:
        assert ours[query, "AP"] == pytest.approx(theirs[query]["map"], abs=1e-9)
        assert ours[query, "RR"] == pytest.approx(theirs[query]["recip_rank"], abs=1e-9)
    with pytest.raises(DataError, match="ties 'id' is not one of hash, trec"):
        metrics.rank(queries, ids, positions, scores, ties="id")


def test_ndcg_equals_scikit_learn_on_pools_without_ties():
    rng = np.random.default_rng(0)
    rankings, qrels, expected = [], [], {}
    for q in range(40):
        n = int(rng.integers(12, 60))
        labels, scores = rng.integers(0, 2, n), rng.permutation(n).astype(float)
        labels[0] = 1
        ids = [f"c{i}" for i in rng.permutation(n)]
        rankings.append(metrics.rank([f"q{q}"], ids, np.arange(n)[None], scores[None]))
        qrels.append(frame(f"q{q}", ids, labels))
        expected[f"q{q}", "nDCG@10"] = ndcg_score(labels[None], scores[None], k=10)
    found = values(pd.concat(rankings), pd.concat(qrels), "nDCG@10")
    assert found == pytest.approx(expected, abs=1e-6)
    assert len({round(value, 3) for value in expected.values()}) > 20


def test_values_by_hand():
    labels = [0, 1, 0, 1, 0]  # positives at ranks 2 and 4, a third one not retrieved
    found = values(
        ranked("q", "abcde"),
        frame("q", "abcdef", [*labels, 1]),
        "nDCG@10",
        "R@2",
        "R@10",
        "RR",
        "AP",
    )
    dcg = 1 / np.log2(3) + 1 / np.log2(5)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    expected = {
        "nDCG@10": dcg / ideal,
        "R@2": 1 / 3,
        "R@10": 2 / 3,
        "RR": 1 / 2,
        "AP": (1 / 2 + 2 / 4) / 3,
    }
    assert found == pytest.approx({("q", name): value for name, value in expected.items()})


def test_the_ideal_counts_all_positives_and_not_the_retrieved_ones():
    # 30 relevant, 3 found at ranks 1 to 3: the authors' code of RankPO scores 1.00 here
    ids = [f"c{i:02d}" for i in range(30)]
    found = values(ranked("q", ids[:3]), frame("q", ids, [1] * 30), "nDCG@10", "R@10", "AP")
    ideal = sum(1 / np.log2(i + 1) for i in range(1, 11))
    assert found == pytest.approx(
        {
            ("q", "nDCG@10"): sum(1 / np.log2(i + 1) for i in (1, 2, 3)) / ideal,
            ("q", "R@10"): 3 / 30,
            ("q", "AP"): 3 / 30,
        }
    )


def test_a_query_without_an_answer_scores_0_and_one_without_a_positive_is_left_out_and_counted():
    qrels = pd.concat(
        [
            frame("answered", "ab", [1, 0]),
            frame("silent", "ab", [1, 0]),
            frame("hopeless", "ab", [0, -1]),
        ]
    )
    ranking = pd.concat([ranked("answered", "ab"), ranked("hopeless", "ab")])
    assert values(ranking, qrels, "RR") == {("answered", "RR"): 1.0, ("silent", "RR"): 0.0}
    assert metrics.unanswerable(qrels) == 1


def test_a_system_that_answers_nothing_scores_0():
    nothing = ranked("q", [])
    found = values(nothing.astype({"rank": int}), frame("q", "ab", [1, 0]), "nDCG@10", "Judged@10")
    assert found == {("q", "nDCG@10"): 0.0, ("q", "Judged@10"): 0.0}


def test_no_positive_at_all_raises():
    with pytest.raises(DataError, match="no query has a positive"):
        metrics.score_queries(ranked("q", "ab"), frame("q", "ab", [0, -1]))


def test_unlabelled_candidates_are_neither_relevant_nor_judged():
    qrels = frame("q", "abc", [-1, 1, 0])
    found = values(ranked("q", "abcd"), qrels, "RR", "Judged@2", "Judged@4")
    assert found == {("q", "RR"): 0.5, ("q", "Judged@2"): 0.5, ("q", "Judged@4"): 0.5}
    without = qrels[qrels["label"] >= 0]
    assert values(ranked("q", "abcd"), without, "RR", "Judged@2", "Judged@4") == found


def test_two_names_of_one_measure_get_the_same_value():
    assert values(ranked("q", "ab"), frame("q", "ab", [0, 1]), "RR", "MRR") == {
        ("q", "RR"): 0.5,
        ("q", "MRR"): 0.5,
    }


@pytest.mark.parametrize("name", ["accuracy", "nDCG@", "1+1", "ERR@10", ""])
def test_a_measure_that_cannot_be_computed_raises_by_name(name):
    with pytest.raises(DataError, match=re.escape(repr(name))):
        metrics.score_queries(ranked("q", "ab"), frame("q", "ab", [1, 0]), [name])


def test_scores_keep_the_order_of_long_rankings():
    # -rank is exact in float32 up to 16 million; a score such as 1 - rank * 1e-9 would tie here
    ids = [f"c{i:06d}" for i in np.random.default_rng(1).permutation(30_000)]
    found = values(ranked("q", ids), frame("q", [ids[29_990]], [1]), "RR")
    assert found["q", "RR"] == pytest.approx(1 / 29_991, rel=1e-6)


def test_permuting_rows_changes_nothing():
    rng = np.random.default_rng(2)
    positions = np.array([rng.permutation(20) for _ in range(6)])
    ids = [f"c{i}" for i in range(20)]
    ranking = metrics.rank([f"q{q}" for q in range(6)], ids, positions, rng.normal(size=(6, 20)))
    qrels = pd.concat([frame(f"q{q}", ids, [1, *rng.integers(-1, 2, 19)]) for q in range(6)])
    expected = metrics.score_queries(ranking, qrels)
    again = metrics.score_queries(
        ranking.sample(frac=1, random_state=1), qrels.sample(frac=1, random_state=2)
    )
    pd.testing.assert_frame_equal(again, expected)


def test_qrels_of_both_tasks():
    pairs = pd.DataFrame({"job_id": ["j1", "j2"], "resume_id": ["r1", "r1"], "label": [1, 0]})
    assert metrics.qrels_from_labels(pairs, "rank_resumes").to_numpy().tolist() == [
        ["j1", "r1", 1],
        ["j2", "r1", 0],
    ]
    unlabelled = metrics.qrels_from_labels(pairs.drop(columns="label"), "rank_jobs")
    assert unlabelled.to_numpy().tolist() == [["r1", "j1", 1], ["r1", "j2", 1]]


# ---- ranking and ties ----------------------------------------------------------------------------------


def test_rank_orders_by_score_cuts_at_depth_and_skips_missing_hits():
    ranking = metrics.rank(
        ["q", "p"],
        ["a", "b", "c"],
        np.array([[0, 1, 2], [2, -1, -1]]),
        np.array([[0.1, 0.3, 0.2], [5.0, np.nan, 9.0]]),
        depth=2,
    )
    expected = [["q", "b", 1], ["q", "c", 2], ["p", "c", 1]]
    assert ranking[["query_id", "candidate_id", "rank"]].to_numpy().tolist() == expected
    assert ranking["score"].tolist() == [0.3, 0.2, 5.0]


def test_ties_follow_a_seeded_hash_and_not_ids_or_rows():
    ids = [f"c{i:02d}" for i in range(50)]

    def order(order_of_ids, seed):
        found = metrics.rank(["q"], order_of_ids, np.arange(50)[None], np.zeros((1, 50)), seed=seed)
        return found["candidate_id"].tolist()

    assert order(ids, 0) == order(ids[::-1], 0)
    assert order(ids, 0) not in (ids, ids[::-1])
    assert order(ids, 0) != order(ids, 1)
    # the hash favours no id: over seeds the first id is as often in the upper half as not
    above = sum(order(ids, seed).index("c00") < 25 for seed in range(200))
    assert scipy.stats.binomtest(above, 200).pvalue > 0.001


def test_ties_do_not_favour_a_class_that_ids_carry():
    # RJDB: all matched resumes end in -m and come first; with equal scores they must win half of the time
    ids = [f"resume-{i:05d}-{kind}" for kind in "mu" for i in range(200)]
    positions = np.array([[i, i + 200] for i in range(200)])
    ranking = metrics.rank([f"q{i}" for i in range(200)], ids, positions, np.ones((200, 2)))
    wins = ranking[ranking["rank"] == 1]["candidate_id"].str.endswith("m").sum()
    assert scipy.stats.binomtest(int(wins), 200).pvalue > 0.001


def test_nan_scores_raise():
    with pytest.raises(ValueError, match="NaN"):
        metrics.rank(["q"], ["a", "b"], np.array([[0, 1]]), np.array([[1.0, np.nan]]))


def test_duplicate_candidates_raise_in_hits_rankings_and_qrels():
    with pytest.raises(ValueError, match="q9: a candidate appears twice"):
        metrics.rank(["q9"], ["a", "b"], np.array([[1, 1]]), np.array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match="q: candidate a appears twice"):
        metrics.score_queries(ranked("q", "aba"), frame("q", "ab", [1, 0]))
    with pytest.raises(ValueError, match="q: candidate b appears twice"):
        metrics.score_queries(ranked("q", "ab"), frame("q", "abb", [1, 0, 1]))


# ---- intervals and tests -------------------------------------------------------------------------------


def test_interval_without_clusters_is_the_t_interval():
    sample = np.random.default_rng(3).beta(2, 3, size=37)
    low, high = scipy.stats.t.interval(
        0.95, len(sample) - 1, loc=sample.mean(), scale=scipy.stats.sem(sample)
    )
    found = stats.mean_interval(sample)
    assert found == pytest.approx(
        {"value": sample.mean(), "low": low, "high": high, "n": 37, "n_clusters": 37}
    )
    alone = stats.mean_interval(sample, np.arange(37))
    assert alone == pytest.approx(found)


def test_interval_of_one_query_or_cluster_is_unknown():
    for found in (
        stats.mean_interval([0.4]),
        stats.mean_interval([0.3, 0.5], np.array(["a", "a"])),
    ):
        assert (
            found["value"] == pytest.approx(0.4) and np.isnan([found["low"], found["high"]]).all()
        )


def test_clustered_interval_covers_the_truth_and_the_plain_one_does_not():
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(40), 8)
    covered = {"clustered": 0, "plain": 0}
    n = 600
    for _ in range(n):
        sample = 0.5 + rng.normal(size=40)[clusters] + rng.normal(size=320)
        for name, found in (
            ("clustered", stats.mean_interval(sample, clusters)),
            ("plain", stats.mean_interval(sample)),
        ):
            covered[name] += found["low"] <= 0.5 <= found["high"]
    assert 0.92 <= covered["clustered"] / n <= 0.975  # 95% and three standard errors
    assert covered["plain"] / n < 0.80


def test_a_query_without_a_cluster_raises():
    with pytest.raises(ValueError, match="no cluster"):
        stats.mean_interval([1.0, 2.0, 3.0], np.array(["a", "b", None], dtype=object))


def test_randomisation_test_is_uniform_under_the_null_and_finds_a_difference():
    rng = np.random.default_rng(5)
    p = np.array(
        [
            stats.paired_randomisation(*rng.normal(size=(2, 25)), seed=i, n_resamples=400)
            for i in range(400)
        ]
    )
    assert scipy.stats.binomtest(int((p < 0.05).sum()), 400, 0.05).pvalue > 0.001
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001
    first = rng.normal(size=25)
    assert stats.paired_randomisation(first + 1, first + rng.normal(scale=0.1, size=25)) < 0.001


def test_randomisation_p_is_exact_on_few_queries_and_never_0():
    # three differences of one sign: 2 of the 8 assignments are as extreme
    p = stats.paired_randomisation([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert p == pytest.approx(2 / 8, abs=0.02)
    assert stats.paired_randomisation(np.ones(60), np.zeros(60), n_resamples=999) == 1 / 1000
    assert stats.paired_randomisation(np.ones(5), np.ones(5)) == 1.0


def test_clusters_swap_together():
    first, second, clusters = np.ones(60), np.zeros(60), np.repeat([0, 1, 2], 20)
    assert stats.paired_randomisation(first, second, clusters) == pytest.approx(2 / 8, abs=0.02)
    rng = np.random.default_rng(6)
    shares = {"clustered": 0, "plain": 0}
    groups = np.repeat(np.arange(20), 10)
    for i in range(200):
        gap = rng.normal(size=20)[groups] + 0.3 * rng.normal(size=200)
        shares["clustered"] += (
            stats.paired_randomisation(gap, 0 * gap, groups, seed=i, n_resamples=200) < 0.05
        )
        shares["plain"] += stats.paired_randomisation(gap, 0 * gap, seed=i, n_resamples=200) < 0.05
    assert scipy.stats.binomtest(shares["clustered"], 200, 0.05).pvalue > 0.001
    assert shares["plain"] > 60


def test_compare_systems_is_paired_and_leaves_the_baseline_untested():
    rng = np.random.default_rng(7)
    base = rng.uniform(size=30)
    scores = pd.concat(
        [
            pd.DataFrame(
                {
                    "system": name,
                    "query_id": [f"q{i}" for i in range(30)],
                    "measure": "RR",
                    "value": base + gap,
                }
            ).sample(frac=1, random_state=1)
            for name, gap in (("old", 0.0), ("new", 0.1))
        ]
    )
    table = metrics.compare_systems(scores, baseline="old").set_index("system")
    assert table.loc["new", "difference"] == pytest.approx(0.1)
    assert (
        table.loc["new", "difference_high"] - table.loc["new", "difference_low"] < 1e-9
    )  # every query gains the same
    assert table.loc["new", "high"] - table.loc["new", "low"] > 0.1
    assert table.loc["old", ["difference", "p"]].isna().all()
    clusters = pd.Series(["a"] * 15 + ["b"] * 15, index=[f"q{i}" for i in range(30)])
    assert metrics.compare_systems(scores, baseline="old", clusters=clusters)[
        "n_clusters"
    ].tolist() == [
        2,
        2,
    ]
    with pytest.raises(ValueError, match="same queries"):
        metrics.compare_systems(scores.iloc[:-1], baseline="old")


# ---- files ---------------------------------------------------------------------------------------------


def test_runs_and_qrels_round_trip(tmp_path):
    rng = np.random.default_rng(8)
    ids = [f"döc-{i}" for i in range(12)]
    ranking = metrics.rank(
        ["q2", "q1"],
        ids,
        np.array([rng.permutation(12) for _ in range(2)]),
        rng.normal(size=(2, 12)),
    )
    trec.write_run(ranking, tmp_path / "a.txt", tag="bm25")
    read = trec.read_run(tmp_path / "a.txt")
    expected = ranking.sort_values(["query_id", "rank"])[
        ["query_id", "candidate_id", "rank"]
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        read[["query_id", "candidate_id", "rank"]], expected, check_dtype=False
    )
    assert (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()[0].split()[1::4] == [
        "Q0",
        "bm25",
    ]
    trec.write_qrels(frame("q1", "ab", [1, -1]), tmp_path / "q.txt")
    assert (tmp_path / "q.txt").read_text() == "q1 0 a 1\nq1 0 b -1\n"


def test_a_run_is_ranked_by_score_and_then_by_its_rank(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("q Q0 a 1 0.5 t\nq Q0 b 3 0.9 t\nq Q0 c 2 0.9 t\n")
    assert trec.read_run(path)["candidate_id"].tolist() == ["c", "b", "a"]


@pytest.mark.parametrize(
    "line",
    [
        b"q Q0 d 2 0.4",
        b"q Q0 d two 0.4 t",
        b"q Q0 d 2 high t",
        b"q Q0 a 2 0.4 t",
        b"q Q0 d 2 nan t",
        b"q Q0 d\xe9 2 0.4 t",
        b"q Q0 d e 2 0.4 t",
    ],
)
def test_a_malformed_line_of_a_run_is_named(tmp_path, line):
    path = tmp_path / "run.txt"
    path.write_bytes(b"q Q0 a 1 0.5 t\n\n" + line + b"\n")
    with pytest.raises(DataError, match=re.escape(f"{path}:3: ")):
        trec.read_run(path)


def test_ids_with_spaces_are_refused_before_a_run_is_written(tmp_path):
    with pytest.raises(DataError, match="'my doc'"):
        trec.write_run(ranked("q", ["a", "my doc"]), tmp_path / "run.txt", tag="t")
    with pytest.raises(DataError, match="'my q'"):
        trec.write_qrels(frame("my q", "ab", [1, 0]), tmp_path / "qrels.txt")
    assert not list(tmp_path.iterdir())


def test_a_share_of_independent_rows_is_wilsons():
    hits = np.array([1.0] * 13 + [0.0] * 17)
    found = stats.share_interval(hits, np.arange(30))
    known = scipy.stats.binomtest(13, 30).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((known.low, known.high), abs=0.01)
    none = stats.share_interval(np.zeros(30), np.repeat(np.arange(10), 3))
    known = scipy.stats.binomtest(0, 10).proportion_ci(method="wilson")
    assert (none["low"], none["high"]) == pytest.approx((0, known.high))


def test_a_share_of_clustered_rows_covers_as_often_as_it_says():
    """Negatives of one query fit together or not at all: Wilson's interval over rows missed far too often."""
    rng = np.random.default_rng(0)
    clustered, plain = [], []
    for _ in range(400):
        of_query = rng.beta(0.2, 1.8, size=40)
        hits = (rng.random((40, 10)) < of_query[:, None]).astype(float).ravel()
        found = stats.share_interval(hits, np.repeat(np.arange(40), 10))
        clustered.append(found["low"] <= 0.1 <= found["high"])
        rows = scipy.stats.binomtest(int(hits.sum()), 400).proportion_ci(method="wilson")
        plain.append(rows.low <= 0.1 <= rows.high)
    assert np.mean(clustered) > 0.91 and np.mean(plain) < 0.8
