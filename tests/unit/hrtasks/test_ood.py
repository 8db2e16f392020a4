"""Readers of other people's marked texts."""

import json

import pytest

from matchlib.data.row_log import RowLog
from matchlib.data.schema import DataError
from matchlib.hrtasks.ood import read_files, read_marked, split_marked


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def words_of(marked):
    return [marked.text[span.start : span.end] for span in marked.spans]


def test_tokens_with_skill_and_knowledge_tags(tmp_path):
    row = {
        "tokens": ["You", "write", "clean", "code", "in", "Rust", "daily"],
        "tags_skill": ["O", "B", "I", "I", "O", "O", "O"],
        "tags_knowledge": ["O", "O", "O", "O", "O", "B", "O"],
    }
    (found,) = read_marked(write(tmp_path / "a.jsonl", row))
    assert words_of(found) == ["write clean code", "Rust"]


def test_typed_tags_keep_skills_only_and_neighbours_apart(tmp_path):
    row = {
        "tokens": ["SQL", "Rust", "degree", "baker"],
        "tags": ["B-Skill", "B-Skill", "B-Qualification", "B-Occupation"],
    }
    (found,) = read_marked(write(tmp_path / "a.jsonl", row))
    assert words_of(found) == ["SQL", "Rust"]


def test_entities_and_quoted_labels(tmp_path):
    resume = {"text": "Anna knows SQL.", "entities": [[0, 4, "Name"], [11, 14, "Tech Tools"]]}
    sentence = {"sentence": "Bake bread", "labels": [{"span": "Bake bread"}, {"span": None}]}
    resume_found, sentence_found = read_marked(write(tmp_path / "a.jsonl", resume, sentence))
    assert words_of(resume_found) == ["SQL"] and words_of(sentence_found) == ["Bake bread"]


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    good = {"tokens": ["SQL"], "tags_skill": ["B"]}
    outside = {"text": "SQL", "entities": [[0, 9, "Tech Tools"]]}
    unequal = {"tokens": ["SQL", "x"], "tags_skill": ["B"]}
    log = RowLog()
    path = write(tmp_path / "a.jsonl", good, outside, unequal, {"x": 1})
    assert len(read_marked(path, log=log)) == 1
    assert int(log.files["left out"].sum()) == 3
    with pytest.raises(DataError, match="no row has tokens with tags_skill"):
        read_marked(write(tmp_path / "b.jsonl", {"x": 1}))


def test_the_test_half_does_not_depend_on_how_many_are_learned_from(tmp_path):
    rows = [{"tokens": [f"w{i}"], "tags_skill": ["B"]} for i in range(20)]
    texts = read_marked(write(tmp_path / "a.jsonl", *rows))
    few, test_few = split_marked(texts, n_train=3, test_split="", seed=1)
    many, test_many = split_marked(texts, n_train=10, test_split="", seed=1)
    assert len(few) == 3 and few == many[:3] and test_few == test_many and len(test_few) == 10
    assert not {t.text for t in many} & {t.text for t in test_many}


def test_a_files_own_split_may_be_the_test(tmp_path):
    rows = [{"tokens": [f"w{i}"], "tags_skill": ["B"], "split": "dev"} for i in range(4)]
    rows += [{"tokens": [f"v{i}"], "tags_skill": ["B"], "split": "train"} for i in range(3)]
    path = write(tmp_path / "a.jsonl", *rows)
    files = read_files({"a": {"path": str(path), "test_split": "dev"}, "b": str(path)})
    texts = files["a"].texts
    learned, test = split_marked(texts, n_train=9, test_split=files["a"].test_split, seed=1)
    assert {text.split for text in learned} == {"train"} and len(test) == 4
    assert files["b"].test_split == "" and files["b"].examples is None
    with pytest.raises(DataError, match="no text is of split 'gold'; the file has dev, train"):
        split_marked(texts, n_train=9, test_split="gold", seed=1)
    with pytest.raises(DataError, match="'split' is not one of path, test_split, examples"):
        read_files({"a": {"path": str(path), "split": "dev"}})
