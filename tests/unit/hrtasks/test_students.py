"""The students: tagger, phrase classifier, matcher, explainer, on generated triples."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from matchlib.data.schema import DataError
from matchlib.girl.sft import Training
from matchlib.hrtasks.baselines import labelled_pairs, train_baselines
from matchlib.hrtasks.experiment import (
    answer,
    best_threshold,
    edit_scores,
    experience_confusion,
    explanation_scores,
    fabrication_scores,
    gaps_of,
    leaderboard_rows,
    mark_phrases,
    marked_texts,
    matching_elsewhere,
    matching_scores,
    names_above,
    pair_probabilities,
    parts_of_world,
    rows_of_world,
    skill_scores,
    split_rows,
    write_triples,
)
from matchlib.hrtasks.facts import DemandedSkill, JobFacts, find_gaps
from matchlib.hrtasks.imitate import imitated_edits
from matchlib.hrtasks.matcher import Matcher, calibration_table, judge_matching, train_matcher
from matchlib.hrtasks.phrases import PhraseClassifier, find_candidates, gazetteer
from matchlib.hrtasks.rjdb_rows import read_triples
from matchlib.hrtasks.scores import score_phrases
from matchlib.hrtasks.tagger import Span, TaggedText, Tagger, TaggerSettings, train_tagger
from matchlib.language.llm import Budget
from matchlib.retrieval.verdicts import judge
from matchlib.runs import load_plan

JOB = """## Job title
Baker

## Required Skills
- Dough making: by hand
- Oven care and Cake design

## Required Experience
- 3 years of experience as a Baker
- At least 2 years as a Shop Assistant
"""
SKILLS = tuple(DemandedSkill(name) for name in ("Dough making", "Oven care", "Cake design"))


@pytest.fixture(scope="module")
def triples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triples")
    written = write_triples(
        train_rows=64,
        test_rows=24,
        writer="templates",
        graph_folder="",
        language_model="",
        budget=Budget(),
        folder=folder,
        seed=3,
    )
    return tuple(read_triples(path) for path in written.files.values())


@pytest.fixture(scope="module")
def trained(triples):
    train, _, _ = triples
    return train_matcher(train, [row.job_skills for row in train], seed=1)


# ---- what is lacking


def test_gaps_are_named_with_their_evidence():
    resume = "## Skills\n- Dough making\n- Oven care\n## Experience\n- Baker (2012 - 2014)\n"
    gaps = find_gaps(JobFacts.of(JOB, SKILLS), resume)
    assert [skill.name for skill in gaps.skills] == ["Cake design"]
    assert [(a.title, a.years, b.years) for a, b in gaps.shortened] == [("Baker", 3, 2)]
    assert [one.title for one in gaps.missing] == ["Shop Assistant"]
    assert gaps.experience_kind == "shortened"
    assert any("3 years demanded, 2 shown" in sentence for sentence in gaps.sentences())


def test_who_meets_everything_lacks_nothing():
    resume = (
        "## Skills\nDough making, oven care, cake design\n"
        "## Experience\n- Baker (2012 - 2016)\n- Shop Assistant (2009 - 2011)\n"
    )
    gaps = find_gaps(JobFacts.of(JOB, SKILLS), resume)
    assert gaps.sentences() == [] and gaps.experience_kind == "none"


def test_a_resume_without_words_lacks_all_and_unlikely_skills_are_not_named():
    skills = [*SKILLS, DemandedSkill("by hand", 0.1)]
    gaps = find_gaps(JobFacts.of(JOB, skills), "")
    assert len(gaps.skills) == 3 and len(gaps.missing) == 2


# ---- phrases


def test_candidates_know_their_place():
    candidates = find_candidates(JOB)
    (dough,) = candidates["dough making"]
    assert dough.section == "skills" and dough.is_first and dough.has_colon and not dough.is_last
    assert JOB[dough.start : dough.start + len(dough.text)] == "Dough making"
    (cake,) = candidates["cake design"]
    assert cake.is_joined and cake.is_last
    assert "required skills" not in candidates and "and cake" not in candidates


def test_what_a_job_says_of_its_own_phrases_teaches_nothing(monkeypatch):
    """In training, a phrase that one job alone names is as unknown as one that none does."""
    seen = []
    monkeypatch.setattr(
        "matchlib.hrtasks.phrases._features",
        lambda phrase, places, n_gold, n_seen: seen.append((phrase, n_gold, n_seen)) or [n_gold],
    )
    jobs = [f"## Skills\n- {word} work\n- oven care\n" for word in ("dough", "cake", "bread")]
    phrases = PhraseClassifier.train(
        jobs, [["dough work"], ["cake work", "oven care"], ["bread work"]], seed=1
    )
    assert {row for row in seen if row[0] == "dough work"} == {("dough work", 0, 0)}
    assert sorted(row[1:] for row in seen if row[0] == "oven care") == [(0, 2), (1, 2), (1, 2)]
    assert phrases.gold["dough work"] == 1 and phrases.seen["oven care"] == 3


def test_skills_that_stand_in_no_job_cannot_be_learned():
    with pytest.raises(DataError, match="no skill of a training row stands in its job"):
        PhraseClassifier.train(["## Skills\n- ovens"] * 3, [["SQL"]] * 3, seed=1)


def test_the_gazetteer_finds_whole_words():
    assert gazetteer([["C", "Java"]], ["C, JavaScript", "java; c++"]) == [["c"], ["java"]]


def test_the_phrase_classifier_is_above_the_gazetteer_also_on_unseen_wording(triples, trained):
    train, test, held_out = triples
    matcher, found = trained
    known = [row.job_skills for row in train]
    threshold = best_threshold(found, known)
    for rows in (test, held_out):
        jobs, true = [row.job for row in rows], [row.job_skills for row in rows]
        own = score_phrases(names_above(matcher.phrases.find(jobs), threshold), true)
        floor = score_phrases(gazetteer(known, jobs), true)
        assert own["low"] > floor["F1"]


def test_empty_and_long_jobs_are_handled(trained):
    matcher, _ = trained
    found = matcher.phrases.find(["", "\n\n", "x " * 3000])
    assert found[0] == found[1] == [] and all(0 <= one.probability <= 1 for one in found[2])


# ---- matcher


def test_the_matcher_is_above_chance_and_above_permuted_labels(triples, trained):
    train, test, _ = triples
    matcher, _ = trained
    matching = matching_scores(matcher, train, {"test": test}, seed=1)
    of = matching[matching["model"].eq("matcher")].set_index("measure")
    assert of.loc["AUC", "low"] > 0.5
    assert of.loc["own job minus other jobs", "value"] > 0.1
    permuted = rows_of_world(train, "labels permuted", seed=1)
    assert sum(a.matched == b.unmatched for a, b in zip(train, permuted, strict=True)) == 32
    null, _ = train_matcher(permuted, [row.job_skills for row in permuted], seed=1)
    scores = matching_scores(null, train, {"test": test}, seed=1)
    auc = scores[scores["model"].eq("matcher") & scores["measure"].eq("AUC")].iloc[0]
    assert auc["value"] < of.loc["AUC", "value"] - 0.1
    with pytest.raises(ValueError, match="world 'x' is not one of"):
        rows_of_world(train, "x", seed=1)


def test_explanations_are_at_chance_where_filters_are_random(triples, trained):
    """Chance: of the skills that are named, as many are filtered as of all that the job asks for."""
    _, test, held_out = triples
    rows = [*test, *held_out]
    nulls = [rows_of_world(rows, "filtered information random", seed=seed) for seed in range(5)]
    assert rows not in nulls
    for row, random in zip(rows, nulls[0], strict=True):
        texts = [(one.job, one.matched, one.unmatched) for one in (row, random)]
        assert texts[0] == texts[1]
        assert 1 <= len(random.filtered_skills) <= 3
        assert set(random.filtered_skills) <= set(row.skills)
    kinds = [sorted(row.filtered_experience.kind for row in some) for some in (rows, nulls[0])]
    assert kinds[0] == kinds[1]
    excess = []
    for some in (rows, *nulls):
        table = explanation_scores(some, {}, threshold=0.5, leave_out_stated=False)
        precision = table.set_index("source")["precision"]
        excess.append(precision["listed skills"] - precision["floor: every listed skill"])
    assert excess[0] > 0.1 and abs(np.mean(excess[1:])) < 0.04


def test_a_world_changes_training_or_all(triples):
    train, test, _ = triples
    parts = {"train": train, "test": test}
    permuted = parts_of_world(parts, "labels permuted", seed=1)
    assert permuted["test"] == test and permuted["train"] != train
    random = parts_of_world(parts, "filtered information random", seed=1)
    assert random["test"] != test and random["train"] != train
    assert parts_of_world(parts, "as given", seed=1) == parts


def test_a_saved_matcher_answers_the_same(trained, triples, tmp_path):
    matcher, _ = trained
    _, test, _ = triples
    matcher.save(tmp_path / "matcher")
    again = Matcher.load(tmp_path / "matcher")
    jobs, resumes = [row.job for row in test], [row.matched for row in test]
    assert again.predict(jobs, resumes) == pytest.approx(matcher.predict(jobs, resumes))
    assert not list((tmp_path / "matcher").glob("*.pkl"))
    with pytest.raises(DataError, match="no matcher.skops"):
        Matcher.load(tmp_path)
    (tmp_path / "matcher" / "features.json").write_text('["lines"]')
    with pytest.raises(DataError, match="another version of matchlib"):
        Matcher.load(tmp_path / "matcher")


def test_where_nothing_is_demanded_nothing_is_decided(trained, triples):
    matcher, _ = trained
    _, test, _ = triples
    jobs = ["", "Wir suchen einen Tischler.", test[0].job]
    assert matcher.predict(jobs, ["", "Tischler", ""]).tolist() == [0.5, 0.5, 0.5]


def test_tests_do_not_depend_on_how_many_are_trained_on(tmp_path, triples):
    _, test, held_out = triples
    few = write_triples(
        train_rows=8,
        test_rows=24,
        writer="templates",
        graph_folder="",
        language_model="",
        budget=Budget(),
        folder=tmp_path,
        seed=3,
    )
    assert read_triples(few.files["test"]) == test
    assert read_triples(few.files["held-out wording"]) == held_out


def test_a_file_with_too_few_rows_is_refused(triples):
    train, _, _ = triples
    parts = split_rows(train, train_rows=60, test_rows=4)
    assert parts["test"] == train[60:] and parts["train"] == train[:60]
    with pytest.raises(DataError, match="64 rows can be read, but .* ask for 65"):
        split_rows(train, train_rows=60, test_rows=5)


def test_scores_by_hand(triples):
    _, test, _ = triples
    rows = test[:2]
    judged = {one["measure"]: one for one in judge_matching(np.array([0.9, 0.2, 0.6, 0.6]), rows)}
    assert (
        judged["accuracy"]["value"] == 0.75 and judged["matched above unmatched"]["value"] == 0.75
    )
    table = calibration_table(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0, 1, 1, 1]), n_bins=2)
    assert table["actual"].tolist() == [0.5, 1] and table["n"].tolist() == [2, 2]


# ---- tagger


@pytest.fixture(scope="module")
def tagger(triples, tiny_model_folder):
    train, _, _ = triples
    torch.manual_seed(0)
    settings = TaggerSettings(num_train_epochs=12, learning_rate=5e-3, max_tokens=64)
    return train_tagger(marked_texts(train), name=str(tiny_model_folder), settings=settings, seed=1)


def test_a_tagger_learns_which_words_are_skills(tagger, triples):
    train, _, _ = triples
    jobs = [row.job for row in train]
    found = [
        [job[s.start : s.end] for s in own]
        for job, own in zip(jobs, tagger.find(jobs), strict=True)
    ]
    scores = score_phrases(found, [row.job_skills for row in train])
    assert scores["F1"] > 0.4  # a random two-layer encoder, on what it was trained on


def test_spans_are_words_of_the_text_also_of_long_ones(tagger, triples):
    train, _, _ = triples
    long = "\n".join(row.job for row in train[:12])
    (one,), (many,) = tagger.find([train[0].job]), tagger.find([long])
    assert {long[s.start : s.end] for s in many} >= {train[0].job[s.start : s.end] for s in one[:2]}
    for span in many:
        assert 0 <= span.start < span.end <= len(long)
        assert not long[span.start].isspace()
        around = long[max(0, span.start - 1) : span.start] + "|" + long[span.start]
        assert not re.fullmatch(r"\w\|\w", around)  # no span begins inside a word
    assert tagger.find(["", " "]) == [[], []]


def test_a_saved_tagger_is_a_folder_of_transformers(tagger, triples, tmp_path):
    from transformers import pipeline

    train, _, _ = triples
    tagger.save(tmp_path)
    again = Tagger(str(tmp_path), max_tokens=64)
    assert again.find([train[0].job]) == tagger.find([train[0].job])
    assert pipeline("token-classification", str(tmp_path), device="cpu")(train[0].job)


def test_a_tagger_needs_spans_and_bio_labels(tiny_model_folder):
    with pytest.raises(DataError, match="no document has a span"):
        train_tagger(
            [TaggedText("x", ())], name=str(tiny_model_folder), settings=TaggerSettings(), seed=1
        )
    with pytest.raises(DataError, match="are not BIO"):
        Tagger(str(tiny_model_folder))


def test_longer_phrases_are_marked_first():
    marked = mark_phrases("Cake design, cake; cakes", ["cake", "cake design", " "], kind="skill")
    assert marked.spans == (Span(0, 11, "skill"), Span(13, 17, "skill"))


# ---- the steps of the notebook


def test_every_step_of_the_notebook(triples, trained):
    train, test, held_out = triples
    matcher, found = trained
    tests = {"test": test, "held-out wording": held_out}
    matching = matching_scores(matcher, train, tests, seed=1)
    skills = skill_scores(train, tests, matcher, None, threshold=0.35)
    of_test = {"phrase classifier": matcher.phrases.find([row.job for row in test])}
    explained = explanation_scores(test, of_test, threshold=0.35).set_index("source")
    assert explained.loc["listed skills", "recall"] > 0.9
    gaps = gaps_of(test, of_test["phrase classifier"], threshold=0.35)
    confusion = experience_confusion(test, gaps)
    assert confusion.loc["matched"].sum() == len(test)
    edits = edit_scores(test[:8])
    by = edits.set_index(["editor", "measure"])["value"]
    assert by["extractive", "resumes with any unsupported claim"] == 0
    assert by["copy", "supported coverage gained"] == 0 == by["copy", "words lost"]
    assert by["paste the job", "resumes with any unsupported claim"] == 1
    planted = fabrication_scores(test[:8], seed=1).set_index("planted")["value"]
    assert planted["copy (an alarm is false)"] == 0 and planted["added_job"] > 0.9
    headline, metrics = answer(matching, skills, explained.reset_index(), edits)
    assert "held-out wording" in headline and "false alarms" in headline
    assert all(np.isfinite(list(metrics.values())))
    floors = explained.loc[["floor: every listed skill"], ["precision", "false_alarms"]]
    assert 0 < floors["precision"].item() < explained.loc["listed skills", "precision"]
    assert by["the file's matched resume", "resumes that newly name a filtered skill"] > 0.5
    assert by["copy", "resumes that newly name a filtered skill"] == 0
    rows = leaderboard_rows(matching, skills)
    assert not rows.duplicated(["system", "measure", "judgments"]).any()


def test_other_peoples_labels_and_preferences(triples, trained):
    _, test, _ = triples
    matcher, _ = trained
    jobs = pd.DataFrame({"job_id": range(len(test)), "text": [row.job for row in test]})
    texts = [text for row in test for text in (row.matched, row.unmatched)]
    resumes = pd.DataFrame({"resume_id": range(len(texts)), "text": texts})
    labels = pd.DataFrame(
        {"job_id": np.repeat(jobs["job_id"], 2), "resume_id": range(len(texts))}
    ).assign(label=np.tile([1, 0], len(test)))
    preferences = pd.DataFrame(
        {
            "job_id": jobs["job_id"],
            "resume_a": np.arange(0, len(texts), 2),
            "resume_b": np.arange(1, len(texts), 2),
            "preferred": "a",
        }
    )
    tables = {"jobs": jobs, "resumes": resumes, "labels": labels, "preferences": preferences}
    found = matching_elsewhere(matcher, {"own": tables}).set_index("measure")
    p = pair_probabilities(matcher, test)
    judged = {one["measure"]: one["value"] for one in judge_matching(p, test)}
    assert found.loc["AUC of labels", "value"] == pytest.approx(judged["AUC"])
    same = found.loc["preferences in the same order", "value"]
    assert same == pytest.approx(judged["matched above unmatched"])
    swapped = {**tables, "preferences": preferences.assign(preferred="b")}
    other = matching_elsewhere(matcher, {"own": swapped}).set_index("measure")
    assert other.loc["preferences in the same order", "value"] == pytest.approx(1 - same)
    one_class = {**tables, "labels": labels.assign(label=1), "preferences": preferences.head(0)}
    assert matching_elsewhere(matcher, {"own": one_class}).empty


@pytest.fixture(scope="module")
def tiny_writer(tmp_path_factory):
    """A random GPT-2 that knows the words of a few texts."""
    from matchlib.girl.models import small_generator

    folder = tmp_path_factory.mktemp("writer")
    words = " ".join(f"word{i}" for i in range(50))
    generator = small_generator([JOB, words], max_tokens=2000, seed=1)
    generator.model.save_pretrained(folder)
    generator.tokenizer.save_pretrained(folder)
    return folder


def test_an_imitating_editor_is_trained_and_measured(triples, tiny_writer, tmp_path):
    train, test, _ = triples
    edits, log, note = imitated_edits(
        train[:4],
        test[:2],
        base_model=str(tiny_writer),
        training=Training(num_train_epochs=1, batch_size=2, max_tokens=1500),
        max_words=60,
        max_new_tokens=8,
        checkpoints=tmp_path / "editor",
    )
    assert len(edits) == 2 and len(log) and "4 of 4 triples" in note
    table = edit_scores(test[:2], {"imitation": edits})
    assert "imitation" in set(table["editor"])
    with pytest.raises(DataError, match="imitate_rjdb needs a causal model"):
        imitated_edits(
            train,
            test,
            base_model="",
            training=Training(),
            max_words=60,
            max_new_tokens=8,
            checkpoints=tmp_path,
        )


def test_every_claim_of_the_sweep_can_be_judged():
    path = Path("params/sweeps/hrtasks_claims.yaml")
    claims = yaml.safe_load(path.read_text())["12_ledger"]["claims"]
    systems = {
        "matcher",
        *("line rule", "resume only", "word overlap", "years' deficit"),
        "experience features, boosted",
        *("phrase classifier", "tagger", "gazetteer", "rules (lists and graph)"),
    }
    named = {c["system"] for c in claims} | {b for c in claims for b in c.get("baselines", ())}
    assert named <= systems
    rows = []
    for stage in load_plan(path).stages:
        name, _, seed = stage.name.rpartition("-")
        if not name.startswith("08_hr_tasks-"):
            continue
        world = name.removeprefix("08_hr_tasks-")
        for claim in claims:
            measure = claim.get("measure", "AUC")
            judgments = claim.get("judgments", "test")
            for system in systems:
                rows.append((world, seed, system, measure, judgments, 0.5 + int(seed) / 100))
    columns = ["world", "seed", "system", "measure", "judgments", "value"]
    values = pd.DataFrame(rows, columns=columns).drop_duplicates()
    judged = judge([{"measure": "AUC", "judgments": "test", **c} for c in claims], values)
    assert len(judged) == len(claims) and judged["seeds"].eq(6).all()


def test_the_baselines_are_those_that_claims_name(triples):
    train, test, _ = triples
    models = train_baselines(train, seed=1)
    assert set(models) == {
        "line rule",
        "resume only",
        "word overlap",
        "years' deficit",
        "experience features, boosted",
    }
    jobs, resumes, labels = labelled_pairs(test)
    for predict in models.values():
        p = predict(jobs, resumes)
        assert p.shape == labels.shape and ((p >= 0) & (p <= 1)).all()
    assert models["resume only"](jobs, resumes) == pytest.approx(
        models["resume only"](jobs[::-1], resumes)
    )


def test_a_writer_whose_documents_are_all_rejected_stops_with_the_reasons(tmp_path, monkeypatch):
    nothing = pd.DataFrame({"reason": ["copied", "too short"], "triples": [2, 1], "sentence": ""})
    monkeypatch.setattr(
        "matchlib.hrtasks.experiment.generate_triples",
        lambda *_, **__: SimpleNamespace(rows=[], by_reason=nothing),
    )
    with pytest.raises(DataError, match=r"10 contexts gave 0 of 2 triples \(copied: 10, too short"):
        write_triples(
            train_rows=2,
            test_rows=2,
            writer="templates",
            graph_folder="",
            language_model="",
            budget=Budget(),
            folder=tmp_path,
            seed=1,
        )
