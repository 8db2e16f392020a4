"""Training a ranker on a log: it learns what is there, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.stats import auc_parts
from matchlib.talent.arms import MAIN_ARM, Split, baseline_scores, permute_roles, role_controls
from matchlib.talent.experts import ExpertsConfig
from matchlib.talent.logs import check_log
from matchlib.talent.ranker import RankerSettings, fit_ranker, load_ranker

SETTINGS = RankerSettings(num_train_epochs=6, batch_size=128)


def make_log(n=3000, *, role_effect=2.0, seed=0, n_roles=2):
    """Role r likes a high first feature, the others a low one; examination halves each position."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    role = rng.integers(n_roles, size=n)
    position = np.tile(np.arange(1, 5), n // 4)
    liking = role_effect * np.where(role == 0, x[:, 0], -x[:, 0]) + x[:, 1]
    examined = 0.5 ** (position - 1)
    clicked = rng.random(n) < examined / (1 + np.exp(-liking))
    converted = clicked & (rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 2])))
    impressions = pd.DataFrame(
        {
            "request_id": np.repeat(np.arange(n // 4), 4).astype(str),
            "resume_id": np.arange(n).astype(str),
            "role": np.array([f"role {i}" for i in range(n_roles)])[role],
            "position": position,
            "clicked": clicked.astype(int),
            "converted": converted.astype(int),
            "relevance": 1 / (1 + np.exp(-x[:, 1])),
        }
    )
    log = check_log(impressions, pd.DataFrame(x, columns=["a", "b", "c"]), source="log")
    return log, liking, x[:, 2]


def auc(outcome, score):
    return auc_parts(outcome, score).mean()


def fit(log, **settings):
    config = ExpertsConfig(**{"n_experts": 3, "width": 8, **settings})
    return fit_ranker(log, config, SETTINGS, seed=1)[0]


def test_trained_is_above_blind_and_blind_above_chance():
    train, _, _ = make_log()
    test, liking, taste = make_log(seed=1)
    is_liked = liking > np.median(liking)
    scores = {}
    for name, own in {
        "aware": {},
        "blind": {"role_input": False, "role_gate": False},
    }.items():
        found = fit(train, **own).score(test.features, test.impressions["role"])
        scores[name] = auc(is_liked, found["click"].to_numpy())
        assert auc(taste > 0, found["conversion"].to_numpy()) > 0.8
    assert scores["aware"] > 0.85 > scores["blind"] + 0.1 > 0.65


def test_permuted_roles_cost_where_roles_differ_and_nothing_where_they_do_not():
    for role_effect, least, most in ((2.0, 0.2, 1.0), (0.0, -0.02, 0.02)):
        train, _, _ = make_log(role_effect=role_effect)
        test, liking, _ = make_log(role_effect=role_effect, seed=1)
        ranker = fit(train)
        own = ranker.score(test.features, test.impressions["role"])["click"].to_numpy()
        other = ranker.score(test.features, permute_roles(test.impressions, seed=0))
        is_liked = liking > np.median(liking)
        lost = auc(is_liked, own) - auc(is_liked, other["click"].to_numpy())
        assert least < lost < most


def test_examination_is_learned_up_to_scale():
    train, _, _ = make_log(n=8000)
    examined = fit(train).examined()
    np.testing.assert_allclose(examined, [1, 0.5, 0.25, 0.125], atol=0.07)


def test_the_same_seed_trains_the_same_ranker_and_it_survives_the_disk(tmp_path):
    train, _, _ = make_log(n=800)
    first, second = fit(train), fit(train)
    score = first.score(train.features, train.impressions["role"])
    pd.testing.assert_frame_equal(score, second.score(train.features, train.impressions["role"]))
    first.save(tmp_path / "ranker")
    again = load_ranker(tmp_path / "ranker")
    pd.testing.assert_frame_equal(again.score(train.features, train.impressions["role"]), score)
    with pytest.raises(DataError, match="no ranker.json"):
        load_ranker(tmp_path)


def test_a_role_that_training_did_not_see_and_a_missing_feature_are_named():
    train, _, _ = make_log(n=400)
    ranker = fit(train)
    with pytest.raises(DataError, match="role 'ceo' was not in training; the roles are role 0"):
        ranker.score(train.features, pd.Series(["ceo"] * 400))
    with pytest.raises(DataError, match="reads a feature 'c' that is not there"):
        ranker.score(train.features[["a", "b"]], train.impressions["role"])


def test_one_role_no_conversion_no_positions():
    train, _, _ = make_log(n=400, n_roles=1)
    bare = check_log(
        train.impressions.drop(columns=["position", "relevance"]).assign(converted=0),
        train.features,
        source="log",
    )
    ranker = fit(bare)
    assert ranker.config.tasks == ("click",) and ranker.config.examination == "none"
    assert list(ranker.score(bare.features, bare.impressions["role"])) == ["click"]


def test_baselines_and_controls_score_every_row_of_the_test():
    train, _, _ = make_log(n=1200)
    test, liking, _ = make_log(n=400, seed=1)
    split = Split(train, test)
    scores = baseline_scores(split, maturity_days=1, seed=1)
    layout = {"n_experts": 2, "width": 8}
    scores |= role_controls(split, fit(train), settings=SETTINGS, layout=layout, seed=1)
    is_liked = liking > np.median(liking)
    found = {name: auc(is_liked, score["click"].to_numpy()) for name, score in scores.items()}
    assert found["logistic, role crosses"] > found["logistic, blind"] + 0.1
    assert found["a model for each role"] > found["roles shuffled in training"] + 0.1
    assert found["roles permuted at test"] < found["a model for each role"]
    assert MAIN_ARM not in found  # the caller's own


def test_known_examination_needs_the_probabilities():
    train, _, _ = make_log(n=400)
    with pytest.raises(DataError, match="needs the probabilities"):
        fit(train, examination="known")
