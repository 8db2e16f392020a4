"""Erasure that leaves a probe at chance, reranking by hand, and the frontier."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from matchlib.analysis.mitigation import (
    board,
    expected_shares,
    fit_eraser,
    frontier,
    rerank_to_shares,
)
from matchlib.data.schema import DataError
from matchlib.retrieval.verdicts import seed_values


def planted(n, dim=12, seed=0):
    """Embeddings whose second coordinate holds the kind and whose first, too, leans to a group; labels; kinds."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=n)
    woman = rng.random(n) < np.where(kind, 0.8, 0.2)
    x = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))
    x[:, 0] += 3 * woman
    x[:, 1] += 6 * kind
    return x.astype(np.float32), np.where(woman, "woman", "man"), kind


def test_after_erasure_a_linear_probe_is_at_chance():
    x, groups, _ = planted(4_000)
    train, test = slice(0, 2_000), slice(2_000, None)
    eraser = fit_eraser(x[train], groups[train])
    erased = eraser.project(x)
    chance = pd.Series(groups[test]).value_counts(normalize=True).max()
    probe = LogisticRegression(max_iter=1_000)
    assert probe.fit(x[train], groups[train]).score(x[test], groups[test]) > chance + 0.25
    assert probe.fit(erased[train], groups[train]).score(erased[test], groups[test]) < chance + 0.03
    np.testing.assert_allclose(
        np.cov(erased[train].T, groups[train] == "woman")[:-1, -1], 0, atol=1e-4
    )
    # and the least change: what is not correlated with the group stays, in whitened coordinates one direction goes
    assert np.linalg.matrix_rank(eraser.kept) == x.shape[1] - 1
    np.testing.assert_allclose(eraser.kept @ eraser.kept, eraser.kept, atol=1e-5)  # a projection


def test_erased_embeddings_are_of_length_one_again():
    """Cosines were once compared with dot products of shortened vectors: those who lost most fell furthest."""
    x, groups, _ = planted(1_000)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    eraser = fit_eraser(unit, groups)
    for strength in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(
            np.linalg.norm(eraser.erase(unit, strength=strength), axis=1), 1, atol=1e-6
        )
    assert (np.linalg.norm(eraser.project(unit), axis=1) < 0.99).any()
    np.testing.assert_allclose(eraser.erase(unit, strength=0), unit, atol=1e-6)


def test_erasure_is_the_least_change():
    """Against the closed form for a group that only shifts one of two independent unit directions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 2))
    groups = np.where(x[:, 0] + rng.normal(size=50_000) > 0, "a", "b")
    np.testing.assert_allclose(fit_eraser(x, groups).kept, [[0, 0], [0, 1]], atol=0.02)


def test_erasure_within_strata_keeps_the_strata():
    """Where only segregation makes the groups differ, plain erasure takes the kind away, within strata nothing goes."""
    rng = np.random.default_rng(1)
    kind = rng.integers(2, size=4_000)
    groups = np.where(rng.random(4_000) < np.where(kind, 0.8, 0.2), "woman", "man")
    x = rng.normal(size=(4_000, 8))
    x[:, 1] += 3 * kind
    probe = LogisticRegression(max_iter=1_000)
    kept, lost = (fit_eraser(x, groups, strata=strata).project(x) for strata in (kind, None))
    assert (
        probe.fit(kept, kind).score(kept, kind) > 0.9
        and probe.fit(lost, kind).score(lost, kind) < 0.6
    )
    x[:, 1] += 2 * (groups == "woman")
    erased = fit_eraser(x, groups, strata=kind).project(x)
    for code in (0, 1):
        own, own_groups = erased[kind == code], groups[kind == code]
        assert probe.fit(own, own_groups).score(own, own_groups) < 0.8 + 0.03


def test_erasure_where_some_directions_do_not_vary():
    x, groups, _ = planted(500)
    flat = np.hstack([x, x[:, :3], np.ones((500, 1), dtype=np.float32)])
    erased = fit_eraser(flat, groups).project(flat)
    np.testing.assert_allclose(np.cov(erased.T, groups == "woman")[:-1, -1], 0, atol=1e-3)
    np.testing.assert_allclose(erased[:, -1], 1, atol=1e-4)
    with pytest.raises(DataError, match="no direction"):
        fit_eraser(x, ["a"] * 500)


def ranked(order):
    return pd.DataFrame(
        {"query_id": "j0", "candidate_id": list(order), "rank": range(1, len(order) + 1)}
    )


GROUPS = pd.Series(dict(zip("abcdef", ["m", "m", "m", "m", "w", "w"], strict=True)))


@pytest.mark.parametrize(
    "k, strength, expected",
    [
        (4, 1.0, "aebfcd"),  # w is owed one place of 2, two of 4
        (4, 0.5, "abcedf"),  # and one of 4
        (2, 1.0, "aebcdf"),  # from rank 3 on as it was
        (4, 0.0, "abcdef"),
        (6, 1.0, "aebfcd"),  # no w is left for the sixth place
    ],
)
def test_reranking_by_hand(k, strength, expected):
    targets = pd.DataFrame({"m": [0.5], "w": [0.5]}, index=["j0"])
    found = rerank_to_shares(ranked("abcdef"), GROUPS, targets, k=k, strength=strength)
    assert "".join(found["candidate_id"]) == expected and found["rank"].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_floors_hold_for_three_groups(strength):
    rng = np.random.default_rng(0)
    for _ in range(100):
        shares = rng.dirichlet([1, 1, 1])
        names = rng.choice(["man", "woman", "not stated"], 30, p=shares)
        groups = pd.Series(names, index=[f"r{i}" for i in range(30)])
        targets = pd.DataFrame([groups.value_counts(normalize=True)], index=["j0"])
        found = rerank_to_shares(ranked(groups.index), groups, targets, k=10, strength=strength)
        top = pd.get_dummies(groups[found["candidate_id"]].reset_index(drop=True)).cumsum().head(10)
        floors = np.floor(
            strength * np.outer(range(1, 11), targets[top.columns].to_numpy()[0]) + 1e-9
        )
        assert (top.to_numpy() >= floors).all()
        for name in groups.unique():  # within a group the order stays
            assert [c for c in found["candidate_id"] if groups[c] == name] == list(
                groups[groups == name].index
            )


def test_reranking_wants_a_group_and_a_share_for_everybody():
    targets = pd.DataFrame({"m": [1.0]}, index=["j0"])
    with pytest.raises(DataError, match="'e' has no group"):
        rerank_to_shares(ranked("abcdef"), GROUPS, targets, k=2)


def test_expected_shares_by_hand():
    """The top 2 hold one of stratum x (half women) and one of y (a third)."""
    resumes = pd.DataFrame(
        {"resume_id": list("abcde"), "gender": list("mwmmw"), "occupation": list("xxyyy")}
    )
    found = expected_shares(ranked("acebd"), resumes, column="gender", k=2, strata=["occupation"])
    assert found.loc["j0", "w"] == pytest.approx((1 / 2 + 1 / 3) / 2) and found.sum(
        axis=1
    ).item() == pytest.approx(1)


def test_a_frontier_shows_the_gap_and_its_price():
    """A biased order, the same order without the bias, and a random one: the gap goes in both, the quality in one."""
    rng = np.random.default_rng(0)
    n_jobs, n_people = 60, 200
    resumes = pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(n_people)], "gender": ["man", "woman"] * 100}
    )
    fit = rng.normal(size=(n_jobs, n_people))
    scores = {
        ("none", 0.0): fit - (resumes["gender"] == "woman").to_numpy(),
        ("cured", 1.0): fit,
        ("random", 1.0): rng.normal(size=fit.shape),
    }
    rankings = {
        key: pd.DataFrame(
            {
                "query_id": np.repeat([f"j{i}" for i in range(n_jobs)], n_people),
                "candidate_id": resumes["resume_id"].to_numpy()[np.argsort(-score)].ravel(),
                "rank": np.tile(np.arange(1, n_people + 1), n_jobs),
            }
        )
        for key, score in scores.items()
    }
    j, r = np.nonzero(fit > 1.6)
    channels = {
        "fit": pd.DataFrame({"job_id": [f"j{i}" for i in j], "resume_id": [f"r{i}" for i in r]})
    }
    table = frontier(
        rankings,
        resumes,
        channels,
        column="gender",
        group="woman",
        k=10,
        strata=[],
        n_permutations=200,
    ).set_index("mitigation")
    assert table.loc["none", "gap"] < -0.3 and (table["gap"].drop("none").abs() < 0.1).all()
    assert (
        table.loc["none", "p"] < 0.05
        and np.isnan(table.loc["none", "cost"])
        and (table["group"] == "woman").all()
    )
    assert (
        table.loc["none", "excess"] < -0.3
        and (table["excess"].drop("none").abs() < 4 * table["chance"][1:]).all()
    )
    assert (table["chance"] > 0.005).all()
    assert table.loc["cured", "cost"] < -0.1 and table.loc["random", "cost"] > 0.5
    assert table.loc["cured", "change_low"] > 0 and (table["n"] == 60).all()
    few = frontier(
        rankings,
        resumes,
        channels,
        column="gender",
        group="woman",
        k=10,
        strata=[],
        n_permutations=0,
        smallest=5_000,
    )
    assert (
        few["gap"].isna().all() and (few["note"] == "too few").all() and few["value"].notna().all()
    )
    with pytest.raises(DataError, match="group 'women' is not in gender; it has man, woman"):
        frontier(
            rankings,
            resumes,
            channels,
            column="gender",
            group="women",
            k=10,
            strata=[],
            n_permutations=0,
        )


def test_an_excess_keeps_its_sign_so_that_seeds_average_to_none():
    """With random orders the mean of |gap - expected| over seeds is its noise; the signed mean is about 0."""
    excesses, chances = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        resumes = pd.DataFrame(
            {"resume_id": [f"r{i}" for i in range(60)], "gender": ["man", "woman"] * 30}
        )
        order = np.argsort(rng.normal(size=(20, 60)))
        ranking = pd.DataFrame(
            {
                "query_id": np.repeat([f"j{i}" for i in range(20)], 60),
                "candidate_id": resumes["resume_id"].to_numpy()[order].ravel(),
                "rank": np.tile(np.arange(1, 61), 20),
            }
        )
        j, r = np.nonzero(rng.random((20, 60)) < 0.1)
        channels = {
            "fit": pd.DataFrame({"job_id": [f"j{i}" for i in j], "resume_id": [f"r{i}" for i in r]})
        }
        row = frontier(
            {("none", 0.0): ranking},
            resumes,
            channels,
            column="gender",
            group="woman",
            k=10,
            strata=[],
            n_permutations=100,
        ).iloc[0]
        excesses.append(row["excess"])
        chances.append(row["chance"])
    signed, absolute = np.mean(excesses), np.mean(np.abs(excesses))
    assert abs(signed) < 0.4 * absolute and absolute == pytest.approx(np.mean(chances), rel=0.3)


def test_the_ledger_reads_audits_and_remedies():
    audits = pd.DataFrame(
        {
            "system": ["stage1", "stage1", "raw"],
            "measure": ["share", "pool", "share"],
            "group": "woman",
            "value": [0.4, 0.5, 0.5],
            "expected": [0.5, np.nan, 0.5],
            "flag": [True, False, False],
        }
    )
    treated = pd.DataFrame(
        {
            "mitigation": ["untreated", "erasure"],
            "strength": [0.0, 0.5],
            "channel": "true_fit",
            "group": "woman",
            "excess": [-0.2, np.nan],
            "measure": "nDCG@10",
            "value": [0.6, 0.5],
        }
    )
    swapped = pd.DataFrame(
        {
            "system": "raw",
            "measure": ["places up", "score shift"],
            "group": "woman",
            "value": [3.0, 0.1],
        }
    )
    boards = {("shown", "1"): board(audits, treated, swapped)}
    read = {
        measure: seed_values(boards, measure=measure, channel=channel)
        .set_index("system")["value"]
        .to_dict()
        for measure, channel in (
            ("excess of woman: share", "audit"),
            ("flags", "audit"),
            ("nDCG@10", "true_fit"),
            ("excess of woman: recall gap", "true_fit"),
            ("places up when swapped: woman", "swapped"),
        )
    }
    assert read == {
        "excess of woman: share": {"stage1": pytest.approx(-0.1), "raw": 0.0},
        "flags": {"stage1": 1.0, "raw": 0.0},
        "nDCG@10": {"untreated": 0.6, "erasure at 0.5": 0.5},
        "excess of woman: recall gap": {"untreated": -0.2},
        "places up when swapped: woman": {"raw": 3.0},
    }
    assert board(pd.DataFrame(), pd.DataFrame(), pd.DataFrame()).empty
