"""Hard pairs: balanced by job, and true to what they say they change."""

import pandas as pd
import pytest

from matchlib.data.market.simulation import Market
from matchlib.data.rules import split_items
from matchlib.girl.job_pairs import CORRUPTIONS, corrupted_pairs, hard_pairs, outcome_pairs
from matchlib.girl.records import job_record, parse_job, resume_record

MARKET = Market(2, occupations=3, true_fit_share=0.05)
TABLES = MARKET.tables({"train": (80, 60)})
JOBS, RESUMES, LABELS = (TABLES[name] for name in ("jobs", "resumes", "labels"))
TEXTS = pd.Series([job_record(row) for row in JOBS.to_dict("records")], index=JOBS["job_id"])


@pytest.mark.parametrize(("cluster_by", "block"), [("occupation", 1_000), ("", 40)])
def test_every_job_is_preferred_as_often_as_it_is_refused(cluster_by, block):
    pairs = outcome_pairs(JOBS, LABELS, TEXTS, cluster_by=cluster_by, block=block)
    accepted = LABELS[LABELS["label"] == 1]
    assert len(pairs) > 0.9 * len(accepted)
    difference = pairs["chosen"].value_counts().sub(pairs["rejected"].value_counts(), fill_value=0)
    assert difference.abs().sum() <= 2 * (len(accepted) - len(pairs))
    taken, refused = (
        set(zip(part["resume_id"], part["job_id"], strict=True))
        for part in (accepted, LABELS[LABELS["label"] == 0])
    )
    assert set(zip(pairs["resume_id"], pairs["chosen"], strict=True)) <= taken
    rejected = list(zip(pairs["resume_id"], pairs["rejected"], strict=True))
    assert not set(rejected) & taken
    assert [pair in refused for pair in rejected] == (pairs["kind"] == "recruiter").tolist()
    assert {"recruiter", "neighbour"} == set(pairs["kind"])


def test_the_nearest_job_is_taken():
    jobs = pd.DataFrame({"job_id": list("abc")})
    labels = pd.DataFrame({"resume_id": list("xyz"), "job_id": list("abc"), "label": 1})
    texts = pd.Series({"a": "red\ngreen\n", "b": "red\ngreen\nblue\n", "c": "grey\n"})
    pairs = outcome_pairs(jobs, labels, texts).set_index("chosen")["rejected"].to_dict()
    assert set(pairs) == set(pairs.values()) == set("abc") and all(a != b for a, b in pairs.items())
    both = outcome_pairs(
        jobs,
        pd.concat([labels, pd.DataFrame({"resume_id": ["x"], "job_id": ["c"], "label": [0]})]),
        texts,
    )
    assert both[both["kind"] == "recruiter"][["chosen", "rejected"]].values.tolist() == [["a", "c"]]


EIGHT = dict.fromkeys(CORRUPTIONS, 8)


def prefers(resume, job, other, kind):
    """Whether the record of a resume says what the pair says."""
    if kind in ("skill", "nice", "fewer"):
        column = "nice_skills" if kind == "nice" else "skills"
        new, old = (
            set(split_items(a[column])) - set(split_items(b[column]))
            for a, b in ((job, other), (other, job))
        )
        held = set(split_items(resume["skills"]))
        return new <= held and not old & held
    if kind == "years":
        return (
            job["min_years"] <= resume["years"]
            and not job["min_years"] < other["min_years"] <= resume["years"]
        )
    field = {"place": "city", "level": "seniority"}[kind]
    return job[field] == resume[field] != other[field]


def test_a_corruption_changes_one_thing_and_runs_both_ways():
    pairs = corrupted_pairs(JOBS, RESUMES, numbers=EIGHT, seed=1)
    assert set(pairs["kind"].value_counts().to_dict().items()) == {
        (kind, 16) for kind in CORRUPTIONS
    }
    assert (
        pairs["chosen"]
        .value_counts()
        .sort_index()
        .equals(pairs["rejected"].value_counts().sort_index().rename_axis("chosen"))
    )
    resumes = RESUMES.set_index("resume_id")
    field = {
        "skill": "skills",
        "nice": "nice_skills",
        "fewer": "skills",
        "years": "min_years",
        "place": "city",
        "level": "seniority",
    }
    for row in pairs.itertuples():
        job, other, resume = (
            parse_job(row.chosen),
            parse_job(row.rejected),
            resumes.loc[row.resume_id],
        )
        assert [name for name in job if job[name] != other[name]] == [field[row.kind]]
        assert resume["title"] == job["title"] and prefers(resume, job, other, row.kind), row
    again = corrupted_pairs(JOBS, RESUMES, numbers=EIGHT, seed=1)
    assert again.equals(pairs) and not corrupted_pairs(JOBS, RESUMES, numbers=EIGHT, seed=2).equals(
        pairs
    )


def test_dissimilar_jobs_are_unlike_and_balanced_too():
    pairs = outcome_pairs(JOBS, LABELS, TEXTS, dissimilar_share=0.5)
    pairs = pairs[pairs["kind"] == "dissimilar"]
    title = JOBS.set_index("job_id")["title"]
    assert len(pairs) >= 0.45 * (LABELS["label"] == 1).sum()
    assert (title[pairs["chosen"]].to_numpy() != title[pairs["rejected"]].to_numpy()).mean() > 0.9
    assert (
        pairs["chosen"]
        .value_counts()
        .sub(pairs["rejected"].value_counts(), fill_value=0)
        .abs()
        .sum()
        <= 4
    )


def test_an_unknown_kind_is_named():
    with pytest.raises(
        ValueError, match="'salary' is not one of skill, nice, fewer, years, place, level"
    ):
        corrupted_pairs(JOBS, RESUMES, numbers={"salary": 1}, seed=1)


def test_both_kinds_become_texts():
    prompts = pd.Series(
        [resume_record(row) for row in RESUMES.to_dict("records")], index=RESUMES["resume_id"]
    )
    part, some = (
        {"jobs": JOBS, "resumes": RESUMES},
        LABELS[LABELS["resume_id"].isin(RESUMES["resume_id"][:40])],
    )
    table = hard_pairs(part, some, prompts, TEXTS, corruption_weights={"skill": 0.1, "years": 0.05})
    assert table.notna().all().all() and set(table["resume_id"]) <= set(some["resume_id"])
    assert set(table["chosen"].map(lambda text: parse_job(text) is not None)) == {True}
    assert table["prompt"].tolist() == prompts[table["resume_id"]].tolist()
    n = round(0.1 * (some["label"] == 1).sum())
    assert (table["kind"] == "skill").sum() == 2 * n
    assert set(
        hard_pairs(part, some, prompts, TEXTS, corruption_weights={}, dissimilar_share=0.0)["kind"]
    ) == {
        "recruiter",
        "neighbour",
    }
