"""Compact records: written, read back, tokenised."""

import pytest

from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError
from matchlib.girl.records import (
    checked,
    in_a_line,
    job_record,
    parse_job,
    resume_record,
    views,
    word_tokenizer,
)

MARKET = Market(1, occupations=4)
JOB = {
    "title": "Nurse",
    "seniority": "senior",
    "min_years": 5,
    "city": "Leeds",
    "skills": "Triage; Wound care",
    "nice_skills": "Rota planning",
}
RECORD = "Nurse\nsenior\n5 years\nLeeds\nmust\nTriage\nWound care\nnice\nRota planning\n"


def test_a_job_is_written_and_read_back():
    assert job_record(JOB) == RECORD and parse_job(RECORD) == JOB
    for row in MARKET.jobs(50).to_dict("records"):
        expected = {name: row[name] for name in JOB}
        for column in ("skills", "nice_skills"):
            expected[column] = "; ".join(sorted(row[column].split("; ")))
        assert parse_job(job_record(row)) == expected


def test_a_model_that_follows_no_instructions_gets_a_form_to_fill_in():
    jobs, resumes = MARKET.jobs(2), MARKET.resumes(2)
    told, texts = views(jobs, resumes, form="text", max_words=50)
    bare, same = views(jobs, resumes, form="text", max_words=50, is_instructed=False)
    assert same.equals(texts) and texts.tolist() == jobs["text"].tolist()
    for resume, instructed, filled_in in zip(resumes["text"], told, bare, strict=True):
        assert resume in instructed.user and resume in filled_in.user
        assert "document" in instructed.system and "<" not in filled_in.system + filled_in.user
        words = [len((one.system + one.user).split()) for one in (instructed, filled_in)]
        assert words[1] < words[0] / 2


def test_a_resume_ends_where_the_job_begins():
    row = {"title": "Nurse", "seniority": "lead", "years": 55, "city": "Leeds", "skills": "Triage"}
    assert resume_record(row) == "resume:\nNurse\nlead\n40 years\nLeeds\nhas\nTriage\njob:\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "must\nnice\n",
        RECORD.replace("must\n", ""),
        RECORD.replace("senior", "boss"),
        RECORD.replace("5 years", "5"),
        RECORD.replace("nice\n", ""),
        "Nurse\n" + RECORD,
        RECORD.replace("Triage\nWound care\n", ""),
        RECORD + "must\n",
    ],
)
def test_another_form_is_no_job(text):
    assert parse_job(text) is None


def test_what_is_named_twice_counts_once():
    twice = parse_job(RECORD.replace("Triage\n", "Triage\nTriage\n") + "Triage\nRota planning\n")
    assert twice == JOB


def test_a_record_is_shown_in_a_line():
    assert (
        in_a_line(RECORD)
        == "Nurse, senior, 5 years, Leeds; must: Triage, Wound care; nice: Rota planning"
    )
    assert in_a_line(RECORD.replace("Rota planning\n", "")).endswith("; must: Triage, Wound care")
    assert (
        in_a_line(resume_record({**JOB, "years": 7}))
        == "Nurse, senior, 7 years, Leeds; has: Triage, Wound care"
    )


def test_a_token_is_a_line_and_decoding_gives_the_text_back():
    tokenizer = word_tokenizer([RECORD])
    ids = tokenizer(RECORD)["input_ids"]
    assert len(ids) == 9 and tokenizer.decode(ids) == RECORD
    assert tokenizer("Plumber\n")["input_ids"] == [tokenizer.unk_token_id]
    assert (
        tokenizer.decode(
            [*ids, tokenizer.eos_token_id, tokenizer.pad_token_id], skip_special_tokens=True
        )
        == RECORD
    )


def test_a_missing_column_is_named():
    jobs, resumes = MARKET.jobs(2), MARKET.resumes(2)
    with pytest.raises(DataError, match="jobs: compact records need a column 'min_years'"):
        checked({"jobs": jobs.drop(columns="min_years"), "resumes": resumes})
    with pytest.raises(DataError, match="resumes: .* 'skills'"):
        checked({"jobs": jobs, "resumes": resumes.drop(columns="skills")})


def test_columns_of_a_file_become_numbers_and_what_is_none_is_named():
    jobs, resumes = MARKET.jobs(4), MARKET.resumes(4)
    read = {
        "jobs": jobs.assign(min_years=jobs["min_years"].astype(str)),
        "resumes": resumes.assign(years=" " + resumes["years"].astype(str)),
        "labels": "kept",
    }
    part = checked(read)
    assert (
        part["jobs"]["min_years"].tolist() == jobs["min_years"].tolist()
        and part["labels"] == "kept"
    )
    assert part["resumes"]["years"].tolist() == resumes["years"].tolist()
    for column, value, due in (
        ("min_years", "", "a whole number of years"),
        ("min_years", 2.5, "a whole number"),
        ("seniority", "Chief", "one of junior, middle, senior, lead"),
    ):
        spoiled = jobs.astype({column: object})
        spoiled.iloc[2, spoiled.columns.get_loc(column)] = value
        with pytest.raises(
            DataError, match=f"jobs: row 3: {column} = '{value}' where compact records need {due}"
        ):
            checked(read | {"jobs": spoiled})
