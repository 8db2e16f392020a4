"""Figures of papers: the file as a whole, and what the tables make of it."""

import pandas as pd
import pytest

from matchlib import published
from matchlib.analysis.errors import ERROR_CLASSES

FIGURES = pd.read_csv("matchlib/published.csv", keep_default_na=False)
SECTIONS = FIGURES[["paper", "section"]].drop_duplicates().to_records(index=False).tolist()


def test_every_figure_stands_once_with_its_unit():
    key = ["paper", "section", "system", "setting", "data", "task", "measure"]
    assert not FIGURES.duplicated(key).any()
    assert (FIGURES.drop(columns="setting") != "").all(axis=None)
    in_range = {"percent": (1, 100), "fraction": (0, 1), "of 30 pairs": (1, 30)}
    for unit, rows in FIGURES.groupby("unit"):
        assert rows["value"].between(*in_range[unit]).all(), unit


@pytest.mark.parametrize(("paper", "section"), SECTIONS)
def test_a_table_holds_every_figure_of_its_section(paper, section):
    table = published.published_table(paper, section)
    values = table.select_dtypes("number")
    assert values.notna().all(axis=None)
    assert values.size == len(published.read_published(paper, section))


def test_tables_are_named_after_what_differs():
    main = published.published_table("ConFit v2", "main results").set_index("system")
    assert main.loc["+ RUM = v2", "AliYun rank jobs nDCG@10"] == 68.0
    assert main.loc["+ HyRE", "AliYun rank jobs R@10"] == 81.2
    stage2 = published.published_table("RankPO", "stage 2")
    assert list(stage2.columns) == ["system", "setting", "alignment", "nDCG@20"]
    gendered = published.published_table("TalentCLEF 2026", "task A")
    assert list(gendered.columns) == ["system", "MAP", "RBO"] and len(gendered) == 5
    errors = published.read_published("ConFit v2", "error analysis").set_index("measure")["value"]
    assert list(errors.index) == list(ERROR_CLASSES) and errors.sum() == 30


def test_an_unknown_section_is_told_which_there_are():
    with pytest.raises(
        KeyError, match="nothing published by RankPO, main results; there is ConFit"
    ):
        published.read_published("RankPO", "main results")
