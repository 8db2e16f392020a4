"""`matchlib edit`: files in, one page out; what cannot be edited is told in a sentence."""

import docx
import pytest
from typer.testing import CliRunner

from matchlib.cli import app
from matchlib.data.schema import DataError
from matchlib.ranking.edit_command import edit_command

JOB = """Required Skills
- AWS
- Kubernetes
- Python
"""


@pytest.fixture
def files(tmp_path):
    document = docx.Document()
    document.add_heading("Skills", 1)
    for skill in ("Excel & <script>alert(1)</script>", "Amazon Web Services"):
        document.add_paragraph(skill, style="List Bullet")
    document.add_heading("Experience", 1)
    document.add_paragraph("Analyst - Norfolk Rail (2018 - 2022), wrote Python")
    document.save(tmp_path / "resume.docx")
    (tmp_path / "job.txt").write_text(JOB, encoding="utf-8")
    return tmp_path


def run(folder, resume="resume.docx", *more):
    paths = ["--job", folder / "job.txt", "--resume", folder / resume, "--out", folder / "e.html"]
    return CliRunner().invoke(app, ["edit", *map(str, paths), *more])


def test_the_page_shows_changes_evidence_and_what_is_missing(files):
    result = run(files)
    assert result.exit_code == 0
    page = (files / "e.html").read_text(encoding="utf-8")
    assert "AWS (Amazon Web Services)" in page
    assert "<blockquote>Analyst - Norfolk Rail (2018 - 2022), wrote Python</blockquote>" in page
    assert '<td class="text">Kubernetes</td>' in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "prefers-color-scheme: dark" in page
    assert "<link" not in page.replace('<link rel="icon" href="data:,">', "")


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"...", b"\xff\xfe\x00\xd8"])
def test_a_resume_without_words_gives_a_sentence_and_no_page(files, content):
    (files / "empty.txt").write_bytes(content)
    result = run(files, "empty.txt")
    assert isinstance(result.exception, DataError)
    assert "\n" not in str(result.exception)
    assert not (files / "e.html").exists()


@pytest.mark.parametrize("name", ["absent.pdf", "broken.pdf", "table.csv"])
def test_what_is_no_readable_document_gives_a_sentence_and_no_page(files, name):
    (files / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (files / "table.csv").write_text("resume_id,text\n1,baker\n", encoding="utf-8")
    result = run(files, name)
    assert isinstance(result.exception, DataError)
    assert name in str(result.exception)
    assert not (files / "e.html").exists()


def test_a_model_is_not_silently_ignored(files):
    result = run(files, "resume.docx", "--model", "some-model")
    assert isinstance(result.exception, DataError)
    assert "some-model" in str(result.exception)


def test_the_page_never_replaces_an_input(files):
    with pytest.raises(DataError, match="would replace it"):
        edit_command(job=files / "job.txt", resume=files / "resume.docx", out=files / "resume.docx")
