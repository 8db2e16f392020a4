"""The figures: one function a figure, frames in, an Axes or Figure out; no science here."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.reports.text import cut_line, show_invisible

PALETTE = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#c53030", "#718096")
MARKERS = "osD^vPX*<>hp"
MAX_LABEL_CHARACTERS = 50


def use_theme() -> None:
    """Set the look of all figures of a notebook, and what a screen reader says of them: see
    `in_words`."""
    sns.set_theme(context="notebook", style="ticks", palette=PALETTE, font_scale=0.85)
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
        }
    )
    # on the class: the inline backend takes away whatever was registered for figures when it wakes
    # up
    Figure._repr_pretty_ = _print_in_words  # type: ignore[attr-defined]


def _print_in_words(figure: Figure, printer, cycle: bool) -> None:
    printer.text(in_words(figure))


def in_words(figure: Figure) -> str:
    """What a figure shows, from its own labels: panels, axes and series."""
    panels = []
    for axes in figure.axes:
        x_label = axes.get_xlabel() or figure.get_supxlabel()
        y_label = axes.get_ylabel()
        _, series = axes.get_legend_handles_labels()
        parts = [
            axes.get_title(),
            _join_filled([y_label, x_label], " against "),
            ", ".join(series),
        ]
        panels.append(_join_filled(parts, ": "))
    words = _join_filled(panels, "; ")
    return cut_line(f"Figure. {words}", max_characters=400)


def _join_filled(parts: list[str], separator: str) -> str:
    return separator.join(part for part in parts if part)


def plot_lengths(texts: dict[str, pd.Series]) -> Figure:
    """Histogram of words a document, one colour a table; the last percent is left out."""
    counts = []
    for name, text in texts.items():
        n_words = [len(one.split()) for one in text]
        counts.append(pd.DataFrame({"words": n_words, "table": short_label(name)}))
    words = pd.concat(counts, ignore_index=True)
    longest = words["words"].quantile(0.99)
    shown = words[words["words"] <= longest]
    figure, axes = plt.subplots(figsize=(7, 2.8))
    sns.histplot(
        shown,
        x="words",
        hue="table",
        ax=axes,
        element="step",
        bins=30,
        stat="density",
        common_norm=False,
    )
    axes.set(xlabel="words a document", ylabel="density")
    return figure


def plot_labels_per_job(labels: pd.DataFrame) -> Figure:
    """How many jobs have how many labels, by split."""
    by_job = labels.groupby(["split", "job_id"])
    counts = by_job.size().rename("labels a job").reset_index()
    figure, axes = plt.subplots(figsize=(7, 2.8))
    sns.histplot(
        counts,
        x="labels a job",
        hue="split",
        multiple="dodge",
        discrete=True,
        stat="proportion",
        common_norm=False,
        shrink=0.8,
        ax=axes,
        hue_order=["train", "valid", "test"],
    )
    axes.set(ylabel="share of jobs")
    return figure


def plot_agreement(pairs: pd.DataFrame) -> Figure:
    """Text similarity by kind of pair. pairs: similarity, kind (such as rules select, rules
    reject)."""
    figure, axes = plt.subplots(figsize=(7, 2.8))
    pairs = pairs.assign(kind=pairs["kind"].map(short_label))
    kinds = sorted(pairs["kind"].unique(), reverse=True)
    sns.ecdfplot(pairs, x="similarity", hue="kind", ax=axes, hue_order=kinds)
    axes.set_xlabel("text similarity of job and resume (TF-IDF cosine)")
    axes.set_ylabel("share of pairs below")
    return figure


def plot_training(log: pd.DataFrame) -> Figure:
    """Training loss and validation nDCG@10 over steps. log: step, loss, ndcg_rank_resumes,
    ndcg_rank_jobs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    _draw_loss(left, log)
    curve = log.dropna(subset=["ndcg"]).drop_duplicates("step", keep="last")
    right.plot(curve["step"], curve["ndcg_rank_resumes"], marker="o", label="ranking resumes")
    right.plot(curve["step"], curve["ndcg_rank_jobs"], marker="o", label="ranking jobs")
    right.set(xlabel="step (0: before training)", ylabel="validation nDCG@10")
    right.legend()
    return figure


def plot_path(log: pd.DataFrame, *, floor: float) -> Figure:
    """Training loss over steps, and the path of validation over alignment and nDCG@20, from stage 1
    (the cross).

    log: step, loss, alignment, ndcg; floor: the nDCG below which no checkpoint is chosen.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    _draw_loss(left, log)
    path = log.dropna(subset=["ndcg"]).drop_duplicates("step", keep="first")
    stage_1 = path.iloc[0]
    right.plot(path["alignment"], path["ndcg"], marker="o", markersize=4)
    cross_style = {"markersize": 9, "color": PALETTE[1]}
    right.plot(stage_1["alignment"], stage_1["ndcg"], "X", **cross_style)
    right.axhline(floor, color="0.5", linestyle=":")
    right.set(xlabel="validation alignment", ylabel="validation nDCG@20")
    right.locator_params(nbins=6)
    return figure


def _draw_loss(axes: Axes, log: pd.DataFrame) -> None:
    loss = log.dropna(subset=["loss"])
    axes.plot(loss["step"], loss["loss"], marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="training loss", ylim=(0, None))


def plot_frontier(
    points: pd.DataFrame,
    limit: pd.DataFrame | None,
    published: pd.DataFrame,
) -> Figure:
    """Left, systems and the limit on alignment against nDCG@20; right, the paper's points, axes of
    their own.

    points: system, alignment, low, high, nDCG@20; limit: alignment, ndcg, or None; published:
    system, alignment, nDCG@20.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    if limit is not None:
        left.plot(limit["alignment"], limit["ndcg"], color="0.5", label="limit")
    _draw_systems(left, points, y="nDCG@20")
    _draw_systems(right, published, y="nDCG@20")
    interval_style = {"color": "0.6", "linewidth": 1, "zorder": 0}
    left.hlines(points["nDCG@20"], points["low"], points["high"], **interval_style)
    left.set_title("this test")
    right.set_title("RankPO, other data")
    return figure


def _draw_systems(axes: Axes, points: pd.DataFrame, *, y: str) -> None:
    systems = points.groupby("system", sort=False)
    for marker, (system, rows) in zip(MARKERS, systems, strict=False):
        axes.plot(rows["alignment"], rows[y], marker, label=short_label(system))
    axes.set(xlabel="alignment", ylabel="nDCG@20")
    axes.legend(fontsize=7)


def plot_curves(points: pd.DataFrame, start: dict[str, float]) -> Figure:
    """Alignment against nDCG@20, a line a curve by rising learning rate, all from stage 1 (the
    cross).

    points: curve, alignment, ndcg in the order of learning rates; start: alignment, ndcg.
    """
    figure, axes = plt.subplots(figsize=(7, 3.8))
    curves = points.groupby("curve", sort=False)
    for marker, (curve, rows) in zip(MARKERS[:8], curves, strict=False):
        axes.plot(
            [start["alignment"], *rows["alignment"]],
            [start["ndcg"], *rows["ndcg"]],
            marker=marker,
            markersize=5,
            label=short_label(curve),
        )
    axes.plot(start["alignment"], start["ndcg"], "X", markersize=10, color="0.3")
    axes.set(xlabel="alignment", ylabel="nDCG@20")
    axes.legend(fontsize=8)
    return figure


def plot_policy(log: pd.DataFrame) -> Figure:
    """The course of a policy: reward, divergence, entropy, length, share of whole jobs, share of
    clipped tokens.

    log: of `girl.ppo.train_ppo`.
    """
    figure, axes = plt.subplots(2, 3, figsize=(9, 4), sharex=True)
    names = {
        "reward": "reward",
        "kl": "divergence from SFT, nats",
        "entropy": "entropy, nats a token",
        "length": "tokens a job",
        "whole": "whole jobs",
        "clipped": "clipped tokens",
    }
    for axis, column in zip(axes.flat, names, strict=True):
        axis.plot(log["iteration"], log[column], linewidth=1)
        axis.set_ylabel(names[column])
        if column in ("length", "whole", "kl", "clipped"):
            axis.set_ylim(0, None)
    for axis in axes[1]:
        axis.set_xlabel("iteration")
    return figure


def plot_true_fit(curves: pd.DataFrame, kept: pd.DataFrame, arms: pd.DataFrame) -> Figure:
    """Left, true fit against the root of the divergence from SFT; right, every arm's true fit.

    curves: system, kl, value and, where known, low and high (NaN otherwise), in the order of the
    line; kept: system, kl, value, low, high of the weights that were kept; arms: arm, value, low,
    high. Intervals of 95%.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    colours = {}
    for colour, (system, rows) in zip(PALETTE, curves.groupby("system", sort=False), strict=False):
        colours[system] = colour
        root = rows["kl"].clip(lower=0) ** 0.5
        left.plot(root, rows["value"], marker=".", linewidth=1, color=colour, label=system)
        if rows["low"].notna().all():
            left.fill_between(root, rows["low"], rows["high"], color=colour, alpha=0.15)
    for row in kept.itertuples():
        root = max(row.kl, 0.0) ** 0.5
        colour = colours[row.system]
        left.vlines(root, row.low, row.high, color=colour, linewidth=2)
        left.plot(root, row.value, "D", color=colour, markersize=7)
    left.set(xlabel="root of the divergence from SFT (nats a job)", ylabel="true fit")
    left.legend(fontsize=8)
    shown = arms.iloc[::-1]
    draw_interval(
        right,
        range(len(shown)),
        value=shown["value"],
        low=shown["low"],
        high=shown["high"],
        color=PALETTE[0],
    )
    right.set_yticks(range(len(shown)), [short_label(arm) for arm in shown["arm"]])
    right.set(xlabel="true fit, 95% interval")
    right.grid(axis="x", alpha=0.4)
    return figure


def plot_leaderboard(board: pd.DataFrame, *, measure: str = "nDCG@10") -> Figure:
    """Every system's value with its 95% interval, one panel a set of judgments and task."""
    part = board[board["measure"] == measure]
    part = part.drop_duplicates(["judgments", "task", "system"])
    panels = part.groupby(["judgments", "task"], sort=False)
    systems = list(part["system"].unique())
    n_columns = min(2, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    panel_height = 0.32 * len(systems) + 1.1
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(9, panel_height * n_rows),
    )
    for axis, (panel_of, rows) in zip(axes.flat, panels, strict=False):
        judgments, task = panel_of
        n = int(rows["n"].iloc[0])
        rows = rows.set_index("system").loc[systems[::-1]]
        _draw_systems_by_interval(axis, rows)
        panel = f"{_task_label(task)}, against {short_label(judgments)} labels"
        axis.set_title(f"{panel} (n = {n:,})", fontsize=10)
        axis.grid(axis="x", alpha=0.4)
    for axis in axes[-1]:
        axis.set_xlabel(f"{short_label(measure)}, 95% interval")
    return figure


def _draw_systems_by_interval(axes: Axes, rows: pd.DataFrame) -> None:
    """One system a line, stage 1 in another colour. rows: value, low, high by system."""
    for y, row in enumerate(rows.itertuples()):
        colour = PALETTE[1] if row.Index == "stage1" else PALETTE[0]
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2)
        axes.plot(row.value, y, "o", color=colour)
    labels = [short_label(system) for system in rows.index]
    axes.set_yticks(range(len(rows)), labels)


def draw_interval(
    axes: Axes,
    y: object,
    *,
    value: object,
    low: object,
    high: object,
    **style: object,
) -> None:
    """A bar from low to high at the height y, and a dot at the value; each one number, or one a line.

    style: of the dot, such as color (the bar's, too), label, markersize.
    """
    axes.hlines(y, low, high, color=style["color"], linewidth=2)
    axes.plot(value, y, "o", **style)


def plot_false_negatives(compared: pd.DataFrame) -> Figure:
    """Left, each miner's share of negatives that truly fit, with its interval; right, their mean
    cosine.

    compared: miner, task, false_share, low, high, cosine of `learning.negatives.false_negatives`.
    """
    miners = list(compared["miner"].unique())[::-1]
    height = 0.3 * len(miners) + 1.1
    figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(9, height))
    for number, (task, rows) in enumerate(compared.groupby("task")):
        shift = (-0.12, 0.12)[number]
        colour = PALETTE[number]
        y = [miners.index(miner) + shift for miner in rows["miner"]]
        draw_interval(
            left,
            y,
            value=100 * rows["false_share"],
            low=100 * rows["low"],
            high=100 * rows["high"],
            color=colour,
            label=_task_label(task),
        )
        right.plot(rows["cosine"], y, "o", color=colour)
    labels = [short_label(miner) for miner in miners]
    left.set_yticks(range(len(miners)), labels)
    left.set_xlabel("truly fit, % of the mined (95% interval)")
    right.set_xlabel("mean cosine")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.4)
    return figure


def plot_classes(shares: pd.DataFrame, published: Mapping[str, float]) -> Figure:
    """Share of each class of errors with its 95% interval, by task, beside published shares
    (diamonds).

    shares: task, class, share, low, high; published: class -> share.
    """
    classes = list(published)[::-1]
    height = 0.5 * len(classes) + 1.1
    figure, axis = plt.subplots(figsize=(9, height))
    for number, (task, rows) in enumerate(shares.groupby("task", sort=False)):
        shift = (0.1, -0.1)[number]
        y = [classes.index(name) + shift for name in rows["class"]]
        draw_interval(
            axis,
            y,
            value=100 * rows["share"],
            low=100 * rows["low"],
            high=100 * rows["high"],
            color=PALETTE[number],
            label=_task_label(task),
        )
    published_percent = [100 * published[name] for name in classes]
    axis.plot(
        published_percent,
        range(len(classes)),
        "D",
        color="grey",
        fillstyle="none",
        label="published, other data",
    )
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("% of the false positives at the top")
    axis.grid(axis="x", alpha=0.4)
    axis.legend()
    return figure


def plot_seeds(values: pd.DataFrame, *, measure: str) -> Figure:
    """Every system's value in every seed, one panel a world, the best on top. values: world, seed,
    system, value."""
    worlds = list(values["world"].unique())
    mean_value = values.groupby("system")["value"].mean()
    systems = list(mean_value.sort_values().index)
    values = values.assign(place=values["system"].map(systems.index))
    n_columns = min(3, len(worlds))
    n_rows = math.ceil(len(worlds) / n_columns)
    panel_height = 0.24 * len(systems) + 1.1
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        squeeze=False,
        sharey=True,
        figsize=(min(9, 3 + 3 * n_columns), panel_height * n_rows),
    )
    line_style = {"linewidth": 0.6, "markersize": 4, "alpha": 0.7}
    for axis, world in zip(axes.flat, worlds, strict=False):
        in_world = values[values["world"] == world]
        for _, rows in in_world.groupby("seed"):
            rows = rows.sort_values("place")
            axis.plot(rows["value"], rows["place"], "o-", **line_style)
        axis.set_title(short_label(world), fontsize=10)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(axis="x", alpha=0.4)
    for axis in axes.flat[len(worlds) :]:
        axis.set_visible(False)
    labels = [short_label(system) for system in systems]
    axes[0][0].set_yticks(range(len(systems)), labels)
    # one label for all panels: a long name would run into the next panel's
    figure.supxlabel(short_label(measure), fontsize="medium")
    return figure


def plot_claims(judged: pd.DataFrame) -> Figure:
    """Every claim's difference from each baseline with its interval. judged: of
    `retrieval.verdicts.judge`."""
    rows = judged[::-1].reset_index(drop=True)
    height = 0.32 * len(rows) + 1.0
    figure, axes = plt.subplots(figsize=(9, height))
    colours = {"holds": PALETTE[2], "does not": PALETTE[1]}
    labels = []
    for row in rows.itertuples():
        draw_interval(
            axes,
            row.Index,
            value=row.estimate,
            low=row.low,
            high=row.high,
            color=colours.get(row.verdict, PALETTE[0]),
        )
        labels.append(short_label(f"{row.system} - {row.baseline} ({row.world}): {row.verdict}"))
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(0, linestyle=":", color=PALETTE[5])
    axes.set_xlabel("difference, 95% interval over seeds")
    return figure


def plot_weights(tuned: pd.DataFrame, chosen: float) -> Figure:
    """Validation nDCG@10 of the hybrid against its weight. tuned: system, weight, ndcg."""
    figure, axes = plt.subplots(figsize=(7, 2.6))
    tuned = tuned.assign(system=tuned["system"].map(short_label))
    sns.lineplot(
        tuned,
        x="weight",
        y="ndcg",
        hue="system",
        marker="o",
        ax=axes,
    )
    axes.axvline(chosen, linestyle=":", color=PALETTE[5])
    axes.set(xlabel="weight of the second part (0: BM25 alone)", ylabel="validation nDCG@10")
    return figure


def _task_label(task: str) -> str:
    """rank_resumes as "rank resumes"."""
    return short_label(task.replace("_", " "))


def short_label(name: object) -> str:
    """A name from the data as matplotlib may show it: one short line without mathematics."""
    line = cut_line(show_invisible(str(name)), max_characters=MAX_LABEL_CHARACTERS)
    return line.replace("$", r"\$")
