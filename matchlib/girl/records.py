"""Compact records: a resume or a job as a few lines, which a small language model can read and
write.

A resume:  title, seniority, years, city, "has", its skills. A job: title, seniority, years asked
for, city, "must", its requirements, "nice", what is welcome. One item a line, skills in the order
of the alphabet, so that a small model that writes them does not lose track; the word-level
tokenizer makes each line one token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from matchlib.data.rules import split_items
from matchlib.data.schema import DataError
from matchlib.data.skills import LEVELS
from matchlib.data.words import cut_at_words
from matchlib.language.llm import Prompt
from matchlib.language.prompts import prompt_from

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
JOB = "job:\n"  # what a prompt ends with
MOST_YEARS = 40


def resume_record(row: Mapping[str, Any]) -> str:
    """A resume row (columns title, seniority, years, city, skills, as far as present) as a prompt,
    up to "job:"."""
    return _lines("resume:", *_head(row, "years"), "has", *_sorted(row, "skills")) + JOB


def job_record(row: Mapping[str, Any]) -> str:
    """A job row (title, seniority, min_years, city, skills, nice_skills, as far as present) as
    lines."""
    return _lines(
        *_head(row, "min_years"),
        "must",
        *_sorted(row, "skills"),
        "nice",
        *_sorted(row, "nice_skills"),
    )


def parse_job(text: str) -> dict[str, Any] | None:
    """The job row that a text by `job_record` holds; None for a text of another form.

    What is named twice counts once, and a requirement is not welcome besides.
    """
    lines = text.strip().split("\n")
    if lines.count("must") != 1 or lines.count("nice") != 1:
        return None
    must, nice = lines.index("must"), lines.index("nice")
    if must != 4 or nice < must + 2:
        return None
    title, seniority, years, city = lines[:4]
    number, _, unit = years.partition(" ")
    if seniority not in LEVELS or unit != "years" or not number.isdecimal():
        return None
    asked = dict.fromkeys(lines[must + 1 : nice])
    welcome = [skill for skill in dict.fromkeys(lines[nice + 1 :]) if skill not in asked]
    return {
        "title": title,
        "seniority": seniority,
        "min_years": int(number),
        "city": city,
        "skills": "; ".join(asked),
        "nice_skills": "; ".join(welcome),
    }


def in_a_line(text: str | Prompt) -> str:
    """A record for a table: its lines after one another; a prompt is what it asks."""
    if not isinstance(text, str):
        return text.user
    return (
        ", ".join(text.removeprefix("resume:\n").removesuffix(JOB).strip().split("\n"))
        .replace(", must, ", "; must: ")
        .replace(", nice, ", "; nice: ")
        .replace(", has, ", "; has: ")
        .removesuffix(", nice")
    )


_NEEDED = {
    "jobs": ("title", "seniority", "min_years", "city", "skills", "nice_skills"),
    "resumes": ("title", "seniority", "years", "city", "skills"),
}


def checked(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with jobs and resumes as compact records need them: years as whole numbers, levels
    as the market's.

    Raises DataError, naming the first row, where a column is missing or holds something else.
    """
    found = dict(tables)
    for name, columns in _NEEDED.items():
        frame, years = tables[name], columns[2]
        if missing := [column for column in columns if column not in frame]:
            raise DataError(
                f"{name}: compact records need a column {missing[0]!r}; map one in the params file, or set "
                f"form to text and base_model to a language model that reads texts"
            )
        given = frame[years].astype(str).str.strip()
        _refuse(name, frame[years], ~given.str.fullmatch("[0-9]{1,2}"), "a whole number of years")
        _refuse(
            name,
            frame["seniority"],
            ~frame["seniority"].isin(LEVELS),
            f"one of {', '.join(LEVELS)}",
        )
        found[name] = frame.assign(**{years: given.astype(int)})
    return found


def clusters_of(resumes: pd.DataFrame, cluster_by: str) -> pd.Series:
    """resume_id -> its cluster in intervals and tests: its value of a column, or itself where none
    is named.

    People of one occupation meet the same jobs and the same skills, so what is measured on them is
    not independent.
    Raises DataError where the column is missing or has an empty cell.
    """
    if cluster_by and (cluster_by not in resumes or resumes[cluster_by].isna().any()):
        raise DataError(
            f"resumes: cluster_by names {cluster_by!r}, which is no column, or has empty cells; name "
            f"another column whose values make resumes alike, or leave it empty where there is none"
        )
    return resumes.set_index("resume_id", drop=False)[cluster_by or "resume_id"]


def _refuse(name: str, column: pd.Series, wrong: pd.Series, due: str) -> None:
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{name}: row {at + 1}: {column.name} = {str(column.iloc[at])[:60]!r} where compact records "
            f"need {due} ({wrong.sum():,} rows in all); mend the column, or drop these rows"
        )


def views(
    jobs: pd.DataFrame, resumes: pd.DataFrame, *, form: str, max_words: int
) -> tuple[pd.Series, pd.Series]:
    """What is read and written: prompts by resume_id, jobs by job_id.

    form: record, from the columns of tables that were `checked`, or text: the resume in a prompt as
    data, the job's text, each cut at max_words. Raises DataError on another form.
    """
    if form == "text":
        prompts = [
            prompt_from("girl_job", resume=text, max_words=max_words) for text in resumes["text"]
        ]
        texts = [cut_at_words(text, max_words)[0] for text in jobs["text"]]
    elif form == "record":
        prompts = [resume_record(row) for row in resumes.to_dict("records")]
        texts = [job_record(row) for row in jobs.to_dict("records")]
    else:
        raise DataError(f"form {form!r} is neither record nor text")
    return pd.Series(prompts, index=resumes["resume_id"]), pd.Series(texts, index=jobs["job_id"])


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the lines of `texts`; other lines become UNKNOWN. Decoding gives
    the text back."""
    lines = sorted({line for text in texts for line in text.splitlines(keepends=True)})
    vocabulary = {token: i for i, token in enumerate([PAD, END, UNKNOWN, *lines])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("\n"), "merged_with_previous")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )


def _head(row: Mapping[str, Any], years: str) -> list[str]:
    return [
        row["title"],
        row["seniority"],
        f"{min(int(row[years]), MOST_YEARS)} years",
        row["city"],
    ]


def _sorted(row: Mapping[str, Any], column: str) -> list[str]:
    return sorted(split_items(row.get(column, "")))


def _lines(*items: str) -> str:
    return "".join(f"{item}\n" for item in items)
