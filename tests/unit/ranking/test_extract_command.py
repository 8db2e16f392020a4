"""`matchlib extract`: documents in, one line each out; what cannot be read is told in a sentence."""

import json
import shutil

import docx
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from typer.testing import CliRunner

from matchlib.cli import app
from matchlib.data.schema import DataError
from matchlib.hrtasks.experiment import mark_phrases
from matchlib.hrtasks.phrases import PhraseClassifier
from matchlib.hrtasks.tagger import Span, TaggerSettings, train_tagger
from matchlib.ranking.extract_command import choose_source, open_phrases, tagger_finder
from matchlib.stage import StageError, UnfinishedError, file_hash

JOBS = [
    f"## Required Skills\n- {skill}\n- {other}\n\n## Duties\nYou {duty} with care\n"
    for skill, other in (("Baking", "Python"), ("Welding", "Excel"), ("Sewing", "Java"))
    for duty in ("clean rooms", "answer calls", "count stock")
]
SKILLS = [["Baking", "Python"]] * 3 + [["Welding", "Excel"]] * 3 + [["Sewing", "Java"]] * 3
NEW_JOB = (
    "## Required Skills\n- Java\n- Baking\n- Java\n\n## Required Experience\n"
    "- At least 3 years of experience as a Baker\n"
)
RESUME = "Skills\nBaking, Java\n\nExperience\nBaker - Mill Lane (2015 - 2019)\n"


@pytest.fixture(scope="module")
def stage(tmp_path_factory, tiny_model_folder):
    """A finished stage with a phrase classifier and a tagger that know a few skills."""
    folder = tmp_path_factory.mktemp("run") / "08_hr_tasks"
    PhraseClassifier.train(JOBS * 3, SKILLS * 3, seed=1).save(folder / "matcher")
    marked = [
        mark_phrases(job, skills, kind="skill")
        for job, skills in zip(JOBS * 3, SKILLS * 3, strict=True)
    ]
    torch.manual_seed(0)
    settings = TaggerSettings(num_train_epochs=25, learning_rate=5e-3, max_tokens=64)
    tagger = train_tagger(marked, name=str(tiny_model_folder), settings=settings, seed=1)
    tagger.save(folder / "tagger")
    write_manifest(folder)
    return folder


def write_manifest(folder):
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = {
        "stage": "08_hr_tasks",
        "parameters": {"max_tokens": 64},
        "inputs": {},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def documents(tmp_path):
    """b.txt and a.docx with the same words, and two files that cannot be read."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "b.txt").write_text(RESUME, encoding="utf-8")
    document = docx.Document()
    for line in RESUME.splitlines():
        document.add_paragraph(line)
    document.save(folder / "a.docx")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "signs.txt").write_text(" ...\n", encoding="utf-8")
    return folder


def run(model, documents, *more):
    out = documents.parent / "spans.jsonl"
    paths = ["--model", model, "--documents", documents, "--out", out]
    return CliRunner().invoke(app, ["extract", *map(str, paths), *map(str, more)]), out


def rows_of(out):
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("source", ["tagger", "phrases"])
def test_known_skills_of_a_job_are_found_where_they_stand(stage, tmp_path, source):
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "new.txt").write_text(NEW_JOB, encoding="utf-8")
    result, out = run(stage, folder, "--kind", "job", "--by", source, "--with-text")
    assert result.exit_code == 0, result.output
    (row,) = rows_of(out)
    assert row["document"] == "new"
    assert row["text"].strip() == NEW_JOB.strip()
    for span in row["spans"]:
        assert row["text"][span["start"] : span["end"]] == span["text"]
        assert span["source"] == source and span["kind"] == "skill"
        assert 0.5 < span["score"] <= 1
    starts = {(span["text"], span["start"]) for span in row["spans"]}
    assert starts >= {("Java", NEW_JOB.index("Java")), ("Baking", NEW_JOB.index("Baking"))}
    if source == "phrases":
        assert ("Java", NEW_JOB.rindex("Java")) in starts
    assert "Duties" not in {span["text"] for span in row["spans"]}
    assert row["experiences"] == [
        {
            "title": "Baker",
            "years": 3.0,
            "quote": "At least 3 years of experience as a Baker",
        }
    ]


def test_documents_come_in_the_order_of_their_names_and_losses_are_told(stage, documents):
    result, out = run(stage, documents)
    assert result.exit_code == 0, result.output
    rows = rows_of(out)
    assert [row["document"] for row in rows] == ["a", "b"]
    assert all("text" not in row for row in rows)
    for row in rows:
        assert {span["source"] for span in row["spans"]} == {"tagger"}
        (one,) = row["experiences"]
        assert (one["title"], one["years"]) == ("Baker - Mill Lane", 4.0)
    assert result.output.count("left out: ") == 2
    assert "broken.pdf" in result.output and "signs.txt" in result.output
    n_spans = sum(len(row["spans"]) for row in rows)
    assert f"2 documents, {n_spans} spans by tagger" in result.output
    assert "2 experiences; 2 left out" in result.output
    assert [path.name for path in documents.parent.iterdir() if "part" in path.name] == []


def test_strict_exits_with_2_only_where_something_was_lost(stage, documents):
    result, out = run(stage, documents, "--by", "phrases", "--strict")
    assert result.exit_code == 2
    assert len(rows_of(out)) == 2
    for name in ("broken.pdf", "signs.txt"):
        (documents / name).unlink()
    assert run(stage, documents, "--by", "phrases", "--strict")[0].exit_code == 0


def test_a_higher_threshold_finds_a_part_of_what_a_lower_one_finds(stage, documents):
    def texts(threshold):
        result, out = run(stage, documents, "--by", "phrases", "--threshold", threshold)
        assert result.exit_code == 0, result.output
        return [{span["start"] for span in row["spans"]} for row in rows_of(out)]

    low, high = texts(0), texts(1)
    assert high == [set(), set()]
    assert all(len(of_row) > 3 for of_row in low)
    assert run(stage, documents, "--threshold", "1.5")[0].exit_code == 2


def test_years_that_no_text_names_are_null(stage, documents):
    text = "Experience\nBaker - Mill Lane (2019 - 2015)\n"  # ends before it begins
    (documents / "b.txt").write_text(text, encoding="utf-8")
    _, out = run(stage, documents, "--by", "phrases")
    assert rows_of(out)[1]["experiences"][0]["years"] is None


class OneSpan:
    """A tagger that takes a whole text for one skill, as one that does not see lines may."""

    def find(self, texts, *, threshold):
        return [[Span(0, len(text), "skill", 0.8)] for text in texts]


def test_spans_end_with_their_line_and_parts_without_a_letter_are_left_out():
    text = "Audio Visual\n3\n  Oven care \n4."
    (found,) = tagger_finder(OneSpan(), threshold=0.5)([text])
    assert [(span.text, span.start) for span in found] == [("Audio Visual", 0), ("Oven care", 17)]
    assert all(text[span.start : span.end] == span.text for span in found)


def test_a_tagger_folder_is_a_model_and_the_tagger_comes_first(stage):
    assert choose_source(stage, "") == "tagger"
    assert choose_source(stage, "phrases") == "phrases"
    assert choose_source(stage / "tagger", "") == "tagger"


@pytest.mark.parametrize(
    ("model", "by", "message"),
    [
        ("absent", "", "no such folder"),
        ("empty", "", "holds no tagger and no phrase classifier"),
        ("tagger", "phrases", "holds no model for --by phrases, only tagger"),
        ("stage", "rules", "neither tagger nor phrases"),
    ],
)
def test_a_wrong_model_gives_a_sentence_and_no_file(stage, documents, model, by, message):
    (documents.parent / "empty").mkdir()
    places = {"stage": stage, "tagger": stage / "tagger"}
    place = places.get(model, documents.parent / model)
    result, out = run(place, documents, *(("--by", by) if by else ()))
    assert isinstance(result.exception, DataError)
    assert message in str(result.exception) and "\n" not in str(result.exception)
    assert not out.exists()


def test_a_stage_that_is_unfinished_or_was_changed_is_refused(stage, tmp_path, documents):
    copy = tmp_path / "08_hr_tasks"
    shutil.copytree(stage, copy)
    counts = copy / "matcher" / "phrases.json"
    counts.write_text(counts.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert isinstance(run(copy, documents)[0].exception, StageError)
    (copy / "manifest.json").unlink()
    result, out = run(copy, documents)
    assert isinstance(result.exception, UnfinishedError)
    assert not out.exists()


def test_trees_of_other_features_are_refused(tmp_path):
    phrases = PhraseClassifier.train(JOBS * 3, SKILLS * 3, seed=1)
    n_features = phrases.model.n_features_in_ + 1
    x = [[float(i)] * n_features for i in range(4)]
    phrases.model = HistGradientBoostingClassifier(max_iter=1).fit(x, [0, 1, 0, 1])
    phrases.save(tmp_path / "matcher")
    write_manifest(tmp_path)
    with pytest.raises(DataError, match="another version of matchlib"):
        open_phrases(tmp_path)


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_documents_gives_a_sentence(stage, tmp_path, name):
    (tmp_path / "empty").mkdir()
    result, out = run(stage, tmp_path / name)
    assert isinstance(result.exception, DataError)
    assert name in str(result.exception)
    assert not out.exists()


def test_the_file_never_becomes_one_of_the_documents(stage, documents):
    paths = ["--model", stage, "--documents", documents, "--out", documents / "spans.jsonl"]
    result = CliRunner().invoke(app, ["extract", *map(str, paths)])
    assert "would become a part of it" in str(result.exception)


def test_an_unknown_kind_of_document_is_refused(stage, documents):
    result, _ = run(stage, documents, "--kind", "letter")
    assert "neither job nor resume" in str(result.exception)
