"""Plain facts about a set of tables: sizes, lengths, label sparsity."""

from __future__ import annotations

import pandas as pd

from matchlib.data.schema import SPLITS


def sizes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a split: jobs, resumes, labels, accepted, labels a job, share of pairs that are labelled (percent)."""
    rows = []
    for split in SPLITS:
        part = {name: frame[frame["split"] == split] for name, frame in tables.items() if "split" in frame}
        n_jobs, n_resumes, labels = len(part["jobs"]), len(part["resumes"]), part["labels"]
        row = {"split": split, "jobs": n_jobs, "resumes": n_resumes, "labels": len(labels),
               "accepted": int((labels["label"] == 1).sum()), "labels a job": len(labels) / max(n_jobs, 1),
               "labelled pairs, %": 100 * len(labels) / max(n_jobs * n_resumes, 1)}
        if "truth" in part:
            row["true fits, %"] = 100 * len(part["truth"]) / max(n_jobs * n_resumes, 1)
        rows.append(row)
    return pd.DataFrame(rows)


def describe(tables: dict[str, pd.DataFrame]) -> list[str]:
    """The same facts as lines of text, for the command line."""
    lines = []
    for name in ("jobs", "resumes"):
        words = tables[name]["text"].str.split().str.len()
        optional = [c for c in tables[name].columns if c not in ("text", "split") and not c.endswith("_id")]
        lines.append(f"{name}: {len(words):,} texts, median {words.median():.0f} words, longest {words.max():,}; "
                     f"further columns: {', '.join(optional) or 'none'}")
    for row in sizes(tables).to_dict("records"):
        lines.append(f"{row['split']}: {row['jobs']:,} jobs, {row['resumes']:,} resumes, {row['labels']:,} labels "
                     f"({row['accepted']:,} accepted), {row['labelled pairs, %']:.3f}% of pairs labelled")
    return lines
