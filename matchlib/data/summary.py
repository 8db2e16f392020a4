"""Plain facts about a set of tables: sizes, lengths, label sparsity."""

from __future__ import annotations

import pandas as pd

from matchlib.data.schema import SPLITS


def sizes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a split: jobs, resumes, labels, accepted, labels a job, share of pairs that are
    labelled (percent)."""
    rows = []
    for split in SPLITS:
        part = select_split(tables, split)
        n_jobs = len(part["jobs"])
        n_resumes = len(part["resumes"])
        n_pairs = n_jobs * n_resumes
        labels = part["labels"]
        row = {
            "split": split,
            "jobs": n_jobs,
            "resumes": n_resumes,
            "labels": len(labels),
            "accepted": int((labels["label"] == 1).sum()),
            "labels a job": len(labels) / max(n_jobs, 1),
            "labelled pairs, %": 100 * len(labels) / max(n_pairs, 1),
        }
        if "truth" in part:
            row["true fits, %"] = 100 * len(part["truth"]) / max(n_pairs, 1)
        rows.append(row)
    return pd.DataFrame(rows)


def select_split(tables: dict[str, pd.DataFrame], split: str) -> dict[str, pd.DataFrame]:
    """The rows of one split, of every table that has a column split."""
    part = {}
    for name, frame in tables.items():
        if "split" in frame:
            part[name] = frame[frame["split"] == split]
    return part


def example_pairs(part: dict[str, pd.DataFrame], *, per_label: int = 3) -> pd.DataFrame:
    """label, text_job, text_resume: the first pairs of each label, with their texts."""
    pairs = part["labels"].groupby("label").head(per_label)
    job_texts = part["jobs"][["job_id", "text"]]
    resume_texts = part["resumes"][["resume_id", "text"]]
    pairs = pairs.merge(job_texts, on="job_id")
    pairs = pairs.merge(resume_texts, on="resume_id", suffixes=("_job", "_resume"))
    return pairs[["label", "text_job", "text_resume"]]


def fits_by_decision(labels: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """How many of those who applied truly fit, before any decision and by decision, where the truth
    is known.

    labels: job_id, resume_id, label (1 accepted); truth: job_id, resume_id of the pairs that truly
    fit.
    Returns decision (all applicants, accepted, rejected), pairs, truly_fit (share, NaN without
    pairs).
    """
    true_pairs = truth[["job_id", "resume_id"]].assign(fits=1.0)
    fits = labels.merge(true_pairs, how="left", on=["job_id", "resume_id"])["fits"]
    fits = fits.fillna(0.0)
    decisions = {
        "all applicants": labels["label"].notna(),
        "accepted": labels["label"] == 1,
        "rejected": labels["label"] == 0,
    }
    rows = []
    for decision, chosen in decisions.items():
        own = fits[chosen.to_numpy()]
        rows.append({"decision": decision, "pairs": len(own), "truly_fit": own.mean()})
    return pd.DataFrame(rows)


def describe(tables: dict[str, pd.DataFrame]) -> list[str]:
    """The same facts as lines of text, for the command line."""
    lines = []
    for name in ("jobs", "resumes"):
        # one text at a time: the words of all of them would take 60 bytes each
        words = tables[name]["text"].map(lambda text: len(text.split()))
        is_known = tables[name].columns.str.fullmatch("text|split|.*_id")
        optional = tables[name].columns[~is_known]
        lines.append(
            f"{name}: {len(words):,} texts, median {words.median():.0f} words, longest {words.max():,}; "
            f"further columns: {', '.join(optional) or 'none'}"
        )
    for row in sizes(tables).to_dict("records"):
        lines.append(
            f"{row['split']}: {row['jobs']:,} jobs, {row['resumes']:,} resumes, {row['labels']:,} labels "
            f"({row['accepted']:,} accepted), {row['labelled pairs, %']:.3f}% of pairs labelled"
        )
    return lines
