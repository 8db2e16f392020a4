"""`matchlib edit`: files in, one page out; what cannot be edited is told in a sentence."""

from pathlib import Path

import docx
import pytest
from typer.testing import CliRunner

from matchlib.cli import app
from matchlib.data.schema import DataError
from matchlib.hrtasks.facts import DemandedSkill
from matchlib.ranking import extract_command
from matchlib.ranking.edit_command import _pieces, edit_command

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
    assert "<mark>AWS (</mark>Amazon Web Services<mark>)</mark>" in page
    evidence = '<td class="text">Analyst - Norfolk Rail (2018 - 2022), wrote Python</td>'
    assert f"<mark>Python</mark></td>{evidence}" in page
    assert "<mark>AWS (Amazon Web Services)</mark>" in page.split("Edited resume")[1]
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


class Phrases:
    """A phrase classifier that says the same of every job."""

    def find(self, jobs):
        said = {"Norfolk Rail": 0.9, "kubernetes": 0.8, "Keen tooth": 0.6, "Excel": 0.4}
        return [[DemandedSkill(name, p) for name, p in said.items()] for _ in jobs]


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(extract_command, "open_phrases", lambda model: Phrases())
    return Path("08_hr_tasks")


def test_a_model_adds_demands_and_each_still_needs_evidence(files, stage):
    (files / "job.txt").write_text("You cook\nNorfolk Rail\nKeen tooth\n", encoding="utf-8")
    paths = {name: files / file for name, file in (("job", "job.txt"), ("resume", "resume.docx"))}
    plain = edit_command(**paths, out=files / "e.html")
    assert plain["by_model"] == plain["missing"] == plain["wordings"] == []
    edited = edit_command(**paths, out=files / "e.html", model=stage)
    assert edited["by_model"] == ["Norfolk Rail", "kubernetes", "Keen tooth"]
    (change,) = edited["wordings"]
    assert change["pieces"] == [("Norfolk Rail", True)]
    assert change["evidence"] == "Analyst - Norfolk Rail (2018 - 2022), wrote Python"
    assert [item["demand"] for item in edited["missing"]] == ["kubernetes", "Keen tooth"]
    assert all("found in the job by the model" in item["note"] for item in edited["missing"])
    assert [line["text"] for line in edited["lines"] if "Keen" in line["text"]] == []
    assert (edited["coverage_before"], edited["coverage_after"]) == ("33%", "33%")
    result = run(files, "resume.docx", "--model", str(stage))
    assert result.exit_code == 0, result.output
    assert "3 more that the phrase classifier" in (files / "e.html").read_text(encoding="utf-8")


def test_skills_of_the_rules_are_not_served_twice(files, stage):
    result = edit_command(
        job=files / "job.txt", resume=files / "resume.docx", out=files / "e.html", model=stage
    )
    assert result["by_model"] == ["Norfolk Rail", "Keen tooth"]
    notes = {item["demand"]: item["note"] for item in result["missing"]}
    assert notes["Kubernetes"] == "the resume does not state it"
    assert "kubernetes" not in notes


@pytest.mark.parametrize("model", ["absent", "empty"])
def test_a_model_without_a_phrase_classifier_is_refused(files, model):
    (files / "empty").mkdir()
    result = run(files, "resume.docx", "--model", str(files / model))
    assert isinstance(result.exception, DataError)
    assert "holds no phrase classifier" in str(result.exception)
    assert not (files / "e.html").exists()


def test_new_words_are_marked_and_old_ones_are_not():
    assert _pieces("Go, C.", "Go, C, SQL.") == [("Go, C", False), (", SQL.", True)]
    assert _pieces("", "SQL") == [("SQL", True)]
    assert _pieces("Web", "W (Web)") == [("W (", True), ("Web", False), (")", True)]


def test_the_page_never_replaces_an_input(files):
    with pytest.raises(DataError, match="would replace it"):
        edit_command(job=files / "job.txt", resume=files / "resume.docx", out=files / "resume.docx")
