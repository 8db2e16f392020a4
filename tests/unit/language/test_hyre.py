"""Generators of hypothetical texts: who may be a source for whom, what leaks, what a control and an upper bound hold."""

import numpy as np
import pandas as pd
import pytest
from canned import Canned

from matchlib.data.schema import DataError
from matchlib.language import hyre
from matchlib.language.hyre import SIDES
from matchlib.language.llm import Answer, LanguageModel


@pytest.fixture(scope="module")
def tables(small_tables):
    return small_tables


def vectors_of(frame, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((len(frame), 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("name", SIDES)
def test_a_neighbour_lends_training_text_that_the_query_has_no_label_with(tables, name):
    side = SIDES[name]
    found = hyre.nearest_accepted(tables, side, vectors_of(tables[side.own]))
    assert found["own_id"].tolist() == tables[side.own][side.own_id].tolist()
    lent = found[found["source_id"] != ""]
    assert len(lent) > 0.9 * len(found)
    labels, other = tables["labels"], tables[side.other].set_index(side.other_id)
    assert (other.loc[lent["source_id"], "split"] == "train").all()
    assert (other.loc[lent["source_id"], "text"].to_numpy() == lent["text"].to_numpy()).all()
    accepted = labels[(labels["label"] == 1) & (labels["split"] == "train")]
    assert lent["source_id"].isin(accepted[side.other_id]).all()
    labelled = set(zip(labels[side.own_id], labels[side.other_id], strict=True))
    assert not labelled & set(zip(lent["own_id"], lent["source_id"], strict=True))
    hyre.require_no_leak(found, tables, side)


def test_the_neighbour_is_the_nearest_by_words_and_encoder():
    jobs = pd.DataFrame(
        {
            "job_id": ["a", "b", "c", "q"],
            "split": ["train"] * 3 + ["test"],
            "text": ["cook fish", "drive a bus", "cook fish and rice", "fish cook wanted"],
        }
    )
    resumes = pd.DataFrame(
        {
            "resume_id": ["ra", "rb", "rc"],
            "text": ["I cook", "I drive", "I steam"],
            "split": "train",
        }
    )
    labels = pd.DataFrame(
        {
            "job_id": ["a", "b", "c"],
            "resume_id": ["ra", "rb", "rc"],
            "label": [1, 1, 0],
            "split": "train",
        }
    )
    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    tables = {"jobs": jobs, "resumes": resumes, "labels": labels}
    found = (
        hyre.nearest_accepted(tables, SIDES["jobs"], vectors)
        .set_index("own_id")["source_id"]
        .to_dict()
    )
    assert found == {
        "a": "rb",
        "b": "ra",
        "c": "ra",
        "q": "ra",
    }  # a never takes its own; c lends nothing


def test_upper_bounds_take_what_their_names_say():
    jobs = pd.DataFrame({"job_id": ["j", "k", "l"], "text": ["x", "y", "z"], "split": "test"})
    resumes = pd.DataFrame(
        {"resume_id": ["a", "b", "c", "d"], "text": list("ABCD"), "split": "test"}
    )
    labels = pd.DataFrame(
        {
            "job_id": ["j"] * 4 + ["k"],
            "resume_id": ["a", "b", "c", "d", "a"],
            "label": [1, 1, 0, 0, 0],
            "split": "test",
        }
    )
    own = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    other = np.array([[0.2, 0.9], [0.4, 0.9], [0.3, 1.5], [0.9, 0.1]], dtype=np.float32)
    tables = {"jobs": jobs, "resumes": resumes, "labels": labels}
    found = {
        kind: hyre.upper_bound(tables, SIDES["jobs"], kind, own, other)["source_id"].tolist()
        for kind in hyre.UPPER_BOUNDS
    }
    assert found == {
        "max_match_label": ["b", "", ""],
        "max_match_encoder": ["d", "a", ""],
        "centroid": ["c", "", ""],
    }


def test_a_leak_is_named(tables):
    held_out = tables["resumes"].query("split == 'test'").iloc[0]
    stolen = pd.DataFrame(
        {"own_id": ["j1"], "source_id": [""], "text": [f"Here it is:\n{held_out['text']}\nEnd"]}
    )
    with pytest.raises(
        DataError,
        match=f"hypothetical text of 'j1' holds the held-out document '{held_out.iloc[0]}'",
    ):
        hyre.require_no_leak(stolen, tables, SIDES["jobs"])
    shortened = stolen.assign(text=" ".join(held_out["text"].split()[:-1]))
    hyre.require_no_leak(shortened, tables, SIDES["jobs"])


def test_written_texts_are_in_order_and_bad_answers_are_left_out(tables):
    bad = {
        3: Answer("I'm sorry, I cannot help with that."),
        4: Answer("half a res", "length"),
        5: Answer("  "),
    }
    asked = []

    def answer(prompt):
        asked.append(prompt)
        return bad.get(len(asked) - 1, Answer(f"resume {len(asked) - 1}"))

    model = LanguageModel(Canned(answer))
    found = hyre.written(tables, SIDES["jobs"], model, n_examples=2, seed=1)
    assert found["text"].tolist() == [
        f"resume {i}" if i not in bad else "" for i in range(len(found))
    ]
    assert model.usage.problems == {"refused": 1, "truncated": 1, "empty": 1}
    jobs = tables["jobs"]
    assert all(
        text.splitlines()[0] in prompt.user
        for text, prompt in zip(jobs["text"], asked, strict=True)
    )
    assert all(
        prompt.user.count(text) == 1 for text, prompt in zip(jobs["text"], asked, strict=True)
    )
    assert all(prompt.user.count("Accepted resume:") == 2 for prompt in asked)
    held_out = tables["resumes"].query("split != 'train'")["text"]
    assert not any(text in prompt.user for text in held_out for prompt in asked)
    richer = hyre.enrich(jobs, SIDES["jobs"], found)["text"]
    assert (
        richer[0] == jobs["text"][0] + "\n\n[An Example Resume]\nresume 0"
        and richer[3] == jobs["text"][3]
    )
    assert hyre.enrich(jobs, SIDES["jobs"], found, alone=True)["text"][0] == "resume 0"
    with pytest.raises(DataError, match="fewer than the 5000 examples"):
        hyre.written(tables, SIDES["jobs"], model, n_examples=5_000, seed=1)


@pytest.fixture
def shared_resume():
    """Job j accepted r; so did k; l accepted a near copy of r, and m another resume; i is a repost of j."""

    def text(topic, last):
        return " ".join(f"{topic}{i}" for i in range(30)) + f" {last}"

    jobs = pd.DataFrame(
        {
            "job_id": list("jklmi"),
            "split": "train",
            "occupation": "cook",
            "text": [
                text("kitchen", "now"),
                text("diner", "now"),
                text("canteen", "now"),
                text("bistro", "now"),
                text("kitchen", "soon"),
            ],
        }
    )
    resumes = pd.DataFrame(
        {
            "resume_id": ["r", "copy", "other"],
            "split": "train",
            "occupation": "cook",
            "text": [text("grill", "yours"), text("grill", "truly"), text("bake", "yours")],
        }
    )
    labels = pd.DataFrame(
        {
            "job_id": list("jklmi"),
            "resume_id": ["r", "r", "copy", "other", "other"],
            "label": 1,
            "split": "train",
        }
    )
    return {"jobs": jobs, "resumes": resumes, "labels": labels}


@pytest.mark.parametrize("seed", range(6))
def test_no_query_is_shown_a_resume_that_it_accepted_nor_a_near_copy(shared_resume, seed):
    asked = []

    def answer(prompt):
        asked.append(prompt.user)
        return Answer("a resume")

    hyre.written(
        shared_resume,
        SIDES["jobs"],
        LanguageModel(Canned(answer)),
        n_examples=1,
        seed=seed,
    )
    job_j = asked[
        0
    ]  # whose examples may only be those of m: k and l hold its own answer, i is the same job
    assert (
        "bistro1" in job_j
        and "bake1" in job_j
        and "grill1" not in job_j
        and job_j.count("kitchen1 ") == 1
    )
    other = asked[3]  # m accepted `other`, so that it may be shown r or its copy only
    assert "grill1" in other and "bake1" not in other
    drawn = hyre.random_of_group(shared_resume, SIDES["jobs"], "occupation", seed=seed).set_index(
        "own_id"
    )["source_id"]
    assert drawn["j"] == drawn["k"] == drawn["l"] == "other" and drawn["m"] in ("r", "copy")
    vectors = np.eye(5, dtype=np.float32)
    lent = hyre.nearest_accepted(shared_resume, SIDES["jobs"], vectors).set_index("own_id")[
        "source_id"
    ]
    assert lent["j"] == lent["k"] == lent["l"] == "other" and lent["m"] in ("r", "copy")


def test_too_few_examples_for_a_query_are_an_error(shared_resume):
    model = LanguageModel(Canned(lambda prompt: Answer("a resume")))
    with pytest.raises(DataError, match="'j' is left with 1 examples of the 2 asked for"):
        hyre.written(shared_resume, SIDES["jobs"], model, n_examples=2, seed=1)


def test_controls_hold_what_they_claim(tables):
    side = SIDES["jobs"]
    drawn = hyre.random_of_group(tables, side, "occupation", seed=1)
    resumes, jobs = tables["resumes"].set_index("resume_id"), tables["jobs"].set_index("job_id")
    given = drawn[drawn["source_id"] != ""]
    assert (
        resumes.loc[given["source_id"], "occupation"].to_numpy()
        == jobs.loc[given["own_id"], "occupation"]
    ).all()
    assert (resumes.loc[given["source_id"], "split"] == "train").all() and len(given) > 0.9 * len(
        drawn
    )
    lengths = given["text"].str.len().tolist()
    again = hyre.repeated(
        tables["jobs"][tables["jobs"]["job_id"].isin(given["own_id"])], side, lengths
    )
    assert again["text"].str.len().tolist() == lengths
    assert all(
        text.startswith(jobs.loc[name, "text"][: len(text)])
        for name, text in zip(again["own_id"], again["text"], strict=True)
    )
    with pytest.raises(DataError, match="jobs have no column 'team'"):
        hyre.random_of_group(tables, side, "team", seed=1)


def test_coverage_counts_names():
    jobs = pd.DataFrame(
        {"job_id": ["a", "b", "c"], "text": "x", "skills": ["SQL; Excel", "", "Rust"]}
    )
    texts = pd.DataFrame({"own_id": ["a", "b"], "source_id": "", "text": ["knows sql well", "sql"]})
    found = hyre.coverage(jobs, SIDES["jobs"], texts)
    assert found["a"] == 0.5 and np.isnan(found["b"]) and np.isnan(found["c"])
