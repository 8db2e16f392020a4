"""The figures: one function a figure, frames in, an Axes or Figure out; no science here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from matchlib.reports.text import cut_line, show_invisible

PALETTE = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#c53030", "#718096")
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
    Figure._repr_pretty_ = lambda figure, printer, cycle: printer.text(in_words(figure))


def in_words(figure: Figure) -> str:
    """What a figure shows, from its own labels: panels, axes and series."""
    panels = []
    for axes in figure.axes:
        below = axes.get_xlabel() or figure.get_supxlabel()
        what = " against ".join(label for label in (axes.get_ylabel(), below) if label)
        series = axes.get_legend_handles_labels()[1]
        panels.append(
            ": ".join(part for part in (axes.get_title(), what, ", ".join(series)) if part)
        )
    return cut_line(f"Figure. {'; '.join(panel for panel in panels if panel)}", max_characters=400)


def plot_lengths(texts: dict[str, pd.Series]) -> Figure:
    """Histogram of words a document, one colour a table; the last percent is left out."""
    words = pd.concat(
        [
            pd.DataFrame({"words": text.map(lambda one: len(one.split())), "table": _label(name)})
            for name, text in texts.items()
        ],
        ignore_index=True,
    )
    figure, axes = plt.subplots(figsize=(7, 2.8))
    shown = words[words["words"] <= words["words"].quantile(0.99)]
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
    counts = labels.groupby(["split", "job_id"]).size().rename("labels a job").reset_index()
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
    pairs = pairs.assign(kind=pairs["kind"].map(_label))
    sns.ecdfplot(
        pairs,
        x="similarity",
        hue="kind",
        ax=axes,
        hue_order=sorted(pairs["kind"].unique(), reverse=True),
    )
    axes.set(
        xlabel="text similarity of job and resume (TF-IDF cosine)", ylabel="share of pairs below"
    )
    return figure


def plot_training(log: pd.DataFrame) -> Figure:
    """Training loss and validation nDCG@10 over steps. log: step, loss, ndcg_rank_resumes,
    ndcg_rank_jobs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    loss = log.dropna(subset=["loss"])
    left.plot(loss["step"], loss["loss"], marker="o", markersize=3)
    left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    curve = log.dropna(subset=["ndcg"]).drop_duplicates("step", keep="last")
    for column, name in (
        ("ndcg_rank_resumes", "ranking resumes"),
        ("ndcg_rank_jobs", "ranking jobs"),
    ):
        right.plot(curve["step"], curve[column], marker="o", label=name)
    right.set(xlabel="step (0: before training)", ylabel="validation nDCG@10")
    right.legend()
    return figure


def plot_path(log: pd.DataFrame, *, floor: float) -> Figure:
    """Training loss over steps, and the path of validation over alignment and nDCG@20, from stage 1
    (the cross).

    log: step, loss, alignment, ndcg; floor: the nDCG below which no checkpoint is chosen.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    loss, path = (
        log.dropna(subset=["loss"]),
        log.dropna(subset=["ndcg"]).drop_duplicates("step", keep="first"),
    )
    left.plot(loss["step"], loss["loss"], marker="o", markersize=3)
    left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    right.plot(path["alignment"], path["ndcg"], marker="o", markersize=4)
    right.plot(*path.iloc[0][["alignment", "ndcg"]], "X", markersize=9, color=PALETTE[1])
    right.axhline(floor, color="0.5", linestyle=":")
    right.set(xlabel="validation alignment", ylabel="validation nDCG@20")
    right.locator_params(nbins=6)
    return figure


def plot_frontier(
    points: pd.DataFrame, limit: pd.DataFrame | None, published: pd.DataFrame
) -> Figure:
    """Left, systems and the limit on alignment against nDCG@20; right, the paper's points, axes of
    their own.

    points: system, alignment, low, high, nDCG@20; limit: alignment, ndcg, or None; published:
    system, alignment, ndcg.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    if limit is not None:
        left.plot(limit["alignment"], limit["ndcg"], color="0.5", label="limit")
    for axis, frame, y in ((left, points, "nDCG@20"), (right, published, "ndcg")):
        for marker, (system, rows) in zip(
            "osD^vPX*<>hp", frame.groupby("system", sort=False), strict=False
        ):
            axis.plot(rows["alignment"], rows[y], marker, label=_label(system))
        axis.set(xlabel="alignment", ylabel="nDCG@20")
        axis.legend(fontsize=7)
    left.hlines(
        points["nDCG@20"], points["low"], points["high"], color="0.6", linewidth=1, zorder=0
    )
    left.set_title("this test")
    right.set_title("RankPO, other data")
    return figure


def plot_curves(points: pd.DataFrame, start: dict[str, float]) -> Figure:
    """Alignment against nDCG@20, a line a curve by rising learning rate, all from stage 1 (the
    cross).

    points: curve, alignment, ndcg in the order of learning rates; start: alignment, ndcg.
    """
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for marker, (curve, rows) in zip("osD^vPX*", points.groupby("curve", sort=False), strict=False):
        axes.plot(
            [start["alignment"], *rows["alignment"]],
            [start["ndcg"], *rows["ndcg"]],
            marker=marker,
            markersize=5,
            label=_label(curve),
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
    for axis, (column, name) in zip(axes.flat, names.items(), strict=True):
        axis.plot(log["iteration"], log[column], linewidth=1)
        axis.set(ylabel=name, xlabel="iteration" if axis in axes[1] else "")
        if column in ("length", "whole", "kl", "clipped"):
            axis.set_ylim(0, None)
    return figure


def plot_leaderboard(board: pd.DataFrame, *, measure: str = "nDCG@10") -> Figure:
    """Every system's value with its 95% interval, one panel a channel and task."""
    part = board[board["measure"] == measure].drop_duplicates(["channel", "task", "system"])
    panels = part[["channel", "task"]].drop_duplicates().to_numpy()
    systems = list(dict.fromkeys(part["system"]))
    width = 2 if len(panels) > 1 else 1
    figure, axes = plt.subplots(
        -(-len(panels) // width),
        width,
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(9, (0.32 * len(systems) + 1.1) * -(-len(panels) // width)),
    )
    for axis, (channel, task) in zip(axes.flat, panels, strict=False):
        rows = (
            part[(part["channel"] == channel) & (part["task"] == task)]
            .set_index("system")
            .loc[systems[::-1]]
        )
        for y, (system, row) in enumerate(rows.iterrows()):
            colour = PALETTE[1] if system == "stage1" else PALETTE[0]
            axis.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
            axis.plot(row["value"], y, "o", color=colour)
        axis.set_yticks(range(len(rows)), [_label(name) for name in rows.index])
        panel = f"{_label(task.replace('_', ' '))}, against {_label(channel)} labels"
        axis.set_title(f"{panel} (n = {int(rows['n'].iloc[0]):,})", fontsize=10)
        axis.grid(axis="x", alpha=0.4)
    for axis in axes[-1]:
        axis.set_xlabel(f"{_label(measure)}, 95% interval")
    return figure


def plot_false_negatives(compared: pd.DataFrame) -> Figure:
    """Left, each miner's share of negatives that truly fit, with its interval; right, their mean
    cosine.

    compared: miner, task, false_share, low, high, cosine of `learning.negatives.false_negatives`.
    """
    miners = list(dict.fromkeys(compared["miner"]))[::-1]
    figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(9, 0.3 * len(miners) + 1.1))
    for shift, colour, (task, rows) in zip(
        (-0.12, 0.12), PALETTE, compared.groupby("task"), strict=False
    ):
        y = [miners.index(miner) + shift for miner in rows["miner"]]
        left.hlines(y, 100 * rows["low"], 100 * rows["high"], color=colour, linewidth=2)
        left.plot(
            100 * rows["false_share"], y, "o", color=colour, label=_label(task.replace("_", " "))
        )
        right.plot(rows["cosine"], y, "o", color=colour)
    left.set_yticks(range(len(miners)), [_label(miner) for miner in miners])
    left.set_xlabel("truly fit, % of the mined (95% interval)")
    right.set_xlabel("mean cosine")
    left.legend(loc="lower right")
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.4)
    return figure


def plot_classes(shares: pd.DataFrame, published: dict[str, float]) -> Figure:
    """Share of each class of errors with its 95% interval, by task, beside published shares
    (diamonds).

    shares: task, class, share, low, high; published: class -> share.
    """
    classes = list(published)[::-1]
    figure, axis = plt.subplots(figsize=(9, 0.5 * len(classes) + 1.1))
    for shift, colour, (task, rows) in zip(
        (0.1, -0.1), PALETTE, shares.groupby("task", sort=False), strict=False
    ):
        y = [classes.index(name) + shift for name in rows["class"]]
        axis.hlines(y, 100 * rows["low"], 100 * rows["high"], color=colour, linewidth=2)
        axis.plot(100 * rows["share"], y, "o", color=colour, label=_label(task.replace("_", " ")))
    axis.plot(
        [100 * published[name] for name in classes],
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
    worlds = list(dict.fromkeys(values["world"]))
    order = list(values.groupby("system")["value"].mean().sort_values().index)
    columns = min(3, len(worlds))
    lines = -(-len(worlds) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        squeeze=False,
        sharey=True,
        figsize=(min(9, 3 + 3 * columns), lines * (0.24 * len(order) + 1.1)),
    )
    for axis, world in zip(axes.flat, worlds, strict=False):
        for _, rows in values[values["world"] == world].groupby("seed"):
            rows = rows.assign(place=rows["system"].map(order.index)).sort_values("place")
            axis.plot(rows["value"], rows["place"], "o-", linewidth=0.6, markersize=4, alpha=0.7)
        axis.set_title(_label(world), fontsize=10)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(axis="x", alpha=0.4)
    for axis in axes.flat[len(worlds) :]:
        axis.set_visible(False)
    axes[0][0].set_yticks(range(len(order)), [_label(name) for name in order])
    figure.supxlabel(
        _label(measure), fontsize="medium"
    )  # once: a long name would run into the next panel's
    return figure


def plot_claims(judged: pd.DataFrame) -> Figure:
    """Every claim's difference from each baseline with its interval. judged: of
    `retrieval.verdicts.judge`."""
    rows = judged[::-1].reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1.0))
    colours = {"holds": PALETTE[2], "does not": PALETTE[1]}
    for y, row in enumerate(rows.itertuples()):
        axes.hlines(y, row.low, row.high, color=colours.get(row.verdict, PALETTE[0]), linewidth=2)
        axes.plot(row.estimate, y, "o", color=colours.get(row.verdict, PALETTE[0]))
    names = (
        rows["system"] + " - " + rows["baseline"] + " (" + rows["world"] + "): " + rows["verdict"]
    )
    axes.set_yticks(range(len(rows)), [_label(name) for name in names])
    axes.axvline(0, linestyle=":", color=PALETTE[5])
    axes.set_xlabel("difference, 95% interval over seeds")
    return figure


def plot_weights(tuned: pd.DataFrame, chosen: float) -> Figure:
    """Validation nDCG@10 of the hybrid against its weight. tuned: system, weight, ndcg."""
    figure, axes = plt.subplots(figsize=(7, 2.6))
    tuned = tuned.assign(system=tuned["system"].map(_label))
    sns.lineplot(tuned, x="weight", y="ndcg", hue="system", marker="o", ax=axes)
    axes.axvline(chosen, linestyle=":", color=PALETTE[5])
    axes.set(xlabel="weight of the second part (0: BM25 alone)", ylabel="validation nDCG@10")
    return figure


def _label(name: object) -> str:
    """A name from the data as matplotlib may show it: one short line without mathematics."""
    return cut_line(show_invisible(str(name)), max_characters=MAX_LABEL_CHARACTERS).replace(
        "$", r"\$"
    )
