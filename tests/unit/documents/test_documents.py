"""Documents: what is read from each type, what is left out and why, what a document is called."""

import os
import unicodedata
import zipfile
import zlib

import pandas as pd
import pytest
from docx import Document
from docx.oxml import parse_xml
from pypdf import PdfWriter

from matchlib.data.schema import DataError
from matchlib.documents import read as documents
from matchlib.documents import word
from matchlib.documents.read import read_documents


def write_pdf(path, text, *, encrypt=False):
    """The least PDF that shows one line of text (or, without text, an empty page)."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() if text else b""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    path.write_bytes(
        body
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)
    )
    if encrypt:
        from pypdf import PdfWriter

        writer = PdfWriter(clone_from=path)
        writer.encrypt("secret", algorithm="RC4-128")
        writer.write(path)


def write_docx(path, *paragraphs, cells=()):
    document = Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if cells:
        row = document.add_table(rows=1, cols=len(cells)).rows[0]
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.save(path)


def reasons(reading):
    return {
        row.file.rsplit("/", 1)[1] + row.line: row.reason for row in reading.left_out.itertuples()
    }


def test_every_type_is_read(tmp_path):
    write_pdf(tmp_path / "a.pdf", "Welder in Leeds")
    write_docx(tmp_path / "b.docx", "Nurse", cells=("Skills", "Triage"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c d.TXT").write_text("<b>Cook</b> & =1+1\n")
    (tmp_path / "e.md").write_text("# Baker\n")
    (tmp_path / "t.csv").write_text("id,text,city\n007,Pilot,Hull\n")
    pd.DataFrame({"resume_id": ["x"], "text": ["Actor"]}).to_parquet(tmp_path / "u.parquet")
    (tmp_path / "v.jsonl").write_text('{"resume_id": "y", "text": "Poet"}\n')
    reading = read_documents(tmp_path, "resumes")
    table = reading.tables["resumes"].set_index("resume_id")
    assert table["text"].str.strip().to_dict() == {
        "a": "Welder in Leeds",
        "b": "Nurse\nSkills\nTriage",
        "below/c_d": "Cook & =1+1",
        "e": "# Baker",
        "007": "Pilot",
        "x": "Actor",
        "y": "Poet",
    }
    assert table["city"].to_dict() == {"007": "Hull"} | dict.fromkeys(
        ("a", "b", "below/c_d", "e", "x", "y"), ""
    )
    assert reading.left_out.empty


@pytest.mark.parametrize("cipher", ["RC4-128", "AES-128", "AES-256"])
def test_a_pdf_that_only_forbids_printing_is_read(tmp_path, cipher):
    for name, password in (("printing", ""), ("opening", "secret")):
        write_pdf(tmp_path / f"{name}.pdf", "Welder in Leeds")
        writer = PdfWriter(clone_from=tmp_path / f"{name}.pdf")
        writer.encrypt(user_password=password, owner_password="owner", algorithm=cipher)
        writer.write(tmp_path / f"{name}.pdf")
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["text"].str.strip().tolist() == ["Welder in Leeds"]
    assert reasons(reading)["opening.pdf"].endswith("encrypted; save it without a password")


def test_bad_files_are_listed_and_the_others_read(tmp_path):
    (tmp_path / "good.txt").write_text("Welder")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 rubbish")
    (tmp_path / "zip.docx").write_bytes(b"PK rubbish")
    write_pdf(tmp_path / "blank.pdf", "")
    write_pdf(tmp_path / "locked.pdf", "Welder", encrypt=True)
    write_docx(tmp_path / "blank.docx")
    (tmp_path / "latin.txt").write_bytes("Café".encode("latin-1"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "~$lock.docx").write_bytes(b"\0")
    (tmp_path / "t.csv").write_text("id,text\n1,\n,Cook\ngood,Cook\n")
    (tmp_path / "u.csv").write_text("id,body\n1,Cook\n")
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["good"]
    said = reasons(reading)
    expected = {
        "broken.pdf": "not a PDF",
        "zip.docx": "not a DOCX",
        "blank.pdf": "its pages are blank",
        "locked.pdf": "encrypted",
        "blank.docx": "no text",
        "latin.txt1": "0xe9 is not utf-8",
        "photo.jpg": "ending '.jpg'",
        "gone.txt": "link to nowhere",
        "t.csv2": "no text",
        "t.csv3": "no id",
        "t.csv4": "id is taken",
        "u.csv": "the whole file: no column 'text'; it has 'id', 'body'",
    }
    assert set(said) == set(expected)
    assert {name: part for name, part in expected.items() if part not in said[name]} == {}
    assert reading.files["left out"].sum() == len(expected)


def test_a_spoiled_row_does_not_spoil_its_table(tmp_path):
    (tmp_path / "t.csv").write_text("id,text\n1,Cook\n2,Nurse, too\n3,Welder\n")
    (tmp_path / "u.jsonl").write_text(
        '{"id": "4", "text": "Pilot"}\n{"id": "5", \n[6]\n{"id": "7", "text": "Poet"}\n'
    )
    (tmp_path / "v.csv").write_text(
        'id,text\n8,"Baker\n9,Actor\n'
    )  # nobody knows where the quote ends
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["1", "3", "4", "7"]
    said = reasons(reading)
    assert set(said) == {"t.csv3", "u.jsonl2", "u.jsonl3", "v.csv2"}
    assert (
        "3 fields where the heading has 2" in said["t.csv3"]
        and "an object is due" in said["u.jsonl3"]
    )
    assert said["v.csv2"].startswith("the whole file: broken row")
    assert reading.files.set_index("file")["rows"].tolist() == [3, 4, 1]


def test_nothing_of_a_word_file_is_lost(tmp_path):
    document = Document()
    document.sections[0].header.paragraphs[0].text = "Ada Example, Leeds"
    document.add_paragraph("Nurse")
    outer = document.add_table(1, 1).cell(0, 0)
    outer.text = "Skills"
    outer.add_table(1, 1).cell(0, 0).text = "Triage"
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document.element.body.insert(
        1,
        parse_xml(
            f"<w:sdt {word}><w:sdtContent><w:p><w:r><w:t>Ward</w:t><w:tab/><w:t>manager</w:t></w:r></w:p></w:sdtContent>"
            "</w:sdt>"
        ),
    )
    box = (
        f'<w:p {word} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:r><w:t>About</w:t>'
        "{}</w:r></w:p>"
    )
    inner = "<w:txbxContent><w:p><w:r><w:t>Kind</w:t></w:r></w:p></w:txbxContent>"
    document.element.body.insert(
        2,
        parse_xml(
            box.format(
                f"<mc:AlternateContent><mc:Choice Requires='wps'>{inner}</mc:Choice><mc:Fallback>{inner}</mc:Fallback>"
                "</mc:AlternateContent>"
            )
        ),
    )
    document.save(tmp_path / "a.docx")
    text = read_documents(tmp_path, "resumes").tables["resumes"]["text"][0]
    assert [line for line in text.split("\n") if line] == [
        "Ada Example, Leeds",
        "Nurse",
        "Ward\tmanager",
        "About",
        "Kind",
        "Skills",
        "Triage",
    ]


def test_a_file_that_may_not_be_opened_is_listed(tmp_path, monkeypatch):
    (tmp_path / "good.txt").write_text("Welder")
    (tmp_path / "secret.txt").write_text("Cook")
    read_text = documents.read_text

    def refuse(path, **options):
        if path.name == "secret.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, **options)

    monkeypatch.setattr(documents, "read_text", refuse)
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["good"]
    assert "Permission denied" in reasons(reading)["secret.txt"]


def test_another_encoding_is_tried_only_where_it_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("Café".encode("cp1252"))
    (tmp_path / "b.txt").write_text("Café", encoding="utf-8")
    assert read_documents(tmp_path, "jobs").tables["jobs"]["job_id"].tolist() == ["b"]
    assert (
        read_documents(tmp_path, "jobs", encoding="cp1252").tables["jobs"]["text"].tolist()
        == ["Café"] * 2
    )


def test_files_that_differ_in_the_ending_alone_keep_it(tmp_path):
    for name in ("cv.txt", "cv.md", "other.txt", "a b.txt", "a_b.txt"):
        (tmp_path / name).write_text(name)
    reading = read_documents(tmp_path, "resumes")
    assert set(reading.tables["resumes"]["resume_id"]) >= {"cv.txt", "cv.md", "other"}
    assert reading.tables["resumes"]["resume_id"].is_unique
    assert list(reasons(reading).values()) == [
        "its id is taken by an earlier document, which is kept; rename one of them"
    ]


def test_what_is_too_large_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setitem(documents.MAX_BYTES, ".txt", 10)
    monkeypatch.setattr(word, "MAX_UNPACKED", 100_000)
    (tmp_path / "good.md").write_text("Welder")
    (tmp_path / "long.txt").write_text("x" * 11)
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zlib.DEFLATED) as archive:
        archive.writestr("word/document.xml", "0" * 1_000_000)
    assert (tmp_path / "bomb.docx").stat().st_size < 10_000
    said = reasons(read_documents(tmp_path, "resumes"))
    assert "more than the 10" in said["long.txt"]
    assert "unpacked, more than 100,000" in said["bomb.docx"]


def test_columns_may_be_named(tmp_path):
    (tmp_path / "jobs.tsv").write_text("nr\ttitle\tbody\n7\tCook\tSoups\n")
    columns = {"job_id": "nr", "text": ["title", "body"]}
    table = read_documents(tmp_path / "jobs.tsv", "jobs", columns=columns).tables["jobs"]
    assert table.loc[0, ["job_id", "text"]].tolist() == ["7", "## title\nCook\n## body\nSoups"]
    with pytest.raises(DataError, match="protected column"):
        read_documents(tmp_path / "jobs.tsv", "jobs", columns={"text": ["title", "gender"]})


def test_nothing_to_read_is_an_error_that_says_why(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read_documents(tmp_path / "none", "jobs")
    with pytest.raises(DataError, match="no file in this folder; put the jobs there"):
        read_documents(tmp_path, "jobs")
    table = tmp_path / "jobs.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="none of its 1 files could be read as jobs.*no column"):
        read_documents(tmp_path, "jobs")
    with pytest.raises(DataError) as problem:
        read_documents(table, "jobs")
    assert str(problem.value) == (
        f"{table}: no column 'job_id'; it has 'a', 'b'; rename it, or name it by --job-id"
    )
    table.write_text("job_id,text\n1,\n")
    with pytest.raises(DataError, match="jobs.csv, line 2: no text"):
        read_documents(table, "jobs")


def write_pdf_with_map(path, target):
    """A PDF whose font says that every "A" is `target` (UTF-16 in hexadecimal)."""
    cmap = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00><FF> "
        b"endcodespacerange 1 beginbfchar <41> <%s> endbfchar endcmap end end" % target.encode()
    )
    content = b"BT /F1 12 Tf 72 720 Td (BAAB) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(cmap), cmap),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    path.write_bytes(
        body
        + b"xref\n0 7\n0000000000 65535 f \n"
        + table
        + b"trailer<</Size 7/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)
    )


def test_half_a_character_and_a_name_that_is_no_text_are_listed_and_the_others_read(tmp_path):
    (tmp_path / "good.txt").write_text("Welder")
    write_pdf_with_map(tmp_path / "half.pdf", "D835")
    (tmp_path / os.fsdecode(b"Jos\xe9.txt")).write_text("Cook")
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"caf\xe9") / "below.txt").write_text("Cook")
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text(
        "id,text\n7,Pilot\n"
    )  # its rows have ids of their own
    (tmp_path / os.fsdecode(b"\xfe.pdf")).write_bytes(b"%PDF")
    pd.DataFrame({"resume_id": ["a", "b"], "text": [b"Caf\xe9", b"Poet"]}).to_parquet(
        tmp_path / "t.parquet"
    )
    reading = read_documents(tmp_path, "resumes")
    assert set(reading.tables["resumes"]["resume_id"]) == {"good", "7", "b", "half"}
    said = reasons(reading)
    assert set(said) == {"Jos\\xe9.txt", "below.txt", "\\xfe.pdf", "t.parquet1"}
    lost = reading.missing.set_index("file")["reason"]
    assert "page 1: 2 characters are halves of a surrogate pair" in lost[str(tmp_path / "half.pdf")]
    assert "rename the file" in said["Jos\\xe9.txt"]
    for frame in (reading.left_out, reading.files, reading.tables["resumes"]):
        frame.to_csv(tmp_path / "out.csv")  # everything that is told can be written


def test_a_folder_that_is_not_utf8_may_be_read_from_within(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "good.txt").write_text("Welder")
    reading = read_documents(folder, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["good"]
    assert "caf\\xe9" in reading.notes[0]


def test_ids_and_texts_of_files_are_composed(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "José.txt")).write_text(
        unicodedata.normalize("NFD", "in Zürich")
    )
    table = read_documents(tmp_path, "resumes").tables["resumes"]
    assert table[["resume_id", "text"]].to_numpy().tolist() == [["José", "in Zürich"]]


@pytest.mark.parametrize("text", ["\u200b\u2060", "\u3164\u115f", ". . . .\n___", "\u00ad \ufeff"])
def test_a_text_that_shows_no_word_is_left_out(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "good.txt").write_text("Welder")
    assert (
        reasons(read_documents(tmp_path, "resumes"))["a.txt"]
        == "no text, not one letter or digit; fill it or leave it out"
    )


def test_folders_that_are_not_entered_are_listed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "good.txt").write_text("Welder")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / ".hidden").mkdir()
    reading = read_documents(tmp_path, "resumes")
    assert reading.tables["resumes"]["resume_id"].tolist() == ["real/good"]
    assert {
        name: "copy the folder here" in reason for name, reason in reasons(reading).items()
    } == {"link": True, "loop": True}
