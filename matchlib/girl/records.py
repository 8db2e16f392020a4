"""Compact records: a resume or a job as a few lines, which a small language model can read and
write.

A resume: title, seniority, years, city, "has", its skills. A job: title, seniority, required years,
city, "must", its requirements, "nice", its nice-to-have skills. One item a line, skills in
alphabetical order, so that a small model can keep track of what it has written; the tokenizer makes
each line one token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
)
from transformers import PreTrainedTokenizerFast

from matchlib.data.rules import split_items
from matchlib.data.schema import DataError
from matchlib.data.skills import LEVELS
from matchlib.data.words import cut_at_words
from matchlib.language.llm import Prompt
from matchlib.language.prompts import form as form_to_fill
from matchlib.language.prompts import prompt_from

PAD = "<pad>"
END = "<end>"
UNKNOWN = "<unknown>"
JOB = "job:\n"  # what a prompt ends with
MAX_YEARS = 40


def resume_record(row: Mapping[str, Any]) -> str:
    """A resume row (columns title, seniority, years, city, skills, as far as present) as a prompt,
    up to "job:"."""
    head = _head(row, "years")
    skills = _sorted_items(row, "skills")
    return _lines(["resume:", *head, "has", *skills]) + JOB


def job_record(row: Mapping[str, Any]) -> str:
    """A job row (title, seniority, min_years, city, skills, nice_skills, as far as present) as
    lines."""
    head = _head(row, "min_years")
    must = _sorted_items(row, "skills")
    nice = _sorted_items(row, "nice_skills")
    return _lines([*head, "must", *must, "nice", *nice])


def parse_job(text: str) -> dict[str, Any] | None:
    """The job row of a text by `job_record`; None for a text of another form.

    A skill that is named twice counts once, and a requirement is not a nice-to-have skill as well.
    """
    lines = text.strip().split("\n")
    if lines.count("must") != 1 or lines.count("nice") != 1:
        return None
    must = lines.index("must")
    nice = lines.index("nice")
    if must != 4 or nice < must + 2:
        return None
    title, seniority, years, city = lines[:4]
    number, _, unit = years.partition(" ")
    if seniority not in LEVELS or unit != "years" or not number.isdecimal():
        return None
    required = dict.fromkeys(lines[must + 1 : nice])
    nice_to_have = dict.fromkeys(lines[nice + 1 :])
    only_nice = [skill for skill in nice_to_have if skill not in required]
    return {
        "title": title,
        "seniority": seniority,
        "min_years": int(number),
        "city": city,
        "skills": "; ".join(required),
        "nice_skills": "; ".join(only_nice),
    }


def in_a_line(text: str | Prompt) -> str:
    """A record as one line, for a table or an encoder; of a prompt, what the user asks."""
    if not isinstance(text, str):
        return text.user
    body = text.removeprefix("resume:\n").removesuffix(JOB)
    line = ", ".join(body.strip().split("\n"))
    for heading in ("must", "nice", "has"):
        line = line.replace(f", {heading}, ", f"; {heading}: ")
    return line.removesuffix(", nice")


def side_by_side(documents: Mapping[str, str | Prompt]) -> pd.DataFrame:
    """Named records or texts as a table of two columns, the name (without a heading) and the text."""
    lines = [in_a_line(document) for document in documents.values()]
    return pd.DataFrame({"": list(documents), "text": lines})


_NEEDED = {
    "jobs": (
        "title",
        "seniority",
        "min_years",
        "city",
        "skills",
        "nice_skills",
    ),
    "resumes": ("title", "seniority", "years", "city", "skills"),
}


def checked(
    tables: Mapping[str, pd.DataFrame],
) -> dict[str, pd.DataFrame]:
    """The tables with jobs and resumes as compact records need them: years as whole numbers, levels
    as the market's.

    Raises DataError, naming the first row, where a column is missing or holds something else.
    """
    return {
        **tables,
        "jobs": _checked(tables["jobs"], "jobs", years="min_years"),
        "resumes": _checked(tables["resumes"], "resumes", years="years"),
    }


def _checked(frame: pd.DataFrame, name: str, *, years: str) -> pd.DataFrame:
    for column in _NEEDED[name]:
        if column not in frame:
            raise DataError(
                f"{name}: compact records need a column {column!r}; map one in the params file, or set "
                f"form to text and base_model to a language model that reads texts"
            )
    given = frame[years].astype(str).str.strip()
    is_number = given.str.fullmatch("[0-9]{1,2}")
    is_level = frame["seniority"].isin(LEVELS)
    _refuse(name, frame[years], ~is_number, "a whole number of years")
    _refuse(
        name,
        frame["seniority"],
        ~is_level,
        f"one of {', '.join(LEVELS)}",
    )
    return frame.assign(**{years: given.astype(int)})


def clusters_of(resumes: pd.DataFrame, cluster_by: str) -> pd.Series:
    """resume_id -> its cluster in intervals and tests: the value of a column, or the id itself
    without a column.

    People of one occupation meet the same jobs and skills, so their values are not independent.
    Raises DataError where the column is missing or has an empty cell.
    """
    if cluster_by and (cluster_by not in resumes or resumes[cluster_by].isna().any()):
        raise DataError(
            f"resumes: cluster_by names {cluster_by!r}, which is no column, or has empty cells; name "
            f"another column whose values make resumes alike, or leave it empty where there is none"
        )
    return resumes.set_index("resume_id", drop=False)[cluster_by or "resume_id"]


def _refuse(name: str, column: pd.Series, is_wrong: pd.Series, expected: str) -> None:
    if not is_wrong.any():
        return
    row = int(is_wrong.to_numpy().argmax())
    value = str(column.iloc[row])[:60]
    raise DataError(
        f"{name}: row {row + 1}: {column.name} = {value!r} where compact records need {expected} "
        f"({is_wrong.sum():,} rows in all); correct the column, or drop these rows"
    )


def views(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    form: str,
    max_words: int,
    is_instructed: bool = True,
) -> tuple[pd.Series, pd.Series]:
    """What is read and written: prompts by resume_id, jobs by job_id.

    form: record, from the columns of tables that were `checked`, or text: the resume in a prompt as
    data, the job's text, each cut at max_words. is_instructed: whether a prompt of text holds
    instructions; without, it is a form to be filled in, for a model that follows none (a third of
    the tokens, on the market). Raises DataError on another form.
    """
    if form == "text":
        if is_instructed:
            prompts = [
                prompt_from("girl_job", resume=text, max_words=max_words)
                for text in resumes["text"]
            ]
        else:
            prompts = [
                form_to_fill("hyre_job", text, max_words=max_words) for text in resumes["text"]
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
    lines = set()
    for text in texts:
        lines.update(text.splitlines(keepends=True))
    tokens = [PAD, END, UNKNOWN, *sorted(lines)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("\n"), "merged_with_previous")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
    )


def _head(row: Mapping[str, Any], years: str) -> list[str]:
    n_years = min(int(row[years]), MAX_YEARS)
    return [
        row["title"],
        row["seniority"],
        f"{n_years} years",
        row["city"],
    ]


def _sorted_items(row: Mapping[str, Any], column: str) -> list[str]:
    return sorted(split_items(row.get(column, "")))


def _lines(items: Iterable[str]) -> str:
    return "".join(f"{item}\n" for item in items)
