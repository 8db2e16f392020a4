"""PDF pages: what a reader of them sees is read once, and what is not read is told by page."""

import contextlib
import time
import zlib

import pytest

from matchlib.data.schema import DataError
from matchlib.documents.pdf import read_pdf
from matchlib.documents.pdf_fonts import looks_like_text
from matchlib.documents.read import read_documents

HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
FULL_PICTURE = "q 612 0 0 792 0 0 cm /Im Do Q\n"
LETTER = "Senior welder in Leeds, twelve years with pressure vessels, pipes and frames; certified for stainless steel."


def line(text, x=72, y=720, size=12, font="F1"):
    return f"BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET\n"


def write_pdf(path, *pages, fonts="", page="", extra=(), catalog=""):
    """A PDF of pages given by their operators. fonts: more entries of the font resource; page: more entries of each
    page; extra: objects from number 20 on, each its dictionary, or dictionary and stream; catalog: more entries."""
    objects = {
        1: f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
        3: HELVETICA,
        4: ("<</Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8>>", b"\0"),
    }
    for number, item in enumerate(extra, start=20):
        objects[number] = item
    kids = []
    for number, content in enumerate(pages):
        objects[100 + 2 * number] = (
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]"
            f"/Contents {101 + 2 * number} 0 R/Resources<</Font<</F1 3 0 R{fonts}>>"
            f"/XObject<</Im 4 0 R/Fm 20 0 R>>/ExtGState<</Clear<</ca 0>>>>"
            f"/Properties<</Off 20 0 R>>>>{page}>>"
        )
        data = content if isinstance(content, bytes) else content.encode("latin-1")
        objects[101 + 2 * number] = ("<<>>", data)
        kids.append(f"{100 + 2 * number} 0 R")
    objects[2] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    body = b"%PDF-1.7\n"
    places = {}
    for number, item in sorted(objects.items()):
        places[number] = len(body)
        if isinstance(item, tuple):
            dictionary, stream = item
            head = (
                dictionary.replace(">>", f"/Length {len(stream)}>>")
                if dictionary == "<<>>"
                else (f"{dictionary[:-2]}/Length {len(stream)}>>")
            )
            item = head.encode() + b"stream\n" + stream + b"\nendstream"
        else:
            item = item.encode("latin-1")
        body += b"%d 0 obj%s\nendobj\n" % (number, item)
    size = max(objects) + 1
    table = b"".join(
        b"%010d 00000 n \n" % places[n] if n in places else b"0000000000 65535 f \n"
        for n in range(size)
    )
    path.write_bytes(
        body
        + b"xref\n0 %d\n" % size
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(body))
    )
    return path


@pytest.fixture
def read(tmp_path):
    """read(*pages, ...) -> (text, what is missing) of a PDF that is written so."""

    def read(*pages, **parts):
        found = read_pdf(write_pdf(tmp_path / "cv.pdf", *pages, **parts))
        return found.text, found.missing

    return read


# ---- pages without usable text --------------------------------------------------------------------------


def test_scanned_pages_are_named_and_their_footers_are_no_text(read):
    scan = FULL_PICTURE + line("Scanned with AnyScanner", y=20)
    strips = "".join(
        f"q 612 0 0 99 0 {99 * n} cm /Im Do Q " for n in range(8)
    )  # as fax programs cut a page
    inline = "q 612 0 0 792 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \0 EI Q"
    text, missing = read(line(LETTER), scan, line("Page three"), strips, inline)
    assert text.split("\n") == [LETTER, "Page three"]
    assert missing == ["pages 2, 4-5: no usable text, only a picture of it; run OCR on the file"]


def test_a_file_of_scanned_pages_alone_is_left_out(tmp_path):
    write_pdf(
        tmp_path / "scan.pdf", FULL_PICTURE + line("Scanned with AnyScanner", y=20), FULL_PICTURE
    )
    (tmp_path / "good.txt").write_text("Welder")
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["good"]
    assert reading.left_out["reason"].tolist() == [
        "pages 1-2: no usable text, only a picture of it; run OCR on the file"
    ]


def test_what_is_read_in_part_is_used_and_told_of(tmp_path):
    write_pdf(tmp_path / "cv.pdf", line(LETTER), FULL_PICTURE)
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["text"].tolist() == [LETTER]
    assert reading.left_out.empty
    assert reading.missing["reason"].tolist() == [
        "page 2: no usable text, only a picture of it; run OCR on the file"
    ]


def test_a_picture_behind_a_page_of_text_is_a_decoration(read):
    text, missing = read(FULL_PICTURE + line(LETTER) + line(LETTER, y=700))
    assert (text, missing) == (f"{LETTER}\n{LETTER}", [])


def test_the_text_that_ocr_laid_over_a_scan_is_the_text(read):
    ocr = (
        FULL_PICTURE
        + "BT 3 Tr /F1 12 Tf 72 720 Td (Senior welder) Tj ET"
        + line("Scanned with AnyScanner", y=20)
    )
    text, missing = read(ocr)
    assert text.split("\n") == ["Senior welder", "Scanned with AnyScanner"] and missing == []


def test_letters_that_are_drawn_as_curves_are_told_of(read):
    curves = "0 0 m " + "1 1 2 2 3 3 c " * 2_000 + "f " + line("1", y=20)
    _, missing = read(line(LETTER), curves)
    assert missing == [
        "page 2: no usable text: its letters are drawn as curves; run OCR on the file"
    ]


@pytest.mark.parametrize("signs", [". . . . . .", "___ ... ---", r"\267 \267"])
def test_a_page_of_dots_is_told_of(read, signs):
    text, missing = read(line(LETTER), line(signs))
    assert (
        missing == ["page 2: no usable text: not one letter or digit of it is seen"]
        and text == LETTER
    )


def test_a_blank_page_is_no_loss(read):
    assert read(line(LETTER), "") == (LETTER, [])


def test_a_damaged_page_does_not_spoil_the_others(read):
    bad = ("<</Filter/FlateDecode>>", b"no deflated data")
    text, missing = read(line(LETTER), extra=[bad], page="/Nothing 20 0 R")
    assert (text, missing) == (LETTER, [])


# ---- fonts ----------------------------------------------------------------------------------------------

COMPOSITE = (
    "<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[<</Type/Font/Subtype"
    "/CIDFontType2/BaseFont/X/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>]{}>>"
)
SHIFTED = "BT /F2 12 Tf 72 700 Td <003600480051004C00520055> Tj ET "  # "Senior" by glyph numbers: "6HQLRU"


@pytest.mark.parametrize(
    "codes, font",
    [
        ("003600480051004C00520055", COMPOSITE.format("")),
        ("00360003005100030052", COMPOSITE.format("/ToUnicode/Identity-H")),
        (
            "0001020304",
            "<</Type/Font/Subtype/Type1/BaseFont/X/Encoding<</Differences[0/g12/g13/G01/C34/glyph7]>>>>",
        ),
        (
            "0001020304",
            "<</Type/Font/Subtype/Type3/FontMatrix[.001 0 0 .001 0 0]/FontBBox[0 0 9 9]/FirstChar 0"
            "/LastChar 1/Widths[9 9]/CharProcs<</a0 20 0 R/zz 20 0 R>>/Encoding<</Differences[0/a0/zz/a0/zz/a0]>>>>",
        ),
    ],
)
def test_a_font_that_names_no_letters_gives_none(read, codes, font):
    content = f"BT /F2 12 Tf 72 680 Td <{codes}> Tj ET"
    text, missing = read(
        line(LETTER), content, fonts="/F2 21 0 R", extra=[("<<>>", b"0 0 d0"), font]
    )
    assert text == LETTER
    assert missing == [
        "page 2: no usable text: its fonts do not say which letters they show; print it to a new PDF, "
        "or run OCR on it"
    ]


def test_letters_of_one_unnamed_font_are_counted_and_the_others_read(read):
    text, missing = read(
        line(LETTER) + SHIFTED, fonts="/F2 21 0 R", extra=["<<>>", COMPOSITE.format("")]
    )
    assert text == LETTER + "\n"
    assert missing[0].startswith("page 1: 6 letters that its fonts do not name cannot be read")


def test_names_of_letters_are_read_by_the_rules_of_adobe(read):
    font = "<</Type/Font/Subtype/Type1/BaseFont/X/Encoding<</Differences[65/f_i/uni00E9/A.swash/eacute/u00E8]>>>>"
    text, _ = read(line("ABCDE", font="F2"), fonts="/F2 21 0 R", extra=["<<>>", font])
    assert text == "fiéAéè"


def test_an_unnamed_sign_between_words_is_no_loss(read):
    bullet = "<</Type/Font/Subtype/Type1/BaseFont/X/Encoding<</Differences[65/g12]>>>>"
    content = line("A", x=50, font="F2") + line(LETTER)
    text, missing = read(content, fonts="/F2 21 0 R", extra=["<<>>", bullet])
    assert missing == [] and text.strip().endswith(LETTER)


def test_what_is_said_of_unnamed_letters_is_read(read):
    content = "/Span <</ActualText(Senior)>> BDC " + SHIFTED + " EMC"
    text, missing = read(content, fonts="/F2 21 0 R", extra=["<<>>", COMPOSITE.format("")])
    assert (text, missing) == ("Senior", [])
    seen, _ = read("/Span <</ActualText(Director)>> BDC " + line("Senior") + " EMC")
    assert seen == "Senior"  # what is drawn counts, where it can be read


@pytest.mark.parametrize(
    "sample, is_text",
    [
        ("Senior welder with twelve years in Leeds", True),
        ("6HQLRU\ufffdZHOGHU\ufffdZLWK\ufffdWZHOYH", False),
        ("!\"#$%&' ()*+ ,-./ 0123", False),
        ("старший сварщик из города", True),
    ],
)
def test_guessed_letters_are_taken_for_text_where_they_make_words(sample, is_text):
    assert looks_like_text(sample) == is_text


# ---- forms and notes ------------------------------------------------------------------------------------


def widget(kind, rect, more):
    return f"<</Type/Annot/Subtype/Widget/FT/{kind}/Rect[{rect}]{more}>>"


def test_the_values_of_a_form_stand_by_their_labels(read):
    fields = [
        widget("Tx", "150 715 300 731", "/V(Ada Example)"),
        widget("Ch", "150 695 300 711", "/V(lds)/Opt[[(lds)(Leeds)][(hul)(Hull)]]"),
        widget("Btn", "150 675 160 685", "/AS/Yes"),
        widget("Btn", "170 675 180 685", "/AS/Off"),
        widget("Tx", "150 655 300 671", "/V(secret)/Ff 8192"),
        widget("Tx", "150 635 300 651", "/V(unseen)/F 2"),
        widget("Tx", "400 100 500 116", "/V(elsewhere)"),
        "<</Type/Annot/Subtype/FreeText/Rect[150 600 300 616]/Contents(A remark on the page)>>",
        "<</Type/Annot/Subtype/Text/Rect[10 10 20 20]/Contents(weak candidate)>>",
    ]
    labels = "".join(
        line(text, y=y)
        for text, y in (("Name", 718), ("Town", 698), ("Driver", 678), ("Thanks", 500))
    )
    numbers = " ".join(f"{20 + n} 0 R" for n in range(len(fields)))
    text, missing = read(labels, extra=fields, page=f"/Annots[{numbers}]")
    assert text.split("\n") == [
        "Name\tAda Example",
        "Town\tLeeds",
        "Driver\t[x]",
        "Thanks",
        "A remark on the page",
        "elsewhere",
    ]
    assert missing == ["1 comments are left out: they are remarks on the text"]


def test_a_form_of_another_program_and_attached_files_are_told_of(read):
    xfa = "/AcroForm<</XFA(x)/Fields[]>>/Names<</EmbeddedFiles<<>>>>"
    _, missing = read(
        line("Please wait... If this message is not eventually replaced"), catalog=xfa
    )
    assert [told.split(",")[0] for told in missing] == ["an XFA form", "files are attached to it"]


# ---- hidden text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stuffing, why",
    [
        (f"1 g {line('python', y=600)} 0 g ", "in the colour of the page"),
        (f"0 0 0 0 k {line('python', y=600)} 0 g", "in the colour of the page"),
        (f"0 g 50 580 500 60 re f {line('python', y=600)}", "in the colour of the page"),
        (line("python", y=600, size=1), "too small"),
        (f"q .05 0 0 .05 0 0 cm {line('python', y=9000)} Q", "too small"),
        ("BT 3 Tr /F1 12 Tf 72 600 Td (python) Tj ET", "without a colour"),
        (line("python", x=5000), "off the page"),
        (line("python", y=-50), "off the page"),
        (f"/Clear gs {line('python', y=600)}", "transparent"),
        (f"q 0 0 10 10 re W n {line('python', y=600)} Q", "cut away"),
        (f"{line('python', y=600)} 1 g 50 580 500 60 re f", "covered"),
    ],
)
def test_text_that_no_reader_sees_is_left_out_and_counted(read, stuffing, why):
    text, missing = read(line(LETTER) + stuffing)
    assert text == LETTER
    assert missing == [
        f"page 1: 6 hidden characters are left out ({why}): a reader does not see them"
    ]


@pytest.mark.parametrize(
    "seen",
    [
        f"0 g 50 580 500 60 re f 1 g {line('python', y=600)}",
        f"{FULL_PICTURE} 1 g {line('python', y=600)}",
        f"0 g 50 580 m 300 700 l 550 580 l 50 500 l f 1 g {line('python', y=600)}",
        f".9 g 50 580 500 60 re f 0 g {line('python', y=600)}",
        f"0 g 50 597 500 .5 re f {line('python', y=600)}",
        f"q 60 590 200 30 re W n {line('python', y=600)} Q",
        f"1 g 50 580 500 60 re f 0 g {line('python', y=600)}",
        "BT 1 Tr /F1 12 Tf 72 600 Td (python) Tj ET",
    ],
)
def test_text_that_a_reader_sees_is_read(read, seen):
    text, missing = read(line(LETTER) + line(LETTER, y=700) + seen)
    assert text.split("\n")[-1] == "python" and missing == []


def test_a_layer_that_is_off_is_not_read(read):
    layers = "/OCProperties<</OCGs[20 0 R]/D<</OFF[20 0 R]>>>>"
    content = (
        line(LETTER) + "/OC /Off BDC " + line("python", y=600) + " EMC " + line("Leeds", y=500)
    )
    text, missing = read(content, extra=["<</Type/OCG/Name(x)>>"], catalog=layers)
    assert text.split("\n") == [LETTER, "Leeds"] and "in a layer that is off" in missing[0]


# ---- order ----------------------------------------------------------------------------------------------

LEFT = [
    "Led a team of welders in a yard",
    "that built frames for bridges",
    "and pressure vessels for ships",
    "with a share of rework of two",
    "per cent over six long years",
    "in the north of the country",
]
RIGHT = [
    "Trained apprentices in the use",
    "of robots and of hand tools alike",
    "wrote the rules for the workshop",
    "and kept the records of all tests",
    "that customers asked to see later",
    "when they came to visit us",
]


def test_two_columns_drawn_row_by_row_are_read_one_after_the_other(read):
    rows = "".join(
        line(a, x=50, y=700 - 15 * n, size=10) + line(b, x=320, y=700 - 15 * n, size=10)
        for n, (a, b) in enumerate(zip(LEFT, RIGHT, strict=True))
    )
    text, _ = read(
        line("Experience of Ada Example, welder, who lives in Leeds and in Hull", y=760, size=16)
        + rows
    )
    assert text.split("\n")[1:] == LEFT + RIGHT


def test_rows_of_a_table_stay_rows(read):
    rows = [
        ("2019-2021", "Senior welder at Example Ltd in Leeds"),
        ("2015-2019", "Welder at Sample and Sons in Hull"),
    ] * 4
    content = "".join(
        line(a, x=50, y=700 - 15 * n, size=10) + line(b, x=320, y=700 - 15 * n, size=10)
        for n, (a, b) in enumerate(rows)
    )
    text, _ = read(content)
    assert text.split("\n") == [f"{a}\t{b}" for a, b in rows]


def test_words_and_lines_are_parted_by_where_letters_stand(read):
    content = (
        "BT /F1 12 Tf 72 700 Td [(Sen) 20 (ior) -300 (welder)] TJ 0 -14 Td (Leeds) Tj ET "
        "BT /F1 12 Tf 72 660 Td (Sen) Tj 22 0 Td (ior) Tj 25 0 Td (cook) Tj ET"
    )
    text, _ = read(content)
    assert text.split("\n") == ["Senior welder", "Leeds", "Senior cook"]


def test_a_line_drawn_twice_to_look_bold_is_read_once(read):
    assert read(line("Senior welder") + line("Senior welder", x=72.3))[0] == "Senior welder"


def test_accents_over_letters_are_one_character(read):
    text, _ = read(
        "BT /F1 12 Tf 72 700 Td [(Universit\\310) 333 (at, Osnabr\\310) 400 (uck)] TJ ET"
    )
    assert text == "Universität, Osnabrück"
    assert read(line("the grade `a' and \\310 alone"))[0] == "the grade ‘a’ and ¨ alone"


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_pages_are_read_as_they_are_shown(read, turn):
    text, missing = read(
        line(LETTER, x=90, y=400) + line("Leeds", x=90, y=380), page=f"/Rotate {turn}"
    )
    assert (text.split("\n"), missing) == ([LETTER, "Leeds"], [])


def test_what_lies_outside_the_visible_part_of_a_page_is_not_read(read):
    text, missing = read(line(LETTER, y=300) + line("python", y=700), page="/CropBox[0 0 612 400]")
    assert text == LETTER and "off the page" in missing[0]


def test_text_of_forms_is_read_where_they_are_drawn(read):
    form = (
        "<</Subtype/Form/BBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>>>",
        line("Leeds", y=650).encode(),
    )
    text, _ = read(line("Senior welder") + "/Fm Do " + line("Hull", y=600), extra=[form])
    assert text == "Senior welder\nLeeds\nHull"


# ---- hostile files --------------------------------------------------------------------------------------


def test_forms_that_draw_each_other_end(read):
    loop = (
        "<</Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</Fm 20 0 R>>>>>>",
        b"/Fm Do /Fm Do /Fm Do",
    )
    started = time.monotonic()
    text, missing = read(line(LETTER), "/Fm Do", extra=[loop])
    assert text == LETTER and "too much drawing" in missing[0]
    assert time.monotonic() - started < 20


def test_pages_with_too_much_drawing_are_told_of_and_the_others_read(read, monkeypatch):
    monkeypatch.setattr("matchlib.documents.pdf_page.MAX_CONTENT", 2_000)
    text, missing = read(line(LETTER), "0 0 m 1 1 l S " * 1_000)
    assert text == LETTER and missing == ["page 2: too much drawing to read; print it to a new PDF"]


def test_a_bomb_is_told_of(tmp_path):
    bomb = zlib.compress(b"0 0 m " * 10_000_000)
    path = write_pdf(tmp_path / "bomb.pdf", line("x"), extra=[("<</Filter/FlateDecode>>", bomb)])
    path.write_bytes(path.read_bytes().replace(b"/Contents 101 0 R", b"/Contents  20 0 R"))
    started = time.monotonic()
    with pytest.raises(DataError, match="too much drawing to read"):
        read_pdf(path)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "piece",
    [
        "q ",
        "0 0 612 792 re f ",
        "0 0 9 9 re W n ",
        "BT /F1 9 Tf 9 9 Td (ab) Tj ET ",
        "1 1 l ",
        "/A BMC ",
        "/Im Do ",
    ],
)
def test_time_is_linear_in_the_drawing(tmp_path, piece):
    def seconds(count):
        path = write_pdf(tmp_path / "a.pdf", line("Senior welder in Leeds") + piece * count)
        started = time.process_time()
        with contextlib.suppress(DataError):  # some of these hold no text that is seen
            read_pdf(path)
        return time.process_time() - started

    seconds(10)
    assert seconds(12_000) < 6 * seconds(3_000) + 1
