"""Markup: tags and entities go where a text is HTML; plain text is left alone."""

import time

import pandas as pd
import pytest

from matchlib.documents.markup import decode_page, read_markup, strip_markup
from matchlib.documents.read import read_documents


@pytest.mark.parametrize(
    "text, expected",
    [
        ("<p>Welder</p><p>in&nbsp;Leeds</p>", "Welder\nin\xa0Leeds"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>One<li>Two &lt;vector&gt;</ul>", "One\nTwo <vector>"),
        ("R&amp;D &ndash; Leeds", "R&D – Leeds"),
        ("&lt;p&gt;Job&amp;nbsp;ad&lt;/p&gt;", "Job\xa0ad"),
        ("&amp;amp;nbsp;x", "\xa0x"),
        ("&#150; &#x2013;", "– –"),
        ("<table><tr><td>SQL<td>3 years<tr><td>R<td>1</table>", "SQL\t3 years\nR\t1"),
        ("<b>Cook</b>, C++ <vector>, a < b", "Cook, C++ <vector>, a < b"),
        ("<script>track()</script><style>p{}</style><!-- note --><p>Cook</p>", "Cook"),
        ("<p>x<o:p></o:p></p><input value='Ada'><input type=hidden value=y>", "x\nAda"),
        ("<pre>a  b\nc</pre>", "a  b\nc"),
    ],
)
def test_html_becomes_the_text_that_a_reader_sees(text, expected):
    assert strip_markup(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "C++ <vector> and List<String>",
        "Ada <name@example.com>",
        "if a<b then c>d",
        "x <b y> z",
        "know <div> from <span>",
        "Map<K, V>",
        "AT&T &bogus; &copy=2 ?a=1&lt=2",
        "<3 and </3",
        "1 <p 2",
        "<https://x.org/a>",
        "=1+1 & more",
        "# Baker\n> quote\n```\nif (a<b && c>d)\n```",
    ],
)
def test_plain_text_is_left_alone(text):
    assert strip_markup(text).text == text and strip_markup(text).missing == []


@pytest.mark.parametrize(
    "style",
    [
        "style='display:none'",
        "style='DISPLAY : none;x:y'",
        "hidden",
        "style='visibility: hidden'",
        "style='opacity:0'",
        "style='font-size:0'",
        "style='font-size: 1px; x:y'",
        "style='color:#fff'",
        "style='color: White'",
        "style='position:absolute; left:-9999px'",
    ],
)
def test_hidden_elements_are_left_out_and_counted(style):
    found = strip_markup(f"<p>Cook</p><div {style}>python <b>sql</b></div>")
    assert found.text == "Cook" and found.missing[0].startswith("9 hidden characters")


@pytest.mark.parametrize(
    "text",
    [
        "<div style='background:#000'><span style='color:#fff'>python</span></div>",
        "<p style='font-size:10px'>python</p>",
        "<table bgcolor=navy><tr><td><font color=white>python</font></table>",
        "<p style='opacity:0.9'>python</p>",
        "<p style='background-color:#fff'>python</p>",
    ],
)
def test_elements_that_are_seen_are_read(text):
    assert (strip_markup(text).text, strip_markup(text).missing) == ("python", [])


def test_pages_texts_and_columns_lose_their_tags(tmp_path):
    (tmp_path / "a.html").write_bytes(
        "<meta charset=iso-8859-1><title>x</title><p>Café".encode("latin-1")
    )
    (tmp_path / "b.htm").write_text("<body>just &lt;b&gt; text <div hidden>python</div></body>")
    (tmp_path / "c.md").write_text("<p>Baker</p>\n")
    pd.DataFrame({"id": ["d"], "text": ["<p>Cook</p><p hidden>sql"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    reading = read_documents(tmp_path, "jobs")
    table = reading.tables["jobs"].set_index("job_id")["text"]
    assert table.to_dict() == {"a": "Café", "b": "just <b> text", "c": "Baker", "d": "Cook"}
    assert reading.missing["line"].tolist() == ["", "2"]


def test_bytes_of_a_page_are_decoded_as_it_says():
    assert decode_page("Café".encode("utf-16")) == "Café"
    assert decode_page("Café".encode("cp1252")) == "Café"
    assert decode_page("Кот".encode("cp1251"), "cp1251") == "Кот"
    assert decode_page(b"<meta charset='nonsense'>Caf\xe9").endswith("Café")


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<b",
        "<!--",
        "<p hidden>x",
        "&amp;",
        "<a href='",
        "<",
        "<div hidden>x",
        "<table>",
        "<b><i></b>",
    ],
)
def test_time_is_linear_in_the_length(piece):
    def seconds(count):
        started = time.perf_counter()
        read_markup(f"<p>{piece * count}")
        strip_markup(piece * count)
        return time.perf_counter() - started

    seconds(100)
    assert seconds(40_000) < 6 * seconds(10_000) + 0.5
