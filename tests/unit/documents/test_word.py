"""Word files: what a reader of the printed page sees is read once, in any form of the format; the rest is told."""

import time
import zipfile

import pytest

from matchlib.data.schema import DataError
from matchlib.documents import word
from matchlib.documents.read import read_documents
from matchlib.documents.word import read_word

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
SPACES = (
    f'xmlns:w="{W}" xmlns:r="{RELATION}" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)


def p(text, run="", paragraph=""):
    return f"<w:p><w:pPr>{paragraph}</w:pPr><w:r><w:rPr>{run}</w:rPr><w:t>{text}</w:t></w:r></w:p>"


def write_word(path, body, *, relations=(), parts=None, kind="officeDocument"):
    """The least Word file. relations: (id, last word of the type, target); parts: name -> inner XML, or bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships><Relationship Id="r" Type="x/{kind}" '
            'Target="word/document.xml"/></Relationships>',
        )
        named = "".join(
            f'<Relationship Id="{i}" Type="x/{k}" Target="{t}"/>' for i, k, t in relations
        )
        archive.writestr("word/_rels/document.xml.rels", f"<Relationships>{named}</Relationships>")
        archive.writestr(
            "word/document.xml", f"<w:document {SPACES}><w:body>{body}</w:body></w:document>"
        )
        for name, content in (parts or {}).items():
            archive.writestr(f"word/{name}", content)
    return path


@pytest.fixture
def read(tmp_path):
    """read(body, ...) -> (lines of text, what is missing) of a Word file that is written so."""

    def read(body, **parts):
        found = read_word(write_word(tmp_path / "cv.docx", body, **parts))
        return [line for line in found.text.split("\n") if line.strip()], found.missing

    return read


def part(name, inner):
    return f"<w:{name} {SPACES}>{inner}</w:{name}>"


def test_headers_and_footers_that_some_page_shows_are_read_once(read):
    def reference(name, kind, number):
        return f'<w:{name}Reference w:type="{kind}" r:id="h{number}"/>'

    first = f"<w:sectPr>{reference('header', 'default', 1)}{reference('header', 'first', 2)}<w:titlePg/></w:sectPr>"
    second = (
        f"<w:sectPr>{reference('header', 'default', 3)}{reference('header', 'even', 4)}"
        f"{reference('footer', 'default', 5)}</w:sectPr>"
    )
    texts = {1: "Ada Example", 2: "Leeds", 3: "Ada Example", 4: "never shown", 5: "Page footer"}
    relations = [(f"h{n}", "header", f"h{n}.xml") for n in texts]
    parts = {f"h{n}.xml": part("hdr", p(text)) for n, text in texts.items()}
    body = f"<w:p><w:pPr>{first}</w:pPr></w:p>{p('Welder')}{second}"
    assert read(body, relations=relations, parts=parts)[0] == [
        "Leeds",
        "Ada Example",
        "Welder",
        "Page footer",
    ]
    even = {**parts, "s.xml": part("settings", "<w:evenAndOddHeaders/>")}
    assert (
        "never shown"
        in read(body, relations=[*relations, ("s", "settings", "s.xml")], parts=even)[0]
    )


def test_notes_are_read_and_comments_are_counted(read):
    notes = "".join(
        f'<w:footnote w:id="{n}">{p(text)}</w:footnote>'
        for n, text in ((1, "of 2020"), (2, "unused"))
    )
    body = (
        f'{p("Welder")}<w:p><w:r><w:footnoteReference w:id="1"/></w:r><w:r><w:endnoteReference w:id="7"/></w:r>'
        '<w:r><w:commentReference w:id="3"/></w:r></w:p>'
    )
    lines, missing = read(
        body,
        relations=[("f", "footnotes", "f.xml"), ("e", "endnotes", "e.xml")],
        parts={
            "f.xml": part("footnotes", notes),
            "e.xml": part("endnotes", f'<w:endnote w:id="7">{p("at sea")}</w:endnote>'),
        },
    )
    assert lines == ["Welder", "of 2020", "at sea"]
    assert missing == ["1 comments are left out: they are remarks on the text"]


def test_changes_that_are_tracked_are_read_as_they_end(read):
    def run(text):
        return f"<w:r><w:t>{text}</w:t></w:r>"

    body = (
        f"<w:p><w:del><w:r><w:delText>cook</w:delText></w:r></w:del><w:ins>{run('welder')}</w:ins></w:p>"
        f"<w:p><w:moveFrom>{run('Leeds')}</w:moveFrom></w:p><w:p><w:moveTo>{run('Leeds')}</w:moveTo></w:p>"
        f"<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{run('kept')}</w:p>"
    )
    assert read(body) == (["welder", "Leeds", "kept"], [])


def test_fields_show_their_results_and_forms_their_values(read):
    def mark(kind, inner=""):
        return f'<w:r><w:fldChar w:fldCharType="{kind}">{inner}</w:fldChar></w:r>'

    entries = '<w:listEntry w:val="day"/><w:listEntry w:val="night"/>'
    nested = (
        f"{mark('begin')}<w:r><w:instrText>IF </w:instrText></w:r>{mark('begin')}{mark('separate')}<w:r><w:t>"
        f"unseen</w:t></w:r>{mark('end')}{mark('separate')}<w:r><w:t>seen</w:t></w:r>{mark('end')}"
    )
    body = (
        f'<w:p><w:fldSimple w:instr="AUTHOR"><w:r><w:t>Ada</w:t></w:r></w:fldSimple></w:p><w:p>{nested}</w:p><w:p>'
        + mark("begin", f'<w:ffData><w:ddList><w:result w:val="1"/>{entries}</w:ddList></w:ffData>')
        + f"{mark('separate')}{mark('end')}</w:p><w:p>"
        + mark(
            "begin",
            '<w:ffData><w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox></w:ffData>',
        )
        + f"{mark('end')}<w:r><w:t>licence</w:t></w:r></w:p>"
    )
    assert read(body)[0] == ["Ada", "seen", "night", "[x] licence"]
    assert read(f"<w:p>{mark('begin')}</w:p>{p('after a field that never ends')}")[0] == [
        "after a field that never ends"
    ]


def test_placeholders_are_no_content_and_symbols_are_characters(read):
    control = "<w:sdt><w:sdtPr>{}</w:sdtPr><w:sdtContent>" + p("{}") + "</w:sdtContent></w:sdt>"
    body = (
        control.format("<w:showingPlcHdr/>", "Click here to enter text.")
        + control.format('<w:showingPlcHdr w:val="0"/>', "Leeds")
        + '<w:p><w:r><w:sym w:font="Wingdings" w:char="F0FC"/><w:t> licence </w:t>'
        '<w:sym w:font="Symbol" w:char="F061"/><w:sym w:font="Webdings" w:char="00E9"/></w:r></w:p>'
    )
    assert read(body)[0] == ["Leeds", "✓ licence αé"]


def test_diagrams_charts_word_art_and_formulas_are_read(read):
    def drawing(inner):
        return (
            f"<w:p><w:r><w:drawing><wp:inline><a:graphic><a:graphicData>{inner}</a:graphicData></a:graphic>"
            "</wp:inline></w:drawing></w:r></w:p>"
        )

    body = (
        drawing('<dgm:relIds r:dm="d"/>')
        + drawing('<c:chart r:id="c"/>')
        + '<w:p><w:r><w:pict><v:shape><v:textpath string="Ada Example"/></v:shape></w:pict></w:r></w:p>'
        + "<w:p><m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath></w:p>"
    )
    diagram = f"<dgm:dataModel {SPACES}><a:p><a:r><a:t>Triage</a:t></a:r></a:p></dgm:dataModel>"
    chart = (
        f"<c:chartSpace {SPACES}><a:p><a:r><a:t>Skills</a:t></a:r></a:p><c:strCache><c:pt><c:v>Python</c:v></c:pt>"
        "<c:pt><c:v>SQL</c:v></c:pt></c:strCache></c:chartSpace>"
    )
    lines, missing = read(
        body,
        relations=[("d", "diagramData", "d.xml"), ("c", "chart", "c.xml")],
        parts={"d.xml": diagram, "c.xml": chart},
    )
    assert lines == ["Triage", "Skills", "Python SQL", "Ada Example", "E=mc"] and missing == []


def test_embedded_texts_are_read_where_they_stand_or_told_of(read, tmp_path):
    inner = write_word(tmp_path / "inner.docx", p("of an inner file")).read_bytes()
    mail = (
        b"MIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html\n\n"
        b"<p>of a saved page</p>\n--x--\n"
    )
    parts = {
        "a.html": "<html><body><p>Nurse &amp; <b>cook</b></p></body></html>",
        "b.docx": inner,
        "c.rtf": r"{\rtf1 lost}",
        "d.mht": mail,
        "e.txt": "plain <name@example.com>",
    }
    relations = [(name[0], "aFChunk", name) for name in parts] + [("z", "aFChunk", "NULL")]
    chunks = "".join(f'<w:altChunk r:id="{name}"/>' for name in "abcdez")
    lines, missing = read(p("Welder") + chunks + p("Leeds"), relations=relations, parts=parts)
    assert lines == [
        "Welder",
        "Nurse & cook",
        "of an inner file",
        "of a saved page",
        "plain <name@example.com>",
        "Leeds",
    ]
    assert missing == [
        "the embedded RTF text word/c.rtf is not read; open the file in Word and save it again"
    ]


@pytest.mark.parametrize("target", ["NULL", "#bookmark", "../NULL", "media/gone.png"])
def test_relations_to_nothing_do_no_harm(read, target):
    assert read(p("Welder"), relations=[("r1", "image", target), ("r2", "header", target)]) == (
        ["Welder"],
        [],
    )


def test_the_strict_form_and_files_of_macros_and_templates_are_read(tmp_path):
    path = write_word(tmp_path / "a.docx", p("Welder"))
    with zipfile.ZipFile(path) as archive:
        document = archive.read("word/document.xml").decode().replace(W, STRICT)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", document)
    assert read_word(path).text == "Welder"
    for ending in (".docm", ".dotx", ".dotm"):
        write_word(tmp_path / f"b{ending}", p("Nurse"))
    assert len(read_documents(tmp_path, "resumes").tables["resumes"]) == 4


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "encrypted, or of Word before 2007"),
        (rb"{\rtf1 x}", "not a DOCX but RTF"),
        (b"PK rubbish", "not a DOCX"),
        (b"", "not a DOCX"),
    ],
)
def test_other_files_that_are_called_docx_are_named(tmp_path, content, reason):
    (tmp_path / "a.docx").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_word(tmp_path / "a.docx")


STYLES = (
    '<w:style w:type="character" w:styleId="Base"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Below"><w:basedOn w:val="Base"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="White"><w:rPr><w:color w:val="FFFFFF"/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Circle"><w:basedOn w:val="Circle"/></w:style>'
)


@pytest.mark.parametrize(
    "run, paragraph",
    [
        ("<w:vanish/>", ""),
        ('<w:color w:val="FFFFFF"/>', ""),
        ('<w:color w:val="FEFEFE"/>', ""),
        ('<w:sz w:val="2"/>', ""),
        ('<w:rStyle w:val="Below"/>', ""),
        ("", '<w:pStyle w:val="White"/>'),
    ],
)
def test_text_that_no_reader_sees_is_left_out_and_counted(read, run, paragraph):
    lines, missing = read(
        p("Welder") + p("python", run, paragraph),
        relations=[("s", "styles", "s.xml")],
        parts={"s.xml": part("styles", STYLES)},
    )
    assert lines == ["Welder"] and missing[0].startswith("6 hidden characters are left out")


WHITE = '<w:color w:val="FFFFFF"/>'


@pytest.mark.parametrize(
    "body",
    [
        p("python", '<w:vanish w:val="0"/>'),
        p("python", '<w:rStyle w:val="Circle"/>'),
        p("python", WHITE + '<w:shd w:val="clear" w:fill="000000"/>'),
        p("python", WHITE + '<w:highlight w:val="black"/>'),
        p("python", WHITE, '<w:shd w:val="clear" w:fill="336699"/>'),
        p("python", '<w:color w:val="C0C0C0"/>'),
        f'<w:tbl><w:tr><w:tc><w:tcPr><w:shd w:fill="336699"/></w:tcPr>{p("python", WHITE)}</w:tc></w:tr></w:tbl>',
        f"<w:p><w:r><w:txbxContent>{p('python', WHITE)}</w:txbxContent></w:r></w:p>",
    ],
)
def test_text_that_a_reader_sees_is_read(read, body):
    assert read(
        body, relations=[("s", "styles", "s.xml")], parts={"s.xml": part("styles", STYLES)}
    ) == (["python"], [])


def test_a_picture_of_a_page_is_no_text(read):
    picture = (
        '<w:p><w:r><w:drawing><wp:inline><wp:extent cx="7000000" cy="9800000"/><a:blip r:embed="i"/></wp:inline>'
        "</w:drawing></w:r></w:p>"
    )
    with pytest.raises(DataError, match="only a picture of a page; run OCR"):
        read(picture + p("Scanned with AnyScanner"))
    _, missing = read(picture + p("Senior welder in Leeds. " * 9))
    assert missing == [
        "a picture as large as half a page or more is not read; if it shows text, run OCR on it"
    ]
    assert read(picture.replace("7000000", "70000") + p("Welder"))[1] == []


def test_what_is_embedded_is_told_of(read):
    _, missing = read(
        f'{p("Welder")}<w:p><w:r><w:object><w:OLEObject r:id="x"/></w:object></w:r></w:p>'
    )
    assert missing == ["1 embedded objects (a table, a PDF) are not read; paste their text"]


def test_damaged_xml_is_read_up_to_the_fault_and_told_of(tmp_path):
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "word/document.xml", f"<w:document {SPACES}><w:body>{p('Welder')}<w:p><w:r><w:t>Nu"
        )
    found = read_word(path)
    assert found.text.split("\n")[0] == "Welder" and "is damaged" in found.missing[0]


def test_hostile_files_end(tmp_path, monkeypatch):
    started = time.monotonic()
    with pytest.raises(DataError):  # entities within entities
        path = tmp_path / "a.docx"
        laugh = (
            "<!DOCTYPE w [<!ENTITY a 'ha'>"
            + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9))
            + "]><w>&j;</w>"
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", laugh)
        read_word(path)
    itself = write_word(
        tmp_path / "b.docx",
        p("x") + '<w:altChunk r:id="a"/>' * 50,
        relations=[("a", "aFChunk", "document.xml")],
    )
    assert "x" in read_word(itself).text
    monkeypatch.setattr(word, "MAX_UNPACKED", 100_000)
    with pytest.raises(DataError, match="more than 100,000"):
        read_word(write_word(tmp_path / "c.docx", p("x" * 200_000)))
    assert time.monotonic() - started < 10
