"""MELO's form: a small data set made here, and the real one where it lies beside the repository."""

from pathlib import Path

import pandas as pd
import pytest
from test_formats import DEFAULTS, SAMPLES, check_account

from matchlib.data.formats.melo import in_singular, read_melo
from matchlib.data.readers import read_source
from matchlib.data.schema import DataError
from matchlib.data.splits import find_leaks

NAMES = {
    "A": ["software developer", "programmer", "coder", "software engineer"],
    "B": ["nurse", "ward nurse", "staff nurse"],
    "C": ["staff nurse", "charge nurse"],
    "D": ["baker", "bread maker", "pastry baker"],
    "E": ["butcher", "meat cutter", "knacker"],
    "F": ["armed forces"],
}
"""Concept -> names. B and C share a name."""
QUERIES = ["Programmers", "Nurses and Midwives", "Charge Nurses", "BAKER"]


def write_melo(folder):
    folder.mkdir(exist_ok=True)
    names, mapping = [], []
    for number, (concept, texts) in enumerate(NAMES.items(), start=1):
        for i, text in enumerate(texts):
            names.append(f"C{number:03d}_en_{i:03d}\t{text}\n")
            mapping.append(f"C{number:03d}_en_{i:03d}\thttp://concepts/{concept}\n")
    queries = [f"Q{i}\t{text}\n" for i, text in enumerate(QUERIES, start=1)]
    pairs = [("Q1", "C001_en_000"), ("Q1", "C001_en_001"), ("Q2", "C002_en_000")]
    pairs += [("Q2", "C003_en_001"), ("Q3", "C003_en_001"), ("Q4", "C004_en_000")]
    annotations = [f"{query}\t0\t{name}\t1\n" for query, name in pairs]
    files = {"corpus_elements": names, "concept_mapping": mapping, "queries": queries}
    for name, lines in (files | {"annotations": annotations}).items():
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def texts_of(reading, name, split):
    table = reading.tables[name]
    return set(table.loc[table["split"] == split, "text"])


def pairs_of(reading, split):
    """The texts of a split's accepted pairs."""
    labels = reading.tables["labels"]
    labels = labels[labels["split"] == split]
    job = reading.tables["jobs"].set_index("job_id")["text"]
    resume = reading.tables["resumes"].set_index("resume_id")["text"]
    return set(zip(labels["job_id"].map(job), labels["resume_id"].map(resume), strict=True))


@pytest.fixture
def folder(tmp_path):
    return write_melo(tmp_path / "usa_q_en_c_en")


def test_the_test_is_the_data_set_itself(folder):
    reading = read_melo(folder)
    check_account(reading)
    assert texts_of(reading, "jobs", "test") == set(QUERIES)
    resumes = reading.tables["resumes"].query("split == 'test'")
    assert len(resumes) == 16 and resumes["text"].eq("staff nurse").sum() == 2
    assert ("Nurses and Midwives", "charge nurse") in pairs_of(reading, "test")
    assert len(pairs_of(reading, "test")) == 6
    assert "1 queries (25.0%) equal a name but for capital letters" in reading.notes


def test_queries_with_an_answer_in_common_are_one_cluster(folder):
    jobs = read_melo(folder).tables["jobs"].query("split == 'test'")
    group = jobs.set_index("text")["concept_group"]
    assert group["Nurses and Midwives"] == group["Charge Nurses"]
    assert group.nunique() == 3


def test_training_pairs_are_names_of_one_concept_and_never_annotations(folder):
    for seed in range(5):
        reading = read_melo(folder, valid=0.3, seed=seed)
        concepts = [set(names) for names in NAMES.values()]
        for split in ("train", "valid"):
            for pair in pairs_of(reading, split):
                assert any(set(pair) <= names for names in concepts), pair
                assert pair[0] != pair[1]
        documents = texts_of(reading, "jobs", "train") | texts_of(reading, "resumes", "train")
        held_out = texts_of(reading, "jobs", "valid") | texts_of(reading, "resumes", "valid")
        assert documents and held_out and not documents & held_out
        assert "baker" not in documents | held_out, "a query, but for its capital letters"
        assert find_leaks(reading.tables, known=reading.known) == []
        nurses = {"nurse", "charge nurse"}
        is_together = not (nurses & documents and nurses & held_out)
        assert is_together, "concepts with a shared name stay together"


def test_every_name_of_a_training_concept_is_asked_for_every_other(folder):
    for seed in range(9):
        reading = read_melo(folder, valid=0.1, seed=seed)
        pairs = pairs_of(reading, "train")
        if ("programmer", "coder") in pairs:
            assert len([pair for pair in pairs if set(pair) <= set(NAMES["A"])]) == 12
            break
    else:
        raise AssertionError("concept A was held out by every seed")


def test_held_out_concepts_are_ranked_among_all_names_without_annotations(folder):
    reading = read_melo(folder, judged_by="held_out", valid=0.3)
    check_account(reading)
    asked = texts_of(reading, "jobs", "test")
    assert asked == texts_of(reading, "jobs", "valid") and not asked & set(QUERIES)
    every = {text for names in NAMES.values() for text in names}
    assert texts_of(reading, "resumes", "test") == every - asked
    for query, answer in pairs_of(reading, "test"):
        assert any({query, answer} <= set(names) for names in NAMES.values())
    assert pairs_of(reading, "test") == pairs_of(reading, "valid")
    annotations = folder / "annotations.tsv"
    annotations.write_text("Q1\t0\tC001_en_000\t1\n", encoding="utf-8")
    again = read_melo(folder, judged_by="held_out", valid=0.3)
    for name, table in reading.tables.items():
        assert table.equals(again.tables[name]), "annotations decide nothing"


def test_without_a_mapping_ids_tell_concepts(folder):
    with_mapping = read_melo(folder)
    (folder / "concept_mapping.tsv").unlink()
    without = read_melo(folder)
    assert pairs_of(without, "train") == pairs_of(with_mapping, "train")
    assert "(by the beginnings of ids)" in without.notes[0]


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("annotations", "Q9\t0\tC001_en_000\t1", "the query is in no row of queries.tsv"),
        ("annotations", "Q1\t0\tC999_en_000\t1", "the name is in no row of corpus_elements.tsv"),
        ("annotations", "Q1\t0\tC001_en_000\t1", "the same pair again"),
        ("annotations", "Q1\t0\tC005_en_000\t0", "label '0' is not 1"),
        (
            "corpus_elements",
            "C010_en_000\t ",
            "no text, not one letter or digit; fill it or leave it out",
        ),
        ("queries", "Q1\tCooks", "its id is taken by an earlier document"),
    ],
)
def test_a_row_that_does_not_fit_is_listed(folder, file, line, reason):
    with (folder / f"{file}.tsv").open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")
    reading = read_melo(folder)
    check_account(reading)
    assert len(reading.left_out) == 1 and reason in reading.left_out["reason"].iloc[0]


def test_singular_titles_take_the_number_that_the_names_use_and_are_in_no_training_pair(folder):
    reading = read_melo(folder, titles="singular", valid=0.3)
    check_account(reading)
    singular = {"programmer", "nurse and midwives", "charge nurse", "baker"}
    assert texts_of(reading, "jobs", "test") == singular
    assert "3 queries changed by writing them in the singular" in reading.notes
    names = {text for names in NAMES.values() for text in names}
    assert texts_of(reading, "resumes", "test") == names
    for split in ("train", "valid"):
        for pair in pairs_of(reading, split):
            assert not set(pair) & singular


def test_a_plural_stays_where_the_names_use_it_more():
    names = pd.Series(["sales manager", "sales clerk", "sale of goods", "wife", "fireman", "data"])
    titles = pd.Series(["Sales Managers", "Wives", "Firemen", "Clerks' Business", "", "Ponies"])
    told = ["sales manager", "wife", "fireman", "clerk' business", "", "ponies"]
    assert in_singular(titles, names).tolist() == told


def test_what_cannot_be_read_is_told_in_a_sentence(folder):
    with pytest.raises(DataError, match="melo_test 'all' is not one of annotations, held_out"):
        read_melo(folder, judged_by="all")
    with pytest.raises(DataError, match="melo_titles 'stems' is not one of as_written, singular"):
        read_melo(folder, titles="stems")
    with pytest.raises(DataError, match="valid_share 0 must lie between 0 and 1"):
        read_melo(folder, valid=0)
    with (folder / "corpus_elements.tsv").open("a", encoding="utf-8") as opened:
        opened.write("C010_en_000\tcook\n")
    with pytest.raises(DataError, match="no concept for name 'C010_en_000'.*take the file away"):
        read_melo(folder)
    (folder / "annotations.tsv").write_text("Q1\t0\tC77\t1\n", encoding="utf-8")
    (folder / "concept_mapping.tsv").unlink()
    with pytest.raises(DataError, match="no annotation of a known query and name; do the files"):
        read_melo(folder)
    (folder / "queries.tsv").write_text("Q1 Cooks\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 fields where 2 are due; is this the right file"):
        read_melo(folder)
    (folder / "queries.tsv").unlink()
    with pytest.raises(DataError, match=r"queries.tsv: no such file; check the path"):
        read_melo(folder)


@pytest.mark.skipif(
    not (SAMPLES / "melo").is_dir(), reason="needs the samples, which are not in the repository"
)
def test_every_row_of_the_real_data_is_read():
    p = DEFAULTS | {"source": "melo", "path": str(Path(SAMPLES / "melo"))}
    reading = read_source(p)
    check_account(reading)
    assert (reading.files["rows"].sum(), len(reading.left_out)) == (76_103, 0)
    labels = reading.tables["labels"].groupby("split").size()
    assert labels["test"] == 7_852 and labels["train"] > 300_000
