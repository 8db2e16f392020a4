"""The figures of the bias analysis: one function a figure, frames in, a Figure out; no science."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.reports.plots import MARKERS, PALETTE, draw_interval, short_label


def plot_audits(audits: pd.DataFrame) -> Figure:
    """Each group's value with its interval, a line a system, one panel a measure.

    audits: system, measure, group, value, low, high, expected; rows without a value are left out. A
    black tick is the value expected with permuted groups.
    """
    rows = audits.dropna(subset="value")
    measures = list(audits["measure"].unique())
    systems = list(rows["system"].unique())
    groups = list(rows["group"].unique())
    n_lines = len(systems) * len(groups)
    figure, axes = plt.subplots(
        1,
        len(measures),
        squeeze=False,
        sharey=True,
        figsize=(9, 0.25 * n_lines + 1.6),
    )
    for axis, measure in zip(axes[0], measures, strict=True):
        for row in rows[rows["measure"] == measure].itertuples():
            group_number = groups.index(row.group)
            height = _line_height(systems.index(row.system), group_number, len(groups))
            colour = PALETTE[group_number % len(PALETTE)]
            _plot_interval(axis, row, height, colour)
        axis.set_title(short_label(measure), fontsize=9)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(axis="x", alpha=0.4)
    heights = []
    labels = []
    for system_number, system in enumerate(systems):
        for group_number, group in enumerate(groups):
            heights.append(_line_height(system_number, group_number, len(groups)))
            labels.append(short_label(f"{system}, {group}"))
    axes[0][0].set_yticks(heights, labels)
    figure.supxlabel("dot: got, with 95% interval; tick: expected with permuted groups", fontsize=8)
    return figure


def _line_height(system_number: int, group_number: int, n_groups: int) -> int:
    """Height of a line: downwards, with a gap after each system."""
    return -(system_number * (n_groups + 1) + group_number)


def _plot_interval(
    axis: Axes,
    row,
    height: float,
    colour: str,
) -> None:
    """A dot for the value, a bar for its interval, a black tick for the expected value."""
    draw_interval(
        axis,
        height,
        value=row.value,
        low=row.low,
        high=row.high,
        color=colour,
        markersize=4,
    )
    axis.plot(row.expected, height, "|", color="black", markersize=11)


def plot_slices(
    slices: pd.DataFrame,
    *,
    measure: str,
    group: str,
) -> Figure:
    """One group's value in every slice of the queries, with its interval.

    slices: slice, measure, group, value, low, high, expected. A black tick is the value expected
    with permuted groups.
    """
    is_shown = slices["measure"].eq(measure) & slices["group"].eq(group)
    known = slices[is_shown].dropna(subset="value")
    rows = known.sort_values("value", ignore_index=True)
    figure, axis = plt.subplots(figsize=(7, 0.3 * len(rows) + 1.1))
    for row in rows.itertuples():
        _plot_interval(axis, row, row.Index, PALETTE[0])
    labels = [short_label(name) for name in rows["slice"]]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_xlabel(short_label(f"{measure}: {group}"))
    axis.grid(axis="x", alpha=0.4)
    return figure


def plot_mitigations(compared: pd.DataFrame) -> Figure:
    """Recall gap against quality, a line a mitigation, one panel a judgment set.

    compared: of `analysis.mitigation.compare_mitigations`, the untreated ranking first. A cross is
    the untreated ranking, the grey band the 95% interval of its gap, the dashed line the gap
    expected with permuted groups.
    """
    judgment_sets = list(compared["judgments"].unique())
    figure, axes = plt.subplots(
        1,
        len(judgment_sets),
        squeeze=False,
        figsize=(4.5 * len(judgment_sets), 3.2),
    )
    for axis, judgments in zip(axes[0], judgment_sets, strict=True):
        _plot_judgments(axis, compared[compared["judgments"] == judgments])
        axis.set_title(f"against {short_label(judgments)}", fontsize=10)
    axes[0][0].legend(fontsize=7)
    return figure


def _plot_judgments(axis: Axes, rows: pd.DataFrame) -> None:
    untreated = rows.iloc[0]
    by_mitigation = rows[1:].groupby("mitigation", sort=False)
    for marker, (name, treated) in zip(MARKERS, by_mitigation, strict=False):
        gaps = [untreated["gap"], *treated["gap"]]
        values = [untreated["value"], *treated["value"]]
        axis.plot(gaps, values, marker=marker, markersize=5, label=short_label(name))
    axis.plot(untreated["gap"], untreated["value"], "X", markersize=10, color="0.3")
    axis.axvspan(untreated["gap_low"], untreated["gap_high"], color="0.93", zorder=0)
    axis.axvline(untreated["gap_expected"], linestyle="--", color="0.5")
    axis.locator_params(axis="x", nbins=5)
    axis.set_xlabel(f"recall gap of {short_label(untreated['group'])}")
    axis.set_ylabel(short_label(untreated["measure"]))


def plot_map_against_overlap(
    scores: pd.DataFrame, published: pd.DataFrame, *, measures: tuple[str, str]
) -> Figure:
    """Quality against overlap under a gender swap, a mark for each system and texts, bars 95%.

    scores: system, texts, measure, value, low, high; published: system, MAP and RBO on other data,
    hollow grey diamonds; measures: of `scores`, quality first.
    """
    figure, axis = plt.subplots(figsize=(6, 4))
    groups = scores.groupby(["system", "texts"], sort=False)
    for number, ((system, texts), rows) in enumerate(groups):
        by_measure = rows.set_index("measure")
        quality, overlap = (by_measure.loc[name] for name in measures)
        axis.errorbar(
            overlap["value"],
            quality["value"],
            xerr=_bar(overlap),
            yerr=_bar(quality),
            marker=MARKERS[number % len(MARKERS)],
            color=PALETTE[number % len(PALETTE)],
            capsize=2,
            linewidth=1,
            label=short_label(f"{system}, {texts}"),
        )
    axis.plot(
        published["RBO"],
        published["MAP"],
        "D",
        color="0.5",
        markerfacecolor="none",
        label="published, other data",
    )
    for row in published.to_dict("records"):
        axis.annotate(
            short_label(row["system"]),
            (row["RBO"], row["MAP"]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color="0.4",
        )
    axis.set_xlabel(short_label(measures[1]))
    axis.set_ylabel(short_label(measures[0]))
    axis.legend(fontsize=7)
    return figure


def _bar(row: pd.Series) -> list[list[float]] | None:
    """The two lengths of an error bar; none where there is no interval."""
    if pd.isna(row["low"]):
        return None
    return [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]
