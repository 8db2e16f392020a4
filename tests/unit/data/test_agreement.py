"""Rules against texts, on five jobs and ten resumes whose similarities are known."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data import agreement
from matchlib.data.agreement import compare_rules_with_texts
from matchlib.data.rules import rules_by_name

WORDS = ["alpha", "beta", "gamma", "delta", "omega"]


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Job i says word i; resumes i and i + 5 do too. Resume i + 5 lives in the city of job i; its twin nowhere near."""
    jobs = pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(5)],
            "text": [f"{w} job" for w in WORDS],
            "city": [f"city{i}" for i in range(5)],
        }
    )
    resumes = pd.DataFrame(
        {
            "resume_id": [f"r{i}" for i in range(10)],
            "text": [f"{w} resume" for w in WORDS * 2],
            "city": ["elsewhere"] * 5 + [f"city{(i + 1) % 5}" for i in range(5)],
        }
    )
    labels = pd.DataFrame(
        {"job_id": ["j0", "j0", "j1"], "resume_id": ["r0", "r9", "r2"], "label": [1, 1, 0]}
    )
    return {"jobs": jobs, "resumes": resumes, "labels": labels}


def test_pairs_and_summary_count_every_pair_once(tables):
    found = compare_rules_with_texts(rules_by_name(["place"]), tables, seed=0)
    assert len(found.pairs) == 50
    kinds = found.pairs.groupby("kind")["similarity"]
    assert kinds.size().to_dict() == {"rules reject": 45, "rules select": 5}
    assert kinds.max()["rules select"] == 0  # the rule picks the neighbour's words
    assert (found.pairs["similarity"] > 0).sum() == 10
    summary = found.summary.set_index(["kind", "texts"])
    assert summary["pairs"].sum() == 50 and summary["labelled"].sum() == 3
    cell = summary.loc[("rules select", "unlike")]
    assert (cell["pairs"], cell["labelled"], cell["accepted of labelled"]) == (5, 1, 1.0)


def test_examples_show_the_disagreements_in_full(tables):
    examples = compare_rules_with_texts(rules_by_name(["place"]), tables, seed=0).examples
    assert examples["kind"].tolist() == ["rules select"] * 3 + ["rules reject"] * 3
    selected, rejected = examples.iloc[:3], examples.iloc[3:]
    assert (selected["similarity"] == 0).all() and selected["why"].str.startswith(
        "both in city"
    ).all()
    assert (rejected["similarity"] > 0.1).all() and rejected["why"].str.contains(" against ").all()
    for row in rejected.itertuples():
        assert row.job.split()[0] == row.resume.split()[0]


def test_similarity_does_not_depend_on_the_draw(tables):
    first, second = (
        compare_rules_with_texts(rules_by_name(["place"]), tables, seed=seed).pairs
        for seed in (0, 1)
    )
    assert not first.equals(second)
    for kind in ("rules select", "rules reject"):
        np.testing.assert_allclose(
            *(np.sort(pairs.loc[pairs["kind"] == kind, "similarity"]) for pairs in (first, second))
        )


def test_without_rules_the_labels_take_their_place(tables):
    found = compare_rules_with_texts({}, tables, seed=0)
    assert found.pairs["kind"].value_counts().to_dict() == {"accepted": 2, "rejected": 1}
    assert (found.examples["why"] == "").all() and len(found.examples) == 3


def test_true_fits_are_counted_where_they_are_known(tables):
    truth = pd.DataFrame({"job_id": ["j0", "j1"], "resume_id": ["r9", "r5"], "split": "train"})
    summary = compare_rules_with_texts(
        rules_by_name(["place"]), {**tables, "truth": truth}, seed=0
    ).summary
    cell = summary.set_index(["kind", "texts"])["true fits of all"]
    assert cell["rules select", "unlike"] == pytest.approx(2 / 5)
    assert cell["rules reject", "unlike"] == 0


def test_large_tables_are_drawn_from(tables, monkeypatch):
    monkeypatch.setattr(agreement, "MAX_JOBS", 3)
    monkeypatch.setattr(agreement, "MAX_RESUMES", 4)
    assert len(compare_rules_with_texts(rules_by_name(["place"]), tables, seed=0).pairs) == 12
