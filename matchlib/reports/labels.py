"""What pages call the machine keys of metrics and stages."""

from __future__ import annotations

import re

METRICS = {
    "val_ndcg_at_10": "Validation nDCG@10",
    "val_ndcg_at_10_before": "Validation nDCG@10 before training",
}
"""Labels of keys that do not read well by themselves."""


def metric_label(key: str) -> str:
    """A label for a metric's key: "stage1.rank_resumes" is "stage1, rank resumes"."""
    if key in METRICS:
        return METRICS[key]
    return re.sub(r"(?<=\w)\.(?=[a-z])", ", ", key).replace("_", " ")
