"""The recommender that reads written jobs, its controls, and the list of real jobs."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from matchlib.girl.recommend import (
    PREDICTORS,
    Dot,
    Fitting,
    auc_and_log_loss,
    auc_difference,
    compare_arms,
    compare_skills,
    mean_true_fit,
    nearest_jobs,
    predict,
    reduce_dimensions,
    shuffle_within,
    split_interactions,
)
from matchlib.stats import auc_parts

RNG = np.random.default_rng(1)


def test_dot_starts_as_the_product_with_the_mean():
    c, j, w = (torch.randn(4, 3) for _ in range(3))
    assert torch.allclose(Dot(3)(c, j, w), ((c + w) / 2 * j).sum(1) / 3**0.5, atol=1e-6)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_written_job_that_tells_helps(kind):
    n, size = 600, 4
    resumes, jobs, told = (RNG.normal(size=(n, size)).astype(np.float32) for _ in range(3))
    accepted = ((told * jobs).sum(1) > 0).astype(int)
    train = np.arange(n) < 450
    test = ~train
    pairs = pd.DataFrame({"label": accepted, "resume_id": np.arange(n), "cluster": np.arange(n)})
    auc = {}
    for name, written in (("told", told), ("none", 0 * told)):
        inputs = {"resume": resumes, "job": jobs, "written": written}
        found = predict(kind, inputs, accepted, train, fitting=Fitting(60, 5e-3))
        auc[name] = auc_and_log_loss(pairs[test], found[test])["AUC"]
    assert auc["told"] > 0.7 and auc["told"] > auc["none"] + 0.1
    with pytest.raises(FloatingPointError, match="lower its learning rate"):
        predict(kind, inputs | {"resume": np.full_like(resumes, np.nan)}, accepted, train)


def test_arms_are_compared_on_warm_and_cold_seekers():
    n, size = 300, 3
    resumes, jobs, told = (RNG.normal(size=(n, size)).astype(np.float32) for _ in range(3))
    accepted = ((told * jobs).sum(1) > 0).astype(int)
    labels = pd.DataFrame(
        {
            "resume_id": [f"r{i // 2}" for i in range(n)],
            "label": accepted,
            "cluster": [f"c{i // 10}" for i in range(n)],
            "part": np.repeat(["train", "warm", "cold"], 100),
        }
    )
    table, found = compare_arms(
        {"told": told, "none": 0 * told}, resumes, jobs, labels, seeds=[1, 2]
    )
    assert len(table) == 8 and set(table["n"]) == {100} and {"dot told", "mlp none"} <= set(found)
    gain = auc_difference(found, "dot told", "dot none")
    dot = table[(table["predictor"] == "dot") & (table["part"] == "cold")].set_index("arm")["AUC"]
    assert (
        gain["value"] == pytest.approx(dot["told"] - dot["none"])
        and gain["low"] < gain["value"] < gain["high"]
    )
    assert (
        gain["value"] > 0.1
        and gain["n_seekers"] == 50
        and gain["n_clusters"] == 10
        and gain["p"] < 0.05
    )
    assert set(table["n_clusters"]) == {10}


def test_measures_know_their_seekers():
    accepted, probability = np.array([1, 0, 1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.3, 0.4, 0.6])
    pairs = pd.DataFrame(
        {"label": accepted, "resume_id": list("aabbcc"), "cluster": list("xxxxyy")}
    )
    found = auc_and_log_loss(pairs, probability)
    assert found["AUC"] == pytest.approx(8 / 9) and found["n"] == 6
    assert found["n_seekers"] == 3 and found["n_clusters"] == 2
    assert found["AUC low"] < found["AUC"] <= found["AUC high"]
    assert found["LogLoss"] == pytest.approx(-np.log([0.9, 0.9, 0.8, 0.7, 0.4, 0.4]).mean())
    all_accepted = pd.DataFrame({"label": [1, 1], "resume_id": ["a", "b"], "cluster": ["a", "b"]})
    assert np.isnan(auc_and_log_loss(all_accepted, np.ones(2) / 2)["AUC"])


def test_parts_of_an_auc_have_its_mean_and_its_error():
    accepted, noise = RNG.integers(0, 2, 400), RNG.normal(size=(2, 400))
    probability = np.round(accepted + 2 * noise[0], 1)  # with ties
    parts = auc_parts(accepted, probability)
    assert parts.mean() == pytest.approx(roc_auc_score(accepted, probability))
    won, lost = probability[accepted == 1], probability[accepted == 0]
    beats = (won[:, None] > lost[None]) + 0.5 * (won[:, None] == lost[None])
    delong = beats.mean(1).var(ddof=1) / len(won) + beats.mean(0).var(ddof=1) / len(lost)
    assert parts.var(ddof=1) / len(parts) == pytest.approx(delong, rel=0.02)


def test_an_occupation_copied_ten_times_makes_no_interval_narrower():
    accepted, probability = RNG.integers(0, 2, 60), RNG.random(60)
    clusters = np.repeat(np.arange(12), 5)
    pairs = pd.DataFrame({"label": accepted, "resume_id": np.arange(60), "cluster": clusters})
    copies = pd.concat([pairs] * 10, ignore_index=True).assign(resume_id=np.arange(600))
    once = auc_and_log_loss(pairs, probability)
    tenfold = auc_and_log_loss(copies, np.tile(probability, 10))
    for side in ("AUC low", "AUC high", "LogLoss low", "LogLoss high", "n_clusters"):
        assert once[side] == pytest.approx(tenfold[side])
    assert tenfold["n_seekers"] == 600


def test_the_fit_of_listed_jobs_knows_the_clusters_of_its_resumes():
    listed = pd.DataFrame({"resume_id": ["p", "p", "q", "r"], "job_id": ["x", "y", "x", "y"]})
    fit = pd.DataFrame([[1.0, 0.5, 0.0], [0.0, 0.5, 0.5]], ["x", "y"], ["p", "q", "r"])
    found = mean_true_fit(listed, fit, pd.Series({"r": "cook", "q": "nurse", "p": "nurse"}))
    assert found["true fit"] == pytest.approx(0.5) and (found["n"], found["n_clusters"]) == (3, 2)


def test_warm_seekers_have_labels_left_and_cold_ones_have_none():
    labels = pd.DataFrame(
        {"resume_id": RNG.choice([f"r{i}" for i in range(30)], 100), "split": "train"}
    )
    labels = pd.concat(
        [labels, pd.DataFrame({"resume_id": ["t1", "v1"], "split": ["test", "valid"]})],
        ignore_index=True,
    )
    part = split_interactions(labels, held_out=0.2, seed=1)
    assert part.value_counts().to_dict() == {"train": 80, "warm": 20, "cold": 1, "": 1}
    assert set(labels["resume_id"][part == "warm"]) <= set(labels["resume_id"][part == "train"])
    assert part.equals(split_interactions(labels, held_out=0.2, seed=1))


def test_shuffling_tells_the_value_only():
    values = pd.Series(list("aaabbc"), index=range(10, 16))
    order = shuffle_within(values, seed=1)
    assert sorted(order) == list(range(6)) and (values.to_numpy()[order] == values.to_numpy()).all()
    assert (order[:5] != np.arange(5)).all() and order[5] == 5


def test_vectors_are_reduced_together():
    vectors = {"a": RNG.normal(size=(50, 8)), "b": RNG.normal(size=(30, 8))}
    small = reduce_dimensions(vectors, size=3, seed=1)
    assert {name: values.shape for name, values in small.items()} == {"a": (50, 3), "b": (30, 3)}
    assert np.concatenate([*small.values()]).var(axis=0).mean() == pytest.approx(1.0, abs=0.05)


def test_grounding_lists_real_jobs_and_what_they_lack():
    written = pd.DataFrame(
        {"resume_id": ["r"], "skills": ["Baking; Grilling"], "nice_skills": ["Diving"]}
    )
    jobs = pd.DataFrame(
        {"job_id": ["x", "y"], "skills": ["Fishing", "Baking"], "nice_skills": ["", "Diving"]}
    )
    job_vectors = np.array([[0.0, 1.0], [1.0, 0.0]])
    listed = nearest_jobs(["r"], np.array([[1.0, 0.0]]), jobs["job_id"], job_vectors, k=2)
    listed = compare_skills(listed, written, jobs)
    assert listed["job_id"].tolist() == ["y", "x"] and listed["rank"].tolist() == [1, 2]
    assert listed["shared"].tolist() == ["Baking; Diving", ""]
    assert listed["wish"].tolist() == ["Grilling", "Baking; Diving; Grilling"]
