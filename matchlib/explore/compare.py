"""Two rankings of one query side by side: where each candidate stands, and what moved."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from matchlib.explore.marks import escaped, first_line

COLUMNS = ("candidate_id", "first_rank", "second_rank", "places_up")


def ranks_side_by_side(first: pd.DataFrame, second: pd.DataFrame, *, top: int) -> pd.DataFrame:
    """Every candidate in the top of either ranking, one row each, by its better rank.

    first, second: candidate_id and rank of one query. Returns candidate_id, first_rank, second_rank
    (missing where a system did not rank it) and places_up: how many places higher the second ranks
    it, negative where lower.
    """
    ranks = first[["candidate_id", "rank"]].merge(
        second[["candidate_id", "rank"]],
        on="candidate_id",
        how="outer",
        suffixes=("_first", "_second"),
    )
    compared = pd.DataFrame(
        {
            "candidate_id": ranks["candidate_id"],
            "first_rank": ranks["rank_first"].astype("Int64"),
            "second_rank": ranks["rank_second"].astype("Int64"),
        }
    )
    compared["places_up"] = compared["first_rank"] - compared["second_rank"]
    better = compared[["first_rank", "second_rank"]].min(axis=1)
    order = compared.assign(better=better).sort_values(["better", "first_rank", "candidate_id"])
    return compared.loc[order.index[order["better"] <= top]].reset_index(drop=True)


def describe_moves(compared: pd.DataFrame, *, top: int) -> str:
    """One sentence: how many candidates both lists share, and which moved furthest up and down."""
    if compared.empty:
        return "Neither system ranks a candidate."
    in_both = (compared["first_rank"] <= top) & (compared["second_rank"] <= top)
    n_listed = max((compared["first_rank"] <= top).sum(), (compared["second_rank"] <= top).sum())
    sentence = f"{in_both.sum()} of {n_listed} candidates are in both lists."
    moved = compared.dropna(subset=["places_up"]).sort_values("places_up", kind="stable")
    if len(moved) and moved["places_up"].iloc[-1] > 0:
        sentence += _describe_move(moved.iloc[-1], "up")
    if len(moved) and moved["places_up"].iloc[0] < 0:
        sentence += _describe_move(moved.iloc[0], "down")
    return sentence


def _describe_move(row: pd.Series, direction: str) -> str:
    places = f"from {row['first_rank']} to {row['second_rank']}"
    return f" Furthest {direction}: {row['candidate_id']}, {places}."


def lists_html(
    compared: pd.DataFrame, names: tuple[str, str], texts: Mapping[str, str], *, top: int
) -> str:
    """Both lists as one escaped HTML table: rank, candidate, its first line, and its rank in the
    other list.

    compared: of `ranks_side_by_side`; names: the two systems; texts: by candidate.
    """
    left = _list_rows(compared, "first_rank", "second_rank", texts, top=top)
    right = _list_rows(compared, "second_rank", "first_rank", texts, top=top)
    lines = []
    for rank in range(1, top + 1):
        if rank in left or rank in right:
            lines.append(f"<tr><td>{rank}</td>{left.get(rank, NONE)}{right.get(rank, NONE)}</tr>")
    head = "".join(f"<th>{escaped(name)}</th><th>in the other</th>" for name in names)
    return f'<table class="lists"><tr><th>rank</th>{head}</tr>{"".join(lines)}</table>'


NONE = "<td></td><td></td>"


def _list_rows(
    compared: pd.DataFrame, own: str, other: str, texts: Mapping[str, str], *, top: int
) -> dict[int, str]:
    """Rank -> cells of one list."""
    rows = {}
    for row in compared[compared[own] <= top].to_dict("records"):
        candidate = row["candidate_id"]
        title = first_line(texts[candidate], max_characters=60)
        label = f"<b>{escaped(candidate)}</b> {escaped(title)}"
        told = _describe_other(row, own, other)
        rows[int(row[own])] = f'<td>{label}</td><td class="other">{told}</td>'
    return rows


def _describe_other(row: Mapping, own: str, other: str) -> str:
    """The rank in the other list, and how far this list moves the candidate."""
    if pd.isna(row[other]):
        return "not ranked"
    places_up = int(row[other] - row[own])
    if places_up == 0:
        return f"{row[other]}"
    return f"{row[other]} {'&#9650;' if places_up > 0 else '&#9660;'}{abs(places_up)}"
