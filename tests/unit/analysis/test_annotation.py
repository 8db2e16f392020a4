"""Annotators: sheets that people fill in, answers of language models, and agreement by hand."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis import annotation
from matchlib.data.schema import DataError
from matchlib.language.llm import Answer, LanguageModelError

PAIRS = pd.DataFrame(
    {
        "job_id": ["j", "j"],
        "resume_id": ["a", "b"],
        "rival_job": "j",
        "rival_resume": "c",
        "task": "rank_resumes",
    }
)
JOB_TEXTS = pd.Series({"j": "a job"})
RESUME_TEXTS = pd.Series({"a": "A, a cook", "b": "=B()", "c": "C"})


@pytest.fixture
def sheet_file(tmp_path):
    path = tmp_path / "errors.csv"
    annotation.write_annotation_sheet(PAIRS, JOB_TEXTS, RESUME_TEXTS, path)
    return path


@pytest.fixture
def sheet(sheet_file):
    return pd.read_csv(sheet_file, dtype=str, keep_default_na=False)


def test_a_sheet_has_texts_without_formulas_and_no_class(sheet):
    assert sheet[["job", "resume", "rival", "class"]].values.tolist() == [
        ["a job", "A, a cook", "C", ""],
        ["a job", "'=B()", "C", ""],
    ]


def test_an_empty_sheet_is_refused(sheet_file):
    with pytest.raises(DataError, match="no pair of this run is filled in"):
        annotation.read_annotation_sheet(sheet_file, PAIRS)


def test_a_filled_sheet_is_read_in_the_order_of_the_pairs(sheet_file, sheet):
    sheet.loc[1, "class"] = " Out of scope"
    sheet.iloc[::-1].to_csv(sheet_file, index=False)
    other_task = PAIRS.assign(rival_resume="d", task="rank_jobs")
    pairs = pd.concat([PAIRS, other_task], ignore_index=True)
    classes = annotation.read_annotation_sheet(sheet_file, pairs)
    assert classes.tolist() == ["", "out of scope", "", ""]


def test_a_filled_row_of_another_run_is_named(sheet_file, sheet):
    sheet["class"] = ["", "unsuitable"]
    sheet.assign(job_id=["j", "7"]).to_csv(sheet_file, index=False, sep=";")
    message = "errors.csv:3: 1 filled rows are no pairs of this run, the first '7' and 'b'"
    with pytest.raises(DataError, match=message):
        annotation.read_annotation_sheet(sheet_file, PAIRS)


def test_an_unknown_class_is_named(sheet_file, sheet):
    sheet.loc[1, "class"] = "wrong"
    sheet.to_csv(sheet_file, index=False)
    message = "errors.csv:3: class 'wrong' is not one of unsuitable, less competent"
    with pytest.raises(DataError, match=message):
        annotation.read_annotation_sheet(sheet_file, PAIRS)


class CannedModel:
    """A language model with fixed answers."""

    def __init__(self, *answers):
        self.answers = answers

    def complete(self, prompts):
        self.prompts = prompts
        return [Answer(text) for text in self.answers]


def test_a_language_model_names_classes():
    model = CannedModel(
        "No knives.\n**Class: Unsuitable**",
        "Class: it is not unsuitable, I think",
    )
    classes = annotation.classify_by_language_model(PAIRS, JOB_TEXTS, RESUME_TEXTS, model)
    assert classes.tolist() == ["unsuitable", ""]
    assert "=B()" in model.prompts[1].user
    assert "C" in model.prompts[1].user


def test_a_language_model_without_a_class_is_refused():
    message = "none of 2 answers holds a line 'Class: unsuitable or"
    with pytest.raises(LanguageModelError, match=message):
        annotation.classify_by_language_model(
            PAIRS, JOB_TEXTS, RESUME_TEXTS, CannedModel("yes", "no")
        )


def test_the_annotator_is_chosen_by_name():
    assert annotation.choose_annotator("rules", "", []) == "rules"
    assert annotation.choose_annotator("service", "m", []) == "m"
    assert annotation.choose_annotator("file", "", ["a.csv", "b.csv"]) == "a.csv"
    with pytest.raises(DataError, match="annotation_sheets must name a filled copy"):
        annotation.choose_annotator("file", "", [])
    with pytest.raises(DataError, match="'oracle' is not one of rules, service, local, file"):
        annotation.choose_annotator("oracle", "", [])


def test_agreement_by_hand():
    reference = pd.Series(list("aaab"))
    classes = pd.Series(list("aabb"))
    agreement = annotation.measure_agreement(reference, classes)
    assert agreement["n"] == 4
    assert agreement["agree"] == 0.75
    # by chance .75 * .5 + .25 * .5 = .5
    assert agreement["kappa"] == pytest.approx(0.5)
    assert agreement["majority"] == 0.75


def test_kappa_of_one_class_is_undefined():
    same = pd.Series(["a", "a"])
    assert np.isnan(annotation.measure_agreement(same, same)["kappa"])


def test_copies_of_a_row_in_one_cluster_add_no_certainty():
    reference = pd.Series(list("aaab") * 9)
    classes = pd.Series(list("aabb") * 9)
    clusters = pd.Series(list("abcd") * 9)
    clustered = annotation.measure_agreement(reference, classes, clusters)
    independent = annotation.measure_agreement(reference, classes)
    clustered_width = clustered["high"] - clustered["low"]
    assert clustered_width > 2 * (independent["high"] - independent["low"])


def test_classes_of_other_pairs_cannot_be_compared():
    with pytest.raises(ValueError, match="4 and 3 classes cannot be compared"):
        annotation.measure_agreement(pd.Series(list("aaab")), pd.Series(list("aab")))


def test_annotators_are_compared_where_both_named_a_class():
    classes = {
        "truth": pd.Series(list("aab")),
        "rules": pd.Series(list("aaa")),
        "m": pd.Series(["", "b", "b"]),
    }
    pairs = pd.DataFrame({"task": ["rank_resumes"] * 3})
    clusters = pd.Series(list("xyz"))
    compared = annotation.compare_annotators(classes, pairs, clusters)
    assert compared[["annotator", "reference", "n", "agree"]].values.tolist() == [
        ["rules", "truth", 3, pytest.approx(2 / 3)],
        ["m", "truth", 2, 0.5],
        ["m", "rules", 2, 0.0],
    ]


def test_one_annotator_is_compared_with_nobody():
    pairs = pd.DataFrame({"task": ["rank_resumes"] * 3})
    classes = {"rules": pd.Series(list("aaa"))}
    compared = annotation.compare_annotators(classes, pairs, pd.Series(list("xyz")))
    assert compared.empty
    assert list(compared) == ["task", *annotation.AGREEMENT_COLUMNS]
