"""Alignment with preferences, the two nDCGs, McNemar's test, frontiers at equal alignment."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from matchlib.retrieval import alignment as al

PART = {
    "jobs": pd.DataFrame({"job_id": ["j0", "j1"]}),
    "resumes": pd.DataFrame({"resume_id": [f"r{i}" for i in range(40)]}),
}
SCORES = np.vstack([np.arange(40)[::-1], np.arange(40)]).astype(
    float
)  # j0 likes r0 best, j1 likes r39 best


def judged(*rows):
    return pd.DataFrame(rows, columns=["job_id", "resume_a", "resume_b", "preferred"])


PREFERENCES = judged(
    ("j0", "r0", "r1", "a"),
    ("j0", "r5", "r2", "b"),
    ("j0", "r0", "r3", "b"),
    ("j1", "r1", "r2", "a"),
    ("j1", "r3", "r4", "tie"),
)


def test_jobs_count_equally_and_ties_stay_out():
    rows = al.compare_with(PREFERENCES, SCORES, PART)
    assert rows["right"].tolist() == [1, 1, 0, 0]
    assert al.by_job(rows).to_dict() == {"j0": pytest.approx(2 / 3), "j1": 0.0}
    row = al.summarise(rows, PREFERENCES)
    assert (
        row["alignment"] == pytest.approx(1 / 3) and row["n_jobs"] == 2 and row["coverage"] == 0.8
    )
    assert row["with_ties"] == pytest.approx((2 / 3 + (0 + 1 / 2) / 2) / 2)
    assert row["position_balanced"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert al.compare_with(PREFERENCES, np.zeros_like(SCORES), PART)["right"].eq(0.5).all()


def test_always_a_is_balanced_away():
    row = al.summarise(al.always_a(PREFERENCES), PREFERENCES)
    assert row["position_balanced"] == 0.5 and row["alignment"] == pytest.approx((1 / 3 + 1) / 2)


def test_another_reader_is_compared_on_the_same_pairs():
    other = PREFERENCES.assign(preferred=["a", "tie", "a", "a", "b"])
    assert al.annotator_agreement(other, PREFERENCES)["right"].tolist() == [1, 0.5, 0, 1]


def test_strict_ndcg_counts_all_positives_and_the_repositorys_only_the_retrieved():
    positives = ["r0", "r1", "r2", *(f"r{i}" for i in range(13, 40))]
    labels = pd.DataFrame({"job_id": "j0", "resume_id": positives, "label": 1})
    ideal = (1 / np.log2(np.arange(2, 12))).sum()
    found = (1 / np.log2(np.arange(2, 5))).sum()
    strict, retrieved = (f(SCORES, PART, labels, k=10) for f in (al.strict_ndcg, al.retrieved_ndcg))
    assert (
        strict["query_id"].tolist() == retrieved["query_id"].tolist() == ["j0"]
    )  # j1 has no positive
    assert (
        strict["value"].item() == pytest.approx(found / ideal) and retrieved["value"].item() == 1.0
    )
    none = labels[labels["resume_id"] == "r39"]
    assert [f(SCORES, PART, none)["value"].item() for f in (al.strict_ndcg, al.retrieved_ndcg)] == [
        0,
        0,
    ]


def test_the_repositorys_ndcg_is_never_below_the_strict_one():
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.random((2, 40))
        labels = pd.DataFrame(
            {
                "job_id": rng.choice(["j0", "j1"], 30),
                "label": 1,
                "resume_id": rng.choice(PART["resumes"]["resume_id"], 30),
            }
        ).drop_duplicates()
        both = al.strict_ndcg(scores, PART, labels).merge(
            al.retrieved_ndcg(scores, PART, labels), on="query_id"
        )
        assert (both["value_y"] >= both["value_x"] - 1e-9).all()


def test_pairs_of_a_cluster_change_sides_together():
    """Ten pairs of one occupation are one observation: McNemar's p over pairs was .0002 where it should be .044."""
    right = pd.DataFrame({"job_id": [f"j{i}" for i in range(40)], "right": 1.0})
    wrong = right.assign(right=[0.0] * 30 + [1.0] * 10)
    kinds = pd.Series([str(i // 10) for i in range(40)], index=right["job_id"])
    alone, together = al.compare_pairs(right, wrong), al.compare_pairs(right, wrong, kinds)
    assert (alone["only_first"], alone["only_second"], alone["n_clusters"]) == (30, 0, 40)
    assert alone["p"] < 0.001 and together["n_clusters"] == 4
    assert together["p"] == pytest.approx(
        2 / 2**3, abs=0.02
    )  # three occupations that all point one way
    assert al.compare_pairs(right, right)["p"] == 1.0


def test_the_table_has_the_ceiling_and_the_trivial_system():
    labels = pd.DataFrame({"job_id": ["j0"], "resume_id": ["r0"], "label": 1})
    rows = al.alignment_table(
        {"own": SCORES}, [al.TestSet("top", PREFERENCES, PREFERENCES)], PART, labels, None
    ).set_index("system")
    assert rows.index.tolist() == ["always a", "training annotator", "own"]
    assert rows.loc["training annotator", "alignment"] == 1.0 and rows.loc["own", "nDCG@20"] == 1.0
    metrics, sentence = al.answer(rows.reset_index(), "top", system="own", baseline="own")
    assert metrics["alignment, own"] == pytest.approx(0.3333) and "no verdict" in sentence


def test_the_limit_goes_from_reading_to_ruling():
    fit = np.tile(np.linspace(0, 1, 40), (2, 1))
    labels = pd.DataFrame({"job_id": ["j0", "j1"], "resume_id": ["r0", "r0"], "label": 1})
    tests = [al.TestSet("top", judged(("j0", "r5", "r0", "a"), ("j1", "r1", "r2", "b")))]
    limit = al.attainable_frontier(PART, fit, labels, tests).set_index("places")
    assert limit.loc[0, "alignment"] == 1.0 and limit.loc[1, "ndcg"] == limit.loc[20, "ndcg"] == 1.0
    assert (
        limit.loc[0, "ndcg"] == 0.0 and limit.loc[1, "alignment"] == 0.5
    )  # j0's pair is turned around, j1's is not


def test_no_linear_mixture_attains_more_than_the_limit():
    """lambda * rule + (1 - lambda) * fit was once called the limit; it lies below at every nDCG between the ends."""
    rng = np.random.default_rng(0)
    part = {
        "jobs": pd.DataFrame({"job_id": [f"j{i}" for i in range(20)]}),
        "resumes": pd.DataFrame({"resume_id": [f"r{i}" for i in range(120)]}),
    }
    fit = rng.random((20, 120))
    row, column = np.nonzero(rng.random((20, 120)) < 0.25)
    labels = pd.DataFrame(
        {"job_id": [f"j{i}" for i in row], "resume_id": [f"r{i}" for i in column], "label": 1}
    )
    a, b = rng.integers(120, size=(2, 20, 50))
    rows = [
        (f"j{j}", f"r{x}", f"r{y}", "a" if fit[j, x] > fit[j, y] else "b")
        for j in range(20)
        for x, y in zip(a[j], b[j], strict=True)
        if x != y
    ]
    preferences = judged(*rows)
    limit = al.attainable_frontier(part, fit, labels, [al.TestSet("all", preferences)])
    rule = np.zeros_like(fit)
    rule[row, column] = 1
    gaps = []
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        mixed = share * rule + (1 - share) * fit
        ndcg = al.strict_ndcg(mixed, part, labels)["value"].mean()
        gaps.append(
            al.attainable_alignment(limit, ndcg)
            - al.by_job(al.compare_with(preferences, mixed, part)).mean()
        )
    assert min(gaps) > -0.002 and max(gaps) > 0.03


def test_curves_are_compared_where_both_have_been():
    points = pd.DataFrame(
        [
            ("steep", 0.6, 0.4),
            ("steep", 0.7, 0.2),
            ("flat", 0.6, 0.7),
            ("flat", 0.9, 0.6),
            ("flat", 0.5, 0.1),
        ],
        columns=["curve", "alignment", "ndcg"],
    )
    points = pd.concat(
        [points, pd.DataFrame([("one", 0.55, 0.1)], columns=points.columns)]
    )  # a point is no curve
    start = {"alignment": 0.5, "ndcg": 0.8}
    kept = al.at_equal_alignment(points, start).set_index("curve")
    assert kept.loc["steep", "ndcg"] == pytest.approx((0.6 + 0.3) / 2, abs=1e-3)
    assert kept.loc["flat", "ndcg"] == pytest.approx((0.75 + (0.7 + 2 / 3) / 2) / 2, abs=1e-3)
    assert (kept["to"] == 0.7).all() and kept["against"].to_dict() == {
        "steep": "flat",
        "flat": "steep",
    }
    short = pd.DataFrame([("short", 0.55, 0.8), ("short", 0.6, 0.8)], columns=points.columns)
    wide = al.at_equal_alignment(pd.concat([points, short]), start).set_index(["curve", "against"])
    assert wide.loc[("steep", "flat"), "to"] == 0.7 and wide.loc[("steep", "short"), "to"] == 0.6
    stuck = pd.DataFrame([("stuck", 0.4, 0.8), ("stuck", 0.3, 0.8)], columns=points.columns)
    kept = al.at_equal_alignment(pd.concat([points, stuck]), start).set_index(["curve", "against"])[
        "ndcg"
    ]
    assert kept.isna().sum() == 4 and kept[("steep", "flat")] == pytest.approx(
        (0.6 + 0.3) / 2, abs=1e-3
    )


def test_the_share_of_the_limit_is_taken_at_the_ndcg_that_was_kept():
    rows = pd.DataFrame(
        {
            "pairs": "top",
            "system": ["stage1", "rankpo"],
            "alignment": [0.5, 0.6],
            "nDCG@20": [0.7, 0.6],
            "low": 0.0,
            "high": 1.0,
        }
    )
    limit = pd.DataFrame(
        {
            "pairs": "top",
            "places": [0, 20, 5],
            "alignment": [0.9, 0.5, 0.8],
            "ndcg": [0.2, 1.0, 0.6],
        }
    )
    metrics, _ = al.answer(rows, "top", system="rankpo", baseline="stage1", limit=limit)
    assert metrics["share of the attainable gain"] == pytest.approx(0.1 / 0.3, abs=1e-4)
    limit["alignment"] = 0.5  # what the baseline has: a few judged pairs are enough for that
    metrics, told = al.answer(rows, "top", system="rankpo", baseline="stage1", limit=limit)
    assert "share of the attainable gain" not in metrics
    assert "; at that nDCG no gain is attainable. One run" in told


@pytest.mark.parametrize(
    ("before", "curve"),
    [("stage1", "rankpo sigmoid with replay held to 10%"), ("pretrained", "sft")],
)
def test_a_frontier_starts_where_stage_2_did(tmp_path, before, curve):
    rows = [
        (where, system, value + shift, 0.9 - value)
        for where, shift in (("top", 0.0), ("uniform", 0.1))
        for system, value in (("bm25", 0.7), (before, 0.4), ("rankpo", 0.6))
    ]
    table = pd.DataFrame(rows, columns=["pairs", "system", "alignment", "nDCG@20"])
    table.to_csv(tmp_path / "alignment.csv", index=False)
    how = {
        "objective": curve.split()[0],
        "loss_type": "sigmoid",
        "contrastive_weight": 0.3 * ("replay" in curve),
        "learning_rate": 1e-3,
        "max_ndcg_drop": 0.1 if "held" in curve else 1.0,
    }
    stage = SimpleNamespace(path=lambda name: tmp_path / name, manifest={"parameters": how})
    points, start = al.frontier_points({"arm": stage})
    assert start == pytest.approx(
        {"alignment": 0.5, "ndcg": 0.5}
    )  # of the uniform pairs, not BM25's
    assert points[["arm", "curve", "learning_rate"]].iloc[0].tolist() == ["arm", curve, 1e-3]
    assert points[["alignment", "ndcg"]].iloc[0].tolist() == pytest.approx([0.7, 0.3])
