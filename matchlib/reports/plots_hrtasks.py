"""The figures of generated job and resume triples: one function a figure, frames in, a Figure out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from matchlib.reports.plots import PALETTE, draw_interval, short_label

MEASURE_LABELS = {
    "occupations_used": "occupations used",
    "skills_used": "skills used",
    "distinct_1": "distinct words",
    "distinct_2": "distinct word pairs",
    "distinct_3": "distinct word triples",
    "self_similarity": "similarity of two texts",
}
RULE_LABELS = {
    "more_lines": "more lines",
    "more_words": "more words",
    "resume_only": "TF-IDF of the resume alone",
}


def plot_coverage(coverage: pd.DataFrame) -> Figure:
    """Coverage of the graph and diversity of the texts, a panel a document kind.

    coverage: document, measure, value (0 to 1), n.
    """
    documents = list(coverage["document"].unique())
    figure, axes = plt.subplots(
        1,
        len(documents),
        squeeze=False,
        layout="constrained",
        figsize=(2.9 * len(documents), 2.2),
    )
    for axis, document in zip(axes[0], documents, strict=True):
        rows = coverage[coverage["document"] == document].iloc[::-1]
        labels = [MEASURE_LABELS.get(measure, measure) for measure in rows["measure"]]
        bars = axis.barh(labels, rows["value"], color=PALETTE[0])
        axis.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
        axis.set_xlim(0, 1.15)
        axis.tick_params(labelsize=7)
        axis.set_title(document, fontsize=9)
    return figure


def plot_shortcuts(shortcuts: pd.DataFrame) -> Figure:
    """How often a rule that never sees the job puts the matched resume first, by set of triples.

    shortcuts: triples (the name of a set), rule, value, low, high. The line at one half is chance.
    """
    sets = list(shortcuts["triples"].unique())
    rules = list(shortcuts["rule"].unique())
    figure, axes = plt.subplots(
        layout="constrained", figsize=(6.5, 0.3 * len(sets) * len(rules) + 1)
    )
    for number, name in enumerate(sets):
        rows = shortcuts[shortcuts["triples"] == name].set_index("rule")
        for place, rule in enumerate(rules):
            if rule in rows.index:
                draw_interval(
                    axes,
                    -place - 0.2 * number,
                    value=rows.loc[rule, "value"],
                    low=rows.loc[rule, "low"],
                    high=rows.loc[rule, "high"],
                    color=PALETTE[number],
                    label=short_label(name) if place == 0 else None,
                )
    axes.axvline(0.5, color="0.6", linestyle="--")
    axes.set_yticks(
        [-place for place in range(len(rules))], [RULE_LABELS.get(rule, rule) for rule in rules]
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of triples with the matched resume first")
    axes.legend(fontsize=7)
    return figure
