"""show_table(): every cell is text, every bound is kept and said."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hostile_texts import payloads

from matchlib.reports.clean import clean_html
from matchlib.reports.tables import MAX_COLUMNS, format_value, show_table, text_table
from matchlib.reports.text import show_invisible


def cells(frame, **options) -> list[list[str]]:
    """The texts of the HTML body, row by row."""
    soup = BeautifulSoup(text_table(frame, **options).html, "html.parser")
    return [[cell.get_text("\n") for cell in row.select("td")] for row in soup.select("tbody tr")]


def test_hostile_cells_headers_and_captions_are_text():
    hostile = payloads()
    columns, index = (
        pd.Index(hostile[:5], dtype=object),
        pd.Index(hostile, name=hostile[0], dtype=object),
    )
    frame = pd.DataFrame([[text] * 5 for text in hostile], index, columns, dtype=object)
    html = text_table(frame, caption=hostile[0], max_text=1_000, max_rows=200).html
    tags = {element.name for element in BeautifulSoup(html, "html.parser").find_all(True)}
    assert tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "br", "p"}
    shown = ["".join(row[1].split()) for row in cells(frame, max_text=1_000, max_rows=200)]
    assert shown == ["".join(show_invisible(text).split()) for text in hostile]


def test_report_shows_what_the_table_says():
    frame = pd.DataFrame(
        {"text": pd.Series(payloads(), dtype=object), "score": range(len(payloads()))}
    )
    table = text_table(frame, max_rows=200)
    in_report, in_notebook = (
        BeautifulSoup(html, "html.parser") for html in (clean_html(table.html), table.html)
    )
    assert in_report.text == in_notebook.text


def test_numbers_are_formatted_and_strings_are_not():
    frame = pd.DataFrame(
        {
            "job_id": ["007", "1234"],
            "query_id": [1234, 5678],
            "seed": [2026, 2027],
            "n": [1234, 5],
            "score": [0.41251, np.nan],
            "p": [3e-5, 0.0],
            "flag": [True, False],
            "mixed": pd.Series([1234, None], dtype=object),
        }
    )
    assert cells(frame) == [
        ["007", "1234", "2026", "1,234", "0.413", "3e-05", "True", "1,234"],
        ["1234", "5678", "2027", "5", "–", "0.000", "False", "–"],
    ]
    assert cells(frame[["score"]], number_format="{:.1%}")[0] == ["41.3%"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(1234), "1,234"),
        (np.float32(0.5), "0.500"),
        (np.bool_(True), "True"),
        (pd.NaT, "–"),
        (pd.NA, "–"),
        (float("inf"), "inf"),
        (-1e-9, "-1e-09"),
        ([1, 2], "[1, 2]"),
        ("nan", "nan"),
        (-1234.5, "-1234.500"),
    ],
)
def test_values_of_any_type(value, text):
    assert format_value(value) == text


def test_long_texts_and_many_lines_are_cut_and_counted():
    frame = pd.DataFrame({"text": ["x" * 1_000_000, "\n" * 100_000, "one\r\ntwo"]})
    first, second, third = (row[0] for row in cells(frame))
    assert first == "x" * 400 + "… (999,600 more characters)"
    assert len(second) < 80 and "more characters" in second
    assert "".join(third.split("\n")) == "onetwo" and "<br>" in text_table(frame).html
    assert len(text_table(frame).html) < 2_000


def test_long_captions_and_names_are_cut_and_counted():
    table = text_table(pd.DataFrame({"n" * 100_000: [1]}), caption="c" * 5_000_000 + "\n" * 100_000)
    for text in (table.html, table.plain):
        assert (
            len(text) < 1_500
            and "(5,099,600 more characters)" in text
            and "more characters" in text
        )


def test_lone_surrogates_are_spelled_out_in_names_and_index():
    columns, index = (pd.Index(["\ud800"], name=name, dtype=object) for name in (None, "\udfff"))
    table = text_table(pd.DataFrame([["x"]], index, columns))
    assert "⟨U+D800⟩" in table.html and "⟨U+DFFF⟩" in table.html


def test_hiding_characters_are_spelled_out():
    # pandas' own string type takes no lone surrogate, a column of objects does
    hiding = "\u2066x\u2069\u200b\x07\x00\ufeff\ud800\U000e0041"
    spelled = "⟨U+2066⟩x⟨U+2069⟩⟨U+200B⟩⟨U+0007⟩⟨U+0000⟩⟨U+FEFF⟩⟨U+D800⟩⟨U+E0041⟩"
    honest = " ناظم 👩\u200d🔬"
    frame = pd.DataFrame({"a\u202eb": [hiding + honest]}, dtype=object)
    table = text_table(frame)
    assert cells(frame) == [[spelled + honest]]
    assert "a⟨U+202E⟩b" in table.html and "a⟨U+202E⟩b" in table.plain
    table.html.encode(), table.plain.encode()


def test_cut_rows_and_columns_are_said_in_both_forms():
    table = text_table(pd.DataFrame(np.zeros((1_234, 50))))
    for text in (table.html, table.plain):
        assert f"showing 40 of 1,234 rows, showing {MAX_COLUMNS} of 50 columns" in text
    assert "showing" not in text_table(pd.DataFrame({"a": [1]})).html


def test_named_index_is_shown_and_row_numbers_are_not():
    frame = pd.DataFrame({"score": [1, 2]}, index=[7, 3])
    assert cells(frame) == [["1"], ["2"]]
    assert cells(frame.rename_axis("job_id")) == [["7", "1"], ["3", "2"]]
    grouped = pd.DataFrame({"a": ["x"], "b": ["y"], "score": [1]}).groupby(["a", "b"]).sum()
    assert cells(grouped) == [["x", "y", "1"]]


def test_awkward_frames():
    twins = pd.DataFrame([[1, "x"]], columns=["a", "a"])
    assert cells(twins) == [["1", "x"]]
    nested = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("dense", "nDCG@10")]))
    assert "dense / nDCG@10" in text_table(nested).html
    assert cells(pd.DataFrame({"a": []})) == []
    assert cells(pd.DataFrame()) == []
    repeated = pd.DataFrame({"n": [1, 2]}, index=["x", "x"])
    assert cells(repeated) == [["x", "1"], ["x", "2"]]


def test_plain_form_lines_up():
    plain = text_table(
        pd.DataFrame({"system": ["BM25", "raw"], "score": [0.5, 10.25]}), caption="Ranks"
    ).plain
    assert plain.split("\n") == [
        "Ranks",
        "system      score",
        "BM25        0.500",
        "raw        10.250",
    ]


def test_plain_form_takes_wide_characters_and_texts_that_look_like_numbers():
    frame = pd.DataFrame({"title": ["会计", "1e3", "  indented"], "n": [1, 2, 3]})
    assert text_table(frame).plain.split("\n") == [
        "title         n",
        "会计          1",
        "1e3           2",
        "  indented    3",
    ]
    assert text_table(pd.DataFrame()).plain == "" and text_table(frame.head(0)).plain.split() == [
        "title",
        "n",
    ]


def test_frame_is_left_as_it_was():
    frame = pd.DataFrame({"a": [1.0, None]})
    before = frame.copy()
    text_table(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_show_table_displays_both_forms(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    assert show_table(pd.DataFrame({"a": [1]})) is None
    assert set(shown[0]._repr_mimebundle_()) == {"text/html", "text/plain"}
