"""The figures of the bias analysis: one function a figure, frames in, a Figure out; no science
here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from matchlib.reports.plots import PALETTE, _label


def plot_audits(audits: pd.DataFrame, measures: list[str]) -> Figure:
    """Each group's value with its interval, a line a system, one panel a measure; | is what
    shuffled groups would get.

    audits: system, measure, group, value, low, high, expected; rows without a value are left out.
    """
    rows = audits[audits["measure"].isin(measures)].dropna(subset="value")
    systems, groups = (list(dict.fromkeys(rows[name])) for name in ("system", "group"))
    figure, axes = plt.subplots(
        1,
        len(measures),
        squeeze=False,
        sharey=True,
        figsize=(9, 0.25 * len(systems) * len(groups) + 1.4),
    )
    for axis, measure in zip(axes[0], measures, strict=True):
        for row in rows[rows["measure"] == measure].itertuples():
            y, colour = _line(systems, groups, row), PALETTE[groups.index(row.group) % len(PALETTE)]
            axis.hlines(y, row.low, row.high, color=colour, linewidth=2)
            axis.plot(row.value, y, "o", color=colour, markersize=4)
            axis.plot(row.expected, y, "|", color="black", markersize=11)
        axis.set_title(_label(measure), fontsize=9)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(axis="x", alpha=0.4)
    ticks = [
        (s * (len(groups) + 1) + g, f"{system}, {group}")
        for s, system in enumerate(systems)
        for g, group in enumerate(groups)
    ]
    axes[0][0].set_yticks([-y for y, _ in ticks], [_label(name) for _, name in ticks])
    return figure


def _line(systems: list[str], groups: list[str], row) -> int:
    return -(systems.index(row.system) * (len(groups) + 1) + groups.index(row.group))


def plot_slices(slices: pd.DataFrame, *, measure: str, group: str) -> Figure:
    """One group's value in every slice of the queries, with its interval; | is what shuffled groups
    would get.

    slices: slice, measure, group, value, low, high, expected.
    """
    rows = slices[slices["measure"].eq(measure) & slices["group"].eq(group)].dropna(subset="value")
    rows = rows.sort_values("value").reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(7, 0.3 * len(rows) + 1.1))
    for row in rows.itertuples():
        axes.hlines(row.Index, row.low, row.high, color=PALETTE[0], linewidth=2)
        axes.plot(row.value, row.Index, "o", color=PALETTE[0])
        axes.plot(row.expected, row.Index, "|", color="black", markersize=12)
    axes.set_yticks(range(len(rows)), [_label(name) for name in rows["slice"]])
    axes.set_xlabel(_label(f"{measure}: {group}"))
    axes.grid(axis="x", alpha=0.4)
    return figure


def plot_mitigation(frontier: pd.DataFrame) -> Figure:
    """Recall gap against quality, a line a mitigation from untreated (the cross) on, one panel a
    channel.

    frontier: of `analysis.mitigation.frontier`. The dashed line is the gap that shuffled groups
    would have, the grey band the 95% interval of the untreated one.
    """
    channels = list(dict.fromkeys(frontier["channel"]))
    figure, axes = plt.subplots(1, len(channels), squeeze=False, figsize=(4.5 * len(channels), 3.2))
    for axis, channel in zip(axes[0], channels, strict=True):
        rows = frontier[frontier["channel"] == channel]
        start = rows.iloc[0]
        for marker, (name, treated) in zip(
            "osD^vPX*<>ph", rows[1:].groupby("mitigation", sort=False), strict=False
        ):
            axis.plot(
                [start["gap"], *treated["gap"]],
                [start["value"], *treated["value"]],
                marker=marker,
                markersize=5,
                label=_label(name),
            )
        axis.plot(start["gap"], start["value"], "X", markersize=10, color="0.3")
        axis.axvspan(start["gap_low"], start["gap_high"], color="0.93", zorder=0)
        axis.axvline(start["gap_expected"], linestyle="--", color="0.5")
        axis.locator_params(axis="x", nbins=5)
        axis.set(
            xlabel=f"recall gap of {_label(start['group'])}", ylabel=f"{_label(start['measure'])}"
        )
        axis.set_title(f"against {_label(channel)}", fontsize=10)
    axes[0][0].legend(fontsize=7)
    return figure
