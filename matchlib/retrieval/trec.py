"""Runs and judgments as TREC files, which other tools read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from matchlib.data.schema import DataError

RUN_DEPTH = 100
"""Candidates of each query in the run files of a leaderboard."""


def write_run(ranking: pd.DataFrame, path: Path, *, tag: str) -> None:
    """Write a ranking in TREC form: `query Q0 document rank score tag`, score = -rank.

    Raises DataError on an id with a space, which the form cannot hold.
    """
    _refuse_spaces(ranking)
    with path.open("w", encoding="utf-8") as file:
        for query, candidate, position in zip(
            ranking["query_id"], ranking["candidate_id"], ranking["rank"], strict=True
        ):
            file.write(f"{query} Q0 {candidate} {position} {-position} {tag}\n")


def read_run(path: Path) -> pd.DataFrame:
    """Read a TREC run; the rank is recomputed from the score (ties by the file's rank). Raises
    DataError by line."""
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            query, _, candidate, position, score, _ = line.decode().split()
            rows.append((number, query, candidate, int(position), float(score)))
        except ValueError:
            raise DataError(
                f"{path}:{number}: not a line of a TREC run (query Q0 document rank score tag): "
                f"{line[:60]!r}"
            ) from None
    frame = pd.DataFrame(
        rows, columns=["line", "query_id", "candidate_id", "rank", "score"]
    ).set_index("line")
    broken = frame["score"].isna() | frame.duplicated(["query_id", "candidate_id"])
    if broken.any():
        raise DataError(
            f"{path}:{broken.idxmax()}: the score is NaN, or the query holds the document twice; "
            f"write the run again"
        )
    frame = frame.sort_values(
        ["query_id", "score", "rank"], ascending=[True, False, True], ignore_index=True
    )
    return frame.assign(rank=frame.groupby("query_id").cumcount() + 1)


def write_qrels(qrels: pd.DataFrame, path: Path) -> None:
    """Write qrels in TREC form: `query 0 document label`. Raises DataError on an id with a space."""
    _refuse_spaces(qrels)
    with path.open("w", encoding="utf-8") as file:
        for query, candidate, label in zip(
            qrels["query_id"], qrels["candidate_id"], qrels["label"], strict=True
        ):
            file.write(f"{query} 0 {candidate} {label}\n")


def _refuse_spaces(frame: pd.DataFrame) -> None:
    for column in ("query_id", "candidate_id"):
        spaced = frame[column].str.contains(r"\s")
        if spaced.any():
            raise DataError(
                f"{column} {frame[column][spaced].iloc[0]!r} holds a space, which a TREC file cannot; "
                f"replace it by _"
            )
