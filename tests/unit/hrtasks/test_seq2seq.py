"""The sequence-to-sequence student: one tiny T5 that learns every task as text."""

import numpy as np
import pytest
import torch
from tiny_causal import save_causal
from tiny_seq2seq import save_seq2seq
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSeq2SeqLM

from matchlib.hrtasks.experiment import (
    answer,
    edit_scores,
    explanation_scores,
    leaderboard_rows,
    matching_scores,
    skill_scores,
)
from matchlib.hrtasks.matcher import train_matcher
from matchlib.hrtasks.rjdb_rows import ExperienceFilter, HrRow, Position
from matchlib.hrtasks.seq2seq import (
    PREFIXES,
    Seq2SeqSettings,
    Seq2SeqStudent,
    _fair_limit,
    as_items,
    examples_of,
    mean_loss_of_examples,
    train_seq2seq,
)
from matchlib.retrieval.models import EncoderError

SKILLS = ("Python", "SQL", "Docker", "Tableau")


def row_of(skill, other, years=3):
    job = f"Cook wanted.\n## Skills\n- {skill}\n## Experience\n- {years} years as a Cook"
    matched = f"A person in Leeds.\n## Skills\n- {skill}\n- Cook (2010 - {2010 + years})"
    cook = Position("Cook", 2010, 2010 + years)
    return HrRow(
        job=job,
        matched=matched,
        unmatched=matched.replace(f"- {skill}", f"- {other}"),
        skills=(skill,),
        experiences=("Cook",),
        years=(years,),
        positions=(cook,),
        filtered_skills=(skill,),
        filtered_experience=ExperienceFilter("none"),
    )


ROWS = [row_of(skill, "Git", years) for skill in SKILLS for years in (2, 3, 4)]


def texts_of(rows):
    for example in examples_of(rows):
        yield " ".join([PREFIXES[example.task], *example.documents, *example.documents.values()])
        yield example.target.replace("\n", " // ")


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory):
    return save_seq2seq(tmp_path_factory.mktemp("t5"), list(texts_of(ROWS)))


SETTINGS = Seq2SeqSettings(num_train_epochs=30, learning_rate=5e-3, max_target_tokens=48)


@pytest.fixture(scope="module")
def trained(tiny_t5, tmp_path_factory):
    return train_seq2seq(
        ROWS,
        name=tiny_t5,
        settings=SETTINGS,
        seed=1,
        checkpoints=tmp_path_factory.mktemp("run"),
        device="cpu",
    )


def right_order(student):
    """How often the matched resume is above the unmatched one."""
    jobs = [row.job for row in ROWS]
    matched = student.predict(jobs, [row.matched for row in ROWS])
    unmatched = student.predict(jobs, [row.unmatched for row in ROWS])
    assert ((matched > 0) & (matched < 1)).all()
    return float(np.mean(matched > unmatched))


def test_every_task_is_learned(trained, tiny_t5):
    student, log = trained
    jobs = [row.job for row in ROWS]
    unmatched = [row.unmatched for row in ROWS]
    assert log["loss"].iloc[-1] < log["loss"].iloc[0] / 2
    untrained = Seq2SeqStudent(tiny_t5, SETTINGS, device="cpu")
    assert right_order(student) > 0.9 > right_order(untrained)
    right = [list(row.skills) for row in ROWS]
    assert np.mean([a == b for a, b in zip(student.find_skills(jobs), right, strict=True)]) > 0.9
    named = student.missing_skills(jobs, unmatched)
    assert np.mean([a == b for a, b in zip(named, right, strict=True)]) > 0.9
    assert student.missing_skills(jobs, [row.matched for row in ROWS]) == [[] for _ in ROWS]
    edits = student.edit(jobs, unmatched)
    assert np.mean([edit == row.matched for edit, row in zip(edits, ROWS, strict=True)]) > 0.9


def test_an_answer_does_not_depend_on_its_batch(trained):
    student, _ = trained
    jobs, resumes = [row.job for row in ROWS], [row.unmatched for row in ROWS]
    alone = [student.predict([j], [r])[0] for j, r in zip(jobs, resumes, strict=True)]
    assert student.predict(jobs, resumes) == pytest.approx(alone, rel=1e-4)


def test_the_probability_is_of_yes_against_no(trained):
    student, _ = trained
    source = student._source("match", job=ROWS[0].job, resume=ROWS[0].matched)
    ids = torch.tensor([student._ids(source)])
    likelihoods = []
    for word in ("yes", "no"):
        labels = torch.tensor([student._target_ids(word)])
        with torch.no_grad():  # the model's own loss is the mean over tokens
            loss = student.model(input_ids=ids, labels=labels).loss
        likelihoods.append(-loss.item() * labels.shape[1])
    odds = np.exp(likelihoods[0] - likelihoods[1])
    p = student.predict([ROWS[0].job], [ROWS[0].matched])
    assert p == pytest.approx(odds / (1 + odds), rel=1e-3)


def test_a_saved_student_is_a_folder_of_transformers(trained, tmp_path):
    student, _ = trained
    student.save(tmp_path / "student")
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student").config.is_encoder_decoder
    again = Seq2SeqStudent(str(tmp_path / "student"), SETTINGS, device="cpu")
    jobs = [row.job for row in ROWS[:3]]
    assert again.find_skills(jobs) == student.find_skills(jobs)


def test_long_inputs_are_cut_fairly_and_counted(tiny_t5):
    student = Seq2SeqStudent(tiny_t5, Seq2SeqSettings(max_source_tokens=80), device="cpu")
    short = student._source("match", job="Cook", resume="baking")
    assert student.n_cut == 0 and short.endswith("job: Cook resume: baking")
    cut = student._source("match", job="Cook", resume="baking " * 500)
    assert "job: Cook resume: baking" in cut and student.n_cut == 1
    assert 70 <= len(student._ids(cut)) <= 80
    both = student._source("match", job="frying " * 500, resume="baking " * 500)
    assert both.count("frying") == pytest.approx(both.count("baking"), abs=2)
    assert len(student._ids(both)) <= 80
    assert student.note.startswith("2 of 3 inputs were longer than 80 tokens")
    assert student.predict([""], [""]).shape == (1,)  # nothing to cut, nothing to read
    few = Seq2SeqStudent(tiny_t5, Seq2SeqSettings(max_target_tokens=2), device="cpu")
    few.edit(["Cook"], ["baking"])
    assert few.note.endswith("1 answers did not end within 2 tokens")


@pytest.mark.parametrize(
    "lengths, room, limit",
    [([10, 10], 10, 5), ([2, 30], 10, 8), ([30, 2], 10, 8), ([5, 5], 0, 0), ([5, 5], -3, 0)],
)
def test_short_documents_leave_their_room(lengths, room, limit):
    assert _fair_limit(lengths, room) == limit
    assert sum(min(length, limit) for length in lengths) <= max(0, room)


def test_a_model_that_is_no_encoder_decoder_is_refused(tmp_path):
    folder = save_causal(tmp_path / "causal")
    with pytest.raises(EncoderError, match="is no encoder-decoder.*t5-base.*imitate_rjdb"):
        Seq2SeqStudent(folder, device="cpu")


def test_every_example_counts_alike():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 7, requires_grad=True)
    labels = torch.tensor([[3, -100, -100, -100, -100], [1, 2, 3, 4, 5]])
    outputs = type("Outputs", (), {"logits": logits})
    plain = [cross_entropy(logits[0, :1], labels[0, :1]), cross_entropy(logits[1], labels[1])]
    assert mean_loss_of_examples(outputs, labels).item() == pytest.approx(
        (sum(plain) / 2).item(), rel=1e-5
    )


def test_examples_say_what_was_filtered():
    old, new = Position("Cook", 2010, 2014), Position("Cook", 2012, 2014)
    row = row_of("baking", "singing")
    row = HrRow(**{**vars(row), "filtered_experience": ExperienceFilter("shortened", old, new)})
    texts = {}
    for example in examples_of([row]):
        texts.setdefault(example.task, []).append(example.target)
    assert texts["match"] == ["yes", "no"] and texts["skills"] == ["baking"]
    assert texts["explain"] == ["nothing", "baking; experience: Cook, 4 years"]
    assert texts["edit"] == [row.matched]
    assert as_items("baking; frying;; baking; nothing") == ["baking", "frying"]


def test_the_student_is_a_row_of_every_table_of_the_notebook(trained):
    student, _ = trained
    matcher, _ = train_matcher(ROWS, [row.job_skills for row in ROWS], seed=1)
    tests = {"test": ROWS}
    jobs = [row.job for row in ROWS]
    matching = matching_scores(matcher, ROWS, tests, seed=1, further={"seq2seq": student.predict})
    assert "seq2seq" in set(matching["model"])
    skills = skill_scores(
        ROWS,
        tests,
        matcher,
        None,
        threshold=0.5,
        further={"seq2seq": student.find_skills},
    )
    of = skills[skills["extractor"].eq("seq2seq") & skills["what"].eq("skills")]
    assert of["document"].tolist() == ["job"] and of["F1"].iloc[0] > 0.9
    found = {"phrase classifier": matcher.phrases.find(jobs)}
    explained = explanation_scores(
        ROWS, found, threshold=0.5, further={"seq2seq": student.missing_skills}
    ).set_index("source")
    assert explained.loc["seq2seq", "F1"] > 0.9 and explained.loc["seq2seq", "false_alarms"] == 0
    edited = student.edit(jobs, [row.unmatched for row in ROWS])
    edits = edit_scores(ROWS, {"seq2seq": edited})
    by = edits.set_index(["editor", "measure"])["value"]
    # it learned to write what the resume lacks, and the check of claims says so
    assert by["seq2seq", "resumes that newly name a filtered skill"] > 0.9
    assert by["seq2seq", "resumes with any unsupported claim"] > 0.9
    headline, _ = answer(matching, skills, explained.reset_index(), edits)
    assert "seq2seq 1.000" not in headline.split("Skills of jobs")[0]  # it is no baseline
    assert "seq2seq" in set(leaderboard_rows(matching, skills)["system"])
