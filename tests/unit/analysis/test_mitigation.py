"""Erasure leaves a probe at chance, reranking by hand, the table of mitigations, and its rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from matchlib.analysis.bias import AuditSettings
from matchlib.analysis.mitigation import (
    TreatedRanking,
    compare_mitigations,
    expected_shares,
    fit_eraser,
    leaderboard_rows,
    rerank_to_shares,
)
from matchlib.data.schema import DataError
from matchlib.retrieval.verdicts import seed_values


def make_embeddings(n, dim=12, seed=0):
    """Embeddings whose first coordinate depends on the gender and whose second on the occupation.

    Returns embeddings, genders and occupations (codes).
    """
    rng = np.random.default_rng(seed)
    occupation = rng.integers(2, size=n)
    is_woman = rng.random(n) < np.where(occupation, 0.8, 0.2)
    embeddings = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))
    embeddings[:, 0] += 3 * is_woman
    embeddings[:, 1] += 6 * occupation
    genders = np.where(is_woman, "woman", "man")
    return embeddings.astype(np.float32), genders, occupation


def probe_accuracy(train, train_labels, test, test_labels):
    """Accuracy of a linear model of the labels."""
    probe = LogisticRegression(max_iter=1_000)
    return probe.fit(train, train_labels).score(test, test_labels)


def covariance_with_women(embeddings, genders):
    """(D,) covariances of each coordinate with being a woman."""
    return np.cov(embeddings.T, genders == "woman")[:-1, -1]


def test_after_erasure_a_linear_probe_is_at_chance():
    embeddings, genders, _ = make_embeddings(4_000)
    train = embeddings[:2_000]
    test = embeddings[2_000:]
    train_genders = genders[:2_000]
    test_genders = genders[2_000:]
    eraser = fit_eraser(train, train_genders)
    erased = eraser.project(train)
    chance = pd.Series(test_genders).value_counts(normalize=True).max()
    before = probe_accuracy(train, train_genders, test, test_genders)
    after = probe_accuracy(erased, train_genders, eraser.project(test), test_genders)
    assert before > chance + 0.25
    assert after < chance + 0.03
    np.testing.assert_allclose(covariance_with_women(erased, train_genders), 0, atol=1e-4)


def test_erasure_is_a_projection_that_removes_one_direction():
    embeddings, genders, _ = make_embeddings(2_000)
    projection = fit_eraser(embeddings, genders).projection
    assert np.linalg.matrix_rank(projection) == embeddings.shape[1] - 1
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-5)


def test_erased_embeddings_have_length_one():
    """Without it cosines would be compared with dot products of shortened vectors."""
    embeddings, genders, _ = make_embeddings(1_000)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    eraser = fit_eraser(unit, genders)
    for strength in (0.0, 0.5, 1.0):
        erased = eraser.erase(unit, strength=strength)
        np.testing.assert_allclose(np.linalg.norm(erased, axis=1), 1, atol=1e-6)
    assert (np.linalg.norm(eraser.project(unit), axis=1) < 0.99).any()
    np.testing.assert_allclose(eraser.erase(unit, strength=0), unit, atol=1e-6)


def test_erasure_is_the_least_change():
    """Against the closed form for a group that only shifts one of two independent directions."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50_000, 2))
    is_a = embeddings[:, 0] + rng.normal(size=50_000) > 0
    eraser = fit_eraser(embeddings, np.where(is_a, "a", "b"))
    np.testing.assert_allclose(eraser.projection, [[0, 0], [0, 1]], atol=0.02)


def make_segregated_embeddings():
    """Embeddings that depend on the occupation alone; occupations have unequal shares of women."""
    rng = np.random.default_rng(1)
    occupation = rng.integers(2, size=4_000)
    is_woman = rng.random(4_000) < np.where(occupation, 0.8, 0.2)
    embeddings = rng.normal(size=(4_000, 8))
    embeddings[:, 1] += 3 * occupation
    return embeddings, np.where(is_woman, "woman", "man"), occupation


def test_erasure_within_strata_keeps_the_strata():
    """Where only segregation makes the groups differ, plain erasure removes the occupation."""
    embeddings, genders, occupation = make_segregated_embeddings()
    within = fit_eraser(embeddings, genders, strata=occupation).project(embeddings)
    plain = fit_eraser(embeddings, genders).project(embeddings)
    assert probe_accuracy(within, occupation, within, occupation) > 0.9
    assert probe_accuracy(plain, occupation, plain, occupation) < 0.6


@pytest.mark.parametrize("code", [0, 1])
def test_erasure_within_strata_erases_the_group_in_each(code):
    embeddings, genders, occupation = make_segregated_embeddings()
    embeddings[:, 1] += 2 * (genders == "woman")
    erased = fit_eraser(embeddings, genders, strata=occupation).project(embeddings)
    own = erased[occupation == code]
    own_genders = genders[occupation == code]
    assert probe_accuracy(own, own_genders, own, own_genders) < 0.8 + 0.03


def test_erasure_where_some_directions_do_not_vary():
    embeddings, genders, _ = make_embeddings(500)
    constant = np.ones((500, 1), dtype=np.float32)
    redundant = np.hstack([embeddings, embeddings[:, :3], constant])
    erased = fit_eraser(redundant, genders).project(redundant)
    np.testing.assert_allclose(covariance_with_women(erased, genders), 0, atol=1e-3)
    np.testing.assert_allclose(erased[:, -1], 1, atol=1e-4)


def test_one_group_cannot_be_erased():
    embeddings, _, _ = make_embeddings(500)
    with pytest.raises(DataError, match="no direction"):
        fit_eraser(embeddings, ["a"] * 500)


def ranked(candidates):
    """A ranking of one job; candidates: best first."""
    return pd.DataFrame(
        {
            "query_id": "j0",
            "candidate_id": list(candidates),
            "rank": range(1, len(candidates) + 1),
        }
    )


GROUPS = pd.Series(["m", "m", "m", "m", "w", "w"], index=list("abcdef"))


@pytest.mark.parametrize(
    ("cutoff", "strength", "expected"),
    [
        (4, 1.0, "aebfcd"),  # w is owed one rank of 2, two of 4
        (4, 0.5, "abcedf"),  # and one of 4
        (2, 1.0, "aebcdf"),  # from rank 3 on as it was
        (4, 0.0, "abcdef"),
        (6, 1.0, "aebfcd"),  # no w is left for rank 6
    ],
)
def test_reranking_by_hand(cutoff, strength, expected):
    targets = pd.DataFrame({"m": [0.5], "w": [0.5]}, index=["j0"])
    reranked = rerank_to_shares(ranked("abcdef"), GROUPS, targets, cutoff=cutoff, strength=strength)
    assert "".join(reranked["candidate_id"]) == expected
    assert reranked["rank"].tolist() == [1, 2, 3, 4, 5, 6]


def random_groups(rng):
    """The group of each of 30 resumes, of up to three groups."""
    shares = rng.dirichlet([1, 1, 1])
    names = rng.choice(["man", "woman", "not stated"], 30, p=shares)
    return pd.Series(names, index=[f"r{i}" for i in range(30)])


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_floors_hold_for_three_groups(strength):
    rng = np.random.default_rng(0)
    for _ in range(100):
        groups = random_groups(rng)
        targets = pd.DataFrame([groups.value_counts(normalize=True)], index=["j0"])
        reranked = rerank_to_shares(
            ranked(groups.index), groups, targets, cutoff=10, strength=strength
        )
        new_groups = groups[reranked["candidate_id"]].reset_index(drop=True)
        n_placed = pd.get_dummies(new_groups).cumsum().head(10)
        shares = targets[n_placed.columns].to_numpy()[0]
        floors = np.floor(strength * np.outer(range(1, 11), shares) + 1e-9)
        assert (n_placed.to_numpy() >= floors).all()


def test_within_a_group_the_order_stays():
    rng = np.random.default_rng(0)
    groups = random_groups(rng)
    targets = pd.DataFrame([groups.value_counts(normalize=True)], index=["j0"])
    reranked = rerank_to_shares(ranked(groups.index), groups, targets, cutoff=10)
    new_groups = reranked["candidate_id"].map(groups)
    for name in groups.unique():
        order = reranked["candidate_id"][new_groups == name]
        assert order.tolist() == groups.index[groups == name].tolist()


def test_reranking_needs_a_group_and_a_share_for_everybody():
    targets = pd.DataFrame({"m": [1.0]}, index=["j0"])
    with pytest.raises(DataError, match="'e' has no group"):
        rerank_to_shares(ranked("abcdef"), GROUPS, targets, cutoff=2)


def test_expected_shares_by_hand():
    """The top 2 hold one of stratum x (half women) and one of y (a third)."""
    resumes = pd.DataFrame(
        {
            "resume_id": list("abcde"),
            "gender": list("mwmmw"),
            "occupation": list("xxyyy"),
        }
    )
    shares = expected_shares(
        ranked("acebd"), resumes, column="gender", cutoff=2, strata=["occupation"]
    )
    assert shares.loc["j0", "w"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert shares.sum(axis=1).item() == pytest.approx(1)


def make_resumes(n):
    ids = [f"r{i}" for i in range(n)]
    return pd.DataFrame({"resume_id": ids, "gender": ["man", "woman"] * (n // 2)})


def rank_by(scores, resumes):
    """The ranking of resumes by (J, R) scores."""
    n_jobs, n_people = scores.shape
    order = np.argsort(-scores)
    return pd.DataFrame(
        {
            "query_id": np.repeat([f"j{i}" for i in range(n_jobs)], n_people),
            "candidate_id": resumes["resume_id"].to_numpy()[order].ravel(),
            "rank": np.tile(np.arange(1, n_people + 1), n_jobs),
        }
    )


def pairs_where(mask):
    """The pairs of a (J, R) bool array."""
    job, resume = np.nonzero(mask)
    return pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in job],
            "resume_id": [f"r{i}" for i in resume],
        }
    )


@pytest.fixture(scope="module")
def three_rankings():
    """A biased order, the same order without bias, and a random one; resumes; judgment sets."""
    rng = np.random.default_rng(0)
    resumes = make_resumes(200)
    fit = rng.normal(size=(60, 200))
    is_woman = (resumes["gender"] == "woman").to_numpy()
    treated = [
        TreatedRanking("none", 0.0, rank_by(fit - is_woman, resumes)),
        TreatedRanking("unbiased", 1.0, rank_by(fit, resumes)),
        TreatedRanking("random", 1.0, rank_by(rng.normal(size=fit.shape), resumes)),
    ]
    return treated, resumes, {"fit": pairs_where(fit > 1.6)}


def compare(treated, resumes, judgment_sets, *, group="woman", **changes):
    defaults = {"cutoff": 10, "strata": [], "n_permutations": 200}
    return compare_mitigations(
        treated,
        resumes,
        judgment_sets,
        column="gender",
        group=group,
        settings=AuditSettings(**defaults | changes),
    )


def test_the_gap_of_each_mitigation(three_rankings):
    compared = compare(*three_rankings).set_index("mitigation")
    assert (compared["group"] == "woman").all()
    untreated = compared.loc["none"]
    assert untreated["gap"] < -0.3
    assert untreated["excess"] < -0.3
    assert untreated["p"] < 0.05
    treated = compared.drop("none")
    assert (treated["gap"].abs() < 0.1).all()
    assert (treated["excess"].abs() < 4 * treated["chance"]).all()
    assert (compared["chance"] > 0.005).all()


def test_the_cost_of_each_mitigation(three_rankings):
    compared = compare(*three_rankings).set_index("mitigation")
    assert (compared["n"] == 60).all()
    assert np.isnan(compared.loc["none", "cost"])
    assert compared.loc["unbiased", "cost"] < -0.1
    assert compared.loc["unbiased", "change_low"] > 0
    assert compared.loc["random", "cost"] > 0.5


def test_a_gap_of_few_people_is_not_shown(three_rankings):
    compared = compare(*three_rankings, n_permutations=0, min_group_size=5_000)
    assert compared["gap"].isna().all()
    assert (compared["note"] == "too few").all()
    assert compared["value"].notna().all()


def test_a_gap_of_an_unknown_group_is_refused(three_rankings):
    with pytest.raises(DataError, match="group 'women' is not in gender; it has man, woman"):
        compare(*three_rankings, group="women", n_permutations=0)


def test_signed_excesses_of_random_orders_average_to_zero():
    """The mean of |gap - expected| over seeds is its noise; the signed mean is about 0."""
    excesses = []
    chances = []
    resumes = make_resumes(60)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        treated = [TreatedRanking("none", 0.0, rank_by(rng.normal(size=(20, 60)), resumes))]
        judgment_sets = {"fit": pairs_where(rng.random((20, 60)) < 0.1)}
        row = compare(treated, resumes, judgment_sets, n_permutations=100).iloc[0]
        excesses.append(row["excess"])
        chances.append(row["chance"])
    noise = np.mean(np.abs(excesses))
    assert abs(np.mean(excesses)) < 0.4 * noise
    assert noise == pytest.approx(np.mean(chances), rel=0.3)


AUDITS = pd.DataFrame(
    {
        "system": ["stage1", "stage1", "pretrained"],
        "measure": ["share", "pool", "share"],
        "group": "woman",
        "value": [0.4, 0.5, 0.5],
        "expected": [0.5, np.nan, 0.5],
        "flag": [True, False, False],
    }
)
COMPARED = pd.DataFrame(
    {
        "mitigation": ["untreated", "erasure"],
        "strength": [0.0, 0.5],
        "judgments": "true_fit",
        "group": "woman",
        "excess": [-0.2, np.nan],
        "measure": "nDCG@10",
        "value": [0.6, 0.5],
    }
)
SWAPPED = pd.DataFrame(
    {
        "system": "pretrained",
        "measure": ["places up", "score shift"],
        "group": "woman",
        "value": [3.0, 0.1],
    }
)


@pytest.mark.parametrize(
    ("measure", "judgments", "expected"),
    [
        ("excess of woman: share", "audit", {"stage1": pytest.approx(-0.1), "pretrained": 0.0}),
        ("flags", "audit", {"stage1": 1.0, "pretrained": 0.0}),
        ("nDCG@10", "true_fit", {"untreated": 0.6, "erasure at 0.5": 0.5}),
        ("excess of woman: recall gap", "true_fit", {"untreated": -0.2}),
        ("places up when swapped: woman", "swapped", {"pretrained": 3.0}),
    ],
)
def test_the_ledger_reads_audits_and_mitigations(measure, judgments, expected):
    boards = {("shown", "1"): leaderboard_rows(AUDITS, COMPARED, SWAPPED)}
    values = seed_values(boards, measure=measure, judgments=judgments)
    assert values.set_index("system")["value"].to_dict() == expected


def test_a_run_without_groups_has_no_rows():
    nothing = pd.DataFrame()
    assert leaderboard_rows(nothing, nothing, nothing).empty
