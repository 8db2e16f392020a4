"""What papers report of their own systems. ConFit v2's and RankPO's data is their own: comparable with
no figure here. MELO's is public: its figures are of the test that `source: melo` reads. TalentCLEF's
are of its test set of 2026, RBO between the rankings of male and of female versions.

published.csv has one row a figure: paper, section, system, setting, data, task, measure, value, unit.
ConFit v2 is arXiv 2502.12361, RankPO arXiv 2503.10723, MELO the results folder of
Avature/melo-benchmark on GitHub (MIT), TalentCLEF 2026 arXiv 2606.31692. None gives an interval.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_published(paper: str, section: str) -> pd.DataFrame:
    """The figures that a section of a paper reports, as published.csv has them.

    Raises KeyError if there is none, with the sections that there are.
    """
    figures = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False)
    chosen = figures[figures["paper"].eq(paper) & figures["section"].eq(section)]
    if chosen.empty:
        known = figures[["paper", "section"]].drop_duplicates().agg(", ".join, axis="columns")
        raise KeyError(f"nothing published by {paper}, {section}; there is {'; '.join(known)}")
    return chosen.reset_index(drop=True)


def published_table(paper: str, section: str) -> pd.DataFrame:
    """The figures of `read_published` for reading: one row a system, one column a measure.

    A column's name begins with data and task, and a system has its setting, where they differ.
    """
    figures = read_published(paper, section)
    column = figures["measure"]
    for part in ("task", "data"):
        if figures[part].nunique() > 1:
            column = figures[part].str.replace("_", " ") + " " + column
    keys = ["system"]
    if figures["setting"].any():
        keys.append("setting")
    table = figures.assign(column=column).pivot_table("value", keys, "column", sort=False)
    return table.rename_axis(columns=None).reset_index()
