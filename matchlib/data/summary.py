"""Plain facts about a set of tables: sizes, lengths, label sparsity."""

from __future__ import annotations

import pandas as pd

from matchlib.data.schema import SPLITS


def sizes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a split: jobs, resumes, labels, accepted, labels a job, share of pairs that are
    labelled (percent)."""
    rows = []
    for split in SPLITS:
        part = {
            name: frame[frame["split"] == split]
            for name, frame in tables.items()
            if "split" in frame
        }
        n_jobs, n_resumes, labels = len(part["jobs"]), len(part["resumes"]), part["labels"]
        row = {
            "split": split,
            "jobs": n_jobs,
            "resumes": n_resumes,
            "labels": len(labels),
            "accepted": int((labels["label"] == 1).sum()),
            "labels a job": len(labels) / max(n_jobs, 1),
            "labelled pairs, %": 100 * len(labels) / max(n_jobs * n_resumes, 1),
        }
        if "truth" in part:
            row["true fits, %"] = 100 * len(part["truth"]) / max(n_jobs * n_resumes, 1)
        rows.append(row)
    return pd.DataFrame(rows)


def fits_by_decision(labels: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """How many of those who applied truly fit, before any decision and by decision, where the truth
    is known.

    labels: job_id, resume_id, label (1 accepted); truth: job_id, resume_id of the pairs that truly
    fit.
    Returns decision (all applicants, accepted, rejected), pairs, truly_fit (share, NaN without
    pairs).
    """
    fits = labels.merge(
        truth[["job_id", "resume_id"]].assign(fits=1.0), how="left", on=["job_id", "resume_id"]
    )
    fits = fits["fits"].fillna(0.0)
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
        optional = [
            c for c in tables[name].columns if c not in ("text", "split") and not c.endswith("_id")
        ]
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
