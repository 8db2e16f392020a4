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


def _draw_panels(
    frame: pd.DataFrame, *, rows: str, panels: str, colours: str, xlabel: str, limits=(0, 1)
) -> Figure:
    """Intervals of `value`, a line for each value of `rows`, a panel and a colour for those of the
    two other columns."""
    names = list(frame[rows].unique())
    titles = list(frame[panels].unique())
    sets = list(frame[colours].unique())
    height = 0.26 * len(names) * max(1, len(sets) * 0.7) + 1.3
    figure, axes = plt.subplots(
        1,
        len(titles),
        sharey=True,
        squeeze=False,
        layout="constrained",
        figsize=(2.6 + 2.9 * len(titles), height),
    )
    for axis, title in zip(axes[0], titles, strict=True):
        for number, name in enumerate(sets):
            part = frame[frame[panels].eq(title) & frame[colours].eq(name)]
            for row in part.dropna(subset="value").to_dict("records"):
                draw_interval(
                    axis,
                    -names.index(row[rows]) - 0.2 * number,
                    value=row["value"],
                    low=row["low"],
                    high=row["high"],
                    color=PALETTE[number],
                    markersize=4,
                )
            axis.plot([], [], "o-", color=PALETTE[number], label=short_label(str(name)))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel, fontsize=8)
        axis.grid(axis="x", alpha=0.4)
        if limits:
            axis.set_xlim(*limits)
    axes[0][0].set_yticks([-at for at in range(len(names))], [short_label(str(n)) for n in names])
    if len(sets) > 1:
        axes[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_matching(matching: pd.DataFrame) -> Figure:
    """Accuracy and AUC of the matcher and its baselines, a panel a measure, a colour a test.

    matching: model, test, measure, value, low, high.
    """
    return _draw_panels(
        matching, rows="model", panels="measure", colours="test", xlabel="", limits=None
    )


def plot_extraction(skills: pd.DataFrame) -> Figure:
    """Exact F1 of skills by extractor, a panel a test, a colour a document.

    skills: extractor, test, document, F1, low, high.
    """
    frame = skills.rename(columns={"F1": "value"})
    return _draw_panels(
        frame, rows="extractor", panels="test", colours="document", xlabel="exact F1"
    )


def plot_edits(edits: pd.DataFrame) -> Figure:
    """What each editor gains, invents and loses, a panel a measure.

    edits: editor, measure, value, low, high.
    """
    frame = edits.assign(one="")
    return _draw_panels(frame, rows="editor", panels="measure", colours="one", xlabel="")


def plot_ood(ood: pd.DataFrame) -> Figure:
    """F1 on other people's texts by the number of examples learned from, a panel a file.

    ood: file, extractor, examples, match, F1, low, high.
    """
    names = ood["extractor"] + ood["examples"].map(lambda n: f", {n} examples" if n else "")
    frame = ood.rename(columns={"F1": "value"}).assign(arm=names)
    return _draw_panels(frame, rows="arm", panels="file", colours="match", xlabel="F1")


def plot_learning_curve(curve: pd.DataFrame) -> Figure:
    """Scores by the number of training triples.

    curve: rows, measure, value, low, high.
    """
    figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
    for colour, (measure, rows) in zip(PALETTE, curve.groupby("measure"), strict=False):
        axes.plot(rows["rows"], rows["value"], "o-", color=colour, label=measure)
        axes.fill_between(rows["rows"], rows["low"], rows["high"], color=colour, alpha=0.15)
    axes.set_xlabel("training triples")
    axes.legend(fontsize=7)
    return figure


def plot_calibration(table: pd.DataFrame) -> Figure:
    """Predicted and actual share by tenths of the predictions, a line a test; the diagonal is right.

    table: test, predicted, actual, n.
    """
    figure, axes = plt.subplots(figsize=(4.2, 3), layout="constrained")
    axes.plot([0, 1], [0, 1], "--", color="0.6")
    for colour, (test, rows) in zip(PALETTE, table.groupby("test", sort=False), strict=False):
        axes.plot(rows["predicted"], rows["actual"], "o-", color=colour, label=test)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual share")
    axes.legend(fontsize=7)
    return figure
