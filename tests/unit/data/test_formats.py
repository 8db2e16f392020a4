"""The published forms: small files made here, and the real samples where they lie beside the repository."""

import csv
import json
from pathlib import Path

import pytest

from matchlib.data.formats.confit import read_confit
from matchlib.data.formats.fit import read_fit
from matchlib.data.formats.rankpo import parse_talent, read_rankpo, strip_tags
from matchlib.data.formats.talentclef import read_talentclef
from matchlib.data.readers import read_source
from matchlib.data.schema import SCHEMAS, DataError, check_table
from matchlib.data.splits import find_leaks
from matchlib.pipeline import notebook_parameters

SAMPLES = Path(__file__).parents[4] / "shared" / "data"
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs the samples, which are not in the repository"
)
DEFAULTS = notebook_parameters(Path("notebooks/01_data_rules.ipynb"))
TALENT = (
    "<keyword>Graph<sep>Cas9 &amp; <i>RNA</i></keyword><title>One<sep>Two</title>"
    "<abstract>p < .05 in <Actinopterygii> <mml:mi>x</mml:mi><title>Aim</title> end<sep>Second</abstract>"
)


def write_lines(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )


def write_rankpo(folder):
    folder.mkdir(exist_ok=True)
    texts = [TALENT.replace("Two", f"Two {i}") for i in range(8)]
    write_lines(
        folder / "train_data.jsonl",
        [
            {
                "query": "<p>Lecturer</p> in biology",
                "positives": texts[:2],
                "negatives": [texts[2], "", texts[0]],
            },
            {"query": "", "positives": texts[:1], "negatives": []},
            {"query": "Professor of law", "positives": texts[3:4], "negatives": "none"},
        ],
    )
    pair = {
        "query": "Dean",
        "query_id": "q1",
        "passage1": texts[5],
        "passage_id1": "p5",
        "passage2": texts[0],
        "passage_id2": "p0",
        "preferred": "B",
        "confidence_score": 65,
        "model": "m",
    }
    write_lines(
        folder / "annotated.jsonl",
        [
            pair,
            pair | {"preferred": "C"},
            pair | {"passage2": texts[5]},
            pair | {"confidence_score": "65"},
        ],
    )
    return folder


def write_confit(folder, ids=("jd_no", "user_id")):
    folder.mkdir(exist_ok=True)
    jobs = [
        {
            ids[0]: f"j{i}",
            "工作名称": f"护士{i}",
            "工作描述": f"医院招聘护士{i * 7}名，需要经验{i * i}年",
        }
        for i in range(8)
    ]
    resumes = [
        {ids[1]: f"r{i}", "年龄": "41", "工作经验": f"我在第{i * 5}医院工作{i + 3}年"}
        for i in range(8)
    ]
    empty_age = {ids[1]: "r 9", "年龄": "", "工作经验": "x"}
    for name, rows in (("all_job", jobs + jobs[:1]), ("all_resume", [*resumes, empty_age])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    for split, pairs in (
        ("train", [(0, 0), (1, 1), (6, 6)]),
        ("valid", [(2, 2)]),
        ("test", [(3, 3), (4, 4)]),
    ):
        write_lines(
            folder / f"{split}.jsonl",
            [{ids[0]: f"j{j}", ids[1]: f"r{r}", "satisfied": 1} for j, r in pairs],
        )
    with (folder / "test.jsonl").open("a") as file:
        for row in ({"satisfied": 2}, {"satisfied": 1, ids[0]: "j99"}, {"satisfied": 1}):
            file.write(json.dumps({ids[0]: "j3", ids[1]: "r3"} | row) + "\n")
    (folder / "rank_resume.json").write_text(
        json.dumps(
            {
                "j3": {"user_ids": ["r3", "r4", "r6", "r77"], "satisfied": [1, 0, -1, -1]},
                "j98": {"user_ids": ["r3"], "satisfied": [1]},
            }
        )
    )
    return folder


def write_talentclef(folder):
    for language, start in (("en", 100), ("es", 200)):
        for kind, n in (("queries", 3), ("corpus", 5)):
            (folder / language / kind).mkdir(parents=True, exist_ok=True)
            for i in range(1, n + 1):
                name = str(start + i + (900 if kind == "queries" else 0))
                (folder / language / kind / name).write_text(f"{kind} {i} in {language}")
    (folder / "en" / "qrels.tsv").write_text(
        "1001\t0\t101\t1\n1001\t0\t102\t0\n1002\t0\t102\t1\n1002\t0\t999\t1\n"
        "1003\t0\t103\t2\n1001\t0\t101\t1\n"
    )
    (folder / "mappings_gender" / "en").mkdir(parents=True, exist_ok=True)
    (folder / "mappings_gender" / "en" / "corpus_mapping.tsv").write_text(
        "101\t1_en_m\n102\t2_en_f\n103\t3_en_x\n"
    )
    return folder


def write_fit(path):
    rows = [
        {
            "resume_text": f"I cook {i}",
            "job_description_text": f"cook wanted {i % 20}",
            "label": label,
        }
        for i, label in enumerate(["Good Fit", "No Fit", "Potential Fit", "good"] * 15)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, rows[0], rows[0] | {"label": "No Fit"}])
    return path


def check_account(reading):
    """Every row is read or left out, and what was read fits its schema."""
    assert (reading.files["rows"] == reading.files["read"] + reading.files["left out"]).all()
    whole = reading.files["left out"].sum() + reading.files["parts left out"].sum()
    assert whole == len(reading.left_out)
    for name in set(reading.tables) & set(SCHEMAS):
        check_table(name, reading.tables[name])


def test_a_talent_is_parsed_into_its_fields_and_stray_tags_go():
    assert parse_talent(TALENT) == {
        "keyword": ["Graph", "Cas9 & RNA"],
        "title": ["One", "Two"],
        "abstract": ["p < .05 in <Actinopterygii> x Aim end", "Second"],
    }
    assert (
        strip_tags("<p class='x'>a &lt;b&gt;c&lt;/b&gt;</p><!-- no --><JATS1:p>d</JATS1:p> 1<2")
        == "a c\nd\n1<2"
    )
    with pytest.raises(ValueError, match="no <title>"):
        parse_talent("<keyword>a</keyword><abstract>b</abstract>")


def test_rankpo_rows_that_do_not_fit_are_listed(tmp_path):
    reading = read_rankpo(write_rankpo(tmp_path / "r"), test=1.0, valid=0.0)
    check_account(reading)
    assert len(reading.tables["labels"]) == 4 and len(reading.tables["preferences"]) == 1
    assert reading.left_out[["line", "reason"]].to_numpy().tolist() == [
        ["1", "negatives 2: no text"],
        ["1", "negatives 3: the same pair again; the first is kept"],
        ["2", "query: no text"],
        ["3", "negatives is no list"],
        ["2", "preferred is 'C', neither 'A' nor 'B'"],
        ["3", "both passages are the same"],
        ["4", "confidence_score '65' is not a number from 0 to 100"],
    ]
    assert "<" not in reading.tables["jobs"]["text"].iloc[0]
    raw = read_rankpo(tmp_path / "r", markup="raw", test=1.0, valid=0.0)
    assert raw.tables["resumes"]["text"].iloc[0].startswith("<keyword>")


@pytest.mark.parametrize("ids", [("jd_no", "user_id"), ("job_id", "resume_id")])
def test_confit_keeps_pools_apart_and_age_out_of_the_text(tmp_path, ids):
    reading = read_confit(write_confit(tmp_path / "c", ids))
    check_account(reading)
    pools = reading.tables["pools"]
    assert pools[["query_id", "candidate_id", "label"]].to_numpy().tolist() == [
        ["j3", "r3", 1],
        ["j3", "r4", 0],
        ["j3", "r6", -1],
    ]
    assert "41" not in "".join(reading.tables["resumes"]["text"])
    assert set(reading.tables["resumes"]["age"]) == {"41"}
    split = reading.tables["resumes"].set_index("resume_id")["split"]
    assert split["r6"] == "test", "a document of a test pool is no training document"
    assert not ((reading.tables["labels"]["resume_id"] == "r6").any()), (
        "its training label is dropped"
    )
    assert find_leaks(reading.tables) == []
    lines = set(map(tuple, reading.left_out[["line", "reason"]].to_numpy()))
    assert ("j3[3]", "the candidate is in no row of the resumes file") in lines
    assert (
        "10",
        "its id is taken by an earlier document, which is kept; rename one of them",
    ) in lines
    asked = read_confit(tmp_path / "c", protected_in_text=True)
    assert "## 年龄\n41" in asked.tables["resumes"]["text"].iloc[0]


def test_talentclef_reads_a_language_and_genders(tmp_path):
    reading = read_talentclef(write_talentclef(tmp_path))
    check_account(reading)
    assert reading.tables["resumes"]["gender"].tolist() == [
        "male",
        "female",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert reading.tables["resumes"]["person"].tolist() == ["1_en", "2_en", "", "", ""]
    assert reading.tables["labels"][["job_id", "resume_id", "label"]].to_numpy().tolist() == [
        ["1001", "101", 1],
        ["1001", "102", 0],
        ["1002", "102", 1],
    ]
    assert reading.left_out["line"].tolist() == ["3", "4", "5", "6"]
    with pytest.raises(DataError, match="language 'fr' is not one of en, es, en-es"):
        read_talentclef(tmp_path, language="fr")


@pytest.mark.parametrize(
    "potential, accepted, n", [("rejected", 15, 45), ("accepted", 30, 45), ("left_out", 15, 30)]
)
def test_three_grades_become_labels_and_stay_as_grades(tmp_path, potential, accepted, n):
    reading = read_fit(write_fit(tmp_path / "a.csv"), potential_fit=potential)
    check_account(reading)
    labels = reading.tables["labels"]
    assert (len(labels), labels["label"].sum()) == (n, accepted)
    assert set(labels["grade"]) == ({0, 1, 2} if potential != "left_out" else {0, 2})
    reasons = reading.left_out["reason"]
    assert (reasons == "label 'good' is none of the three grades").sum() == 15
    assert (reasons == "the same pair with another label; the first is kept").sum() == 1


def test_a_protected_column_is_refused_as_text_unless_asked_for(tmp_path):
    for name, row in (
        ("jobs", "job_id,text\nj,cook"),
        ("resumes", "resume_id,text,gender\nr,I cook,f"),
        ("labels", "job_id,resume_id,label\nj,r,1"),
    ):
        (tmp_path / f"{name}.csv").write_text(row + "\n")
    p = DEFAULTS | {
        "source": "files",
        "test_share": 1.0,
        "resumes_columns": {"text": ["gender", "text"]},
        **{f"{name}_file": str(tmp_path / f"{name}.csv") for name in ("jobs", "resumes", "labels")},
    }
    with pytest.raises(DataError, match="'gender' is a protected column"):
        read_source(p)
    assert read_source(p | {"protected_in_text": True}).tables["resumes"]["text"].tolist() == [
        "## gender\nf\n## text\nI cook"
    ]


@needs_samples
@pytest.mark.parametrize(
    "source, changes, rows, left_out",
    [
        ("rankpo", {"test_share": 1.0}, 70, 0),
        ("confit", {}, 2725, 400),
        ("talentclef", {"language": "en"}, 19, 0),
        ("talentclef", {"language": "es"}, 19, 0),
        ("talentclef", {"language": "en-es"}, 16, 0),
    ],
)
def test_every_row_of_the_samples_is_read_or_listed(source, changes, rows, left_out):
    reading = read_source(DEFAULTS | {"source": source, "path": str(SAMPLES / source)} | changes)
    check_account(reading)
    assert (reading.files["rows"].sum(), len(reading.left_out)) == (rows, left_out)
    assert find_leaks(reading.tables) == []


def test_talentclef_lists_what_it_cannot_read(tmp_path):
    write_talentclef(tmp_path)
    corpus = tmp_path / "en" / "corpus"
    (corpus / ".DS_Store").write_bytes(b"\0\1")
    (corpus / "200").write_bytes("Café".encode("latin-1"))
    (corpus / "201").mkdir()
    (corpus / "202").write_bytes("Café".encode("utf-16"))
    reading = read_talentclef(tmp_path)
    check_account(reading)
    said = reading.left_out.set_index("line")["reason"]
    assert (
        "byte 0xe9 is not utf-8" in said["200"]
        and "no such file" in said["201"]
        and "UTF-16" in said["202"]
    )
    assert len(reading.tables["resumes"]) == 5


def test_a_table_whose_ending_is_in_capitals_is_read(tmp_path):
    write_fit(tmp_path / "TRAIN.CSV")
    write_fit(tmp_path / "a.Csv")
    (tmp_path / "._a.csv").write_bytes(b"\0")
    reading = read_fit(tmp_path)
    assert set(reading.files["file"]) == {str(tmp_path / "TRAIN.CSV"), str(tmp_path / "a.Csv")}
