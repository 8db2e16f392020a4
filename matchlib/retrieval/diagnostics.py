"""Diagnostics of a leaderboard: where a difference comes from, and how much of it is luck."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def compare_with_validation(
    board: pd.DataFrame, arms: Mapping[str, Mapping[str, float]], *, measure: str
) -> pd.DataFrame:
    """One row a trained arm, best on validation first, beside the test: means of both tasks.

    arms: name -> facts known before the test was looked at, `validation` among them. The first row
    is the choice; that another row is better on the test is what choosing costs.
    """
    part = board[board["measure"].eq(measure) & board["system"].isin(list(arms))]
    once = part.drop_duplicates(["judgments", "system", "task"])
    means = once.pivot_table(index="system", columns="judgments", values="value", sort=False)
    known = pd.DataFrame.from_dict(arms, orient="index").rename_axis("system")
    table = known.join(means.add_prefix("test, "))
    return table.sort_values("validation", ascending=False, kind="stable").reset_index()


def gain_parts(
    board: pd.DataFrame,
    *,
    measure: str,
    system: str = "stage1",
    control: str = "applicants",
    start: str = "pretrained",
) -> pd.DataFrame:
    """How much of a system's gain over the untrained encoder a control has that never saw a decision.

    board: of `build_leaderboard`, with `start` and `control` among its baselines. Returns judgments,
    task, the value of all three, by_applying (control - start), by_deciding (system - control),
    deciding_low, deciding_high (95%), p_holm, n (queries), n_clusters.
    """
    part = board[board["measure"] == measure]
    once = part.drop_duplicates(["judgments", "task", "system"])
    values = once.pivot(index=["judgments", "task"], columns="system", values="value")
    decided = part[part["system"].eq(system) & part["baseline"].eq(control)]
    rows = []
    for row in decided.itertuples():
        by_system = values.loc[(row.judgments, row.task)]
        rows.append(
            {
                "judgments": row.judgments,
                "task": row.task,
                start: by_system[start],
                control: by_system[control],
                system: by_system[system],
                "by_applying": by_system[control] - by_system[start],
                "by_deciding": row.difference,
                "deciding_low": row.difference_low,
                "deciding_high": row.difference_high,
                "p_holm": row.p_holm,
                "n": row.n,
                "n_clusters": row.n_clusters,
            }
        )
    return pd.DataFrame(rows)


def seed_variance(board: pd.DataFrame, *, measure: str) -> pd.DataFrame:
    """What the training seed alone changes, for each system that was trained several times.

    Trainings of one system are named system, system@2, system@3, ... Returns one row a set of
    judgments, task and system: judgments, task, system, trainings, mean, lowest, highest, and
    queries: the mean width of their intervals over queries, to compare the spread with.
    """
    once = board[board["measure"] == measure].drop_duplicates(["judgments", "task", "system"])
    trained = once["system"].str.split("@").str[0]
    once = once.assign(system=trained, width=once["high"] - once["low"])
    by_system = once.groupby(["judgments", "task", "system"], sort=False)
    table = by_system.agg(
        trainings=("value", "size"),
        mean=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        queries=("width", "mean"),
    ).reset_index()
    return table[table["trainings"] > 1].reset_index(drop=True)


def answer(hard: pd.DataFrame, *, system: str, measure: str) -> tuple[str, dict[str, float]]:
    """The headline and key figures of the diagnostics: a system's place among hard distractors.

    hard: of `distractors.hard_test`, with a column task.
    """
    clauses = []
    metrics: dict[str, float] = {}
    for row in hard[hard["system"] == system].itertuples():
        n_systems = int((hard["task"] == row.task).sum())
        does = row.task.replace("_", "s ")  # "ranks resumes"
        clauses.append(
            f"{row.hard:.3f} [{row.hard_low:.3f}, {row.hard_high:.3f}] when it {does} (place "
            f"{row.hard_place} of {n_systems}, among random ones {row.random_place})"
        )
        metrics[f"hard_place.{row.task}"] = int(row.hard_place)
        metrics[f"hard.{row.task}"] = round(row.hard, 4)
    sentence = f"Among candidates that keywords rank high, {system} reaches {measure} "
    return f"{sentence}{' and '.join(clauses)}. One run: it explains this test.", metrics
