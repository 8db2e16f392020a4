"""The figures of talent search: one function a figure, frames in, a Figure out; no science."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from matchlib.reports.plots import PALETTE, draw_interval, short_label


def plot_clicks_by_position(by_position: pd.DataFrame) -> Figure:
    """Share of clicks at each position, a line an ordering.

    by_position: ordering, position, clicked.
    """
    figure, axes = plt.subplots(figsize=(7, 2.6))
    for colour, (ordering, rows) in zip(PALETTE, by_position.groupby("ordering"), strict=False):
        axes.plot(rows["position"], rows["clicked"], "o-", color=colour, label=f"{ordering} order")
    axes.set_xlabel("position")
    axes.set_ylabel("share clicked")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def plot_arms(judged: pd.DataFrame, measures: list[tuple[str, str]]) -> Figure:
    """Each arm's value with its interval, a panel a measure.

    judged: arm, judgments, measure, value, low, high; measures: (judgments, measure) of the panels.
    """
    arms = list(judged["arm"].unique())
    figure, axes = plt.subplots(
        1,
        len(measures),
        sharey=True,
        squeeze=False,
        figsize=(3.2 + 2.6 * len(measures), 0.26 * len(arms) + 1.2),
    )
    for axis, (judgments, measure) in zip(axes[0], measures, strict=True):
        is_shown = judged["judgments"].eq(judgments) & judged["measure"].eq(measure)
        rows = judged[is_shown].dropna(subset="value").set_index("arm")
        for height, arm in enumerate(arms):
            if arm in rows.index:
                row = rows.loc[arm]
                draw_interval(
                    axis,
                    -height,
                    value=row["value"],
                    low=row["low"],
                    high=row["high"],
                    color=PALETTE[0],
                    markersize=4,
                )
        axis.set_title(f"{measure}\n{judgments}", fontsize=9)
        axis.grid(axis="x", alpha=0.4)
    axes[0][0].set_yticks([-height for height in range(len(arms))], map(short_label, arms))
    return figure


def plot_gates(use: pd.DataFrame) -> Figure:
    """Mean weight of each expert by role, a panel a task.

    use: task, role, expert, weight.
    """
    tasks = list(use["task"].unique())
    figure, axes = plt.subplots(1, len(tasks), squeeze=False, sharey=True, figsize=(9, 2.4))
    for axis, task in zip(axes[0], tasks, strict=True):
        table = use[use["task"] == task].pivot(index="role", columns="expert", values="weight")
        sns.heatmap(
            table,
            ax=axis,
            vmin=0,
            vmax=max(0.5, use["weight"].max()),
            cmap="Blues",
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 7},
            cbar=False,
        )
        axis.set_title(task)
        axis.set_ylabel("")
    return figure


def plot_examination(table: pd.DataFrame) -> Figure:
    """Probability that a position is looked at, as learned and, where it is known, in truth.

    table: position, learned, and true.
    """
    figure, axes = plt.subplots(figsize=(7, 2.4))
    for colour, name in zip(PALETTE, ("learned", "true"), strict=False):
        if name in table:
            axes.plot(table["position"], table[name], "o-", color=colour, label=name)
    axes.set_xlabel("position")
    axes.set_ylabel("looked at")
    axes.set_ylim(0, 1.05)
    axes.legend()
    return figure
