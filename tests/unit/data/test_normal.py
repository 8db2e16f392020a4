"""Normal forms: the kinds of characters that mean the same, the way back to the text, and the time both take."""

import time
import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_copies import near_duplicate_pairs

from matchlib.data.normal import composed, mapped, plain
from matchlib.data.privacy import redact
from matchlib.data.readers import read_table
from matchlib.data.schema import DataError
from matchlib.extraction.facts import extract_facts

SPACES = (" ", "\u00a0", "\u2009", "\u202f", "\u3000", "\u2003", "  ", "\u2800")
HYPHENS = ("-", "\u2010", "\u2011", "\u2012", "\u2212")
JOINERS = ("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u034f", "\ufe0f")
ODD = "aB1 \t\n\r-\u00ad\u0301\u0316\u1161\ufb01\u200b"
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
TEXTS = (
    "Name: Mei\nData analyst in Zürich, office work.\n"
    "Call +44 20 7946 0958 or ana@example.org, 12 High Street, Leeds.",
    "Welder with 5-7 years of experience, living in Málaga.\n## Skills\nSQL; Tableau; first-aid\n"
    "Her phone: +1 415-555-0134",
    "Senior nurse based in Łódź, happy to relocate.\n"
    "## Experience\nworked on finance and offline files\nDr. Elena Petrova",
)


def disguised(text, data):
    """The text in a random normalisation, with spaces and hyphens of random kinds and joiners inside words."""
    text = unicodedata.normalize(data.draw(st.sampled_from(FORMS)), text)
    kinds = data.draw(st.lists(st.sampled_from(range(8)), min_size=12, max_size=12))
    pieces = []
    for at, character in enumerate(text):
        kind = kinds[at % len(kinds)]
        if character == " ":
            pieces.append(SPACES[kind % len(SPACES)])
        elif character == "-":
            pieces.append(HYPHENS[kind % len(HYPHENS)])
        else:
            pieces.append(character)
            if kind == at % 8 and character.isalpha() and text[at + 1 : at + 2].isalpha():
                pieces.append(JOINERS[kind])
    return "".join(pieces)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_disguised_texts_give_the_same_reasons_redactions_and_duplicates(text, data):
    other = disguised(text, data)
    assert plain(other) == plain(text)
    pd.testing.assert_frame_equal(extract_facts([other]), extract_facts([text]))
    assert plain(redact(other)[0]) == plain(redact(text)[0])
    assert redact(other)[1] == redact(text)[1]
    assert near_duplicate_pairs([text, other], threshold=1) == [(0, 1)]


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.characters(), st.sampled_from(ODD)), max_size=40))
def test_the_plain_form_is_plain_and_knows_its_way_back(text):
    form = mapped(text)
    assert form.text == plain(text)
    assert len(form.starts) == len(form.ends) == len(form.text)
    assert all(
        0 <= start < end <= len(text) for start, end in zip(form.starts, form.ends, strict=True)
    )
    assert list(form.starts) == sorted(form.starts)
    assert composed(composed(text)) == composed(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ﬁnance, ﬂow, oﬃce, ﬆop", "finance, flow, office, stop"),
        ("Ｐｙｔｈｏｎ　３．１１", "Python 3.11"),
        ("𝐉𝐨𝐡𝐧 𝒟𝑜𝑒", "John Doe"),
        ("de\u00advel\u200bop\u2060er", "developer"),
        ("develop\u00ad\nment", "development"),
        ("٣ سنوات", "3 سنوات"),
        ("S K I L L S", "SKILLS"),
        ("I T   S K I L L S:", "IT SKILLS:"),
        ("E D U C A T I O N   Leeds", "EDUCATION\tLeeds"),
        ("vitamins A B C D E", "vitamins A B C D E"),
        ("A B\nC D", "A B\nC D"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("\uf0b7 SQL\n✓ Python", "• SQL\n• Python"),
        ("a\u2028b\x0bc\r\nd", "a\nb\nc\nd"),
        ("one\t\ttwo   three  four", "one\ttwo\tthree four"),
        ("10⁶ m², ½, n.º 5", "10⁶ m², ½, n.º 5"),
        ("Bachelor’s, Bachelorʼs", "Bachelor's, Bachelor's"),
        ("5–7 — x", "5–7 — x"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),
        ("Å", "Å"),
        ("كتاب", plain("ﻛﺘﺎﺏ")),
    ],
)
def test_what_means_the_same_is_the_same(text, expected):
    assert plain(text) == expected == plain(expected)


def test_a_plain_ascii_text_stays_as_it_is(small_tables):
    for name in ("jobs", "resumes"):
        assert small_tables[name]["text"].map(plain).tolist() == small_tables[name]["text"].tolist()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "escaped.jsonl"])
def test_ids_and_texts_enter_composed(tmp_path, ending):
    frame = pd.DataFrame({"résumé_id": ["José"], "text": ["living in Zürich"]})
    frame = frame.map(lambda value: unicodedata.normalize("NFD", value))
    frame = frame.rename(columns=lambda name: unicodedata.normalize("NFD", name))
    path = tmp_path / f"a.{ending}"
    if ending.endswith("jsonl"):
        frame.to_json(path, orient="records", lines=True, force_ascii=ending.startswith("escaped"))
    else:
        getattr(frame, f"to_{ending}")(path, index=False)
    read = read_table(
        path, "resumes", columns={"resume_id": unicodedata.normalize("NFD", "résumé_id")}
    )
    assert read.to_dict("records") == [{"resume_id": "José", "text": "living in Zürich"}]


def test_binary_columns_of_parquet_are_text(tmp_path):
    frame = pd.DataFrame({"resume_id": [b"a", b"b"], "text": ["Café".encode(), "thé".encode()]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", "resumes")["text"].tolist() == ["Café", "thé"]
    pd.DataFrame({"resume_id": ["a"], "text": [b"Caf\xe9"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=":1: bytes that are not UTF-8.*save the column as text"):
        read_table(tmp_path / "b.parquet", "resumes")


@pytest.mark.parametrize(
    "unit", ["a", "\u0301\u0316", "\u00ad\n", "  ", "S ", "\t ", "\ufb01", "\r", "A b  "]
)
def test_the_time_is_linear(unit):
    """Four times the text, at most some ten times the time: a quadratic search would take sixteen times."""

    def seconds(n):
        text = unit * (n // len(unit))
        started = time.process_time()
        composed(text)
        mapped(text)
        return time.process_time() - started

    assert seconds(200_000) < 10 * seconds(50_000) + 1
